-- What the owners' words and instruments mean, looked up once for each that occurs. Everything after this joins whole
-- rows to these small tables and never folds a word again.

CREATE TEMP TABLE stated AS
SELECT corpus, attribute, value, count(*) AS n
FROM read_parquet(getvariable('observation_files'))
WHERE value IS NOT NULL AND attribute NOT IN (SELECT attribute FROM attribute WHERE kind = 'text')
GROUP BY ALL;

CREATE TEMP TABLE observed_by AS
SELECT DISTINCT attribute, instrument, source
FROM read_parquet(getvariable('observation_files'));

-- Columns of few words are stored as enumerations: a query writes them as text, and they are quicker to copy.
CREATE TYPE corpus_name AS ENUM (SELECT corpus FROM corpus ORDER BY corpus);
CREATE TYPE attribute_name AS ENUM (
    SELECT attribute FROM attribute
    UNION SELECT attribute FROM observed_by WHERE attribute IS NOT NULL
    ORDER BY attribute
);
CREATE TYPE instrument_name AS ENUM (
    SELECT instrument FROM instrument
    UNION SELECT instrument FROM observed_by WHERE instrument IS NOT NULL
    ORDER BY instrument
);
CREATE TYPE source_name AS ENUM (
    SELECT source FROM (VALUES ('owner')) AS known(source)
    UNION SELECT source FROM observed_by WHERE source IS NOT NULL
    ORDER BY source
);

-- A stated word: a row of words.csv in the attribute's own domain; for a state, else one in the domain "state".
CREATE TEMP TABLE meaning AS
WITH said AS (
    SELECT DISTINCT s.attribute, a.kind, a.allowed, s.value, fold(s.value) AS folded
    FROM stated AS s
    JOIN attribute AS a ON a.attribute = s.attribute AND a.kind IN ('state', 'category')
),
looked_up AS (
    SELECT
        s.attribute,
        s.kind,
        s.value,
        s.folded,
        own.raw IS NOT NULL OR common.raw IS NOT NULL OR s.folded IS NULL AS known,
        CASE WHEN own.raw IS NOT NULL THEN own.canonical ELSE common.canonical END AS canonical,
        -- a category without a list of allowed values keeps a word that no table knows, as it stands
        s.kind = 'category' AND s.allowed IS NULL AND s.attribute <> 'age_range' AS open,
        CASE
            WHEN s.kind = 'category' AND list_contains(string_split(s.allowed, '|'), s.folded) THEN s.folded
            WHEN s.attribute = 'age_range'
                THEN regexp_replace(regexp_extract(s.folded, '^[0-9]+ ?[-–] ?[0-9]+$'), ' ?[-–] ?', '-')
        END AS plain
    FROM said AS s
    LEFT JOIN word AS own ON own.domain = s.attribute AND own.raw = s.folded
    LEFT JOIN word AS common ON common.domain = 'state' AND s.kind = 'state' AND common.raw = s.folded
)
SELECT
    attribute,
    kind,
    value,
    folded,
    known OR coalesce(plain, '') <> '' AS known,
    open AND NOT known AS kept,
    CASE WHEN known THEN canonical WHEN coalesce(plain, '') <> '' THEN plain WHEN open THEN folded END AS meaning
FROM looked_up;

CREATE TYPE category_word AS ENUM (
    SELECT meaning FROM meaning WHERE kind = 'category' AND meaning IS NOT NULL
    UNION SELECT 'unknown' -- an enumeration needs a member
    ORDER BY meaning
);

CREATE TEMP TABLE state_meaning AS
SELECT CAST(attribute AS attribute_name) AS attribute, CAST(attribute AS state_name) AS state, value,
    CASE meaning WHEN 'present' THEN 1 WHEN 'absent' THEN -1 END AS vote
FROM meaning
WHERE kind = 'state' AND meaning IN ('present', 'absent');

CREATE TEMP TABLE category_meaning AS
SELECT CAST(attribute AS attribute_name) AS attribute, CAST(attribute AS category_name) AS category, value,
    CAST(meaning AS category_word) AS word
FROM meaning
WHERE kind = 'category' AND meaning IS NOT NULL;

-- Which instrument a number was read on. A scale's own attribute names its instrument; a rating
-- (voice_roughness = 2) means nothing without one.
CREATE TEMP TABLE measured_by AS
SELECT
    CAST(o.attribute AS attribute_name) AS attribute,
    CAST(o.instrument AS instrument_name) AS instrument,
    s.scale,
    s.low,
    s.high
FROM (SELECT DISTINCT attribute, instrument FROM observed_by) AS o
JOIN attribute AS a ON a.attribute = o.attribute
JOIN scale AS s
    ON s.measures = o.attribute
    AND (fold(s.instrument) = fold(o.instrument) OR (fold(o.instrument) IS NULL AND a.kind = 'scale'));

-- The bands of the instruments. state: what the band says of its target (1 absent, 2 present). word: the number of the
-- band, and in bit 10 whether it is its scale's lowest, whose word never stands beside a stated "present".
CREATE TEMP TABLE band AS
SELECT
    preference AS scale,
    CAST(target AS state_name) AS target,
    low,
    high,
    high_included,
    CASE state WHEN 'present' THEN 2 WHEN 'absent' THEN 1 ELSE 0 END AS state,
    line | (CASE WHEN word IN ('none', 'minimal', 'normal') THEN 1 ELSE 0 END << 10) AS word
FROM instrument
WHERE target IS NOT NULL;

-- Four authorities say whether a state is present: 0 clinicians and owners, 1 scores (bands), 2 people about
-- themselves, raters and an owner's cut of a scale, 3 models and actors.
CREATE TEMP TABLE authority AS
SELECT
    CAST(source AS source_name) AS source,
    CAST(CASE WHEN source IN ('clinician', 'owner', 'group') THEN 0 WHEN source IN ('model', 'acted') THEN 3 ELSE 2 END
         AS TINYINT) AS authority
FROM (SELECT DISTINCT source FROM observed_by WHERE source IS NOT NULL);

-- Words that no table knows, for a person to decide: add a row to warehouse/vocabulary/words.csv, or leave them.
CREATE TABLE unknown_word AS
SELECT s.corpus, s.attribute AS domain, m.folded AS raw, CAST(sum(s.n) AS BIGINT) AS n, any_value(m.kept) AS kept
FROM stated AS s
JOIN meaning AS m ON m.attribute = s.attribute AND m.value = s.value AND NOT m.known
GROUP BY ALL
UNION ALL
SELECT s.corpus, 'sex', fold(s.sex_word), count(*), false
FROM speaker AS s
WHERE fold(s.sex_word) IS NOT NULL AND fold(s.sex_word) NOT IN (SELECT raw FROM word WHERE domain = 'sex')
GROUP BY ALL
UNION ALL
SELECT s.corpus, 'country', s.country, count(*), true
FROM speaker AS s
WHERE NOT regexp_full_match(s.country, '[A-Z]{2}')
GROUP BY ALL
UNION ALL
SELECT corpus, 'language', tag, CAST(sum(n) AS BIGINT), true
FROM (
    SELECT corpus, native_language AS tag, count(*) AS n FROM speaker GROUP BY ALL
    UNION ALL
    SELECT s.corpus, m.tag, s.n FROM language_seen AS s JOIN language_meaning AS m USING (language)
)
WHERE NOT regexp_full_match(tag, '[a-z]{2,3}(-[a-z0-9]{2,8})*')
GROUP BY ALL
ORDER BY ALL;

-- Findings that only the rows of a part can tell; 70_quality.sql adds the others.
CREATE TEMP TABLE finding (severity VARCHAR, corpus VARCHAR, finding VARCHAR, n BIGINT, example VARCHAR);

-- What the parts fill: a column for each state, and one for each category and scale.
CREATE TABLE resolved_state AS
SELECT * FROM (
    PIVOT (
        SELECT
            CAST(NULL AS VARCHAR) AS utt_id, CAST(NULL AS INTEGER) AS speaker_no,
            CAST(NULL AS state_name) AS state, CAST(NULL AS SMALLINT) AS code
    )
    ON state IN state_name USING max(code) GROUP BY utt_id, speaker_no
)
LIMIT 0;

CREATE TABLE resolved_value AS
SELECT * EXCLUDE (one)
FROM (
    PIVOT (
        SELECT
            CAST(NULL AS VARCHAR) AS utt_id, CAST(NULL AS INTEGER) AS speaker_no,
            CAST(NULL AS DOUBLE) AS age_low, CAST(NULL AS DOUBLE) AS age_high,
            CAST(NULL AS category_name) AS category, CAST(NULL AS category_word) AS word
    )
    ON category IN category_name USING max(word) GROUP BY utt_id, speaker_no, age_low, age_high
) POSITIONAL JOIN (
    PIVOT (SELECT 1 AS one, CAST(NULL AS scale_name) AS attribute, CAST(NULL AS DOUBLE) AS value)
    ON attribute IN scale_name USING max(value) GROUP BY one
)
LIMIT 0;
