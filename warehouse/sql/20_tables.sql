-- The tables of all corpora, as ingest left them, with sex and language folded into the vocabulary.

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

-- A language tag in lower case, with "-"; words.csv maps other codes for the same language.
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
    nullif(trim(s.country), '') AS country
FROM read_parquet(getvariable('speaker_files')) AS s
LEFT JOIN word AS sex ON sex.domain = 'sex' AND sex.raw = fold(s.sex)
LEFT JOIN word AS tongue ON tongue.domain = 'language' AND tongue.raw = language_tag(s.native_language)
ORDER BY s.corpus, s.speaker_id;

CREATE TABLE utterance AS
SELECT
    u.utt_id,
    u.corpus,
    u.speaker_id,
    u.session_id,
    u.path,
    u.start_s,
    u.end_s,
    u.channel,
    CASE WHEN tag.raw IS NULL THEN language_tag(u.language) ELSE tag.canonical END AS language,
    u.speech_task,
    u.device,
    u.recorded_on,
    u.official_split,
    u.age
FROM read_parquet(getvariable('utterance_files')) AS u
LEFT JOIN word AS tag ON tag.domain = 'language' AND tag.raw = language_tag(u.language)
ORDER BY u.corpus, u.utt_id;

CREATE TABLE observation AS
SELECT
    corpus, speaker_id, session_id, utt_id, attribute, value, value_num, unit, instrument, source, rater
FROM read_parquet(getvariable('observation_files'))
ORDER BY ALL;

CREATE TABLE unread_metadata AS
SELECT corpus, path, reason
FROM read_parquet(getvariable('reject_files'))
ORDER BY ALL;
