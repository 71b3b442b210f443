-- What the observations of a part come to, one row an utterance. The most specific level wins (utterance, then session,
-- then speaker); several raters of one level are averaged, or vote; an even vote says nothing.
--
-- A state is resolved in bits: 1 absent, 2 present, in a field of two bits for each authority and level, the one that
-- counts most at the bottom, so that the lowest bit that is set decides. Above these 24 bits stand the bands of the
-- three levels, 11 bits each. Pivots make columns of the attributes that occur in the part; the row of level 0 makes
-- one column where none does.

CREATE OR REPLACE TEMP MACRO field(authority, level) AS 2 * (3 * authority + 3 - level);
CREATE OR REPLACE TEMP MACRO band_field(level) AS 24 + 11 * (3 - level);

-- Numbers inside the range of the instrument that measured them.
CREATE OR REPLACE TEMP TABLE averaged AS
SELECT o.level, o.key, o.attribute, m.scale, avg(o.value_num) AS value
FROM spoken_of AS o
JOIN measured_by AS m ON m.attribute = o.attribute AND m.instrument IS NOT DISTINCT FROM o.instrument
WHERE o.value_num BETWEEN m.low AND m.high AND o.key IS NOT NULL
GROUP BY ALL;

-- States in words: what each authority of a level says after its vote.
CREATE OR REPLACE TEMP TABLE voted AS
SELECT
    o.level,
    o.key,
    m.state,
    a.authority,
    CAST(CASE sign(sum(m.vote)) WHEN 1 THEN 2 WHEN -1 THEN 1 ELSE 0 END AS BIGINT) AS verdict
FROM spoken_of AS o
JOIN state_meaning AS m ON m.attribute = o.attribute AND m.value = o.value
JOIN authority AS a ON a.source = o.source
WHERE o.value IS NOT NULL AND o.key IS NOT NULL
GROUP BY ALL;

-- States that follow from a score, with the number of the band: "PHQ-9 = 14" is depression present, moderate. Only
-- where two scales of the part speak of one state is there something to choose: the one listed first counts.
CREATE OR REPLACE TEMP TABLE contested AS
SELECT target
FROM band
WHERE scale IN (SELECT DISTINCT scale FROM averaged)
GROUP BY target
HAVING count(DISTINCT scale) > 1;

CREATE OR REPLACE TEMP TABLE banded AS
WITH read_off AS NOT MATERIALIZED (
    SELECT
        v.level,
        v.key,
        b.target AS state,
        b.scale,
        (CAST(b.state AS BIGINT) << field(1, v.level)) | (CAST(b.word AS BIGINT) << band_field(v.level)) AS code
    FROM averaged AS v
    JOIN band AS b
        ON b.scale = v.scale AND v.value >= b.low AND (v.value < b.high OR (b.high_included AND v.value = b.high))
)
SELECT level, key, state, code FROM read_off WHERE state NOT IN (SELECT target FROM contested)
UNION ALL
SELECT level, key, state, arg_min(code, scale)
FROM read_off
WHERE state IN (SELECT target FROM contested)
GROUP BY level, key, state;

CREATE OR REPLACE TEMP TABLE state_of_level AS
PIVOT (
    SELECT level, key, state, verdict << field(authority, level) AS code FROM voted
    UNION ALL
    SELECT level, key, state, code FROM banded
    UNION ALL
    SELECT 0, 0, CAST('healthy' AS state_name), 0
)
ON state
USING bit_or(code)
GROUP BY level, key;

CREATE OR REPLACE TEMP TABLE state_of_session AS
SELECT session_no, bit_or(COLUMNS(* EXCLUDE (session_no)))
FROM (
    SELECT key AS session_no, * EXCLUDE (level, key) FROM state_of_level WHERE level = 2
    UNION ALL
    SELECT t.rowid, s.* EXCLUDE (level, key)
    FROM part_session AS t JOIN state_of_level AS s ON s.level = 1 AND s.key = t.speaker_no
)
GROUP BY session_no;

CREATE OR REPLACE TEMP TABLE state_of_utterance AS
SELECT u, bit_or(COLUMNS(* EXCLUDE (u)))
FROM (
    SELECT key AS u, * EXCLUDE (level, key) FROM state_of_level WHERE level = 3
    UNION ALL
    SELECT t.rowid, s.* EXCLUDE (session_no) FROM part_utterance AS t JOIN state_of_session AS s USING (session_no)
)
GROUP BY u;

-- The state that the lowest bit says; 5592405 is 01 in each of the twelve fields.
CREATE OR REPLACE TEMP MACRO decided(bits) AS
    CAST((bits & -bits & 5592405) <> 0 AS BIGINT) + 2 * CAST((bits & -bits & 11184810) <> 0 AS BIGINT);

-- Bits 0 and 1: the state; bits 2 and 3: what the score says (the fields of authority 1 are bits 6 to 11); from bit 4
-- the band of the most specific level that has one.
CREATE OR REPLACE TEMP MACRO with_score(code) AS
    decided(code & 16777215)
    | (decided(code & 4032) << 2)
    | (CASE
        WHEN (code >> 24) & 2047 <> 0 THEN (code >> 24) & 2047
        WHEN (code >> 35) & 2047 <> 0 THEN (code >> 35) & 2047
        ELSE code >> 46
    END << 4);

-- A severity word stands only where it does not contradict the state: a stated "absent" beside a score above the
-- cut-off, or a stated "present" beside the lowest band, keeps the state and drops the word. Bits 0 and 1: the state;
-- bit 2: the score says the opposite; from bit 3: the band whose word stands, the number of a row of instruments.csv.
CREATE OR REPLACE TEMP MACRO sum_up(code) AS
    CAST(
        nullif(
            (code & 3)
            | (CAST(((code | (code >> 2)) & 3) = 3 AS BIGINT) << 2)
            | (CASE WHEN code & 15 = 9 OR (code & 3 = 2 AND (code >> 14) & 1 = 1) THEN 0 ELSE ((code >> 4) & 1023) << 3 END),
            0
        ) AS SMALLINT
    );

INSERT INTO resolved_state BY NAME
SELECT utt_id, speaker_no, sum_up(COLUMNS(* EXCLUDE (utt_id, speaker_no)))
FROM (
    SELECT t.utt_id, t.speaker_no, with_score(COLUMNS(s.* EXCLUDE (u)))
    FROM part_utterance AS t
    JOIN state_of_utterance AS s ON s.u = t.rowid
);

-- Categories: of several words of one level the one of the highest authority (who acts an emotion knows it), then the
-- most frequent, then the first in the alphabet.
CREATE OR REPLACE TEMP TABLE category_of_level AS
PIVOT (
    SELECT level, key, category, arg_min(word, (authority, -n, word)) AS word
    FROM (
        SELECT
            o.level, o.key, m.category, m.word, if(o.source = 'acted', 0, a.authority) AS authority, count(*) AS n
        FROM spoken_of AS o
        JOIN category_meaning AS m ON m.attribute = o.attribute AND m.value = o.value
        JOIN authority AS a ON a.source = o.source
        WHERE o.value IS NOT NULL AND o.key IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY level, key, category
    UNION ALL
    SELECT 0, 0, CAST('age_range' AS category_name), NULL
)
ON category
USING first(word)
GROUP BY level, key;

CREATE OR REPLACE TEMP TABLE scale_of_level AS
PIVOT (
    SELECT v.level, v.key, c.attribute, arg_min(v.value, v.scale) AS value
    FROM averaged AS v
    JOIN scale_column AS c USING (scale)
    GROUP BY ALL
    UNION ALL
    SELECT 0, 0, CAST('phq9' AS scale_name), NULL
)
ON attribute
USING first(value)
GROUP BY level, key;

CREATE OR REPLACE TEMP TABLE value_of_level AS
SELECT * FROM category_of_level FULL JOIN scale_of_level USING (level, key);

CREATE OR REPLACE TEMP TABLE value_of_session AS
SELECT session_no, arg_max(COLUMNS(* EXCLUDE (session_no, level)), level)
FROM (
    SELECT key AS session_no, * EXCLUDE (key) FROM value_of_level WHERE level = 2
    UNION ALL
    SELECT t.rowid, v.* EXCLUDE (key)
    FROM part_session AS t JOIN value_of_level AS v ON v.level = 1 AND v.key = t.speaker_no
)
GROUP BY session_no;

CREATE OR REPLACE TEMP TABLE value_of_utterance AS
SELECT u, arg_max(COLUMNS(* EXCLUDE (u, level)), level)
FROM (
    SELECT key AS u, * EXCLUDE (key) FROM value_of_level WHERE level = 3
    UNION ALL
    SELECT t.rowid, 0, v.* EXCLUDE (session_no) FROM part_utterance AS t JOIN value_of_session AS v USING (session_no)
)
GROUP BY u;

-- Age at the recording as bounds in years: an exact age gives both equal, a birth year with the year of the recording
-- gives one year of room, an age range gives the owner's bounds. The first of the three that is known.
INSERT INTO resolved_value BY NAME
WITH bound AS (
    SELECT
        word,
        TRY_CAST(split_part(CAST(word AS VARCHAR), '-', 1) AS DOUBLE) AS low,
        TRY_CAST(split_part(CAST(word AS VARCHAR), '-', 2) AS DOUBLE) AS high
    FROM (SELECT DISTINCT word FROM category_meaning WHERE category = 'age_range')
),
known AS (
    SELECT
        t.rowid AS u,
        t.utt_id,
        t.speaker_no,
        if(t.age BETWEEN 0 AND 110, t.age, NULL) AS exact,
        if(t.turned BETWEEN 1 AND 110, t.turned, NULL) AS turned
    FROM part_utterance AS t
)
SELECT
    k.utt_id,
    k.speaker_no,
    coalesce(k.exact, k.turned - 1, b.low) AS age_low,
    coalesce(k.exact, k.turned, b.high) AS age_high,
    v.* EXCLUDE (u)
FROM known AS k
LEFT JOIN value_of_utterance AS v USING (u)
LEFT JOIN bound AS b ON b.word = v.age_range AND b.low <= b.high AND b.high <= 110;

INSERT INTO finding
WITH held AS (
    SELECT 3 AS level, rowid AS key, corpus FROM part_utterance
    UNION ALL SELECT 2, session_no, any_value(corpus) FROM part_utterance GROUP BY session_no
    UNION ALL SELECT 1, speaker_no, any_value(corpus) FROM part_utterance GROUP BY speaker_no
)
SELECT 'warn', held.corpus, 'raters disagree evenly', count(*), min(CAST(v.state AS VARCHAR))
FROM (SELECT level, key, state FROM voted WHERE verdict = 0) AS v
JOIN held USING (level, key)
GROUP BY held.corpus;
