-- How are severities spread: how many people are mild, moderate or severe, in what?
SELECT f.attribute, f.value AS severity, u.corpus, count(DISTINCT u.speaker_id) AS speakers
FROM fact AS f
JOIN utterance AS u ON u.utt_id = f.utt_id
WHERE f.attribute LIKE '%\_severity' ESCAPE '\' AND f.value NOT IN ('present', 'absent')
GROUP BY ALL
ORDER BY ALL;
