-- Which observations speak about which utterance, and what they come to.
-- The most specific level wins (utterance, then session, then speaker); several raters are averaged.

CREATE TEMP TABLE reading AS
WITH spread AS (
    SELECT u.utt_id, 3 AS level, o.*
    FROM (SELECT * RENAME (utt_id AS of_utterance) FROM observation WHERE utt_id IS NOT NULL) AS o
    JOIN utterance AS u ON u.utt_id = o.of_utterance AND u.speaker_id = o.speaker_id
    UNION ALL BY NAME
    SELECT u.utt_id, 2 AS level, o.*
    FROM (SELECT * RENAME (utt_id AS of_utterance) FROM observation
          WHERE utt_id IS NULL AND session_id IS NOT NULL) AS o
    JOIN utterance AS u ON u.speaker_id = o.speaker_id AND u.session_id = o.session_id
    UNION ALL BY NAME
    SELECT u.utt_id, 1 AS level, o.*
    FROM (SELECT * RENAME (utt_id AS of_utterance) FROM observation
          WHERE utt_id IS NULL AND session_id IS NULL) AS o
    JOIN utterance AS u ON u.speaker_id = o.speaker_id
)
SELECT
    s.utt_id,
    s.corpus,
    s.level,
    s.attribute,
    a.kind,
    fold(s.value) AS value,
    s.value_num,
    s.instrument,
    s.source
FROM spread AS s
JOIN attribute AS a ON a.attribute = s.attribute;

-- Numbers that lie inside the range of the instrument that measured them. A scale's own attribute names its
-- instrument; a rating (voice_roughness = 2) means nothing without one.
CREATE TEMP TABLE scale AS
SELECT instrument, measures, min(low) AS low, max(high) AS high, min(preference) AS preference
FROM instrument
GROUP BY instrument, measures;

CREATE TABLE measurement AS
WITH valid AS (
    SELECT r.utt_id, r.attribute, r.level, s.instrument, s.preference, r.value_num
    FROM reading AS r
    JOIN scale AS s
        ON s.measures = r.attribute
        AND (fold(s.instrument) = fold(r.instrument) OR (fold(r.instrument) IS NULL AND r.kind = 'scale'))
    WHERE r.value_num BETWEEN s.low AND s.high
),
averaged AS (
    SELECT utt_id, attribute, instrument, level, preference, avg(value_num) AS value
    FROM valid
    GROUP BY ALL
)
SELECT utt_id, attribute, instrument, level, value
FROM averaged
QUALIFY row_number() OVER (PARTITION BY utt_id, attribute ORDER BY level DESC, preference) = 1
ORDER BY utt_id, attribute;

-- States in words. authority: 1 clinicians and owners, 2 (below) scores, 3 people about themselves, raters and
-- an owner's cut of a scale, 4 models and actors. Raters of one level vote; an even vote says nothing.
CREATE TEMP TABLE vote AS
WITH stated AS (
    SELECT
        utt_id,
        corpus,
        attribute,
        level,
        value,
        CASE
            WHEN source IN ('clinician', 'owner', 'group') THEN 1
            WHEN source IN ('model', 'acted') THEN 4
            ELSE 3
        END AS authority
    FROM reading
    WHERE kind = 'state' AND value IN ('present', 'absent')
)
SELECT
    utt_id,
    any_value(corpus) AS corpus,
    attribute,
    authority,
    level,
    count(*) FILTER (value = 'present') AS present,
    count(*) FILTER (value = 'absent') AS absent
FROM stated
GROUP BY utt_id, attribute, authority, level
QUALIFY level = max(level) OVER (PARTITION BY utt_id, attribute, authority);

-- States that follow from a score, and the band's word: "PHQ-9 = 14" is depression present, moderate.
CREATE TEMP TABLE banded AS
SELECT m.utt_id, i.target AS attribute, i.state, i.word
FROM measurement AS m
JOIN instrument AS i
    ON i.instrument = m.instrument
    AND i.measures = m.attribute
    AND m.value >= i.low
    AND (m.value < i.high OR (i.high_included AND m.value = i.high))
WHERE i.target IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY m.utt_id, i.target ORDER BY m.level DESC, i.preference) = 1;

CREATE TEMP TABLE state AS
WITH candidate AS (
    SELECT utt_id, attribute, authority, if(present > absent, 'present', 'absent') AS value
    FROM vote
    WHERE present <> absent
    UNION ALL
    SELECT utt_id, attribute, 2 AS authority, state AS value
    FROM banded
    WHERE state IS NOT NULL
)
SELECT utt_id, attribute, authority, value
FROM candidate
QUALIFY row_number() OVER (PARTITION BY utt_id, attribute ORDER BY authority) = 1;
