-- Everything that could not be used: what a recipe could not read, and what sharding could not decode. Sharding comes
-- after this database is built, so its rejects are read from its files anew each time, like the scores.
-- shard_reject_file (those files as text) is made by pipelines/warehouse.py, which knows where the folder is.

CREATE VIEW reject AS
WITH decoded AS (
    SELECT unnest(from_json(
        content,
        '[{"utt_id": "VARCHAR", "corpus": "VARCHAR", "path": "VARCHAR", "reason": "VARCHAR", "passing": "BOOLEAN"}]'
    )) AS row
    FROM shard_reject_file
    WHERE json_valid(content)
)
SELECT corpus, path, reason, 'metadata' AS stage, CAST(NULL AS VARCHAR) AS utt_id, false AS passing
FROM unread_metadata
UNION ALL
SELECT row.corpus, row.path, row.reason, 'audio', row.utt_id, coalesce(row.passing, false)
FROM decoded;

-- Is anything lost on the way into the tars? Every utterance lies in one tar or is one reject of sharding, and sharding
-- knows no other: missing, unknown and twice are 0. `recording` is made by pipelines/warehouse.py.

CREATE VIEW accounting AS
WITH placed AS (
    SELECT utt_id, corpus, 1 AS tars, 0 AS rejects FROM recording
    UNION ALL
    SELECT utt_id, corpus, 0, 1 FROM reject WHERE stage = 'audio'
),
counted AS (
    SELECT utt_id, any_value(corpus) AS corpus, sum(tars) AS tars, sum(rejects) AS rejects FROM placed GROUP BY utt_id
)
SELECT
    coalesce(CAST(u.corpus AS VARCHAR), c.corpus) AS corpus,
    count(u.utt_id) AS utterances,
    count_if(u.utt_id IS NOT NULL AND c.tars > 0) AS in_tars,
    count_if(u.utt_id IS NOT NULL AND c.tars = 0) AS rejected,
    count_if(c.corpus IS NULL) AS missing,
    count_if(u.utt_id IS NULL) AS "unknown",
    count_if(c.tars + c.rejects > 1) AS twice
FROM utterance AS u
FULL JOIN counted AS c ON c.utt_id = u.utt_id
GROUP BY ALL;
