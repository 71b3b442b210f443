-- Where does each statement about depression come from: a clinician, a questionnaire, or an owner's group?
SELECT
    o.corpus,
    o.attribute,
    o.source,
    o.instrument,
    count(DISTINCT o.speaker_id) AS speakers,
    round(avg(o.value_num), 1) AS mean_score,
    (
        SELECT any_value(i.target || ' ' || i.state || ' at ' || i.cutoff)
        FROM instrument AS i
        WHERE i.instrument = o.instrument AND i.measures = o.attribute AND i.state = 'present'
    ) AS rule
FROM observation AS o
WHERE o.attribute IN ('depression', 'phq8', 'phq9')
GROUP BY o.corpus, o.attribute, o.source, o.instrument
ORDER BY o.corpus, o.attribute;
