-- What is in the warehouse: speakers, utterances and languages of each corpus, and what could not be read?
SELECT
    c.corpus,
    c.title,
    array_to_string(c.languages, ' ') AS languages,
    count(DISTINCT u.speaker_id) AS speakers,
    count(DISTINCT u.utt_id) AS utterances,
    (SELECT count(*) FROM reject AS r WHERE r.corpus = c.corpus) AS rejects,
    c.synthetic,
    c.reason
FROM corpus AS c
LEFT JOIN utterance AS u ON u.corpus = c.corpus
GROUP BY ALL
ORDER BY speakers DESC, c.corpus;
