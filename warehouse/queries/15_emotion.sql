-- Which emotions are heard in which language, from how many speakers, and who says so?
SELECT
    coalesce(f.emotion, 'none stated') AS emotion,
    f.language,
    count(*) AS utterances,
    count(DISTINCT f.person_id) AS people,
    (SELECT string_agg(DISTINCT CAST(o.source AS VARCHAR), ', ') FROM observation AS o WHERE o.attribute = 'emotion') AS sources
FROM facts AS f
GROUP BY ALL
ORDER BY people DESC, emotion, f.language
LIMIT 40;
