-- What is wrong with the data, counted per corpus. Errors stop the training; warnings are shown; notes are good to know.
-- Examples quote words and numbers, never the id of a speaker.

-- Numbers that no instrument or range allows, in one pass over the observations.
INSERT INTO finding
WITH judged AS (
    SELECT
        o.corpus,
        o.attribute,
        o.value_num,
        o.instrument,
        CASE
            WHEN a.kind = 'number' AND (isnan(o.value_num) OR NOT o.value_num BETWEEN a.low AND a.high)
                THEN 'number outside the allowed range'
            WHEN a.kind IN ('state', 'scale') AND m.scale IS NULL THEN 'number without a known instrument'
            WHEN a.kind IN ('state', 'scale') AND (isnan(o.value_num) OR NOT o.value_num BETWEEN m.low AND m.high)
                THEN 'score out of range'
        END AS finding
    FROM observation AS o
    JOIN (SELECT CAST(attribute AS attribute_name) AS attribute, kind, low, high FROM attribute) AS a
        ON a.attribute = o.attribute
    LEFT JOIN measured_by AS m ON m.attribute = o.attribute AND m.instrument IS NOT DISTINCT FROM o.instrument
    WHERE o.value_num IS NOT NULL
)
SELECT
    'warn', corpus, finding, count(*),
    min(CASE
        WHEN finding = 'number without a known instrument'
            THEN CAST(attribute AS VARCHAR) || ' by ' || coalesce(CAST(instrument AS VARCHAR), 'none')
        ELSE CAST(attribute AS VARCHAR) || ' = ' || value_num
    END)
FROM judged
WHERE finding IS NOT NULL
GROUP BY corpus, finding;

CREATE TEMP MACRO contradicted(code) AS CASE WHEN code & 4 = 4 THEN code END;
INSERT INTO finding
WITH counted AS (
    SELECT speaker_no, count_if(COLUMNS(* EXCLUDE (utt_id, speaker_no)) & 4 = 4) FROM resolved_state GROUP BY speaker_no
),
code AS (
    SELECT speaker_no, max(contradicted(COLUMNS(* EXCLUDE (utt_id, speaker_no))))
    FROM resolved_state
    GROUP BY speaker_no
)
SELECT
    'warn', s.corpus, 'stated state contradicts the score', CAST(sum(n.n) AS BIGINT),
    min(
        n.state || if(c.code & 3 = 2, ' present', ' absent') || ', scored '
        || coalesce(i.word, if(c.code & 3 = 2, 'absent', 'present'))
    )
FROM (UNPIVOT counted ON COLUMNS(* EXCLUDE (speaker_no)) INTO NAME state VALUE n) AS n
JOIN (UNPIVOT code ON COLUMNS(* EXCLUDE (speaker_no)) INTO NAME state VALUE code) AS c USING (speaker_no, state)
JOIN speaker_number AS s USING (speaker_no)
LEFT JOIN instrument AS i ON i.line = c.code >> 3
WHERE n.n > 0
GROUP BY s.corpus;

INSERT INTO finding
SELECT 'error', corpus, 'unknown sex word', n, raw FROM unknown_word WHERE domain = 'sex'
UNION ALL
SELECT 'error', corpus, 'unknown value of a state', w.n, w.domain || ' = ' || w.raw
FROM unknown_word AS w
JOIN attribute AS a ON a.attribute = w.domain AND a.kind = 'state'
UNION ALL
SELECT
    if(w.kept, 'note', 'warn'), corpus,
    CASE
        WHEN w.domain = 'age_range' THEN 'unknown age range'
        WHEN w.kept THEN 'word that no table knows, kept as it stands'
        ELSE 'word that no table knows, not used'
    END,
    w.n,
    w.domain || ' = ' || w.raw
FROM unknown_word AS w
WHERE w.domain <> 'sex' AND w.domain NOT IN (SELECT attribute FROM attribute WHERE kind = 'state')
UNION ALL
SELECT 'error', o.corpus, 'unknown attribute', count(*), CAST(o.attribute AS VARCHAR)
FROM observation AS o
WHERE o.attribute IS NULL OR CAST(o.attribute AS VARCHAR) NOT IN (SELECT attribute FROM attribute)
GROUP BY o.corpus, o.attribute
UNION ALL
SELECT 'warn', s.corpus, 'scale without a number', s.n, s.attribute || ' = ' || s.value
FROM stated AS s
JOIN attribute AS a ON a.attribute = s.attribute AND a.kind = 'scale'
UNION ALL
SELECT 'error', any_value(s.corpus), 'person in two splits', 1, NULL
FROM person_split AS p
JOIN speaker AS s USING (person_id)
GROUP BY p.person_id
HAVING count(DISTINCT p.split) > 1
UNION ALL
SELECT 'warn', CAST(corpus AS VARCHAR), 'age outside 0..110', count(*), min(CAST(age AS VARCHAR))
FROM utterance
WHERE NOT age BETWEEN 0 AND 110
GROUP BY corpus
UNION ALL
SELECT
    'warn', CAST(u.corpus AS VARCHAR), 'age contradicts the birth year', count(*),
    min('age ' || u.age || ', born ' || s.birth_year || ', recorded ' || year(u.recorded_on))
FROM utterance AS u
JOIN speaker AS s ON s.speaker_id = u.speaker_id
WHERE u.age IS NOT NULL AND s.birth_year IS NOT NULL
    AND floor(u.age) NOT BETWEEN year(u.recorded_on) - s.birth_year - 1 AND year(u.recorded_on) - s.birth_year
GROUP BY u.corpus
UNION ALL
SELECT 'warn', CAST(corpus AS VARCHAR), 'language is not a BCP-47 tag', sum(n), min(language)
FROM (SELECT corpus, language, count(*) AS n FROM utterance GROUP BY ALL)
WHERE NOT regexp_full_match(language, '[a-z]{2,3}(-[a-z0-9]{2,8})*')
GROUP BY corpus
UNION ALL
SELECT 'warn', any_value(corpus), 'person of two sexes', 1, string_agg(DISTINCT sex, ' and ' ORDER BY sex)
FROM speaker
GROUP BY person_id
HAVING count(DISTINCT sex) > 1
UNION ALL
SELECT 'warn', any_value(corpus), 'person of two birth years', 1, NULL
FROM speaker
GROUP BY person_id
HAVING max(birth_year) - min(birth_year) > 1
UNION ALL
SELECT 'note', corpora, 'person also in another corpus', count(*), NULL
FROM (
    SELECT string_agg(DISTINCT corpus, ', ' ORDER BY corpus) AS corpora
    FROM speaker
    GROUP BY person_id
    HAVING count(DISTINCT corpus) > 1
)
GROUP BY corpora
UNION ALL
SELECT 'warn', s.corpus, 'speaker without an utterance', count(*), NULL
FROM speaker AS s
ANTI JOIN utterance AS u ON u.speaker_id = s.speaker_id
GROUP BY s.corpus
UNION ALL
SELECT
    'warn', corpus, 'official split cannot be used, so a hash splits the corpus', count(*),
    CASE
        WHEN NOT list_contains(list(official_split), 'test') THEN 'it has no test'
        WHEN NOT list_contains(list(official_split), 'train') THEN 'it has no train'
        ELSE 'it has a person on two sides'
    END
FROM candidate
WHERE official_splits AND official_split IS NOT NULL AND NOT list_contains(getvariable('official_corpora'), corpus)
GROUP BY corpus
UNION ALL
SELECT
    'warn', any_value(k.corpus), 'official split not followed', 1, any_value(k.official_split || ' placed in ' || p.split)
FROM candidate AS k
JOIN person_split AS p ON p.person_id = k.person_id
WHERE list_contains(getvariable('official_corpora'), k.corpus) AND k.official_split <> p.split
GROUP BY k.corpus, k.person_id, k.official_split;

-- Sex codes against voices. Adult men speak around 110 Hz and women around 210 Hz (Baken & Orlikoff 2000, Clinical
-- Measurement of Speech and Voice), so the medians of at least five speakers a code tell a swapped table; a single
-- voice tells nothing. Children are left out. The voices are a sample, see pipelines/pitch.py.
CREATE TABLE voice_sample AS
SELECT corpus, speaker_id, utt_id, f0_hz, voiced_s
FROM voice_sample_file
ORDER BY ALL;

INSERT INTO finding
WITH voice AS (
    SELECT p.corpus, p.speaker_id, s.sex, median(p.f0_hz) AS f0
    FROM voice_sample AS p
    JOIN speaker AS s USING (speaker_id)
    LEFT JOIN resolved_value AS v USING (utt_id)
    WHERE s.sex IN ('female', 'male') AND coalesce(v.age_low, 18) >= 16
    GROUP BY ALL
),
code AS (
    SELECT
        corpus,
        median(f0) FILTER (sex = 'female') AS female,
        median(f0) FILTER (sex = 'male') AS male,
        count(*) FILTER (sex = 'female') AS women,
        count(*) FILTER (sex = 'male') AS men
    FROM voice
    GROUP BY corpus
)
SELECT
    if(women >= 5 AND men >= 5 AND male > female, 'error', 'warn'),
    corpus,
    'median F0 contradicts the sex code',
    women + men,
    'women ' || coalesce(CAST(round(female) AS VARCHAR), '-') || ' Hz, men '
        || coalesce(CAST(round(male) AS VARCHAR), '-') || ' Hz'
FROM code
WHERE (women >= 5 AND men >= 5 AND male > female) OR (women >= 5 AND female < 145) OR (men >= 5 AND male > 180);

CREATE TABLE quality_of_tables AS
SELECT severity, corpus, finding, CAST(sum(n) AS BIGINT) AS n, min(example) AS example
FROM finding
GROUP BY severity, corpus, finding
ORDER BY severity, corpus, finding;

-- Sharding hears the audio after this database is built, so its findings are read from their file anew each time.
-- audio_finding_file (the file as text) is made by pipelines/warehouse.py, which knows where it is.
CREATE VIEW quality AS
FROM quality_of_tables
UNION ALL
SELECT row.severity, row.corpus, row.finding, row.n, row.example
FROM (
    SELECT unnest(from_json(
        content,
        '[{"severity": "VARCHAR", "corpus": "VARCHAR", "finding": "VARCHAR", "n": "BIGINT", "example": "VARCHAR"}]'
    )) AS row
    FROM audio_finding_file
    WHERE json_valid(content)
);
