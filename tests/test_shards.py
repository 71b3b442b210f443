from __future__ import annotations

import dataclasses
import io
import json
import pickle
import tarfile
from collections.abc import Collection
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile
import webdataset

from benchmark.files import tars_of
from pipelines import shards
from pipelines.corpora._base import Corpus, Licence, Rows
from pipelines.guard import Note, Refusal
from pipelines.ingest import keyed
from slap_model import store
from tests import houses

KEY = b"key"
FREE = Licence("CC0", "https://example.org", "open", may_train=True, may_redistribute=True)


def corpus(licence: Licence = FREE) -> Corpus:
    return Corpus(
        name="toy",
        title="Toy",
        homepage="",
        citation="",
        licence=licence,
        languages=("en",),
        roles=("train",),
        scan=lambda _: Rows("toy").tables(),
        miniature=lambda *_: None,
    )


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Ten speakers with a clip each, two of them broken, and the tables that sharding reads."""
    raw, captions = tmp_path / "raw", tmp_path / "captions"
    raw.mkdir()
    captions.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(10):
        soundfile.write(raw / f"{number}.wav", rng.normal(0, 0.1, (44_100, 2)), 44_100)
        row = {"utt_id": f"{number:020d}", "path": f"{number}.wav", "speaker_id": f"toy:{number}"}
        rows.append(row | {"split": "train" if number < 7 else "test"})
    (raw / "3.wav").write_bytes(b"")
    (raw / "4.wav").write_bytes(b"RIFF but not really a sound file")
    houses.toy(tmp_path / "meta.db", rows)
    facts = {"utt_id": [r["utt_id"] for r in rows], "fact_hash": ["f"] * 10, "facts": [["sex=female"]] * 10}
    pl.DataFrame(facts).write_parquet(captions / "facts.parquet")
    texts = [("f", "fr", 0, "Troisième."), ("f", "en", 1, "Second."), ("f", "en", 0, "First.")]
    pl.DataFrame(texts, schema=["fact_hash", "language", "k", "text"], orient="row").write_parquet(
        captions / "captions.parquet"
    )
    return tmp_path


def make(
    world: Path, out: str = "shards", licence: Licence = FREE, away: str = "", known: Collection[str] = ()
) -> shards.ShardReport:
    arguments = (world / "raw", world / "meta.db", world / "captions", world / out, KEY)
    return shards.shard_corpus(corpus(licence), *arguments, away=away, known=known)


def test_tars_hold_what_the_contract_says(world: Path) -> None:
    report = make(world)
    assert (report.shards, report.written, report.utterances) == (2, 2, 8)
    samples = list(webdataset.WebDataset(str(world / "shards" / "train-00000.tar"), shardshuffle=False))
    assert len(samples) == 5
    sidecar = json.loads(samples[0]["json"])
    assert sidecar["captions"] == ["First.", "Second.", "Troisième."]
    assert sidecar["facts"] == ["sex=female"]
    assert sidecar["speaker"] == keyed(KEY, f"toy:{int(sidecar['utt_id'])}")
    wave, rate = soundfile.read(io.BytesIO(samples[0]["flac"]))
    assert (rate, wave.ndim) == (16_000, 1)
    assert len(wave) / rate == pytest.approx(sidecar["seconds"]) == pytest.approx(1.0)
    assert json.loads((world / "shards" / "sizes.json").read_text()) == {"train-00000.tar": 5, "test-00000.tar": 3}


def test_no_owner_id_in_the_tars(world: Path) -> None:
    make(world)
    content = b"".join(path.read_bytes() for path in (world / "shards").glob("*.tar"))
    assert b"toy:" not in content


def test_broken_files_are_rejects_and_the_rest_goes_on(world: Path) -> None:
    rejects = make(world).rejects
    assert sorted(rejects["path"]) == ["3.wav", "4.wav"]
    assert rejects.filter(pl.col("path") == "3.wav")["reason"].item().startswith("empty")


def test_offsets_find_the_flac(world: Path) -> None:
    make(world)
    index = pl.read_parquet(world / "shards" / "index.parquet")
    for row in index.iter_rows(named=True):
        with (world / "shards" / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            wave, _ = soundfile.read(io.BytesIO(file.read(row["size"])))
        assert len(wave) / 16_000 == pytest.approx(row["seconds"])


def test_identical_input_gives_identical_bytes(world: Path) -> None:
    make(world, "one")
    make(world, "two")
    for path in sorted((world / "one").glob("*.tar")):
        assert path.read_bytes() == (world / "two" / path.name).read_bytes()


def test_finished_shards_are_not_written_again(world: Path) -> None:
    make(world)
    before = {path: path.stat().st_mtime_ns for path in (world / "shards").glob("*.tar")}
    report = make(world)
    assert report.written == 0
    assert report.rejects.height == 2, "rejects of finished shards must not vanish"
    assert before == {path: path.stat().st_mtime_ns for path in (world / "shards").glob("*.tar")}


def test_a_killed_run_goes_on_from_what_is_complete(world: Path) -> None:
    make(world, "whole")
    make(world)
    (world / "shards" / "test-00000.parquet").unlink()
    left = world / "shards" / f".test-00000.tar.{store._host()}-{2**22 + 1}.tmp"  # above the largest process id
    left.write_bytes(b"half a tar")
    assert make(world).written == 1
    names = sorted(path.name for path in (world / "whole").iterdir())
    assert sorted(path.name for path in (world / "shards").iterdir()) == names
    for name in names:
        assert (world / "whole" / name).read_bytes() == (world / "shards" / name).read_bytes()


@pytest.mark.parametrize("name", ["train-00000.tar", "train-00000.parquet"])
@pytest.mark.parametrize("left", [0, 1000])
def test_what_a_crash_of_the_machine_tore_is_written_again(world: Path, name: str, left: int) -> None:
    make(world)
    torn = world / "shards" / name
    whole = torn.read_bytes()
    torn.write_bytes(whole[:left])
    assert make(world).written == 1
    assert torn.read_bytes() == whole


def test_each_utterance_is_in_a_tar_or_a_reject(world: Path) -> None:
    make(world)
    index = pl.read_parquet(world / "shards" / "index.parquet")
    rejects = json.loads((world / "shards" / "rejects.json").read_text())
    assert sorted([*index["utt_id"], *(reject["utt_id"] for reject in rejects)]) == [f"{n:020d}" for n in range(10)]
    assert [reject["passing"] for reject in rejects] == [False, False]


def test_the_index_says_what_the_recordings_are_like(world: Path) -> None:
    make(world)
    index = pl.read_parquet(world / "shards" / "index.parquet")
    assert index.schema == shards.INDEX
    assert set(index["native_rate"]) == {44_100}
    assert index["bandwidth"].min() > 20_000  # white noise
    assert index["level"].to_list() == pytest.approx([-27.4] * 8, abs=0.5)  # -23 dB, of which 8 of 22 kHz stay
    assert index["clipping"].max() == 0
    for row in index.iter_rows(named=True):
        raw = world / "raw" / f"{int(row['utt_id'])}.wav"
        assert row["raw_sha256"] == shards.file_sha256(raw)


def test_half_of_an_odd_rate_is_a_bandwidth(world: Path) -> None:
    soundfile.write(world / "raw" / "0.wav", np.random.default_rng(5).normal(0, 0.1, 22_255), 22_255)
    make(world)
    assert 11_127.5 in set(pl.read_parquet(world / "shards" / "index.parquet")["bandwidth"])


def units(world: Path) -> list[shards.Shard]:
    rows = shards.rows_to_cut("toy", world / "meta.db", KEY)
    words = shards._Words(world / "captions", rows)
    (world / "shards").mkdir(exist_ok=True)
    return [words.put_into(unit) for unit in shards.plan("toy", world / "raw", rows, world / "shards")]


def test_a_refused_row_is_a_reject_and_is_tried_again_where_it_may_pass(world: Path) -> None:
    train, test = units(world)
    shards.write_shard(train, Note({0: Refusal("hangs", passing=True)}))
    shards.write_shard(test, Note({1: Refusal("crashes", passing=False)}))
    assert "hangs" in [reject["reason"] for reject in shards.rejects_of(train.tar)]
    assert [reject["reason"] for reject in shards.rejects_of(test.tar)] == ["crashes"]
    assert not shards.complete(train)
    assert shards.complete(test)
    report = make(world)
    assert (report.written, report.utterances) == (1, 7)


@pytest.mark.parametrize("mount_point", [False, True])
def test_a_raw_folder_that_this_machine_does_not_see_is_no_heap_of_rejects(world: Path, mount_point: bool) -> None:
    (unit, _) = units(world)
    (world / "raw").rename(world / "elsewhere")
    if mount_point:
        (world / "raw").mkdir()
    with pytest.raises(shards.ShardError, match="sees nothing in"):
        shards.write_shard(unit)
    assert not unit.tar.exists()


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/passwd", "a/../../secret.wav"])
def test_no_path_of_a_table_leaves_the_corpus_folder(world: Path, path: str) -> None:
    soundfile.write(world / "secret.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    (unit, _) = units(world)
    shards.write_shard(dataclasses.replace(unit, rows=unit.rows.with_columns(path=pl.lit(path))))
    assert {reject["reason"] for reject in shards.rejects_of(unit.tar)} == {"path that leaves the corpus folder"}


def test_a_folder_that_cannot_be_written_to_is_named(world: Path) -> None:
    (world / "shards").write_text("in the way")
    with pytest.raises(shards.ShardError, match="toy: shards cannot be written to"):
        make(world)


def test_a_changed_raw_file_rewrites_its_shard_alone(world: Path) -> None:
    make(world)
    soundfile.write(world / "raw" / "0.wav", np.random.default_rng(5).normal(0, 0.1, 16_000), 16_000)
    assert make(world).written == 1


def files(world: Path) -> set[str]:
    folder = world / "shards"
    return {path.name for path in [*folder.glob("*.tar"), *folder.glob("*-*.parquet")]}


def utterances(world: Path) -> set[str]:
    with duckdb.connect(str(world / "meta.db")) as connection:
        return set(connection.sql("SELECT utt_id FROM utterance").pl()["utt_id"])


def forget(world: Path, condition: str) -> None:
    with duckdb.connect(str(world / "meta.db")) as connection:
        connection.execute(f"DELETE FROM utterance WHERE {condition}")


def test_a_corpus_that_shrank_loses_the_tars_that_are_too_many(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "UTTERANCES_PER_SHARD", 2)
    make(world)
    before = files(world)
    forget(world, "utt_id LIKE '%5' OR utt_id LIKE '%6'")
    make(world)
    assert before - files(world) == {"train-00003.tar", "train-00003.parquet"}
    assert tars_of("shards", world, world) == sorted((world / "shards").glob("*.tar"))


@pytest.mark.parametrize("away", ["", "skipped: not found"])
def test_the_tars_of_a_corpus_stay_uncounted_only_where_it_is_away(world: Path, away: str) -> None:
    make(world)
    before = files(world)
    known = utterances(world)
    forget(world, "true")
    report = make(world, away=away, known=known)
    assert (report.shards, report.utterances, report.kept) == (0, 0, 2 if away else 0)
    assert files(world) == (before if away else set())
    assert tars_of("shards", world, world) == []
    assert pl.read_parquet(world / "shards" / "index.parquet").height == 0


@pytest.mark.parametrize("who", ["a speaker", "of a reject", "torn"])
def test_of_a_corpus_that_is_away_no_tar_stays_with_somebody_whom_no_table_knows(world: Path, who: str) -> None:
    """Who was in the tars and is in the last tables no more: the run that left them out was killed before sharding."""
    make(world)
    (index,) = (world / "shards").glob("train-*.parquet")
    unknown = pl.read_parquet(index)["utt_id"][0]
    if who == "of a reject":
        unknown = shards.rejects_of(index.with_suffix(".tar"))[0]["utt_id"]
    known = utterances(world) - ({unknown} if who != "torn" else set())
    if who == "torn":
        index.write_bytes(index.read_bytes()[:100])
    forget(world, "true")
    assert make(world, away="skipped: not found", known=known).kept == 1
    assert {name.partition("-")[0] for name in files(world)} == {"test"}


def test_a_corpus_that_left_the_graph_is_counted_no_more(world: Path) -> None:
    make(world)
    before = files(world)
    assert shards.leave_out(world, {"shards"}) == []
    assert shards.leave_out(world, {"other"}) == ["shards"]
    assert shards.leave_out(world, {"other"}) == []  # said once
    assert tars_of("shards", world, world) == []
    assert files(world) == before
    assert make(world).written == 0
    assert len(tars_of("shards", world, world)) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [({"may_train": False}, "does not allow training"), ({"expires": date(2020, 1, 1)}, "expired on 2020-01-01")],
)
def test_licence_refuses(world: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(shards.LicenceError, match=message):
        make(world, licence=dataclasses.replace(FREE, **change))
    assert not (world / "shards").exists()


def test_tar_headers_carry_no_time_and_no_user(world: Path) -> None:
    make(world)
    with tarfile.open(world / "shards" / "train-00000.tar") as tar:
        assert {(member.mtime, member.uid) for member in tar} == {(0, 0)}


@pytest.mark.parametrize(("error", "passing"), [(KeyError("chunk"), False), (MemoryError(), True)])
def test_an_error_that_nobody_foresaw_is_a_reject(
    world: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, passing: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.decoders.raw._check_head", broken)
    (unit, _) = units(world)
    shards.write_shard(unit)
    rejects = shards.rejects_of(unit.tar)
    assert len(rejects) == 7
    assert {reject["passing"] for reject in rejects} == {passing}


def test_a_unit_goes_to_its_worker_without_the_texts_of_the_whole_corpus(tmp_path: Path) -> None:
    ids = [f"{number:020d}" for number in range(20_000)]
    facts = pl.DataFrame({"utt_id": ids, "fact_hash": ids, "facts": [[f"language=en, of {name}"] for name in ids]})
    facts.write_parquet(tmp_path / "facts.parquet")
    texts = {"fact_hash": ids, "language": "en", "k": 0, "text": [f"A voice in English, of {name}." for name in ids]}
    pl.DataFrame(texts).write_parquet(tmp_path / "captions.parquet")
    rows = pl.DataFrame({"utt_id": ids, "path": ids})
    words = shards._Words(tmp_path, rows)
    unit = words.put_into(shards.Shard("toy", tmp_path, tmp_path / "x.tar", "train", rows[10_000:10_100], "key"))
    assert unit.rows["captions"].to_list() == [[f"A voice in English, of {name}."] for name in ids[10_000:10_100]]
    assert unit.rows["facts"].to_list() == [[f"language=en, of {name}"] for name in ids[10_000:10_100]]
    assert len(pickle.dumps(unit)) < 100_000
