-- The corpora and all their speakers, as ingest left them, with sex, language and country folded into the vocabulary.

CREATE TABLE corpus AS
SELECT
    name AS corpus,
    title,
    homepage,
    citation,
    languages,
    roles,
    label,
    epoch_share,
    coalesce(official_splits, false) AS official_splits,
    coalesce(found, true) AS found,
    reason,
    coalesce(synthetic, false) AS synthetic,
    licence.name AS licence,
    licence.url AS licence_url,
    licence.access AS access,
    licence.may_train AS may_train,
    licence.may_redistribute AS may_redistribute,
    licence.expires AS expires,
    licence.consent AS consent
FROM read_json(
    getvariable('corpus_files'),
    format = 'unstructured',
    columns = {
        'name': 'VARCHAR', 'title': 'VARCHAR', 'homepage': 'VARCHAR', 'citation': 'VARCHAR',
        'languages': 'VARCHAR[]', 'roles': 'VARCHAR[]', 'label': 'VARCHAR', 'epoch_share': 'DOUBLE',
        'official_splits': 'BOOLEAN', 'found': 'BOOLEAN', 'reason': 'VARCHAR', 'synthetic': 'BOOLEAN',
        'licence': 'STRUCT("name" VARCHAR, url VARCHAR, access VARCHAR, may_train BOOLEAN,
                           may_redistribute BOOLEAN, expires DATE, consent VARCHAR)'
    }
)
ORDER BY corpus;

-- A language as it is looked up: lower case, "-" between the parts of a tag. words.csv maps names and other codes.
CREATE TEMP MACRO language_tag(raw) AS replace(fold(raw), '_', '-');

CREATE TABLE speaker AS
SELECT
    s.corpus,
    s.speaker_id,
    s.person_id,
    sex.canonical AS sex,
    s.sex AS sex_word,
    s.birth_year,
    CASE WHEN tongue.raw IS NULL THEN language_tag(s.native_language) ELSE tongue.canonical END AS native_language,
    CASE WHEN land.raw IS NULL THEN nullif(trim(s.country), '') ELSE upper(land.canonical) END AS country
FROM read_parquet(getvariable('speaker_files')) AS s
LEFT JOIN word AS sex ON sex.domain = 'sex' AND sex.raw = fold(s.sex)
LEFT JOIN word AS tongue ON tongue.domain = 'language' AND tongue.raw = language_tag(s.native_language)
LEFT JOIN word AS land ON land.domain = 'country' AND land.raw = fold(s.country)
ORDER BY s.corpus, s.speaker_id;

-- A short number for each speaker, to join and group by.
CREATE TEMP TABLE speaker_number AS
SELECT CAST(row_number() OVER (ORDER BY corpus, speaker_id) AS INTEGER) AS speaker_no, *
FROM speaker;

-- Each language tag that occurs, and what it is here.
CREATE TEMP TABLE language_seen AS
SELECT corpus, language, count(*) AS n
FROM read_parquet(getvariable('utterance_files'))
WHERE language IS NOT NULL
GROUP BY ALL;

CREATE TEMP TABLE language_meaning AS
SELECT u.language, CASE WHEN tag.raw IS NULL THEN language_tag(u.language) ELSE tag.canonical END AS tag
FROM (SELECT DISTINCT language FROM language_seen) AS u
LEFT JOIN word AS tag ON tag.domain = 'language' AND tag.raw = language_tag(u.language);

CREATE TABLE unread_metadata AS
SELECT corpus, path, reason
FROM read_parquet(getvariable('reject_files'))
ORDER BY ALL;
