-- The canonical facts, one row each. Unknown is the absence of a row.

CREATE TABLE fact AS
WITH spoken AS (
    SELECT u.utt_id, s.sex, u.language
    FROM utterance AS u
    JOIN speaker AS s ON s.speaker_id = u.speaker_id
),
accented AS (
    SELECT r.utt_id, r.level, if(w.raw IS NULL, r.value, w.canonical) AS value
    FROM reading AS r
    LEFT JOIN word AS w ON w.domain = 'accent' AND w.raw = r.value
    WHERE r.attribute = 'accent'
),
accent AS (
    SELECT utt_id, value
    FROM accented
    WHERE value IS NOT NULL
    GROUP BY utt_id, level, value
    QUALIFY row_number() OVER (PARTITION BY utt_id ORDER BY level DESC, count(*) DESC, value) = 1
)
SELECT utt_id, 'sex' AS attribute, sex AS value FROM spoken WHERE sex IS NOT NULL
UNION ALL
SELECT utt_id, 'language', language FROM spoken WHERE language IS NOT NULL
UNION ALL
SELECT utt_id, 'age', bucket
FROM (
    SELECT
        utt_id,
        -- ages of 16 and 17, and ranges across a bound, are in no bucket
        CASE
            WHEN age_high < 16 THEN 'child'
            WHEN age_low >= 18 AND age_high < 35 THEN 'young'
            WHEN age_low >= 35 AND age_high < 60 THEN 'middle-aged'
            WHEN age_low >= 60 THEN 'older'
        END AS bucket
    FROM age
)
WHERE bucket IS NOT NULL
UNION ALL
SELECT utt_id, 'accent', value FROM accent
UNION ALL
SELECT utt_id, attribute, value FROM state
UNION ALL
-- A severity word stands only where it does not contradict the state: a stated "absent" beside a score above
-- the cut-off, or a stated "present" beside the lowest band, keeps the state and drops the word.
SELECT b.utt_id, b.attribute || '_severity', b.word
FROM banded AS b
LEFT JOIN state AS s ON s.utt_id = b.utt_id AND s.attribute = b.attribute
WHERE b.word IS NOT NULL
    AND NOT coalesce(s.value = 'absent' AND b.state = 'present', false)
    AND NOT coalesce(s.value = 'present' AND b.word IN ('none', 'minimal', 'normal'), false)
ORDER BY utt_id, attribute;

-- What pipelines/split.py needs to place a person: one row a person, corpus and official split.
CREATE TEMP VIEW candidate AS
SELECT
    s.person_id,
    u.corpus,
    c.official_splits,
    u.official_split,
    max(f.value) AS label,
    max(s.sex) AS sex,
    avg((a.age_low + a.age_high) / 2) AS age
FROM utterance AS u
JOIN speaker AS s ON s.speaker_id = u.speaker_id
JOIN corpus AS c ON c.corpus = u.corpus
LEFT JOIN fact AS f ON f.utt_id = u.utt_id AND f.attribute = c.label
LEFT JOIN age AS a ON a.utt_id = u.utt_id
GROUP BY s.person_id, u.corpus, c.official_splits, u.official_split;
