"""From one raw folder to four Parquet tables: run a recipe, hide the utterance ids, write all or nothing.

``<tables>/<corpus>/`` holds ``speaker utterance observation reject`` as Parquet and ``corpus.json``, which says what
the corpus is, whether it was found and what it held. Audio files that the recipe passed over are rejects, too. The
folder is written beside and renamed, so a reader sees the old tables or the new ones. A scan is skipped while neither
the raw folder nor the code changed.

Where a corpus is away as a whole (its folder is gone, empty or unreadable, or it is left out of the run), its tables
are empty and the ones before go to ``<tables>/.away/<corpus>/``: its tars stay, and `pipelines.withdraw` has to know
who is in them.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import hmac
import inspect
import itertools
import json
import os
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq

from pipelines import accounting, pitch, schema, withdrawals
from pipelines.corpora import _base
from pipelines.corpora._base import Corpus, RecipeError, Rows
from pipelines.schema import SchemaError, Tables
from pipelines.spool import Spool
from slap_model import store

if TYPE_CHECKING:
    from pipelines.voices import Voices

SYNTHETIC = "SYNTHETIC.txt"
TABLES = schema.NAMES
AWAY = ".away"  # in the folder of all tables: the last tables of corpora whose tars stay while they are away
ID_LENGTH = 20  # hexadecimal characters, 80 bits


@dataclass(frozen=True)
class Ingested:
    """What `ingest` did: counts of rows, and ``changed`` False where the stored tables were still good."""

    corpus: str
    found: bool
    reason: str  # why there is no data, "" where there is
    speakers: int
    utterances: int
    observations: int
    rejects: int
    audio_files: int  # in the raw folder, by their endings
    unclaimed: int  # of them, those that the recipe passed over; rejects, too
    set_aside: Mapping[str, int]  # of them, those that are no inputs, by reason
    synthetic: bool
    fingerprint: str
    changed: bool


@store.writes_to("out")
def ingest(corpus: Corpus, root: Path, out: Path, id_key: bytes) -> Ingested:
    """Read the raw folder of one corpus into ``<out>/<corpus>/``.

    An absent folder and a folder that the recipe cannot read give empty tables and a ``reason``: one corpus
    never stops the others.

    Args:
        corpus: whose recipe to run.
        root: the corpus' raw folder, ``<raw>/<corpus>``.
        out: the folder of all tables, ``warehouse/tables``.
        id_key: secret of the utterance ids, see `id_key`.
    """
    for parent in (out, out / AWAY):
        _recover(parent, corpus.name)
    withdrawn, hashed = out.parent / withdrawals.NAME, functools.partial(keyed, id_key)
    audio = Spool(accounting.FILE)
    fingerprint, leaving = _fingerprint(corpus, root, id_key, audio)
    fingerprint += withdrawals.mark(withdrawn, hashed)
    stored = _stored(out / corpus.name, root, fingerprint)
    if stored is not None:
        if not stored.reason:
            forget(out, corpus.name)  # a run was killed before it could
        return stored
    found = root.is_dir()
    tables, reason = _scan(corpus, root) if found else (_no_rows(corpus), f"skipped: not found at {root}")
    partial = _partial(out, corpus.name)
    partial.mkdir(parents=True)
    unclaimed, aside = 0, dict[str, int]()
    if not reason:
        reason = "" if _any_utterance(tables) else f"no recording that can be used in {root}"
        tables, unclaimed, aside = _accounted(corpus, audio, tables, partial)
    tables = withdrawals.drop(tables, withdrawn, hashed)
    rows = _write(corpus.name, tables, partial, leaving, id_key)
    pitch.sample(root, partial).write_parquet(partial / f"{pitch.TABLE}.parquet")
    result = Ingested(
        corpus=corpus.name,
        found=found,
        reason=reason,
        speakers=rows["speaker"],
        utterances=rows["utterance"],
        observations=rows["observation"],
        rejects=rows["reject"],
        audio_files=audio.height,
        unclaimed=unclaimed,
        set_aside=aside,
        synthetic=(root / SYNTHETIC).is_file(),
        fingerprint=fingerprint,
        changed=True,
    )
    card = json.dumps(_card(corpus, root, result), indent=2, ensure_ascii=False)
    (partial / "corpus.json").write_text(card + "\n", "utf-8")
    if reason:
        _put_away(out, corpus.name)
    _swap(out, corpus.name)
    if not reason:
        forget(out, corpus.name)
    return result


def last_utterances(tables: Path, corpus: str) -> set[str]:
    """The ids of a corpus' utterances, of one that is away as it was when it was last there."""
    # A run beside this one may move them from the one folder to the other, and replace them when the corpus is back.
    files = [parent / corpus / "utterance.parquet" for parent in (tables, tables / AWAY, tables)]
    return {
        utt_id for file in files if file.is_file() for utt_id in pl.read_parquet(file, columns=["utt_id"])["utt_id"]
    }


def forget(tables: Path, corpus: str) -> None:
    """Remove the last tables of a corpus that was away: it is back, or no tar of it is left."""
    away = tables / AWAY
    gone = _partial(away, corpus)
    if (away / corpus).is_dir():
        gone.parent.mkdir(exist_ok=True)
        (away / corpus).rename(gone)  # at once: a withdrawal could not read the half of it
    _remove(gone)


def keyed(id_key: bytes, text: str) -> str:
    """A keyed hash of ``text``, 20 hexadecimal characters: nobody can tell it without the key."""
    return hmac.new(id_key, text.encode(), hashlib.sha256).hexdigest()[:ID_LENGTH]


def id_key(folder: Path) -> bytes:
    """The secret of the ids: variable ``SLAP_ID_KEY``, else file ``<folder>/.id_key``, made on first use.

    Raises:
        ValueError: the file does not hold 64 hexadecimal characters.
    """
    given = os.environ.get("SLAP_ID_KEY")
    if given:
        return given.encode()
    path = folder / ".id_key"
    text = path.read_text().strip() if path.is_file() else ""
    text = text or _new_key(path)
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError(f"{path}: not 64 hexadecimal characters; restore it, or remove it to give all ids new names")
    return key


def _new_key(path: Path) -> str:
    """The key in a file; a new one where the file is absent, or empty because its maker was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # of two processes the second one takes the key of the first
        text = file.read().strip()
        if not text:
            text = secrets.token_hex(32)
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    return text


def mark_synthetic(root: Path, fingerprint: str = "") -> None:
    """Say in the corpus folder that its people are made up; every product of it carries the mark."""
    text = "Made-up speakers with rendered voices. No recording of a person, no result about people.\n"
    (root / SYNTHETIC).write_text(f"{text}fingerprint: {fingerprint}\n")


def render_miniature(corpus: Corpus, root: Path, voices: Voices) -> bool:
    """Write the miniature of a corpus as ``root``, whole or not at all; True where it was rendered anew.

    Raises:
        RecipeError: ``root`` holds files that are not marked as synthetic: real data is never replaced.
    """
    code = [*_code(corpus), Path(inspect.getfile(type(voices)))]
    fingerprint = _digest([*_contents(code), f"scale {voices.scale!r}", f"seed {voices.seed!r}"])
    mark = root / SYNTHETIC
    if mark.is_file():
        if f"fingerprint: {fingerprint}" in mark.read_text().splitlines():
            return False
    elif root.exists() and any(root.iterdir()):
        raise RecipeError(f"{root} holds files without {SYNTHETIC}: a miniature never replaces real data, move it away")
    _recover(root.parent, root.name)
    partial = _partial(root.parent, root.name)
    partial.mkdir(parents=True)
    corpus.miniature(partial, voices)
    mark_synthetic(partial, fingerprint)
    _swap(root.parent, root.name)
    return True


def _scan(corpus: Corpus, root: Path) -> tuple[Tables, str]:
    """The recipe's tables, or empty ones with the reason as their only reject."""
    try:
        return corpus.scan(root), ""
    except (RecipeError, SchemaError) as error:
        rows = Rows(corpus.name)
        rows.reject(".", str(error))
        return rows.tables(), str(error)


def _any_utterance(tables: Tables) -> bool:
    return any(batch.height for batch in tables.batches("utterance"))


def _accounted(corpus: Corpus, audio: Spool, tables: Tables, scratch: Path) -> tuple[Tables, int, dict[str, int]]:
    """The tables with a reject for each audio file that the recipe passed over, how many, and those set aside."""
    lost, aside = Spool(accounting.FILE), Counter[str]()
    for batch in accounting.unclaimed(audio.batches(), tables, scratch):
        left, counts = accounting.set_aside(batch, corpus.no_inputs)
        aside.update(counts)
        for row in left.iter_rows():
            lost.add(row)
    rejects = (
        batch.select(corpus=pl.lit(corpus.name), path="path", reason=pl.lit(accounting.UNCLAIMED))
        for batch in lost.batches()
    )
    return (tables.with_rejects(rejects) if lost.height else tables), lost.height, dict(aside)


def _no_rows(corpus: Corpus) -> Tables:
    return Rows(corpus.name).tables()


def _write(corpus: str, tables: Tables, folder: Path, leaving: Sequence[str], key: bytes) -> dict[str, int]:
    """Write the tables batch by batch, with keyed utterance ids, and return how many rows each has.

    Utterances that lie behind a symbolic link out of the corpus folder are left out, with what is said of them.
    """
    lost: set[str] = set()

    def keep(name: str, batch: pl.DataFrame) -> pl.DataFrame:
        if leaving and name == "utterance":
            outside = batch["path"].map_elements(lambda path: _behind(path, leaving), return_dtype=pl.Boolean)
            lost.update(batch.filter(outside)["utt_id"])
            batch = batch.filter(~outside)
        elif lost and name == "observation":
            batch = batch.filter(pl.col("utt_id").is_null() | ~pl.col("utt_id").is_in(sorted(lost)))
        if name in ("utterance", "observation"):
            hidden = [None if utt_id is None else keyed(key, utt_id) for utt_id in batch["utt_id"]]
            batch = batch.with_columns(pl.Series("utt_id", hidden, dtype=pl.String))
        return batch

    rows = dict.fromkeys(TABLES, 0)
    for name in TABLES:
        kept: Iterator[pl.DataFrame] = (keep(name, batch) for batch in tables.batches(name))
        if name == "reject":
            reason = "symbolic link out of the corpus folder, not followed"
            links = pl.DataFrame(
                [(corpus, _base.printable(link), reason) for link in leaving],
                schema=dict(schema.REJECT),
                orient="row",
            )
            kept = itertools.chain(kept, [links])
        rows[name] = accounting.write_batches(kept, folder / f"{name}.parquet")
    return rows


def _behind(path: str, links: Sequence[str]) -> bool:
    return any(path == link or path.startswith(f"{link}/") for link in links)


def _listing(root: Path) -> Iterator[tuple[str, int, int, bool]]:
    """Path, bytes, time and whether it leads out, of all files and links below ``root`` in a stable order.

    Directory links are entries, not entered. Nothing is kept: a tree may hold millions of files.
    """
    home = root.resolve()
    if not home.is_dir():
        return
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(home / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        pending.extend(folder + entry.name + "/" for entry in reversed(folders))
        for entry in entries:
            info, leaves = entry.stat(follow_symlinks=False), False
            if stat.S_ISLNK(info.st_mode):
                target = Path(entry.path)
                leaves = not target.resolve().is_relative_to(home)
                info = target.stat() if target.exists() and not leaves else info
            elif stat.S_ISDIR(info.st_mode):
                continue
            yield folder + entry.name, info.st_size, info.st_mtime_ns, leaves


def _fingerprint(corpus: Corpus, root: Path, key: bytes, audio: Spool) -> tuple[str, list[str]]:
    """A hash of the code and of the raw folder's files, and the links that lead out of it; ``audio`` gets its audio."""
    code = [*_code(corpus), Path(pitch.__file__), Path(accounting.__file__)]
    digest = hashlib.sha256("\n".join([keyed(key, "id key"), *_contents(code)]).encode())
    leaving = []
    for path, size, changed, leaves in _listing(root):
        digest.update(f"\n{path}\0{size}\0{changed}\0{leaves}".encode(errors="surrogateescape"))
        if leaves:
            leaving.append(path)
        elif accounting.is_audio(path, corpus.audio_endings):
            audio.add((_base.printable(path),))
    return digest.hexdigest(), leaving


def _code(corpus: Corpus) -> list[Path]:
    """The recipe's file and those that every recipe rests on."""
    folder = Path(_base.__file__).parent
    by_name = folder / f"{corpus.name}.py"
    recipe = by_name if by_name.is_file() else Path(inspect.getfile(corpus.scan))
    return [recipe, *sorted(folder.glob("_*.py")), Path(schema.__file__)]


def _contents(code: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in code]


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _stored(folder: Path, root: Path, fingerprint: str) -> Ingested | None:
    """What an earlier run left, if it is whole and nothing changed since."""
    if not all((folder / name).is_file() for name in ("corpus.json", *(f"{table}.parquet" for table in TABLES))):
        return None
    try:
        card = json.loads((folder / "corpus.json").read_text("utf-8"))
        if (card["fingerprint"], card["root"], card["found"]) != (fingerprint, str(root), root.is_dir()):
            return None
        if any(pq.read_metadata(folder / f"{name}.parquet").num_rows != card["counts"][f"{name}s"] for name in TABLES):
            return None
        fields = {name: card[name] for name in ("found", "reason", "set_aside", "synthetic", "fingerprint")}
        return Ingested(corpus=card["name"], changed=False, **fields, **card["counts"])
    except (ValueError, KeyError, TypeError, OSError):
        return None  # written by other code, or torn: read the corpus again


def _card(corpus: Corpus, root: Path, result: Ingested) -> dict[str, object]:
    """The content of ``corpus.json``."""
    licence = asdict(corpus.licence)
    licence["expires"] = corpus.licence.expires.isoformat() if corpus.licence.expires else None
    return {
        "name": corpus.name,
        "title": corpus.title,
        "homepage": corpus.homepage,
        "citation": corpus.citation,
        "licence": licence,
        "languages": list(corpus.languages),
        "roles": list(corpus.roles),
        "epoch_share": corpus.epoch_share,
        "label": corpus.label,
        "official_splits": corpus.official_splits,
        "root": str(root),
        "found": result.found,
        "reason": result.reason,
        "set_aside": result.set_aside,
        "synthetic": result.synthetic,
        "fingerprint": result.fingerprint,
        "counts": {
            "speakers": result.speakers,
            "utterances": result.utterances,
            "observations": result.observations,
            "rejects": result.rejects,
            "audio_files": result.audio_files,
            "unclaimed": result.unclaimed,
        },
    }


# Folders cannot be replaced in one step, so: write .partial/<name>, move <name> to .previous/<name>, move
# .partial/<name> to <name>, remove .previous/<name>. Whatever step a run was killed at, _recover mends it.
# The two parent folders stay: removing them would race with the run of another corpus.


def _partial(parent: Path, name: str) -> Path:
    return parent / ".partial" / name


def _previous(parent: Path, name: str) -> Path:
    return parent / ".previous" / name


def _swap(parent: Path, name: str) -> None:
    """Put the finished ``.partial/<name>`` in the place of ``<name>``."""
    partial, previous, target = _partial(parent, name), _previous(parent, name), parent / name
    previous.parent.mkdir(exist_ok=True)
    if target.exists():
        target.rename(previous)
    partial.rename(target)
    _remove(previous)


def _put_away(tables: Path, corpus: str) -> None:
    """Move the tables of a corpus to those that are away, if they hold any utterance: those of today do not."""
    spoken = tables / corpus / "utterance.parquet"
    if spoken.is_file() and pq.read_metadata(spoken).num_rows:
        forget(tables, corpus)
        (tables / AWAY).mkdir(exist_ok=True)
        (tables / corpus).rename(tables / AWAY / corpus)


def _recover(parent: Path, name: str) -> None:
    """Undo what a killed run left: bring back the previous folder if its place is empty, drop the rest."""
    partial, previous, target = _partial(parent, name), _previous(parent, name), parent / name
    if previous.exists() and not target.exists():
        previous.rename(target)
    _remove(partial)
    _remove(previous)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
