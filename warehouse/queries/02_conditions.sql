-- How many people have, and how many are stated not to have, each condition, corpus by corpus?
SELECT
    f.attribute,
    u.corpus,
    count(DISTINCT s.person_id) FILTER (f.value = 'present') AS present,
    count(DISTINCT s.person_id) FILTER (f.value = 'absent') AS absent
FROM fact AS f
JOIN attribute AS a ON a.attribute = f.attribute AND a.kind = 'state'
JOIN utterance AS u ON u.utt_id = f.utt_id
JOIN speaker AS s ON s.speaker_id = u.speaker_id
GROUP BY f.attribute, u.corpus
ORDER BY f.attribute, u.corpus;
