-- From here to 49 a file runs once for each part of the house: some corpora, or a share of the people of a large one.
-- All that is said of an utterance lies in one part, so memory does not grow with the house.
-- This file: the part's rows, and each observation tied to the utterance, session or speaker it speaks about.

CREATE OR REPLACE TEMP MACRO in_part(speaker_id) AS
    getvariable('part_of') = 1 OR hash(speaker_id) % getvariable('part_of') = getvariable('part_number');

-- The numbers of utterances and sessions are the rowids of these tables, those of speakers are their own.
-- Recordings without a session are one session of their speaker.
CREATE OR REPLACE TEMP TABLE part_speaker AS
SELECT speaker_no, speaker_id, birth_year
FROM speaker_number
WHERE list_contains(getvariable('part_corpora'), corpus) AND in_part(speaker_id);

CREATE OR REPLACE TEMP TABLE part_session AS
SELECT s.speaker_no, u.speaker_id, u.session_id
FROM (
    SELECT DISTINCT speaker_id, coalesce(session_id, '') AS session_id
    FROM read_parquet(getvariable('part_utterance_files'))
    WHERE in_part(speaker_id)
) AS u
JOIN part_speaker AS s USING (speaker_id);

CREATE OR REPLACE TEMP TABLE part_utterance AS
SELECT
    s.speaker_no,
    s.rowid AS session_no,
    r.utt_id,
    r.speaker_id,
    CAST(r.corpus AS corpus_name) AS corpus,
    r.age,
    CAST(year(r.recorded_on) - p.birth_year AS DOUBLE) AS turned
FROM read_parquet(getvariable('part_utterance_files')) AS r
JOIN part_session AS s ON s.speaker_id = r.speaker_id AND s.session_id = coalesce(r.session_id, '')
JOIN part_speaker AS p ON p.speaker_no = s.speaker_no;

-- level 3: of an utterance; 2: of a session; 1: of a speaker. key: its number, null for an utterance
-- that is not there.
CREATE OR REPLACE TEMP TABLE spoken_of AS
WITH raw AS NOT MATERIALIZED (
    SELECT
        CAST(corpus AS corpus_name) AS corpus, speaker_id, session_id, utt_id, CAST(attribute AS attribute_name) AS attribute, value, value_num,
        CAST(instrument AS instrument_name) AS instrument, CAST(source AS source_name) AS source
    FROM read_parquet(getvariable('part_observation_files'))
    WHERE in_part(speaker_id)
)
SELECT CAST(3 AS TINYINT) AS level, u.rowid AS key, raw.corpus, attribute, value, value_num, instrument, source
FROM raw
LEFT JOIN part_utterance AS u ON u.utt_id = raw.utt_id AND u.speaker_id = raw.speaker_id
WHERE raw.utt_id IS NOT NULL
UNION ALL
SELECT 2, s.rowid, raw.corpus, attribute, value, value_num, instrument, source
FROM raw
JOIN part_session AS s ON s.speaker_id = raw.speaker_id AND s.session_id = raw.session_id
WHERE raw.utt_id IS NULL AND raw.session_id IS NOT NULL
UNION ALL
SELECT 1, p.speaker_no, raw.corpus, attribute, value, value_num, instrument, source
FROM raw
JOIN part_speaker AS p ON p.speaker_id = raw.speaker_id
WHERE raw.utt_id IS NULL AND raw.session_id IS NULL;

INSERT INTO finding
SELECT 'warn', corpus, 'observation of an unknown utterance', count(*), min(CAST(attribute AS VARCHAR))
FROM spoken_of
WHERE key IS NULL
GROUP BY corpus;
