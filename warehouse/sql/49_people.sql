-- What pipelines/split.py needs to place a person: one row a person, corpus and official split. The main label of a
-- corpus is sex, a state or a category.

CREATE TEMP TABLE labelled AS
WITH state AS (
    SELECT speaker_no, max(COLUMNS(* EXCLUDE (utt_id, speaker_no)) & 3) FROM resolved_state GROUP BY speaker_no
),
category AS (
    SELECT speaker_no, CAST(max(COLUMNS(* EXCLUDE (utt_id, speaker_no, age_low, age_high))) AS VARCHAR)
    FROM resolved_value
    GROUP BY speaker_no
)
SELECT speaker_no, label, if(value = 2, 'present', 'absent') AS value
FROM (UNPIVOT state ON COLUMNS(* EXCLUDE (speaker_no)) INTO NAME label VALUE value)
WHERE value <> 0
UNION ALL
SELECT speaker_no, label, value
FROM (UNPIVOT category ON COLUMNS(* EXCLUDE (speaker_no)) INTO NAME label VALUE value);

CREATE TEMP TABLE candidate AS
WITH side AS (
    SELECT DISTINCT speaker_id, official_split FROM utterance
),
aged AS (
    SELECT speaker_no, avg((age_low + age_high) / 2) AS age FROM resolved_value GROUP BY speaker_no
)
SELECT
    s.person_id,
    s.corpus,
    c.official_splits,
    side.official_split,
    max(if(c.label = 'sex', s.sex, l.value)) AS label,
    max(s.sex) AS sex,
    avg(a.age) AS age
FROM speaker_number AS s
JOIN side ON side.speaker_id = s.speaker_id
JOIN corpus AS c ON c.corpus = s.corpus
LEFT JOIN labelled AS l ON l.speaker_no = s.speaker_no AND l.label = c.label
LEFT JOIN aged AS a ON a.speaker_no = s.speaker_no
GROUP BY s.person_id, s.corpus, c.official_splits, side.official_split;
