"""What every recipe must do, on its own miniature with rendered voices."""

import csv
import hashlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipelines import accounting, ingest
from pipelines.corpora._base import Corpus, RecipeError, corpora
from pipelines.schema import Tables, validate
from pipelines.spool import Spool

ATTRIBUTES = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "attributes.csv"
FEWER_SPEAKERS = {"tess": 2}  # the corpus itself has no more
EVERY_CORPUS = pytest.mark.parametrize("corpus", corpora().values(), ids=corpora().keys())


@pytest.fixture(scope="module")
def miniatures(rendered):
    """The root folder of a corpus' miniature."""
    return lambda corpus: rendered(corpus.name, 0.1)


RENDER = """
import sys
from pathlib import Path
from pipelines.corpora._base import corpora
from pipelines.voices import Voices
for root in map(Path, sys.argv[1:]):
    root.mkdir()
    corpora()[root.name].miniature(root, Voices(scale=0.1))
"""


@pytest.fixture(scope="module")
def elsewhere(request, tmp_path_factory):
    """Renders the same miniatures in another process, with another hash seed, at another time."""
    folder = tmp_path_factory.mktemp("elsewhere")
    asked = {item.callspec.params["corpus"].name for item in request.session.items if "elsewhere" in item.fixturenames}
    process = subprocess.Popen(
        [sys.executable, "-c", RENDER, *(str(folder / name) for name in sorted(asked))],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
    )
    yield lambda corpus: folder / corpus.name if process.wait() == 0 else pytest.fail("rendering failed, see above")
    process.kill()


@EVERY_CORPUS
def test_miniature_becomes_valid_tables(corpus: Corpus, miniatures, record_property):
    root = miniatures(corpus)
    tables: Tables = validate(corpus.name, corpus.scan(root))
    frames = (tables.speakers, tables.utterances, tables.observations, tables.rejects)
    record_property("recipe", (corpus.name, *(frame.height for frame in frames)))
    assert tables.speakers.height >= FEWER_SPEAKERS.get(corpus.name, 4)
    assert tables.utterances.height >= tables.speakers.height
    assert set(tables.speakers["speaker_id"]) == set(tables.utterances["speaker_id"])
    for path in tables.utterances["path"].unique():
        assert (root / path).is_file(), path
        assert (root / path).stat().st_size > 500, path
    for frame in (tables.speakers, tables.utterances, tables.observations, tables.rejects):
        assert set(frame["corpus"]) <= {corpus.name}


@EVERY_CORPUS
def test_observations_use_known_attributes_of_known_utterances(corpus: Corpus, miniatures):
    observations = corpus.scan(miniatures(corpus)).observations
    utterances = corpus.scan(miniatures(corpus)).utterances
    with ATTRIBUTES.open(encoding="utf-8") as file:
        kinds = {row["attribute"]: row["kind"] for row in csv.DictReader(file)}
    assert set(observations["attribute"]) <= kinds.keys()
    with ATTRIBUTES.with_name("words.csv").open(encoding="utf-8") as file:
        known = {(row["domain"], row["raw"]) for row in csv.DictReader(file)}
    known |= {("state", "present"), ("state", "absent")}
    states = observations.filter(pl.col("attribute").replace_strict(kinds) == "state", pl.col("value").is_not_null())
    for attribute, value in set(states.select("attribute", "value").iter_rows()):
        word = " ".join(value.split()).casefold()
        assert {(attribute, word), ("state", word)} & known, f"{attribute}: {value!r} is in no table"
    assert set(observations["utt_id"].drop_nulls()) <= set(utterances["utt_id"])


@EVERY_CORPUS
def test_miniature_holds_traps(corpus: Corpus, miniatures):
    tables = corpus.scan(miniatures(corpus))
    assert tables.rejects.height or "trap" in inspect.getsource(inspect.getmodule(corpus.miniature))
    assert all(reason.strip() for reason in tables.rejects["reason"])


@EVERY_CORPUS
def test_every_audio_file_is_accounted_for(corpus: Corpus, miniatures, tmp_path):
    """No audio of the miniature is passed over in silence, and every reason to set some aside is in use."""
    root, audio = miniatures(corpus), Spool(accounting.FILE)
    ingest._fingerprint(corpus, root, b"key", audio)
    passed_over = pl.concat(accounting.unclaimed(audio.batches(), corpus.scan(root), tmp_path))
    left, aside = accounting.set_aside(passed_over, corpus.no_inputs)
    assert left["path"].to_list() == []
    assert set(aside) == set(corpus.no_inputs.values())


@EVERY_CORPUS
def test_scan_is_pure(corpus: Corpus, miniatures):
    root = miniatures(corpus)
    before = digests(root)
    first, second = corpus.scan(root), corpus.scan(root)
    assert digests(root) == before
    for name in ("speakers", "utterances", "observations", "rejects"):
        assert getattr(first, name).equals(getattr(second, name))


@EVERY_CORPUS
def test_empty_folder_is_named(corpus: Corpus, tmp_path):
    with pytest.raises(RecipeError, match=tmp_path.name):
        corpus.scan(tmp_path)


@pytest.mark.slow
@EVERY_CORPUS
def test_two_miniatures_are_the_same_bytes(corpus: Corpus, miniatures, elsewhere):
    assert digests(elsewhere(corpus)) == digests(miniatures(corpus))


@EVERY_CORPUS
def test_licence_is_stated(corpus: Corpus):
    licence = corpus.licence
    assert licence.name and licence.url.startswith("http") and licence.consent
    assert corpus.title and corpus.citation and corpus.languages and corpus.roles
    assert 0 < corpus.epoch_share <= 1


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
