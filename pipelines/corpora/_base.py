"""What a corpus recipe is made of. A new corpus is one new file in this folder that exposes ``CORPUS``."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from pipelines.schema import OBSERVATION, REJECT, SPEAKER, UTTERANCE, Tables, validate
from pipelines.spool import Spool

if TYPE_CHECKING:
    from pipelines.voices import Voices

Role = Literal["train", "evaluate", "open"]
Access = Literal["open", "form", "agreement", "paid", "private"]


class RecipeError(ValueError):
    """A raw folder that cannot be read as the corpus; the message names the file and says what to do."""


@dataclass(frozen=True)
class Licence:
    """What may be done with a corpus. Sharding refuses one that may not train or is past ``expires``."""

    name: str
    url: str
    access: Access
    may_train: bool
    may_redistribute: bool
    expires: date | None = None
    consent: str = ""  # what the speakers agreed to, as far as the owners say

    def refusal(self, today: date) -> str | None:
        """Why the corpus may not be used on ``today``, or None where it may."""
        if not self.may_train:
            return f"licence {self.name!r} does not allow training"
        if self.expires is not None and today > self.expires:
            return f"licence {self.name!r} expired on {self.expires.isoformat()}"
        return None


@dataclass(frozen=True)
class Corpus:
    """One corpus: where it comes from, what may be done with it, and how to read it.

    ``scan(root)`` is pure: it reads metadata and lists audio, touches no network and decodes no audio.
    ``miniature(root, voices)`` writes a miniature in the owners' raw layout with rendered speakers.
    """

    name: str
    title: str
    homepage: str
    citation: str
    licence: Licence
    languages: tuple[str, ...]
    roles: tuple[Role, ...]
    scan: Callable[[Path], Tables]
    miniature: Callable[[Path, Voices], None]
    label: str = "sex"  # the attribute that stratifies the split
    epoch_share: float = 1.0  # share of the corpus seen in one training epoch
    official_splits: bool = False  # use the owners' split where it is speaker-disjoint
    cohort: bool = False  # in the bring-your-own layout, which any lab may use: see `_byo`
    folder: str = ""  # of a cohort whose folder cannot have the corpus' name
    audio_endings: tuple[str, ...] = ()  # of its recordings, where they say nothing elsewhere: "dat" of WFDB
    # Audio files that no utterance is made of: a regular expression (Rust's) of their path -> why; see `accounting`.
    no_inputs: Mapping[str, str] = field(default_factory=dict)
    traps: Mapping[str, str] = field(default_factory=dict)  # what breaks a naive reader: short name -> one sentence


NOT_UTF8 = "the file's name is not UTF-8: rename it"


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; bytes of it that are not come as surrogates, see `os.fsdecode`."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    """The name with bytes that are no UTF-8 as ``\\udcff``."""
    return name if is_text(name) else name.encode("utf-8", "backslashreplace").decode()


@dataclass
class Rows:
    """Collects the rows of one corpus while a recipe reads, in flat memory; `tables` types and validates them."""

    corpus: str
    speakers: dict[str, tuple[object, ...]] = field(default_factory=dict)
    utterances: Spool = field(default_factory=lambda: Spool(UTTERANCE))
    observations: Spool = field(default_factory=lambda: Spool(OBSERVATION))
    rejects: Spool = field(default_factory=lambda: Spool(REJECT))

    def speaker(
        self,
        owner_id: str,
        *,
        sex: str | None = None,
        birth_year: int | None = None,
        native_language: str | None = None,
        country: str | None = None,
        person_id: str | None = None,
    ) -> str:
        """Add a speaker (again: no effect) and return its ``speaker_id``.

        ``person_id`` is ``<family>:<id>`` where another corpus may hold the same person.
        """
        speaker_id = printable(f"{self.corpus}:{owner_id}")
        if speaker_id not in self.speakers:
            person = printable(person_id or speaker_id)
            self.speakers[speaker_id] = (self.corpus, speaker_id, person, sex, birth_year, native_language, country)
        return speaker_id

    def utterance(
        self,
        path: str,
        speaker_id: str,
        *,
        language: str,
        speech_task: str | None = None,
        session_id: str | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        channel: int | None = None,
        device: str | None = None,
        recorded_on: date | None = None,
        official_split: str | None = None,
        age: float | None = None,
    ) -> str:
        """Add an utterance and return its ``utt_id``; ``path`` is relative to the corpus root.

        A path that is no UTF-8, which no table can hold, is a reject instead; what is observed of it is left out.
        """
        stem = os.path.splitext(path)[0]  # noqa: PTH122  (a Path for each of a million takes longer)
        if start_s is not None or end_s is not None:
            stem += f"#{start_s or 0:.3f}-{'' if end_s is None else f'{end_s:.3f}'}"
        utt_id = f"{self.corpus}:{stem}"
        if not is_text(path):
            self.reject(path, NOT_UTF8)
            return utt_id
        self.utterances.add(
            (
                utt_id,
                self.corpus,
                speaker_id,
                session_id,
                path,
                start_s,
                end_s,
                channel,
                language,
                speech_task,
                device,
                recorded_on,
                official_split,
                age,
            )
        )
        return utt_id

    def observe(
        self,
        speaker_id: str,
        attribute: str,
        value: str | float | None,
        *,
        source: str,
        instrument: str | None = None,
        unit: str | None = None,
        session_id: str | None = None,
        utt_id: str | None = None,
        rater: str | None = None,
    ) -> None:
        """Add an observation; None is no observation. Numbers go to ``value_num``, words to ``value``."""
        if value is None or not is_text(utt_id or ""):
            return
        word, number = (value, None) if isinstance(value, str) else (None, float(value))
        self.observations.add(
            (
                self.corpus,
                speaker_id,
                session_id,
                utt_id,
                attribute,
                word,
                number,
                unit,
                instrument,
                source,
                rater,
            )
        )

    def reject(self, path: str, reason: str) -> None:
        """Record a file or ``file:row`` that could not be read, and why."""
        self.rejects.add((self.corpus, printable(path), printable(reason)))

    def take_back_splits(self, speaker_ids: set[str]) -> None:
        """Forget the owners' split of all utterances of some speakers, who turned out to be on two sides."""
        theirs = pl.col("speaker_id").is_in(sorted(speaker_ids))
        kept = pl.when(~theirs).then(pl.col("official_split")).alias("official_split")
        self.utterances = self.utterances.changed(lambda batch: batch.with_columns(kept))

    def tables(self) -> Tables:
        """The collected rows as validated `Tables`."""
        speakers = pl.DataFrame(list(self.speakers.values()), schema=dict(SPEAKER), orient="row")
        return validate(self.corpus, Tables(speakers, self.utterances, self.observations, self.rejects))


def corpora(raw: Path | None = None) -> dict[str, Corpus]:
    """All corpora by name: the recipes, and the cohorts that lie in the raw folder (``SLAP_RAW`` where it is None).

    A raw folder is looked through once a process. A cohort that cannot be read is among them: its ``scan`` says why.
    """
    named = os.environ.get("SLAP_RAW", "") if raw is None else str(raw)
    return _with_cohorts(Path(named).resolve()) if named else recipes()


@cache
def _with_cohorts(raw: Path) -> dict[str, Corpus]:
    from pipelines.corpora._byo import cohorts

    return recipes() | cohorts(raw)


@cache
def recipes() -> dict[str, Corpus]:
    """All recipes by name, found by being in this folder."""
    import pipelines.corpora as package

    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            corpus: Corpus = importlib.import_module(f"{package.__name__}.{module.name}").CORPUS
            if corpus.name != module.name:
                raise RecipeError(f"{module.name}.py names its corpus {corpus.name!r}: both must be the same")
            found[corpus.name] = corpus
    return found
