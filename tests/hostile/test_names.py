"""File names of every kind, from the raw folder to the shards and back: nothing is lost, no line is broken."""

from __future__ import annotations

import csv
import json
import logging
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile
from click.testing import CliRunner

from pipelines import captions, cohort, ingest, shards
from pipelines.assets import common
from pipelines.cli import main
from pipelines.corpora._base import Corpus, Rows, corpora
from pipelines.settings import PROJECT
from tests import houses
from tests.hostile.test_tables import TOML

NAMES = (
    "plain",
    "new\nline",
    "carriage\rreturn",
    "tab\tbed",
    'double"quote',
    "single'quote'; DROP TABLE utterance; --",
    "-rf",
    "--help",
    "$(touch hacked)`touch hacked`",
    "%n%s{0}{name}",
    "percent%2e%2e%2fescape",
    "a;b,c|d&e",
    "ends blank ",
    "trailing.dots...",
    "hash#0.000-1.000",
    "colon:here",
    "glob*?[a-z]",
    "escape\x1b[31m\x07\x7f",
    "line\u2028separator\u2029\x85",
    "zero\u200bwidth\ufeff",
    "\u202egnp.exe",
    "تسجيل صوتي",
    "आवाज़ की रिकॉर्डिंग",
    "录音",
    "녹음",
    "запись",
    "ηχογράφηση",
    "הקלטה",
    "บันทึกเสียง",
    "ኣማርኛ",
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "e\u0301 combining",
    "\u00e9 composed",
    "z̸̢̛̗a̴͉͝l̷͇̈g̸̣̈́o̷̱̎",
    "\U000e0041tag",
    "\uffff\U0010ffff",
    "UPPER",
    "upper",
    "n" * 251,
    "CON",
    "..hidden",
)


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A cohort of one recording a name, and one whose name is no UTF-8 and so stands in no table."""
    folder = tmp_path / "raw" / "clinic"
    folder.mkdir(parents=True)
    (folder / "corpus.toml").write_text(TOML)
    rng = np.random.default_rng(0)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_ALL)
        table.writerow(["speaker", "path", "sex", "device"])
        for number, name in enumerate(NAMES):
            soundfile.write(folder / f"{name}.wav", rng.normal(0, 0.1, 3_200), 16_000)
            table.writerow([f"{number} {name[:40]}", f"{name}.wav", ("F", "M")[number % 2], name])
    (folder / os.fsdecode(b"bytes\xff\xfe.wav")).write_bytes(b"RIFF")
    (folder / os.fsdecode(b"link\xff\n.wav")).symlink_to("/etc/hostname")
    return folder


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


def sharded(corpus: Corpus, raw: Path, out: Path) -> shards.ShardReport:
    """From the tables in ``out`` to the shards beside them."""
    meta_db = houses.build(out, [corpus.name])
    captions.build(meta_db, out / "captions", corpora=[corpus.name], k=1, seed=0)
    return shards.shard_corpus(corpus, raw, meta_db, out / "captions", out / "shards" / corpus.name, b"key")


def names_of(folder: Path) -> set[str]:
    return {f"{name}.wav" for name in NAMES}


def test_nothing_is_lost_from_the_folder_to_the_shards(clinic: Path, tmp_path: Path, said: list[str]) -> None:
    out, corpus = tmp_path / "out", corpora(tmp_path / "raw")["clinic"]
    done = ingest.ingest(corpus, clinic, out / "tables", b"key")
    assert (done.reason, done.utterances) == ("", len(NAMES))
    rejects = pl.read_parquet(out / "tables/clinic/reject.parquet")
    assert {path for path in rejects["path"] if "\\udcff" in path} == {"bytes\\udcff\\udcfe.wav", "link\\udcff\n.wav"}
    made = sharded(corpus, clinic, out)
    assert (made.utterances, made.rejects.height) == (len(NAMES), 0)
    assert not list(out.rglob("*hacked*")) and not (PROJECT / "hacked").exists()
    with duckdb.connect(str(out / "meta.db"), read_only=True) as connection:
        stored = connection.execute("SELECT path, device, utt_id FROM utterance").fetchall()
    assert {path for path, _, _ in stored} == names_of(clinic)
    assert {device for _, device, _ in stored} == {name.strip() for name in NAMES}
    index = pl.read_parquet(out / "shards/clinic/index.parquet")
    assert set(index["utt_id"]) == {utt_id for _, _, utt_id in stored}
    inside: list[str] = []
    for tar in (out / "shards/clinic").glob("*.tar"):
        with tarfile.open(tar) as archive:
            inside += archive.getnames()
    assert sorted(inside) == sorted(f"{utt}.{kind}" for utt in index["utt_id"] for kind in ("flac", "json"))
    assert not [line for line in said if "\n" in line]


def test_what_cannot_be_read_is_a_reject_under_its_own_name(clinic: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (clinic / f"{name}.wav").write_bytes(b"RIFF and no more")
    out, corpus = tmp_path / "out", corpora(tmp_path / "raw")["clinic"]
    ingest.ingest(corpus, clinic, out / "tables", b"key")
    made = sharded(corpus, clinic, out)
    assert set(made.rejects["path"]) == names_of(clinic)
    rejects = json.loads((out / "shards/clinic/rejects.json").read_text())
    assert {reject["path"] for reject in rejects} == names_of(clinic)
    assert len(rejects) == len(NAMES)


def test_slap_check_breaks_no_line(clinic: Path) -> None:
    """What it prints of names stays in its line, and moves no cursor."""
    (clinic / "0 no\nrow\x1b[2J\u202e.wav").touch()
    result = CliRunner().invoke(main, ["check", str(clinic)])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) < 30
    assert all(line.isprintable() for line in result.output.split("\n"))
    assert cohort.check(clinic)


PEOPLE = (
    "Jean-Paul O'Connor",
    "anna-maria-3",
    "N’Golo",
    "Zoë",
    "Željko_X",
    "M4ria",
    "CF02b",
    "张伟",
    "Иванов Иван",
    "محمد علي",
    "नरेंद्र",
    "김철수",
)


@pytest.mark.parametrize("name", PEOPLE)
def test_a_name_in_place_of_a_code_stays_in_the_tables(tmp_path: Path, name: str) -> None:
    """UASpeech and EWA-DB tell speakers by the form of a code: a name is no speaker, and no log shows it."""
    words, ewa = tmp_path / "words", tmp_path / "ewa"
    for file in (f"{name}/{name}_B1_C1_M5", "CF02/CF02_B1_C1_M5", f"CF02/{name}", f"CF02/{name}_B1_C1_M3"):
        (words / file).parent.mkdir(parents=True, exist_ok=True)
        (words / f"{file}.wav").touch()
    for file in (
        f"Healthy/{name}/picture/a.wav",
        "Healthy/abcd1ef201/picture/a.wav",
        f"Healthy/{name}/naming/{name}.wav",
    ):
        (ewa / file).parent.mkdir(parents=True, exist_ok=True)
        (ewa / file).touch()
    codes = "SPEAKER_CODE\tAGE\tDIAGNOSIS\tINCLUSIVE_CRITERIA\tMOCA\tPUBLISH_AGREEMENT\tRECORDED\tSEX\n"
    rows = [(code, told) for code, told in (("abcd1ef201", "Healthy"), ("abcd1ef301", name), (name, "Healthy"))]
    codes += "".join(f"{code}\t50\t{told}\tTrue\t30\tTrue\t\tfemale\n" for code, told in rows)
    (ewa / "SPEAKERS.TSV").write_text(codes)
    files = "".join(f"{code}\t./Healthy/{code}//picture/a.wav\n" for code in ("abcd1ef201", name))
    (ewa / "FILES.TSV").write_text(f"SPEAKER_CODE\tAUDIOFILE\n{files}")
    for corpus, folder, speaker in (("uaspeech", words, "CF02"), ("ewa_db", ewa, "abcd1ef201")):
        done = ingest.ingest(corpora()[corpus], folder, tmp_path / "tables", b"key")
        stored = {kind: pl.read_parquet(tmp_path / f"tables/{corpus}/{kind}.parquet") for kind in ("speaker", "reject")}
        assert stored["speaker"]["speaker_id"].to_list() == [f"{corpus}:{speaker}"]
        assert done.utterances == 1 and not done.reason
        shown = [*common.reasons(stored["reject"])["reason"], *common.places(stored["reject"]["path"])["where"]]
        assert not [line for line in [*shown, *done.set_aside] if name in line]


@pytest.mark.parametrize("name", PEOPLE)
def test_reasons_show_no_name(name: str) -> None:
    said = ("speaker {} has no recordings", "{}: no age", "second copy of a b/{}/hello.wav", "dx {!r} is not known")
    rejects = pl.DataFrame({"reason": [reason.format(name) for reason in (*said, "no transcript x/{}.cha: left out")]})
    shown = " ".join(common.reasons(rejects, ["unknown", "Jean", name, "7"])["reason"])
    assert not [word for word in name.replace("-", " ").split() if word in shown]
    assert "no age" in shown and "left out" in shown


def test_names_that_are_no_utf8_are_rejects_of_any_recipe() -> None:
    rows = Rows("any")
    speaker = rows.speaker("a\udcff")
    utterance = rows.utterance("b\udcff/c.wav", speaker, language="en")
    rows.observe(speaker, "depression", "present", source="owner", utt_id=utterance)
    rows.observe(speaker, "depression", "present", source="owner")
    rows.utterance("c.wav", speaker, language="en")
    tables = rows.tables()
    assert tables.speakers["speaker_id"].to_list() == ["any:a\\udcff"]
    assert tables.utterances["path"].to_list() == ["c.wav"]
    assert tables.observations.height == 1
    assert tables.rejects.rows() == [("any", "b\\udcff/c.wav", "the file's name is not UTF-8: rename it")]
