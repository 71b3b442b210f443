-- Who withdrew, without saying who: the list that `slap withdraw` keeps, read anew each time. No list is an empty table.
-- withdrawal_file (the list as text) is made by pipelines/warehouse.py, which knows where it is. No cell holds a comma.

CREATE VIEW withdrawal AS
WITH line AS (
    SELECT unnest(string_split(trim(content, chr(10)), chr(10))[2:]) AS text FROM withdrawal_file
),
cell AS (
    SELECT string_split(text, ',') AS cells FROM line
)
SELECT
    TRY_CAST(cells[1] AS DATE) AS "date",
    TRY_CAST(nullif(cells[2], '') AS DATE) AS finished,
    cells[3] AS corpora,
    TRY_CAST(cells[4] AS BIGINT) AS speakers,
    TRY_CAST(cells[5] AS BIGINT) AS utterances,
    TRY_CAST(cells[6] AS BIGINT) AS observations,
    TRY_CAST(cells[7] AS BIGINT) AS rejects,
    TRY_CAST(cells[11] AS BIGINT) AS tars,
    TRY_CAST(cells[14] AS BIGINT) AS scores,
    cells[16] AS checkpoints
FROM cell;
