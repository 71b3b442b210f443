-- Which emotions are heard in which language, from how many speakers, and who says so?
SELECT
    coalesce(f.emotion, 'none stated') AS emotion,
    f.language,
    count(DISTINCT f.utt_id) AS utterances,
    count(DISTINCT f.person_id) AS people,
    string_agg(DISTINCT CAST(o.source AS VARCHAR), ', ' ORDER BY CAST(o.source AS VARCHAR)) AS sources
FROM facts AS f
LEFT JOIN observation AS o ON o.utt_id = f.utt_id AND o.attribute = 'emotion'
GROUP BY ALL
ORDER BY people DESC, emotion, f.language
LIMIT 40;
