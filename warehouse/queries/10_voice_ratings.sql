-- How do raters hear the voices: mean rating of each quality, and how many voices are above the cut-off?
SELECT
    m.attribute,
    m.instrument,
    u.corpus,
    count(*) AS utterances,
    round(avg(m.value), 2) AS mean,
    round(quantile_cont(m.value, 0.9), 2) AS tenth_worst,
    round(avg(CAST(f.value = 'present' AS INTEGER)), 2) AS share_present
FROM measurement AS m
JOIN utterance AS u ON u.utt_id = m.utt_id
JOIN attribute AS a ON a.attribute = m.attribute AND a.family = 'voice'
LEFT JOIN fact AS f ON f.utt_id = m.utt_id AND f.attribute = m.attribute
GROUP BY m.attribute, m.instrument, u.corpus
ORDER BY m.attribute, m.instrument, u.corpus;
