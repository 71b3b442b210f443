"""``slap check``: what a corpus folder is understood to hold; ``slap new-cohort``: a corpus.toml to fill in."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from pipelines import audio
from pipelines.corpora import _byo, _corpus_toml
from pipelines.corpora._base import Corpus, RecipeError, recipes
from pipelines.corpora._byo import Table
from pipelines.corpora._read import fold
from pipelines.corpora._vocabulary import attributes, nearest, targets, words
from pipelines.schema import Tables

WIDTH = 120
ATTRIBUTES, REASONS, COLUMNS = 7, 3, 3  # at most so many lines each
LISTENED = 12  # recordings that are decoded


def check(folder: Path) -> list[str]:
    """What is understood of a corpus folder, in under 30 lines.

    Raises:
        RecipeError: the folder cannot be read, or holds no recording that can be used; the message says what to mend.
        SchemaError: a recipe breaks the contract of its tables.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise RecipeError(f"{folder} is no folder")
    cohort = _byo.is_cohort(folder) or (folder / _corpus_toml.NAME).is_file()
    if not cohort and folder.name not in recipes():
        inside = sorted({*recipes(), *_byo.cohorts(folder)} & {path.name for path in folder.iterdir()})
        if inside:
            raise RecipeError(f"{folder} holds the corpora {', '.join(inside)}: check one of them")
        raise RecipeError(
            f"{folder}: holds neither {_corpus_toml.NAME} nor {' or '.join(_byo.TABLES)}, and is not named like a "
            f"known corpus{nearest(folder.name, recipes())}. `slap corpora` lists their folders' names; for a "
            f"cohort of your own: slap new-cohort {folder}"
        )
    corpus = _byo.cohort(folder) if cohort else recipes()[folder.name]
    table = _byo.read_cohort_table(folder) if cohort else None
    scanned = corpus.scan(folder)
    tables = Tables(
        scanned.speakers, scanned.utterances, scanned.observations, scanned.rejects
    )  # each held whole, once
    lines = [*_about(corpus), *_speech(tables), *(_columns(table) if table else ()), *_attributes(tables, table)]
    heard, unheard = _listen(folder, tables)
    lines += [*_rejects(tables), *_remarks(corpus, tables, heard, unheard)]
    if not tables.utterances.height:
        raise RecipeError("\n".join([*lines, f"{folder}: no recording could be used"]))
    if len(unheard) == heard:
        raise RecipeError("\n".join([*lines, f"{folder}: none of the recordings listened to can be used"]))
    return lines


def _about(corpus: Corpus) -> Iterator[str]:
    licence = corpus.licence
    yes = {True: "yes", False: "no"}
    uses = ["train" if role == "open" else role for role in corpus.roles]  # a real run trains on the open ones too
    yield _line(f"{corpus.name}: {corpus.title}", f"label {corpus.label}", f"used to {' and '.join(uses)}")
    yield _line(
        f"licence     {licence.name} ({licence.access})",
        f"train: {yes[licence.may_train]}",
        f"redistribute: {yes[licence.may_redistribute]}",
        f"expires: {licence.expires or 'never'}",
    )
    yield _line(f"consent     {licence.consent}")


def _speech(tables: Tables) -> Iterator[str]:
    sexes = [words("sex").get(fold(sex), sex) if sex else None for sex in tables.speakers["sex"]]
    yield _line(f"speakers    {tables.speakers.height}", f"sex: {_counts(sexes)}")
    spoken = tables.utterances
    ages = spoken["age"].drop_nulls().to_list()
    age = f"{min(ages):g} to {max(ages):g}, unknown {spoken.height - len(ages)}" if ages else "unknown"
    yield _line(f"recordings  {spoken.height}", f"language: {_counts(spoken['language'])}", f"age: {age}")
    optional = ("speech_task", "official_split", "device")
    several = [f"{name}: {_counts(spoken[name])}" for name in optional if spoken[name].null_count() < spoken.height]
    if spoken["session_id"].null_count() < spoken.height:
        several.append(f"sessions: {spoken.select('speaker_id', 'session_id').n_unique()}")
    if several:
        yield _line(f"            {several[0]}", *several[1:])


def _columns(table: Table) -> Iterator[str]:
    yield f"columns of {table.path.name} ({len(table.rows)} rows)"
    named = [ours if ours == own else f"{own} -> {ours}" for ours, own in table.own.items()]
    if table.ignored:
        named.append(f"ignored: {', '.join(table.ignored)}")
    wrapped = textwrap.wrap(", ".join(named), WIDTH - 2, initial_indent="  ", subsequent_indent="  ")
    yield from wrapped if len(wrapped) <= COLUMNS else [*wrapped[: COLUMNS - 1], "  ..."]


def _attributes(tables: Tables, table: Table | None) -> Iterator[str]:
    """One line an attribute: its values, counted by speaker."""
    said: dict[str, dict[str, set[str | float]]] = defaultdict(lambda: defaultdict(set))
    how: dict[str, str] = {}
    columns = ("speaker_id", "attribute", "value", "value_num", "instrument", "source")
    for speaker, attribute, value, number, instrument, source in tables.observations.select(columns).iter_rows():
        said[attribute][speaker].add(number if value is None else value)
        how.setdefault(attribute, f"by {instrument}, {source}" if instrument else str(source))
    if table is not None:
        for attribute in sorted(set(table.own) & set(attributes())):
            said[attribute]  # a column without any value is worth a line
    if said:
        yield "attributes, counted by speaker"
    for place, (attribute, of_speaker) in enumerate(sorted(said.items())):
        if place == ATTRIBUTES:
            yield f"  ... and {len(said) - ATTRIBUTES} more"
            return
        unknown = tables.speakers.height - len(of_speaker)
        values = [value for several in of_speaker.values() for value in several]
        numbers = [value for value in values if isinstance(value, float)]
        if numbers:
            decides = f", decides {targets()[attribute]}" if attribute in targets() else ""
            summary = f"{min(numbers):g} to {max(numbers):g}{decides}"
        else:
            summary = _counts(values)
        yield _line(f"  {attribute:20s}{summary}", f"unknown {unknown}", *filter(None, [how.get(attribute)]))


def _rejects(tables: Tables) -> Iterator[str]:
    if not tables.rejects.height:
        return
    yield f"rejects     {tables.rejects.height}"
    paths: dict[str, list[str]] = defaultdict(list)
    for path, reason in tables.rejects.select("path", "reason").iter_rows():
        paths[re.sub(r"\d+", "#", reason)].append(path)
    ordered = sorted(paths.items(), key=lambda item: (-len(item[1]), item[0]))
    for reason, rejected in ordered[:REASONS]:
        yield _line(f"  {len(rejected):5d}  {reason}", f"first: {rejected[0]}")
    if len(ordered) > REASONS:
        yield f"  ... and {len(ordered) - REASONS} more reasons"


def _remarks(corpus: Corpus, tables: Tables, heard: int, unheard: list[tuple[str, str]]) -> Iterator[str]:
    """What is no error, and worth a look."""
    refusal = corpus.licence.refusal(date.today())
    if refusal:
        yield f"! {refusal}: a run stops here, unless SLAP_ONLY leaves the corpus out"
    deciding = {corpus.label, *(scale for scale, state in targets().items() if state == corpus.label)}
    if corpus.label != "sex" and not deciding & set(tables.observations["attribute"]):
        yield f"! nobody's {corpus.label} is known, and it is the label: see [corpus] label"
    if corpus.official_splits and tables.utterances["official_split"].null_count() == tables.utterances.height:
        yield "! official_splits is true and no recording has a split"
    for path, reason in unheard[:1]:
        yield _line(f"! {path}: {reason}")
    if heard:
        yield f"of {heard} recordings listened to, {heard - len(unheard)} can be used"


def _listen(folder: Path, tables: Tables) -> tuple[int, list[tuple[str, str]]]:
    """Decode a few recordings from all over the corpus: how many, and which cannot be used and why."""
    spoken = tables.utterances
    chosen = spoken.gather_every(max(1, -(-spoken.height // LISTENED)))
    failed = []
    for row in chosen.iter_rows(named=True):
        try:
            audio.decode(folder / row["path"], start_s=row["start_s"], end_s=row["end_s"], channel=row["channel"])
        except audio.AudioError as error:
            failed.append((row["path"], str(error)))
    return chosen.height, failed


def _counts(values: Iterable[object]) -> str:
    """``fr 12, de 3, unknown 1``; of many values the most frequent."""
    counted = Counter("unknown" if value is None else str(value) for value in values)
    unknown = counted.pop("unknown", 0)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{value} {n}" for value, n in ordered[:6]]
    if len(ordered) > 6:
        shown.append(f"{len(ordered) - 6} other values")
    return ", ".join(shown + ([f"unknown {unknown}"] if unknown or not shown else []))


def _line(*parts: str) -> str:
    """One line of the terminal, whatever is in a file's name."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in "; ".join(parts))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


# --- slap new-cohort --------------------------------------------------------------------------------------


def new(folder: Path) -> Path:
    """Write a corpus.toml to fill in beside the table of a cohort's folder, with what its header says.

    Guesses stand behind a ``#``, so that a person decides on each; columns that are known by name need no line.

    Raises:
        RecipeError: there is no folder or no table, or a corpus.toml already.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise RecipeError(f"{folder} is no folder")
    path = folder / _corpus_toml.NAME
    if path.exists():
        raise RecipeError(f"{path} is there already: `slap check {folder}` says what it lacks")
    table = _byo.metadata_file(folder)
    names, _ = _byo.read_names_and_rows(table, "utf-8-sig")
    known = _corpus_toml.columns()
    lines = [
        f"# What {table.name} means. Fill in, remove the # of what is right, then: slap check {folder.name}",
        "# All that can be said here stands at the top of pipelines/corpora/_byo.py.",
        "",
        *_corpus_toml.lines("corpus", {}),
        "",
        *_corpus_toml.lines("licence", {}),
        "",
        "[columns]  # your column = ours; those that have our name already: "
        + (", ".join(name for name in names if name in known) or "none"),
        *(_line_of(name) for name in names if name not in known),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _line_of(name: str) -> str:
    """A line of [columns] behind a ``#``: the column of ours that it may be, or a question."""
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ours = _corpus_toml.guess(name)
    if ours:
        return f'# {quoted} = "{ours}"  # a guess'
    return f"# {quoted} = ?  # a column of _byo.py or attributes.csv; or ignore it in [corpus]"
