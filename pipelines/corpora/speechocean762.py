"""speechocean762 (OpenSLR 101): 250 Mandarin speakers, half of them children, reading English sentences.

::

    train/utt2spk  train/wav.scp  train/spk2age  train/spk2gender        and the same in test
    WAVE/SPEAKER0001/000010011.WAV                                       0<speaker><item>, 16 kHz mono
    resource/scores.json                                                 the experts' scores, not in all copies

What the release asks of a reader:

- The speaker ids are four digits with leading zeros: text, never numbers.
- ``utt2spk`` is separated by a blank, the other lists by a tab: split on any white space.
- Audio has an upper-case ending, and its name repeats the speaker.
- The full release holds 245 recordings that no list names; the lists decide, the rest are rejects.
- Ages are 6 to 15 and 19 to 43: children and adults with nobody between.
- ``resource/scores.json`` (too large for some copies) holds the experts' scores; fluency is taken, 0 to 10.
- The language spoken is English, the speakers' own is Mandarin.
- The owners' split is speaker-disjoint, 125 speakers each.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, number, text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

PATH = re.compile(r"^WAVE/SPEAKER(?P<speaker>\d{4})/0(?P=speaker)\d{4}\.WAV$")
SEXES = frozenset({"m", "f"})
SPLITS = ("train", "test")


def scan(root: Path) -> Tables:
    """Read the lists of both splits and keep the recordings that are there.

    Args:
        root: the folder that holds ``train``, ``test`` and ``WAVE``, or a folder around it.

    Raises:
        RecipeError: neither split is there, a split lacks one of its lists, or ``scores.json`` is damaged.
    """
    home = _home(root)
    rows = Rows("speechocean762")
    here = {audio.relative_to(home).as_posix() for audio in home.glob("WAVE/*/*") if audio.is_file()}
    prefix = "" if home == root else home.relative_to(root).as_posix() + "/"
    fluency = _fluency(home / "resource" / "scores.json")
    listed: set[str] = set()
    for split in SPLITS:
        if (home / split).is_dir():
            listed |= _scan_split(rows, home / split, here, prefix, fluency)
        else:
            rows.reject(f"{prefix}{split}", "split is not there")
    for path in sorted(here - listed):
        rows.reject(prefix + path, "recording that no wav.scp names")
    return rows.tables()


def _home(root: Path) -> Path:
    for folder in (root, *sorted(path for path in root.glob("*") if path.is_dir())):
        if any((folder / split / "utt2spk").is_file() for split in SPLITS):
            return folder
    raise RecipeError(f"no train/utt2spk or test/utt2spk in {root}: unpack speechocean762 (OpenSLR 101) there")


def _scan_split(rows: Rows, folder: Path, here: set[str], prefix: str, fluency: dict[str, float]) -> set[str]:
    """Add the recordings of one split and return all paths that its ``wav.scp`` names."""
    speakers, paths = _pairs(folder / "utt2spk", rows), _pairs(folder / "wav.scp", rows)
    ages, sexes = _pairs(folder / "spk2age", rows), _pairs(folder / "spk2gender", rows)
    split = folder.name
    for utterance in sorted(speakers.keys() | paths.keys()):
        path, owner_id = paths.get(utterance), speakers.get(utterance)
        if path is None:
            rows.reject(f"{prefix}{split}/utt2spk", f"utterance {utterance} is not in wav.scp")
        elif owner_id is None:
            rows.reject(prefix + path, f"not in {split}/utt2spk")
        elif path not in here:
            rows.reject(prefix + path, f"listed in {split}, no such file")
        elif (parts := PATH.match(path)) is None or parts["speaker"] != owner_id:
            rows.reject(prefix + path, "path does not name the speaker that utt2spk gives")
        else:
            speaker = rows.speaker(owner_id, sex=sexes.get(owner_id), native_language="zh")
            utt_id = rows.utterance(
                prefix + path,
                speaker,
                language="en",
                speech_task="read",
                official_split=split,
                age=number(ages.get(owner_id)),
            )
            rows.observe(speaker, "fluency", fluency.get(utterance), unit="points", utt_id=utt_id, source="rater")
    for owner_id in sorted(set(speakers.values())):
        if number(ages.get(owner_id)) is None or sexes.get(owner_id) not in SEXES:
            rows.reject(f"{prefix}{split}/spk2age", f"speaker {owner_id}: no age in years or no sex (m, f)")
    return set(paths.values())


def _pairs(path: Path, rows: Rows) -> dict[str, str]:
    """A Kaldi list as a dict: first word of each line -> rest of the line."""
    if not path.is_file():
        raise RecipeError(f"{path} not found: each split needs utt2spk, wav.scp, spk2age and spk2gender")
    pairs = {}
    for line, text in enumerate(text_of(path).splitlines(), start=1):
        words = text.split(maxsplit=1)
        if len(words) == 2 and cell(words[1]) is not None:
            pairs[words[0]] = words[1].strip()
        elif words:
            rows.reject(f"{path.parent.name}/{path.name}:{line}", "row is not a key and a value")
    return pairs


def _fluency(path: Path) -> dict[str, float]:
    """The experts' fluency score of each utterance, empty where the file was not copied."""
    if not path.is_file():
        return {}
    try:
        scores = json.loads(text_of(path, errors="strict"))
        return {key: float(score["fluency"]) for key, score in scores.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecipeError(f"{path}: not the owners' scores, copy it again or remove it: {error!r}") from error


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up speechocean762: six children and six adults, two utterances each."""
    children = voices.cast("speechocean762-children", 6, "en", ages=(6, 15))[:6]
    adults = voices.cast("speechocean762-adults", 6, "en", ages=(19, 43))[:6]
    lists: dict[str, list[str]] = {
        f"{split}/{name}": [] for split in SPLITS for name in ("utt2spk", "wav.scp", "spk2age", "spk2gender", "text")
    }
    scores = {}
    for cast, first in ((children, 11), (adults, 5011)):
        ranks = {"female": 0, "male": 0}
        for index, voice in enumerate(cast):
            split = SPLITS[ranks[voice.sex] % 2]  # both splits hear both sexes
            ranks[voice.sex] += 1
            speaker = f"{first + index:04}"  # trap: leading zeros
            lists[f"{split}/spk2age"].insert(0, f"{speaker}\t{voice.age}")  # trap: not sorted; a tab
            lists[f"{split}/spk2gender"].append(f"{speaker}\t{voice.sex[0]}")
            for take in range(3):
                utterance = f"0{speaker}{take + 1:04}"
                path = f"WAVE/SPEAKER{speaker}/{utterance}.WAV"
                if take < 2:
                    voices.write(root / path, voices.say(voice, take=take, rate=16000), 16000)
                elif index % 6:
                    continue  # trap: a few third recordings are listed, and nobody has them
                lists[f"{split}/utt2spk"].append(f"{utterance} {speaker}")  # trap: a blank
                lists[f"{split}/wav.scp"].append(f"{utterance}\t{path}")
                lists[f"{split}/text"].append(f"{utterance}\tMADE UP TEXT")
                scores[utterance] = {
                    "accuracy": 8,
                    "completeness": 10.0,
                    "fluency": 5 + (index + take) % 5,
                    "total": 8,
                }
    # trap: a recording that no list names
    orphan = root / "WAVE" / f"SPEAKER{speaker}" / f"0{speaker}0009.WAV"
    voices.write(orphan, voices.say(cast[-1], take=4, rate=16000), 16000)
    for name, lines in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n", "utf-8")
    (root / "resource").mkdir()
    (root / "resource" / "scores.json").write_text(json.dumps(scores, indent=1), "utf-8")


CORPUS = Corpus(
    name="speechocean762",
    title="speechocean762",
    homepage="https://www.openslr.org/101",
    citation="Zhang et al., speechocean762: An Open-Source Non-native English Speech Corpus For "
    "Pronunciation Assessment, Interspeech 2021",
    licence=Licence(
        name="free for commercial and non-commercial use (README)",
        url="https://github.com/jimbozhang/speechocean762",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    official_splits=True,
    traps={
        "leading-zeros": "Speaker ids are four digits with leading zeros: text, never numbers.",
        "blanks-and-tabs": "utt2spk is separated by a blank, the other lists by a tab, and they are not sorted alike.",
        "orphans": "The full release holds 245 recordings that no list names.",
        "listed-without-audio": "Partial copies lack recordings that the lists name.",
        "upper-case": "Audio ends in .WAV, and its name is 0, the speaker and an item.",
        "children-and-adults": "Ages are 6 to 15 and 19 to 43, with nobody between.",
        "scores-may-be-absent": "resource/scores.json is too large for some copies.",
        "not-the-own-language": "The speakers read English; their own language is Mandarin.",
    },
)
