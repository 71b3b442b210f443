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
