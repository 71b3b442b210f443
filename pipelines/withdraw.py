"""A speaker withdraws: everything that holds the person goes, in all corpora, and nothing brings it back.

The list of withdrawals is written first, so that ingest refuses the person from then on; then goes what was derived
last (board, scores, vectors), and at the end what says whose data is whose (tables, ``meta.db``). So a command that
was killed finds the person again and ends like one that was not. The raw folders belong to the owners: they are never
touched, and the command says which files there still hold the speaker.

Tars without the person keep their bytes, those with the person are copied without it. Aggregates over a corpus of the
person (scores) and what cannot be told to be somebody else's (vectors of utterances that no table knows any more) are
removed, not mended: the next run makes them again, from the same code as ever. No run goes on meanwhile: the
command holds the lock of the whole warehouse (`pipelines.locks`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmark import transfer
from benchmark.files import tars_of
from pipelines import ablate, board, ingest, shards, warehouse, withdrawals
from pipelines.paraphrase.cache import strangers
from pipelines.schema import SPEAKER, UTTERANCE
from pipelines.settings import PROJECT, Settings, SettingsError, note_of
from pipelines.withdrawals import Hash, Withdrawal
from slap_model import store
from slap_model.manifest import WITHDRAWN

PEOPLE = {name: SPEAKER[name] for name in ("corpus", "speaker_id", "person_id")}
SPOKEN = {name: UTTERANCE[name] for name in ("corpus", "speaker_id", "utt_id", "path")}
# Where Dagster writes below its home, by its defaults or by this project's dagster.yaml; the rest is the user's.
DAGSTER_FOLDERS = (".dagster", "history", "logs", "schedules", "storage")
# Where Dagster keeps text: table, column, and what happens to a row that names the person.
EVENTS = (
    ("event_logs", "event", "DELETE FROM event_logs WHERE rowid = ?"),
    ("asset_check_executions", "evaluation_event", "DELETE FROM asset_check_executions WHERE rowid = ?"),
    ("asset_keys", "last_materialization", "UPDATE asset_keys SET last_materialization = NULL WHERE rowid = ?"),
)


@dataclass(frozen=True)
class Held:
    """What a tar and its index hold of the person."""

    utterances: set[str]
    rejects: set[str]  # paths of raw files that could not be decoded


class UnknownSpeakerError(LookupError):
    """No such speaker in the corpus; the message says how to look."""


@dataclass(frozen=True)
class Found:
    """All that the warehouse holds of one person."""

    begun: Withdrawal | None  # the row of a command that was killed
    persons: frozenset[str]  # person_id; two where the recipe renamed the person since the last build
    speakers: tuple[str, ...]  # speaker_id, of all corpora
    corpora: tuple[str, ...]
    utterances: pl.DataFrame  # columns of SPOKEN
    known: pl.DataFrame  # utt_id of everybody else
    observations: int
    rejects: int
    fact_sets: int
    captions: tuple[str, ...]  # texts that nobody else in training has
    text_vectors: int
    tars: Mapping[Path, Held]
    embeddings: tuple[Path, ...]
    predictions: tuple[Path, ...]
    scores: tuple[Path, ...]
    manifests: tuple[Path, ...]
    checkpoints: tuple[str, ...]
    raw: tuple[str, ...]  # files and folders of the owners that hold the person

    @property
    def n_tars(self) -> int:
        """How many tars are written again; of the others only the list of rejects changes."""
        return sum(bool(held.utterances) for held in self.tars.values())

    def row(self, hashed: Hash) -> Withdrawal:
        """The person's row in the list of withdrawals, not yet finished."""
        refused = withdrawals.hashes({*self.persons, *self.speakers}, hashed)
        if self.begun is not None:  # a second try finds less than the first
            return dataclasses.replace(self.begun, refused=" ".join(sorted({*refused, *self.begun.refused.split()})))
        return Withdrawal(
            date=date.today().isoformat(),
            finished="",
            corpora=" ".join(self.corpora),
            speakers=len(self.speakers),
            utterances=self.utterances.height,
            observations=self.observations,
            rejects=self.rejects,
            fact_sets=self.fact_sets,
            captions=len(self.captions),
            text_vectors=self.text_vectors,
            tars=self.n_tars,
            embeddings=len(self.embeddings),
            predictions=len(self.predictions),
            scores=len(self.scores),
            manifests=len(self.manifests),
            checkpoints=" ".join(self.checkpoints),
            refused=" ".join(refused),
            key=withdrawals.key_mark(hashed),
        )


# What is there -----------------------------------------------------------------------------------------------


def of_last_run(settings: Settings) -> Settings:
    """The settings with the mode and the raw folder of the run that filled the warehouse."""
    note = settings.warehouse / "run.json"
    if not note.is_file():
        return settings
    held = json.loads(note.read_text())
    return dataclasses.replace(settings, mode=held["mode"], raw=Path(held["raw"]))


def row_of(settings: Settings, corpus: str, speaker: str) -> Withdrawal | None:
    """The last row of a speaker in the list of withdrawals."""
    hashed = _hash(settings)
    (refused,) = withdrawals.hashes([_speaker_id(corpus, speaker)], hashed)
    rows = withdrawals.read(settings.warehouse / withdrawals.NAME, hashed)
    return next((row for row in reversed(rows) if refused in row.refused.split()), None)


def find(settings: Settings, corpus: str, speaker: str) -> Found:
    """Everything that the warehouse holds of the person whom ``corpus`` calls ``speaker``; changes nothing.

    Args:
        settings: where the warehouse and the raw folders are.
        corpus: a recipe's name.
        speaker: the owner's id, or a speaker_id (``<corpus>:<owner id>``).

    Raises:
        UnknownSpeakerError: the corpus has no such speaker.
        pipelines.settings.SettingsError: the store is not to be seen, or is not that of the last run.
    """
    _refuse_another_store(settings)
    hashed = _hash(settings)
    people = _stored(settings, "speaker", PEOPLE)
    persons = frozenset(people.filter(pl.col("speaker_id") == _speaker_id(corpus, speaker))["person_id"])
    begun = row_of(settings, corpus, speaker)
    if begun is not None and begun.finished:
        begun = None
    if begun is not None:  # killed when this corpus was done and another was not
        rest = withdrawals.refused_speakers(people, begun.refused.split(), hashed)
        persons |= frozenset(people.filter(pl.col("speaker_id").is_in(rest))["person_id"])
    if not persons and begun is None:
        raise UnknownSpeakerError(
            f"no speaker of that id in {corpus}. The ids are the owners' and stand in the column speaker_id: duckdb "
            f"-readonly {settings.meta_db} \"FROM speaker WHERE corpus = '{corpus}'\". A corpus has to be read by a "
            "run (`slap run`) before a speaker of it can be found"
        )
    is_person = pl.col("person_id").is_in(list(persons))
    speakers = tuple(sorted(set(people.filter(is_person)["speaker_id"])))
    names = tuple(sorted({*people.filter(is_person)["corpus"], *(begun.corpora.split() if begun else ())}))
    mine = _stored(settings, "utterance", SPOKEN, speakers)
    known = _of_others(settings, speakers).select("utt_id").collect()
    in_shards = frozenset(map(hashed, persons))
    of_others = _of_others(settings, speakers).select("corpus", "path")
    tars = dict(_tars(settings.shards_store, mine, known, of_others, in_shards.__contains__))
    if not persons:  # the tables were made anew meanwhile, so the person is who is in none of them
        others = frozenset(map(hashed, people["person_id"]))
        every = _tars(settings.shards_store, mine, known, of_others, lambda one: one not in others)
        tars = {tar: held for tar, held in every if tar.parent.name in names}
    manifests, checkpoints = _lineage(settings, names, persons, tars)
    predictions = tuple(_predictions(settings, mine, in_shards, names))
    texts = _Texts(settings.captions_folder, known)
    folders = [card.parent for name in names for card in _files(settings, "corpus.json", name)]
    return Found(
        begun=begun,
        persons=persons,
        speakers=speakers,
        corpora=names,
        utterances=mine,
        known=known,
        observations=sum(_observations(folder, speakers) for folder in folders),
        rejects=sum(_rejects(folder, speakers) for folder in folders),
        fact_sets=texts.sets_gone,
        captions=texts.gone,
        text_vectors=sum(texts.vectors_gone().values()),
        tars=tars,
        embeddings=tuple(_embeddings(settings.embeddings, known)),
        predictions=predictions,
        scores=tuple(_scores(settings, predictions, names)),
        manifests=manifests,
        checkpoints=checkpoints,
        raw=tuple(_raw(settings, mine, speakers)),
    )


def _refuse_another_store(settings: Settings) -> None:
    """The person is to be removed where the last run left the tars, whatever SLAP_STORE says today."""
    note = note_of(settings.warehouse)
    used = note.get("store", str(settings.warehouse))
    is_it = settings.store_owner() == note.get("id") if settings.apart else "store" not in note
    if not is_it:
        raise SettingsError(f"{settings.store} is not where the last run worked: set SLAP_STORE={used}, or run first")


def describe(found: Found) -> list[str]:
    """What would be removed, and what stays, in lines for the terminal."""
    goes = (
        (found.utterances.height, "utterances in the tables and meta.db"),
        (found.observations, "observations"),
        (found.rejects, "rejects that name the speaker or a file"),
        (len(found.captions), f"captions of {found.fact_sets} sets of facts that nobody else in training has"),
        (found.text_vectors, "text vectors"),
        (found.n_tars, "tars, written again without the speaker"),
        (len(found.embeddings), "files of audio vectors"),
        (len(found.predictions), "files of predictions"),
        (len(found.scores), "scores; the board is drawn without them until the next run"),
        (len(found.manifests), "manifests that no training may start from again"),
    )
    lines = [f"{len(found.speakers)} speaker_id(s) of one person, in: {', '.join(found.corpora)}"]
    lines += [f"  {count:7d}  {what}" for count, what in goes]
    lines += ["", "Checkpoints whose training saw the speaker (they stay: retrain, or stop using them):"]
    lines += [f"  {name}" for name in found.checkpoints] or ["  none"]
    lines += ["", "The owners' files still hold the speaker; they are yours to remove, and a run will not read them:"]
    lines += [f"  {name}" for name in found.raw] or ["  none"]
    return lines


def _hash(settings: Settings) -> Hash:
    return functools.partial(ingest.keyed, ingest.id_key(settings.warehouse))


def _speaker_id(corpus: str, speaker: str) -> str:
    return speaker if speaker.startswith(f"{corpus}:") else f"{corpus}:{speaker}"


def _stored(
    settings: Settings, table: str, columns: Mapping[str, pl.DataType], speakers: Collection[str] | None = None
) -> pl.DataFrame:
    """Rows of all corpora, as the tables and ``meta.db`` have them: after a kill, one may know what the other lost."""
    theirs = pl.lit(True) if speakers is None else pl.col("speaker_id").is_in(list(speakers))
    parts = [pl.DataFrame(schema=dict(columns))]
    for path in _files(settings, f"{table}.parquet"):
        parts.append(pl.scan_parquet(path).filter(theirs).select(list(columns)).collect())
    if settings.meta_db.is_file():
        names = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in columns)
        among = "true" if speakers is None else "list_contains(?, speaker_id)"
        with suppress(duckdb.Error), duckdb.connect(str(settings.meta_db), read_only=True) as connection:
            query = f"SELECT {names} FROM {table} WHERE {among}"  # noqa: S608 - our own names
            parts.append(connection.sql(query, params=None if speakers is None else [list(speakers)]).pl())
    return pl.concat(parts).unique(maintain_order=True)


def _of_others(settings: Settings, speakers: Collection[str]) -> pl.LazyFrame:
    """The utterances of everybody else, columns of SPOKEN."""
    files = _files(settings, "utterance.parquet")
    # One by one: tables that are away may be of older code, with other columns.
    parts = [pl.LazyFrame(schema=dict(SPOKEN)), *(pl.scan_parquet(file).select(list(SPOKEN)) for file in files)]
    return pl.concat(parts).filter(~pl.col("speaker_id").is_in(list(speakers)))


def _files(settings: Settings, name: str, corpus: str = "*") -> list[Path]:
    """A file of the tables of all corpora, or of one; where it is away, that of today and then that of its last tables.

    A swap that was killed half-way is looked through, too: `meta.db` knows who is in the other tables, but not here.
    """
    away = settings.tables / ingest.AWAY
    parents = (settings.tables, away / ".previous", away)
    return [path for parent in parents for path in sorted(parent.glob(f"{corpus}/{name}"))]


def _root(settings: Settings, corpus: str) -> Path:
    """The raw folder that a corpus was read from."""
    cards = _files(settings, "corpus.json", corpus)
    return Path(json.loads(cards[-1].read_text("utf-8"))["root"]) if cards else settings.raw / corpus


def _observations(tables: Path, speakers: Collection[str]) -> int:
    path = tables / "observation.parquet"
    if not path.is_file():
        return 0
    theirs = pl.col("speaker_id").is_in(list(speakers))
    return int(pl.scan_parquet(path).filter(theirs).select(pl.len()).collect().item())


def _rejects(tables: Path, speakers: Collection[str]) -> int:
    theirs = _of_corpus(tables.name, speakers)
    if not theirs or not all((tables / f"{name}.parquet").is_file() for name in ("reject", "utterance")):
        return 0
    gone = pl.scan_parquet(tables / "reject.parquet").filter(_naming(tables, theirs))
    return int(gone.select(pl.len()).collect().item())


def _naming(tables: Path, speakers: list[str]) -> pl.Expr:
    """Whether a reject of a corpus names its speakers."""
    files = pl.read_parquet(tables / "utterance.parquet", columns=["speaker_id", "path"])
    return withdrawals.named(speakers, withdrawals.own_files(iter([files]), speakers))


def _of_corpus(corpus: str, speakers: Collection[str]) -> list[str]:
    return [speaker for speaker in speakers if speaker.startswith(f"{corpus}:")]


def _tars(
    folder: Path, mine: pl.DataFrame, known: pl.DataFrame, of_others: pl.LazyFrame, is_person: Callable[[str], bool]
) -> Iterator[tuple[Path, Held]]:
    """The tars that hold the person. Utterances that no table knows are told by the speaker in their sidecar.

    Rejects go when their file is nobody else's.
    """
    by_corpus: dict[str, list[Path]] = {}
    for tar in _indexed(folder):
        by_corpus.setdefault(tar.parent.name, []).append(tar)
    for corpus, tars in by_corpus.items():
        held = _utterances_of({tar.with_suffix(".parquet"): tar for tar in tars})
        theirs = _by_file(held.join(mine, on="utt_id", how="semi"))
        unknown = _by_file(held.join(known, on="utt_id", how="anti").join(mine, on="utt_id", how="anti"))
        listed = zip(tars, store.at_once(shards.rejects_of, tars), strict=True)
        rejects = [(str(tar), reject["path"]) for tar, of_it in listed for reject in of_it]
        files = pl.DataFrame(rejects, schema={"file": pl.String(), "path": pl.String()}, orient="row")
        asked = pl.col("path").is_in(files["path"].unique().implode())
        shared = of_others.filter(asked, corpus=corpus).collect() if rejects else files.head(0)
        paths = _by_file(files.join(shared, on="path", how="anti"), "path")
        for tar in tars:
            part = Held(theirs.get(str(tar), set()), paths.get(str(tar), set()))
            if str(tar) in unknown:
                speakers = shards.speakers(tar)
                part.utterances.update(utt_id for utt_id, speaker in speakers.items() if is_person(speaker))
            if part.utterances or part.rejects:
                yield tar, part


def _embeddings(folder: Path, known: pl.DataFrame) -> Iterator[Path]:
    """Files with a vector of the person, or of an utterance that no table knows: it may be the person's."""
    files = {str(file): file for file in store.listing(folder, "*/*.parquet")}
    held = _utterances_of({file: file for file in files.values()})
    yield from (files[name] for name in sorted(_by_file(held.join(known, on="utt_id", how="anti"))))


def _indexed(folder: Path) -> list[Path]:
    """The tars of all corpora that have an index; one without is of a killed run."""
    there = set(store.listing(folder, "*/*.parquet"))
    return [tar for tar in store.listing(folder, "*/*.tar") if tar.with_suffix(".parquet") in there]


def _utterances_of(files: Mapping[Path, Path]) -> pl.DataFrame:
    """utt_id and file: the utterances that Parquet files name, under the name of another file."""

    def part(file: Path) -> pl.DataFrame:
        frame = pl.read_parquet(store.source(file), columns=["utt_id"])
        return frame.with_columns(file=pl.lit(str(files[file])))

    parts = store.at_once(part, files)
    return pl.concat([pl.DataFrame(schema={"utt_id": pl.String(), "file": pl.String()}), *parts])


def _by_file(held: pl.DataFrame, column: str = "utt_id") -> dict[str, set[str]]:
    return {file: set(values) for file, values in held.group_by("file").agg(column).iter_rows()}


def _predictions(
    settings: Settings, mine: pl.DataFrame, in_shards: frozenset[str], names: Collection[str]
) -> Iterator[Path]:
    """Files with the person, and all of the person's corpora: a probe may have learned from the person."""
    ids = [*in_shards, *mine["utt_id"]]
    for file in sorted((settings.warehouse / "predictions").glob("*/*.parquet")):
        held = pl.read_parquet(file, columns=["unit_id", "person"])
        score = settings.warehouse / "scores" / file.parent.name / f"{file.stem}.json"
        if held.select(pl.any_horizontal(pl.all().is_in(ids).any())).item() or _corpus(score) in {*names, ""}:
            yield file


def _scores(settings: Settings, predictions: Iterable[Path], names: Collection[str]) -> Iterator[Path]:
    """Scores of those predictions, and of all tasks on the person's corpora: they are means over people.

    Transfers lie in one file an embedder; it goes if a probe of it learned from, or was judged on, one of the corpora.
    """
    touched = {(file.parent.name, file.stem) for file in predictions}
    for file in sorted((settings.warehouse / "scores").glob("*/*.json")):
        if (file.parent.name, file.stem) in touched or _corpus(file) in {*names, ""}:
            yield file
    for file in sorted((settings.warehouse / "scores").glob(f"*/{transfer.FILE}")):
        if not _transferred(file).isdisjoint({*names, ""}):
            yield file


def _transferred(file: Path) -> set[str]:
    """The corpora of the transfers in a file; "" where the file does not say."""
    try:
        pairs = pl.read_parquet(file, columns=["train_corpus", "test_corpus"])
    except (OSError, pl.exceptions.PolarsError):
        return {""}
    return {str(name) for name in [*pairs["train_corpus"], *pairs["test_corpus"]]}


def _corpus(score: Path) -> str:
    """The corpus of a score; "" where the file does not say."""
    try:
        return str(json.loads(score.read_text())["corpus"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _lineage(
    settings: Settings, names: Collection[str], persons: Collection[str], tars: Mapping[Path, Held]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The manifests that list a tar with the person, and the checkpoints that were trained on them.

    A tar that was written again since, and a manifest that was lost, cannot be asked: the person counts as seen where
    the corpus was trained on and the person is no one's test speaker.
    """
    split = settings.tables / warehouse.SPLIT_FILE
    placed: set[str] = set()
    if split.is_file():
        placed = set(pl.read_parquet(split).filter(pl.col("person_id").is_in(list(persons)))["split"])
    may_train = "train" in placed or not placed

    there = _indexed(settings.shards_store)
    hashes = dict(zip(there, store.at_once(shards.tar_sha256, there), strict=True))

    def held(shard: Mapping[str, Any]) -> bool:
        tar = settings.store / shard["path"]
        if hashes.get(tar) == shard["sha256"]:
            return tar in tars and bool(tars[tar].utterances)
        return shard["corpus"] in names and may_train

    saw: dict[str, bool] = {}
    manifests = []
    for file in store.listing(settings.manifests, "*.json"):
        saw[file.stem] = any(held(shard) for shard in json.loads(store.content(file))["shards"])
        manifests += [file] if saw[file.stem] else []
    checkpoints = set()
    for name, file in _cards(settings):
        card = json.loads(store.content(file))
        lost = may_train and not set(names).isdisjoint(card["trained_on"]["corpora"])
        if saw.get(card["manifest"][:12], lost):
            checkpoints.add(name)
    return tuple(manifests), tuple(sorted(checkpoints))


def _cards(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Every checkpoint's card, with the name of its training; those of ablations are named by their folder."""
    for folder in dict.fromkeys((settings.warehouse / "checkpoints", settings.checkpoints)):
        for file in store.listing(folder, "*/step-*/checkpoint.json"):
            yield file.parent.parent.name, file
    for file in (settings.warehouse / ablate.FOLDER).glob("*/training/step-*/checkpoint.json"):
        yield f"{ablate.FOLDER}/{file.parents[2].name}", file


class _Texts:
    """Facts, captions and text vectors, with and without the person."""

    def __init__(self, folder: Path, known: pl.DataFrame) -> None:
        self.folder = folder
        self.facts, self.captions = folder / "facts.parquet", folder / "captions.parquet"
        self.vectors = sorted(folder.glob("vectors-*.parquet"))
        self.sets_gone = 0
        self.gone: tuple[str, ...] = ()
        self.texts: set[str] = set()
        self.facts_kept = pl.DataFrame(schema={"split": pl.String(), "facts": pl.List(pl.String())})
        self.whole = not (self.facts.is_file() and self.captions.is_file())
        if self.whole:
            return
        facts, captions = pl.read_parquet(self.facts), pl.read_parquet(self.captions)
        self.facts_kept = facts.join(known, on="utt_id", how="semi", maintain_order="left")
        sets = self.facts_kept.filter(pl.col("split") == "train")["fact_hash"].unique()
        stays = pl.col("fact_hash").is_in(sets.implode())
        self.captions_kept = captions.filter(stays)
        self.sets_gone = captions.filter(~stays)["fact_hash"].n_unique()
        self.texts = set(self.captions_kept["text"])
        self.gone = tuple(sorted(set(captions["text"]) - self.texts))
        self.whole = facts.height == self.facts_kept.height and captions.height == self.captions_kept.height

    def vectors_gone(self) -> dict[Path, int]:
        """File of text vectors -> how many are of no caption that stays."""
        stored = {file: set(pl.read_parquet(file, columns=["text"])["text"]) for file in self.vectors}
        return {file: len(texts - self.texts) for file, texts in stored.items()}

    def remove(self, away: bool) -> None:
        """Write the files that change. Their key goes, so the next run looks at them again.

        Args:
            away: the person may be in a corpus that is away: captions and facts are without it, and say nothing.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        for file, gone in self.vectors_gone().items():
            if gone:
                table = pq.read_table(file)
                kept = table.filter(pc.is_in(table["text"], pa.array(sorted(self.texts), pa.string())))
                with store.whole(file) as written:
                    pq.write_table(kept, written)
        if not self.whole or away:
            # A set of facts that nobody else has may point to the person, and so may what a language model said of it.
            sets = self.facts_kept.filter(pl.col("split") == "train")["facts"].unique().to_list()
            for file in strangers(self.folder, sets):
                file.unlink()
        if not self.whole:
            for file, frame in ((self.captions, self.captions_kept), (self.facts, self.facts_kept)):
                with store.whole(file) as written:
                    frame.write_parquet(written)


def _renew_texts(settings: Settings) -> None:
    """What a manifest's trainers read of the captions in the store, as it is in the warehouse now."""
    for copy in store.listing(settings.store / settings.captions_folder.name, "*.parquet"):
        own = settings.captions_folder / copy.name
        store.copy(own, copy) if own.is_file() else store.remove(copy)


def _raw(settings: Settings, mine: pl.DataFrame, speakers: Collection[str]) -> Iterator[str]:
    """Folders that are the person's alone, and single files."""
    for corpus in sorted({speaker.partition(":")[0] for speaker in speakers}):
        root = _root(settings, corpus)
        others = _of_others(settings, speakers).filter(corpus=corpus).select(mine.columns).collect()
        own = withdrawals.own_files(iter([mine.filter(corpus=corpus), others]), list(speakers))
        yield from (f"{root / folder}/" for folder in own.folders)
        for path in sorted(own.paths):
            if not any(path.startswith(f"{folder}/") for folder in own.folders):
                yield f"{root / path}{'  (others speak in it too)' if path in own.shared else ''}"
        yield f"{root}: rows of the owners' own tables, and transcripts or other files that no run reads as audio"
    if not store.is_local(settings.store):
        yield f"{settings.store}: earlier versions of objects, if the bucket keeps versions"


# What goes ---------------------------------------------------------------------------------------------------


def remove(settings: Settings, found: Found) -> Withdrawal:
    """Remove the person everywhere. Killed at any point and run again, it ends the same.

    Returns:
        The person's row in the list of withdrawals.
    """
    hashed = _hash(settings)
    row = found.row(hashed)
    withdrawals.put(settings.warehouse / withdrawals.NAME, row, hashed)
    for parent in (settings.tables, settings.tables / ingest.AWAY):
        for folder in [*parent.glob(".partial/*"), *parent.glob(".previous/*")]:
            ingest._recover(parent, folder.name)
    _remove_files([*found.scores, *found.predictions, *found.embeddings, *_boards(settings)])
    _stop_manifests(settings, found.manifests)
    _remove_from_shards(settings, found)
    _remove_from_dagster(_dagster_home(), _names(found, hashed))
    away = any((settings.tables / ingest.AWAY / name).is_dir() for name in found.corpora)
    _Texts(settings.captions_folder, found.known).remove(away)
    if settings.apart:
        _renew_texts(settings)
    _remove_from_tables(settings, row, hashed)
    _rebuild(settings)
    return finish(settings, row)


def finish(settings: Settings, row: Withdrawal) -> Withdrawal:
    """Clear what killed runs left, draw the board again, and say in the list that nothing is left to do."""
    _clear_drafts(settings)
    _draw_board(settings)
    done = dataclasses.replace(row, finished=date.today().isoformat())
    withdrawals.put(settings.warehouse / withdrawals.NAME, done, _hash(settings))
    return done


def _boards(settings: Settings) -> list[Path]:
    """The reports, and what ablations judged: the next ones are of another manifest anyway."""
    ablations = settings.warehouse / ablate.FOLDER
    kinds = ("embeddings/**/*", "predictions/**/*", "scores/**/*", "result.json")
    found = [*settings.reports.glob("**/*"), *(path for kind in kinds for path in ablations.glob(f"*/{kind}"))]
    return [path for path in found if path.is_file()]


def _remove_files(files: Iterable[Path]) -> None:
    for file in files:
        store.remove(file)
        if store.is_local(file) and file.parent.is_dir() and not any(file.parent.iterdir()):
            file.parent.rmdir()


def _stop_manifests(settings: Settings, manifests: Collection[Path]) -> None:
    """Mark those that a checkpoint refers to, so that its lineage stays; remove the others."""
    trained = {json.loads(store.content(card))["manifest"][:12] for _, card in _cards(settings)}
    current = settings.manifests / "current"
    for file in manifests:
        if file.stem in trained:
            mark = file.with_suffix(WITHDRAWN)
            if not store.exists(mark):
                store.write(mark, date.today().isoformat().encode())
            continue
        if store.exists(current) and store.content(current).decode() == file.name:
            store.remove(current)
        store.remove(file)


def _remove_from_shards(settings: Settings, found: Found) -> None:
    indexed = set(_indexed(settings.shards_store))
    for tar in store.listing(settings.shards_store, "*/*.tar"):
        if tar not in indexed:
            store.remove(tar)  # of a killed run, which would write it again
    for corpus in sorted({path.name for path in settings.shards.glob("*") if path.is_dir()} | {*found.corpora}):
        folder = settings.shards_store / corpus
        mine = {tar: held for tar, held in found.tars.items() if tar.parent == folder}
        if mine:
            _remove_from_tars(settings, folder, mine, found)
        if mine or (corpus in found.corpora and (settings.shards / corpus).is_dir()):
            left = sorted(tars_of(corpus, settings.shards, settings.shards_store), key=shards.place)
            shards.summarise(left, 0, settings.shards / corpus)
    (settings.shards / "findings.json").unlink(missing_ok=True)


def _remove_from_tars(settings: Settings, folder: Path, tars: Mapping[Path, Held], found: Found) -> None:
    """Take the person out of the tars of a corpus; where all was up to date it stays so, key and all."""
    corpus, root = folder.name, _root(settings, folder.name)
    rows = _rows_to_cut(settings, corpus)
    before = {unit.tar: unit for unit in shards.plan(corpus, root, rows, folder)}
    if before:
        shards.keep_bounds(list(before.values()), folder)
    gone = set(found.utterances["utt_id"])
    rest = rows.filter(~pl.col("utt_id").is_in(list(gone)))
    after = {unit.tar: unit for unit in shards.plan(corpus, root, rest, folder)}
    fresh = {tar for tar in tars if tar in before and tar in after and shards.made_from(before[tar])}
    for tar, held in tars.items():
        shards.take_out(tar, held.utterances, held.rejects, after[tar].key if tar in fresh else "")


def _rows_to_cut(settings: Settings, corpus: str) -> pl.DataFrame:
    """The utterances of a corpus as `shards.rows_to_cut` has them; of one that is away, from its last tables."""
    key = ingest.id_key(settings.warehouse)
    with suppress(duckdb.Error):  # no meta.db: the tables have its rows, too
        rows = shards.rows_to_cut(corpus, settings.meta_db, key)
        if rows.height:
            return rows
    placed = settings.tables / warehouse.SPLIT_FILE
    spoken, people = (_files(settings, f"{table}.parquet", corpus)[-1:] for table in ("utterance", "speaker"))
    if not (placed.is_file() and spoken and people):  # the next run writes the corpus anew
        return pl.DataFrame(schema={**dict.fromkeys(shards.MADE_FROM, pl.String()), "split": pl.String()})
    speakers = pl.read_parquet(people[0], columns=["speaker_id", "person_id"])
    rows = pl.read_parquet(spoken[0]).join(speakers, on="speaker_id")
    rows = rows.join(pl.read_parquet(placed, columns=["person_id", "split"]), on="person_id").sort("utt_id")
    hashed = [ingest.keyed(key, person) for person in rows["person_id"]]
    return rows.with_columns(speaker=pl.Series(hashed, dtype=pl.String())).select(*shards.MADE_FROM, "split")


def _names(found: Found, hashed: Hash) -> list[str]:
    """Words that name the person: ids, files, and captions that fit nobody else."""
    paths = {path for path in found.utterances["path"] if "/" in path or len(path) >= 8}
    return [
        *found.persons,
        *found.speakers,
        *map(hashed, found.persons),
        *found.utterances["utt_id"],
        *paths,
        *found.captions,
    ]


def _dagster_home() -> Path:
    """Where Dagster's runs and events lie: at the project's root, or where DAGSTER_HOME says."""
    home = Path(os.environ.get("DAGSTER_HOME", PROJECT))
    return home / ".dagster" if home.resolve() == PROJECT else home


def _remove_from_dagster(home: Path, names: Collection[str]) -> None:
    """Events and logs that name the person; errors may quote a row or a file."""
    words = sorted(names)
    files = [path for folder in DAGSTER_FOLDERS for path in (home / folder).rglob("*") if path.is_file()]
    for file in files if words else ():
        if file.suffix == ".db":
            _remove_events(file, words)
        elif file.suffix in (".err", ".out"):
            text = pl.Series([file.read_text(errors="replace")])
            if text.str.contains_any(words).item():
                file.write_text("")


def _remove_events(database: Path, words: list[str]) -> None:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        hit = False
        for table, column, change in EVENTS:
            if table not in tables:
                continue
            rows = connection.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()  # noqa: S608
            named = pl.Series([text for _, text in rows], dtype=pl.String).str.contains_any(words)
            found = [(number,) for (number, _), is_named in zip(rows, named, strict=True) if is_named]
            connection.executemany(change, found)
            hit |= bool(found)
        connection.commit()
        if hit:
            connection.execute("VACUUM")  # a deleted row stays readable in the file until then
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _remove_from_tables(settings: Settings, row: Withdrawal, hashed: Hash) -> None:
    """Take everybody on the list out of all tables, as ingest does, and say so in their fingerprints."""
    listed = settings.warehouse / withdrawals.NAME
    rows = withdrawals.read(listed, hashed)
    # Whose withdrawal was broken off stays until it is taken up again: the tables say what is to be removed.
    refused = {one for every in rows if every.finished or every == row for one in every.refused.split()}
    old = withdrawals.mark_of([one for one in rows if one != row], hashed)
    new = withdrawals.mark_of(rows, hashed)
    for card in _files(settings, "corpus.json"):
        speakers = pl.read_parquet(card.parent / "speaker.parquet", columns=["speaker_id", "person_id"])
        gone = withdrawals.refused_speakers(speakers, refused, hashed)
        values = json.loads(card.read_text("utf-8"))
        base, plus, mark = str(values["fingerprint"]).partition("+")
        if gone or plus + mark == old != new:
            fingerprint = base + new if plus + mark in (old, new) else ""
            _rewrite_tables(card.parent.parent, values, fingerprint, gone)
    split = settings.tables / warehouse.SPLIT_FILE
    if split.is_file():
        placed = pl.read_parquet(split)
        on_list = [one for one in placed["person_id"] if not refused.isdisjoint(withdrawals.hashes([one], hashed))]
        if on_list:
            with store.whole(split) as written:
                placed.filter(~pl.col("person_id").is_in(on_list)).write_parquet(written)


def _rewrite_tables(tables: Path, card: dict[str, Any], fingerprint: str, gone: list[str]) -> None:
    """The tables of a corpus without some speakers, written beside and swapped in."""
    corpus = str(card["name"])
    folder, draft = tables / corpus, ingest._partial(tables, corpus)
    draft.mkdir(parents=True)
    stays = ~pl.col("speaker_id").is_in(gone)
    for file in sorted(folder.glob("*.parquet")):
        if not gone:
            shutil.copy2(file, draft / file.name)
        elif file.stem == "reject":
            kept = pl.read_parquet(file).filter(~_naming(folder, gone))
            pl.concat([kept, withdrawals.left_out(gone)]).write_parquet(draft / file.name)
        elif "speaker_id" in pl.read_parquet_schema(file):
            pl.scan_parquet(file).filter(stays).sink_parquet(draft / file.name)
    counted = {"speakers": "speaker", "utterances": "utterance", "observations": "observation", "rejects": "reject"}
    for name, table in counted.items():
        card["counts"][name] = pl.scan_parquet(draft / f"{table}.parquet").select(pl.len()).collect().item()
    card["fingerprint"] = fingerprint
    (draft / "corpus.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
    ingest._swap(tables, corpus)


def _rebuild(settings: Settings) -> None:
    """Build ``meta.db`` from the tables that are left; where that fails it is removed, and the next run builds it."""
    held = sorted(card.parent.name for card in settings.tables.glob("*/corpus.json"))
    try:
        warehouse.build(
            settings.tables,
            settings.meta_db,
            corpora=held,
            vocabulary=PROJECT / "warehouse" / "vocabulary",
            sql=PROJECT / "warehouse" / "sql",
            scores=settings.warehouse / "scores",
            shards=settings.shards,
            split_seed=settings.seed,
        )
    except warehouse.WarehouseError:
        settings.meta_db.unlink(missing_ok=True)


def _clear_drafts(settings: Settings) -> None:
    """Files, folders and uploads that killed runs left half-written, on whatever machine: nobody else is at work."""
    for large in (settings.shards_store, settings.embeddings):
        store.sweep(large, timedelta(0))
    for parent in (settings.tables, settings.tables / ingest.AWAY):
        for folder in (parent / ".partial", parent / ".previous"):
            shutil.rmtree(folder, ignore_errors=True)
    for file in settings.warehouse.glob(f".{settings.meta_db.name}.*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    names = ("tables", "captions", "shards", "manifests", "embeddings", "predictions", "scores", "reports")
    for root in filter(store.is_local, {settings.warehouse, settings.store}):
        for file in (file for name in names for file in (root / name).rglob("*")):
            if file.is_file() and (file.name.startswith(".") or file.suffix == ".tmp"):
                file.unlink()


def _draw_board(settings: Settings) -> None:
    """The board of the scores that are left; without the map, whose vectors are gone until the next run."""
    from pipelines.assets.benchmark import absent_embedders, tasks

    if settings.meta_db.is_file():
        board.draw(settings, tasks(settings), None, absent_embedders=absent_embedders(settings))
