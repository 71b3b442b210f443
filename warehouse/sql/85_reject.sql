-- Everything that could not be used: what a recipe could not read, and what sharding could not decode. Sharding comes
-- after this database is built, so its rejects are read from its files anew each time, like the scores.
-- shard_reject_file (those files as text) is made by pipelines/warehouse.py, which knows where the folder is.

CREATE VIEW reject AS
WITH decoded AS (
    SELECT unnest(from_json(content, '[{"corpus": "VARCHAR", "path": "VARCHAR", "reason": "VARCHAR"}]')) AS row
    FROM shard_reject_file
    WHERE json_valid(content)
)
SELECT corpus, path, reason, 'metadata' AS stage FROM unread_metadata
UNION ALL
SELECT row.corpus, row.path, row.reason, 'audio' FROM decoded;
