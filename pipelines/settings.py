"""Where things lie and how much to do: one frozen object that every step gets."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark import registry
from pipelines import grammar
from pipelines.corpora._base import Corpus, corpora, recipes
from pipelines.corpora._vocabulary import nearest
from pipelines.guard import timeout_s
from pipelines.paraphrase import options as paraphrasing
from pipelines.scale import engine_name, workers_wanted
from slap_model import config, store
from slap_model.store import StoreError
from slap_model.text import ENGLISH_ONLY

PROJECT = Path(__file__).resolve().parent.parent
RUN = "run.json"  # in a warehouse: what it holds
OWNER = "warehouse.json"  # in a store: whose it is
Mode = Literal["demo", "real"]


class SettingsError(ValueError):
    """Settings that cannot be worked with; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """Folders and sizes of one run.

    ``demo`` renders a miniature of every corpus into ``warehouse/raw``; ``real`` reads ``raw/<corpus>`` as it is.
    """

    mode: Mode = "demo"
    raw: Path = PROJECT / "warehouse" / "raw"
    warehouse: Path = PROJECT / "warehouse"
    store_at: Path | None = None  # where shards, manifests, vectors and checkpoints lie; None: in the warehouse
    config: str = "demo"  # name in slap_model/configs, or a TOML file
    overrides: tuple[str, ...] = ()  # section.field=value for the configuration
    scale: float = 1.0  # of the miniatures: speakers per corpus
    captions: int = 12  # per distinct set of facts and language
    languages: tuple[str, ...] = ("en",)  # of the captions; the text tower must read them
    paraphrase: paraphrasing.Options | None = None  # the model that writes captions, too; None: templates alone
    train_on: tuple[str, ...] = ("train",)  # roles of the corpora that are trained on
    only: tuple[str, ...] = ()  # corpora to use; empty: all
    seed: int = 0
    gpus: int = 0  # that one training takes; 0: all there are
    models: Path | None = None  # models downloaded by hand, as <owner>/<model>; None: the hub's cache

    @property
    def corpora(self) -> dict[str, Corpus]:
        """Every corpus that may take part: the recipes, and in a real run the cohorts in ``raw``."""
        return corpora(self.raw) if self.mode == "real" else recipes()

    @property
    def tables(self) -> Path:
        """One folder of Parquet tables per corpus."""
        return self.warehouse / "tables"

    @property
    def meta_db(self) -> Path:
        """The DuckDB warehouse."""
        return self.warehouse / "meta.db"

    @property
    def captions_folder(self) -> Path:
        """Facts, captions and text vectors."""
        return self.warehouse / "captions"

    @property
    def store(self) -> Path:
        """Where what is large lies: the warehouse, another folder, or an object store."""
        return self.store_at or self.warehouse

    @property
    def apart(self) -> bool:
        """Whether the store is not the warehouse."""
        return self.store != self.warehouse

    @property
    def shards(self) -> Path:
        """What DuckDB reads of the shards, one folder per corpus: index, rejects and sizes."""
        return self.warehouse / "shards"

    @property
    def shards_store(self) -> Path:
        """WebDataset tars and their indexes, one folder per corpus."""
        return self.store / "shards"

    @property
    def manifests(self) -> Path:
        """What trainings read, by hash."""
        return self.store / "manifests"

    @property
    def embeddings(self) -> Path:
        """Vectors of the utterances, one folder per embedder."""
        return self.store / "embeddings"

    @property
    def checkpoints(self) -> Path:
        """Trainings, one folder each. They are written in the warehouse; where the store is apart, also here."""
        return self.store / "checkpoints"

    @property
    def reports(self) -> Path:
        """The leaderboard and its pages."""
        return self.warehouse / "reports"

    def _raw_folders(self) -> list[Path]:
        used = {name: corpus for name, corpus in self.corpora.items() if not self.only or name in self.only}
        return [self.raw / (corpus.folder or name) for name, corpus in used.items()]

    def claim(self) -> None:
        """Note in ``run.json`` what this warehouse holds, and keep a demo from writing over a real run.

        Raises:
            SettingsError: the raw folder is absent or holds no corpus, a demo would replace a run on real corpora, or
                the store cannot be used or holds what another warehouse made.
        """
        if self.mode == "real" and not self.raw.is_dir():
            raise SettingsError(f"{self.raw} is no folder: set SLAP_RAW to the folder that holds one folder per corpus")
        if self.mode == "real" and not any(path.is_dir() for path in self._raw_folders()):
            of = f"of {', '.join(self.only)} (SLAP_ONLY)" if self.only else "with a corpus's name (`slap corpora`)"
            above = (
                f"; it seems to be {self.raw.name} itself: name the folder above" if self.raw.name in recipes() else ""
            )
            raise SettingsError(f"{self.raw} holds no folder {of}: SLAP_RAW holds one folder per corpus{above}")
        held = note_of(self.warehouse)
        if self.mode == "demo" and held.get("mode") == "real":
            raise SettingsError(
                f"{self.warehouse} holds a run on the corpora in {held['raw']}: a demo would replace its tables and "
                "board. Give the demo its own folder: SLAP_WAREHOUSE=<folder> make demo"
            )
        self.warehouse.mkdir(parents=True, exist_ok=True)
        note = {"mode": self.mode, "raw": str(self.raw)}
        owner = held.get("id", "")  # kept where the store is left for a while: it is this warehouse's still
        if self.apart:
            owner = owner or secrets.token_hex(8)
            self._claim_store(owner)
            note["store"] = str(self.store)
        if owner:
            note["id"] = owner
        store.write(self.warehouse / RUN, json.dumps(note).encode())

    def store_owner(self) -> str:
        """The id of the warehouse whose products lie in the store; "" where it is new.

        Raises:
            SettingsError: it cannot be used, or the last run worked in it and now it is empty: who is in its tars could
                not withdraw, and the tars that are missed would be made anew.
        """
        note = self.store / OWNER
        try:
            held = str(json.loads(store.content(note))["id"]) if store.exists(note) else ""
        except (StoreError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"SLAP_STORE: {error}") from error
        if not held and note_of(self.warehouse).get("store") == str(self.store):
            raise SettingsError(
                f"{self.store} is empty, and the last run worked there ({note} is gone): is the drive mounted? Where "
                f'all of it was removed for good, take "store" out of {self.warehouse / RUN}'
            )
        return held

    def _claim_store(self, owner: str) -> None:
        """Two warehouses in one store would each remove the tars that the other needs."""
        note, held = self.store / OWNER, self.store_owner()
        try:
            if not held:
                store.write(note, json.dumps({"id": owner}).encode())
        except StoreError as error:
            raise SettingsError(f"SLAP_STORE: {error}") from error
        if held not in ("", owner):
            raise SettingsError(
                f"{self.store} holds what another warehouse made, and each would remove the tars of the other: give "
                f"this one a folder of its own in SLAP_STORE. Where the other one is no more, remove {note}"
            )


def from_environment(mode: Mode, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from ``SLAP_RAW``, ``SLAP_WAREHOUSE``, ``SLAP_CONFIG``, ``SLAP_SET``, ``SLAP_SCALE`` and ``SLAP_ONLY``.

    ``SLAP_EMBEDDERS`` chooses who is on the board: names of `benchmark.registry.ENTRIES` with commas between, and
    ``mteb:<name>``; it is read when the graph is loaded, and checked here. Without it: all that load from what is
    installed, in a demo without the slow ones. ``SLAP_MODELS`` is a folder of models that were downloaded by hand,
    as ``<owner>/<model>``. ``SLAP_GPUS`` is how many GPUs one training takes; without it, all of the machine.
    ``SLAP_LANGUAGES`` are the languages of the captions, with commas between; English without it, since the default
    text tower reads no other: captions in other languages need a multilingual one (``text.tower``).

    ``SLAP_STORE`` is where shards, manifests, vectors and checkpoints lie: a folder or the URL of an object store
    (``s3://<bucket>/<folder>``, with credentials and endpoint in ``AWS_*``). It is noted in the warehouse, so that
    later commands find it there; without it and without a note, it is the warehouse.

    ``SLAP_ENGINE`` (local or ray), ``SLAP_WORKERS`` (one for each core) and ``SLAP_FILE_TIMEOUT`` (300, seconds for one
    recording) say how the audio is worked on (see `pipelines.scale`); they are read of the process' own environment.

    ``SLAP_LLM_MODEL`` names a language model that paraphrases the English captions: with ``SLAP_LLM_URL``, a model of
    that OpenAI-compatible endpoint (``https://<server>/v1``; the key, if it wants one, stands in ``SLAP_LLM_KEY``);
    without, a folder or hub name that transformers loads here. ``SLAP_LLM_ALONE=1``: instead of templates, as in the
    paper, not beside them. ``SLAP_LLM_PARALLEL`` (4) requests at a time, or prompts in a batch; ``SLAP_LLM_RPM`` and
    ``SLAP_LLM_TPM``, requests and tokens a minute (no limit); ``SLAP_LLM_TIMEOUT`` (120), seconds for an answer;
    ``SLAP_LLM_PRICES=<in>,<out>``, money for a million tokens; ``SLAP_LLM_BUDGET``, the most that one run may cost.

    Raises:
        SettingsError: a real run without ``SLAP_RAW``, or a value that does not parse.
    """

    def given(name: str, default: str = "") -> str:
        return environment.get(name) or default

    warehouse = Path(given("SLAP_WAREHOUSE", str(PROJECT / "warehouse"))).resolve()
    if mode == "real" and not given("SLAP_RAW"):
        raise SettingsError("set SLAP_RAW to the folder that holds one folder per corpus: SLAP_RAW=<folder> make run")
    try:
        scale = float(given("SLAP_SCALE", "1"))
    except ValueError as error:
        raise SettingsError(f"SLAP_SCALE={given('SLAP_SCALE')!r} is no number") from error
    if not 0 < scale < math.inf:
        raise SettingsError(f"SLAP_SCALE={given('SLAP_SCALE')!r} is not above 0")
    gpus = given("SLAP_GPUS", "0")
    if not gpus.isdecimal():
        raise SettingsError(f"SLAP_GPUS={gpus!r} is no number of GPUs")
    _check_workers()
    large = store_of(warehouse, environment)
    settings = Settings(
        mode=mode,
        raw=Path(given("SLAP_RAW")).resolve() if mode == "real" else warehouse / "raw",
        warehouse=warehouse,
        store_at=None if large == warehouse else large,
        config=given("SLAP_CONFIG", default_config(mode)),
        overrides=tuple(given("SLAP_SET").split()),
        scale=scale,
        train_on=("train",) if mode == "demo" else ("train", "open"),
        only=tuple(filter(None, given("SLAP_ONLY").split(","))),
        gpus=int(gpus),
        languages=tuple(dict.fromkeys(filter(None, given("SLAP_LANGUAGES", "en").split(",")))),
        paraphrase=_paraphrase(environment),
        models=Path(given("SLAP_MODELS")).resolve() if given("SLAP_MODELS") else None,
    )
    if settings.paraphrase is not None and "en" not in settings.languages:
        raise SettingsError(
            "SLAP_LLM_MODEL paraphrases in English, but SLAP_LANGUAGES has no en: add it, or unset the model"
        )
    if settings.models is not None and not settings.models.is_dir():
        raise SettingsError(f"SLAP_MODELS={given('SLAP_MODELS')!r} is no folder; it must hold <owner>/<model>")
    try:
        registry.choose(given("SLAP_EMBEDDERS"))
    except registry.RegistryError as error:
        raise SettingsError(f"SLAP_EMBEDDERS: {error}") from error
    unknown = sorted(set(settings.only) - set(settings.corpora))
    if unknown:
        named = ", ".join(f"{name}{nearest(name, settings.corpora, ())}" for name in unknown)
        raise SettingsError(f"SLAP_ONLY names {named}; known: {', '.join(settings.corpora)}")
    try:
        configured = config.load(settings.config, settings.overrides)
    except config.ConfigError as error:
        raise SettingsError(str(error)) from error
    _check_languages(settings.languages, configured.text.tower)
    return settings


def note_of(warehouse: Path) -> dict[str, str]:
    """What the last run noted of itself in a warehouse: mode, raw, and store where it is apart; empty without one."""
    note = warehouse / RUN
    return dict(json.loads(note.read_text())) if note.is_file() else {}


def store_of(warehouse: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the shards, manifests, vectors and checkpoints of a warehouse lie: ``SLAP_STORE``, else as in its last run.

    Raises:
        SettingsError: a URL that cannot be used.
    """
    given = environment.get("SLAP_STORE") or note_of(warehouse).get("store", "")
    try:
        found = store.place(given or warehouse)
    except StoreError as error:
        raise SettingsError(f"SLAP_STORE: {error}") from error
    return found.resolve() if store.is_local(found) else found


def _paraphrase(environment: Mapping[str, str]) -> paraphrasing.Options | None:
    try:
        return paraphrasing.from_environment(environment)
    except paraphrasing.OptionsError as error:
        raise SettingsError(str(error)) from error


def _check_workers() -> None:
    """Now, and not when the first recording is read."""
    try:
        engine_name()
        workers_wanted()
        timeout_s()
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _check_languages(languages: Sequence[str], tower: str) -> None:
    unknown = sorted(set(languages) - set(grammar.languages()))
    if unknown or not languages:
        named = ", ".join(unknown) or "none"
        raise SettingsError(f"SLAP_LANGUAGES names {named}; known: {', '.join(grammar.languages())}")
    others = [language for language in languages if language != "en"]
    if others and tower in ENGLISH_ONLY:
        raise SettingsError(
            f"SLAP_LANGUAGES asks for captions in {', '.join(others)}, but the text tower {tower} reads English only. "
            "Name a multilingual one, a folder or on the hub: SLAP_SET='text.tower=\"<model>\"'"
        )


def default_config(mode: Mode) -> str:
    """``demo`` for the demo; for real corpora ``base`` where there is a GPU, else ``tiny``."""
    if mode == "demo":
        return "demo"
    return "base" if any(Path("/dev").glob("nvidia[0-9]*")) else "tiny"
