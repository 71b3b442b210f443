-- The utterances and observations as ingest left them, whole: what follows in parts reads the files again, for copying
-- in one go leaves fewer half-filled row groups than copying in parts.

CREATE TABLE utterance AS
SELECT r.* REPLACE (CAST(r.corpus AS corpus_name) AS corpus, m.tag AS language)
FROM read_parquet(getvariable('utterance_files')) AS r
LEFT JOIN language_meaning AS m ON m.language = r.language;

CREATE TABLE observation AS
SELECT
    r.* REPLACE (
        CAST(r.corpus AS corpus_name) AS corpus,
        CAST(r.attribute AS attribute_name) AS attribute,
        CAST(r.instrument AS instrument_name) AS instrument,
        CAST(r.source AS source_name) AS source
    )
FROM read_parquet(getvariable('observation_files')) AS r;
