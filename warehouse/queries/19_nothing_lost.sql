-- Is every utterance in a tar or among the rejects? missing, unknown and twice must be 0.
SELECT corpus, utterances, in_tars, rejected, missing, "unknown", twice
FROM accounting
ORDER BY missing + "unknown" + twice DESC, corpus;
