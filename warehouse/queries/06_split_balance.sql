-- Is the split fair: people, share in test, sex and age on both sides of each corpus?
SELECT
    corpus,
    split,
    count(DISTINCT person_id) AS people,
    round(count(DISTINCT person_id) / sum(count(DISTINCT person_id)) OVER (PARTITION BY corpus), 2) AS share,
    round(count(DISTINCT person_id) FILTER (sex = 'female') / nullif(count(DISTINCT person_id) FILTER (sex IS NOT NULL), 0), 2) AS female,
    round(avg((age_low + age_high) / 2), 1) AS mean_age
FROM facts
GROUP BY corpus, split
ORDER BY corpus, split;
