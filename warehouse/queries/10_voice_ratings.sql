-- How do raters hear the voices: mean rating of each quality, and how many voices are above the cut-off?
SELECT
    m.corpus,
    m.attribute,
    m.instrument,
    count(DISTINCT m.speaker_id) AS voices,
    round(avg(m.value), 2) AS mean_rating,
    count_if(i.state = 'present') AS ratings_above_the_cutoff,
    any_value(i.cutoff) AS cutoff
FROM measurement AS m
JOIN instrument AS i
    ON i.instrument = m.instrument AND i.measures = m.attribute
    AND m.value >= i.low AND (m.value < i.high OR (i.high_included AND m.value = i.high))
WHERE i.target = m.attribute
GROUP BY m.corpus, m.attribute, m.instrument
ORDER BY m.attribute, m.instrument, m.corpus;
