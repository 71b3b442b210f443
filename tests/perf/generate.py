"""Generated tables of a large house: what `pipelines.ingest` would have left for many corpora, as Parquet.

Deterministic, written by DuckDB. Per corpus: 20 utterances a speaker in 2 sessions; per speaker 12 observations
(scales, states and words that hold for the speaker), per session 4, per utterance 9: ten observations an utterance.
One word in a hundred is one that no table knows, one score in a hundred lies outside its range.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

CORPORA = 10
UTTERANCES_A_SPEAKER = 20

# attribute, instrument, source and how value or value_num come about; ? is a number from 0 to 2^32
SPEAKER = """
    ('phq9', 'PHQ-9', 'self-report', NULL, 0, 27), ('gad7', 'GAD-7', 'self-report', NULL, 0, 21),
    ('ais', 'AIS', 'self-report', NULL, 0, 24), ('mfi_general', 'MFI', 'self-report', NULL, 4, 20),
    ('moca', 'MoCA', 'clinician', NULL, 0, 30), ('anxiety', NULL, 'self-report', ['yes', 'no'], 0, 0),
    ('smoking', NULL, 'self-report', ['y', 'n', 'True', 'False', 'casual smoker', 'pipe on Sundays'], 0, 0),
    ('asthma', NULL, 'self-report', ['yes', 'no', '1', '0'], 0, 0),
    ('parkinson', NULL, 'clinician', ['present', 'absent'], 0, 0),
    ('accent', NULL, 'self-report', ['us', 'england', 'Southern African (South Africa, Zimbabwe, Namibia)', 'Kölsch'],
     0, 0),
    ('age_range', NULL, 'self-report', ['twenties', 'fourties', '26-35', 'sixties'], 0, 0),
    ('education', NULL, 'self-report', ['University', 'Secondary', 'High school'], 0, 0)
"""
SESSION = """
    ('hoehn_yahr', 'Hoehn-Yahr', 'clinician', NULL, 0, 5), ('updrs', 'UPDRS', 'clinician', NULL, 0, 199),
    ('voice_disorder', NULL, 'clinician', ['present', 'absent'], 0, 0),
    ('depression', NULL, 'clinician', ['present', 'absent'], 0, 0)
"""
UTTERANCE = """
    ('voice_severity', 'GRBAS', 'rater', NULL, 0, 3), ('voice_roughness', 'GRBAS', 'rater', NULL, 0, 3),
    ('voice_breathiness', 'GRBAS', 'rater', NULL, 0, 3), ('voice_strain', 'GRBAS', 'rater', NULL, 0, 3),
    ('voice_nasality', NULL, 'rater', ['present', 'absent'], 0, 0),
    ('voice_monotony', NULL, 'rater', ['present', 'absent'], 0, 0),
    ('emotion', NULL, 'acted', ['happy', 'ANG', 'Neutral', 'sadness', 'wistful'], 0, 0),
    ('fluency', NULL, 'rater', NULL, 0, 10), ('voice_nasality', NULL, 'self-report', ['1', '0'], 0, 0)
"""


def generate(folder: Path, utterances: int, corpora: int = CORPORA) -> list[str]:
    """Write the tables of some corpora with ``utterances`` in all under ``folder``; return their names."""
    speakers = max(utterances // corpora // UTTERANCES_A_SPEAKER, 1)
    names = [f"scale{number:02d}" for number in range(corpora)]
    with duckdb.connect() as con:
        con.execute("SET preserve_insertion_order = true")
        for seed, name in enumerate(names):
            (folder / name).mkdir(parents=True, exist_ok=True)
            _corpus(con, folder / name, name, speakers, seed)
    return names


def _corpus(con: duckdb.DuckDBPyConnection, folder: Path, name: str, speakers: int, seed: int) -> None:
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE person AS
        SELECT
            i, '{name}:' || lpad(i::VARCHAR, 7, '0') AS speaker_id,
            ['f', 'M', 'female', 'male', 'famale', 'w', ''][(1 + hash(i, {seed}) % 7)::BIGINT] AS sex,
            1930 + (hash(i, {seed}, 'born') % 75)::INTEGER AS birth_year
        FROM range({speakers}) AS t(i)
    """)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE said AS
        SELECT
            p.i, k, left(md5('{name}' || p.i || '/' || k), 20) AS utt_id, p.speaker_id,
            's' || (k % 2) AS session_id, p.birth_year
        FROM person AS p, range({UTTERANCES_A_SPEAKER}) AS t(k)
        ORDER BY p.i, k
    """)

    def write(table: str, query: str) -> None:
        con.execute(f"COPY ({query}) TO '{folder / f'{table}.parquet'}' (FORMAT parquet, COMPRESSION zstd)")

    def observed(level: str, rows: str, key: str, session: str, utterance: str) -> str:
        return f"""
            SELECT '{name}' AS corpus, r.speaker_id, {session} AS session_id, {utterance} AS utt_id, a.attribute,
                   a.words[(1 + hash({key}, a.attribute, a.source) % len(a.words))::BIGINT] AS value,
                   CASE WHEN a.words IS NULL THEN
                       (CASE WHEN hash({key}, a.attribute, a.source, 'out') % 100 = 0 THEN a.high + 100
                             ELSE a.low + (hash({key}, a.attribute, a.source) % (a.high - a.low + 1))::BIGINT
                        END)::DOUBLE
                   END AS value_num,
                   NULL::VARCHAR AS unit, a.instrument, a.source, NULL::VARCHAR AS rater
            FROM {rows} AS r, (VALUES {level}) AS a(attribute, instrument, source, words, low, high)
        """

    write(
        "speaker",
        f"SELECT '{name}' AS corpus, speaker_id, speaker_id AS person_id, sex, birth_year, 'en' AS native_language, "
        "'US' AS country FROM person ORDER BY i",
    )
    write(
        "utterance",
        f"""
        SELECT utt_id, '{name}' AS corpus, speaker_id, session_id, 'audio/' || i || '/' || k || '.wav' AS path,
               NULL::DOUBLE AS start_s, NULL::DOUBLE AS end_s, NULL::INTEGER AS channel,
               ['en', 'cmn', 'de', 'fr'][(1 + hash(i) % 4)::BIGINT] AS language, 'read' AS speech_task,
               NULL::VARCHAR AS device,
               DATE '2020-06-01' AS recorded_on, NULL::VARCHAR AS official_split,
               CASE WHEN hash(i) % 3 = 0 THEN (2020 - birth_year)::DOUBLE END AS age
        FROM said ORDER BY i, k
        """,
    )
    sessions = "(SELECT DISTINCT i, speaker_id, session_id FROM said ORDER BY i, session_id)"
    write(
        "observation",
        f"{observed(SPEAKER, 'person', 'r.i', 'NULL::VARCHAR', 'NULL::VARCHAR')} UNION ALL "
        f"{observed(SESSION, sessions, 'r.i, r.session_id', 'r.session_id', 'NULL::VARCHAR')} UNION ALL "
        f"{observed(UTTERANCE, 'said', 'r.utt_id', 'NULL::VARCHAR', 'r.utt_id')}",
    )
    write("reject", f"SELECT '{name}' AS corpus, 'x.wav' AS path, 'empty file' AS reason WHERE false")
    card = {
        "name": name, "title": name, "homepage": "", "citation": "", "languages": ["en"], "roles": ["train"],
        "label": "depression", "epoch_share": 1.0, "official_splits": False, "found": True, "reason": "",
        "synthetic": True,
        "licence": {
            "name": "generated", "url": "https://example.org", "access": "open", "may_train": True,
            "may_redistribute": True, "expires": None, "consent": "nobody",
        },
    }  # fmt: skip
    (folder / "corpus.json").write_text(json.dumps(card))
