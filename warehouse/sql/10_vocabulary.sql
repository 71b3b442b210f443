-- The vocabulary: attributes, instruments with their bands, and the words that owners use.
-- Edit the CSV files in warehouse/vocabulary/, never these tables.

-- How words are compared: stripped, blanks collapsed, lower case; empty is nothing.
CREATE OR REPLACE TEMP MACRO fold(raw) AS nullif(lower(trim(regexp_replace(raw, '\s+', ' ', 'g'))), '');

CREATE TABLE attribute AS
SELECT
    attribute,
    family,
    kind,
    unit,
    allowed,
    CAST(nullif(regexp_extract(allowed, '^(-?[0-9.]+)\.\.(-?[0-9.]+)$', 1), '') AS DOUBLE) AS low,
    CAST(nullif(regexp_extract(allowed, '^(-?[0-9.]+)\.\.(-?[0-9.]+)$', 2), '') AS DOUBLE) AS high,
    sentence
FROM read_csv(
    getvariable('attributes_csv'),
    header = true,
    columns = {
        'attribute': 'VARCHAR', 'family': 'VARCHAR', 'kind': 'VARCHAR', 'unit': 'VARCHAR',
        'allowed': 'VARCHAR', 'sentence': 'VARCHAR'
    }
)
ORDER BY attribute;

-- One row a band. preference: where two instruments measured the same thing, the one listed first counts.
CREATE TABLE instrument AS
WITH listed AS (
    SELECT *, row_number() OVER () AS line
    FROM read_csv(
        getvariable('instruments_csv'),
        header = true,
        columns = {
            'instrument': 'VARCHAR', 'measures': 'VARCHAR', 'target': 'VARCHAR', 'low': 'DOUBLE',
            'high': 'DOUBLE', 'word': 'VARCHAR', 'state': 'VARCHAR', 'cutoff': 'VARCHAR',
            'citation': 'VARCHAR'
        }
    )
)
SELECT
    *,
    high = max(high) OVER scale AS high_included,
    min(line) OVER scale AS preference
FROM listed
WINDOW scale AS (PARTITION BY instrument, measures)
ORDER BY line;

CREATE TABLE word AS
SELECT domain, fold(raw) AS raw, fold(canonical) AS canonical, low, high
FROM read_csv(
    getvariable('words_csv'),
    header = true,
    columns = {
        'domain': 'VARCHAR', 'raw': 'VARCHAR', 'canonical': 'VARCHAR', 'low': 'DOUBLE', 'high': 'DOUBLE'
    }
)
ORDER BY domain, raw;

-- The three kinds of attribute that become columns of facts. A pivot makes its columns from such a type.
CREATE TEMP TYPE state_name AS ENUM (SELECT attribute FROM attribute WHERE kind = 'state' ORDER BY attribute);
CREATE TEMP TYPE category_name AS ENUM (SELECT attribute FROM attribute WHERE kind = 'category' ORDER BY attribute);
CREATE TEMP TYPE scale_name AS ENUM (SELECT attribute FROM attribute WHERE kind = 'scale' ORDER BY attribute);

-- The range of each scale: an instrument and what it measures. `scale` is its number: where two instruments measured
-- the same thing, the one listed first counts.
CREATE TEMP TABLE scale AS
SELECT instrument, measures, CAST(min(preference) AS SMALLINT) AS scale, min(low) AS low, max(high) AS high
FROM instrument
GROUP BY instrument, measures;

-- The scales whose numbers are a column of facts of their own: all but the ratings of a state.
CREATE TEMP TABLE scale_column AS
SELECT s.scale, CAST(s.measures AS scale_name) AS attribute
FROM scale AS s
WHERE s.measures IN (SELECT attribute FROM attribute WHERE kind = 'scale');
