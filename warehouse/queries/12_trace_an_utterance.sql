-- Where do the facts of one utterance come from? (the first one with a derived fact; put your own utt_id instead)
WITH one AS (
    SELECT utt_id FROM fact WHERE attribute LIKE '%severity' ORDER BY attribute, utt_id LIMIT 1
)
SELECT
    f.attribute,
    f.value,
    o.attribute AS observed,
    coalesce(o.value, CAST(o.value_num AS VARCHAR)) AS observed_value,
    o.instrument,
    o.source,
    i.citation
FROM one
JOIN fact AS f ON f.utt_id = one.utt_id
JOIN utterance AS u ON u.utt_id = one.utt_id
LEFT JOIN (
    SELECT DISTINCT measures, target, instrument, citation FROM instrument WHERE target IS NOT NULL
) AS i ON i.target = regexp_replace(f.attribute, '_severity$', '') OR i.target = f.attribute
LEFT JOIN observation AS o
    ON o.speaker_id = u.speaker_id
    AND (o.utt_id IS NULL OR o.utt_id = u.utt_id)
    AND (o.session_id IS NULL OR o.session_id = u.session_id)
    AND (o.attribute = f.attribute OR (o.attribute = i.measures AND o.instrument = i.instrument))
WHERE o.attribute IS NOT NULL OR i.target IS NULL
GROUP BY ALL
ORDER BY f.attribute, observed, o.instrument;
