"""Speech Accessibility Project: English speech of people with five conditions, some of it rated by clinicians.

Parkinson's, ALS, cerebral palsy, Down syndrome and stroke; 833 training and 126 development speakers in the
release of November 2025, the test speakers are kept back. No sex and no age of any speaker is released.

::

    Train/<uuid>/<uuid>.json   Train/<uuid>/<uuid>_1133_1447.wav       (or ..._1447_16kHz.wav)
    Train/<uuid>.json          the same JSON once more, sometimes
    Dev/...

The release is tars in tars: unpack both levels. Contributor ids are upper case in some JSONs, lower case in names.

What the release asks of a reader:

* A JSON may lie twice, beside and in the speaker's folder: one is read. One that cannot be read is rejected alone.
* Timestamps are in ``Created`` or ``CreatedOrModified``; the etiology may be missing: then none is stated.
* Few files are rated, each dimension from "1" (typical) to "7" (most deviant), a string; "" is no rating. Names of
  dimensions have typos ("Intelligbility") and trailing blanks.
* A rating is of a file, not of the speaker. The etiology is stated as it stands; dysarthria is not inferred from it.
* Files in which a caregiver speaks, ``(cs: ...)`` in the transcript, are rejected. Other marks of a transcript
  (``{u: ...}``, ``[PII]``) do not matter to the audio.

`DIMENSIONS` says which dimensions become attributes. Four choices in it:

* Naturalness, the one global impression, is taken for the overall deviance (voice_severity). Intelligibility
  is not: a strained voice may be perfectly intelligible.
* Monopitch and Monoloudness are both monotony; a file has the worse of the two.
* Loudness deviates in both directions; for these conditions too quiet is by far the commoner, so it is taken for
  voice_weakness.
* A breathy voice is the continuous one; the transient one is another dimension.

Every other dimension is counted in a reject of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, fold, text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

CONTRIBUTOR = re.compile(r"[0-9a-f-]{36}")
CAREGIVER = re.compile(r"\(\s*cs\s*:", re.IGNORECASE)
SPLITS = {"train": "train", "dev": "dev"}
ETIOLOGIES = {
    "parkinson's disease": "parkinson",
    "als": "als",
    "cerebral palsy": "cerebral_palsy",
    "down syndrome": "down_syndrome",
    "stroke": "stroke",
}
DIMENSIONS = {
    "hypernasality": "voice_nasality",
    "hyponasality": "voice_hyponasality",
    "harsh voice": "voice_harshness",
    "monopitch": "voice_monotony",
    "monoloudness": "voice_monotony",
    "inappropriate silences": "voice_pauses",
    "breathy voice": "voice_breathiness",
    "breathy voice (continuous)": "voice_breathiness",
    "strained-strangled voice": "voice_strain",
    "loudness": "voice_weakness",
    "loudness level": "voice_weakness",
    "loudness (overall)": "voice_weakness",
    "naturalness": "voice_severity",
}
SPEECH_TASKS = {
    "digital assistant commands": "read",
    "novel sentences": "read",
    "non-spontaneous speech prompts": "read",
    "spontaneous speech prompts": "spontaneous",
}


def scan(root: Path) -> Tables:
    """Read the unpacked release below ``root``; see the module docstring for the layout and the choices.

    Raises:
        RecipeError: no contributor's JSON, or all of them without ``Contributor ID`` or ``Files``.
    """
    rows = Rows("sap")
    reader = _Reader(rows, root)
    for tar in sorted(root.glob("**/*.tar")):
        if not tar.with_suffix("").is_dir():
            reader.tars.append(tar.relative_to(root).as_posix())
    cards = _contributors(root, reader.tars)
    for path in cards:
        reader.contributor(path)
    if reader.malformed and len(reader.malformed) == len(cards):
        raise RecipeError(f"{root / reader.malformed[0]}: is this a contributor's JSON of the release?")
    for where in reader.tars:
        if CONTRIBUTOR.fullmatch(Path(where).stem.casefold()):
            rows.reject(where, "not unpacked")
    for dimension, count in sorted(reader.unused.items()):
        rows.reject("Ratings", f"{count} ratings of {dimension!r} left out: no attribute for this dimension")
    return rows.tables()


def _contributors(root: Path, tars: list[str]) -> list[Path]:
    """One JSON a contributor: the one in the folder of the audio, else the copy beside that folder."""
    chosen: dict[Path, Path] = {}
    for path in sorted(root.glob("**/*.json"), key=lambda path: (-len(path.parts), path)):
        if CONTRIBUTOR.fullmatch(path.stem.casefold()):
            chosen.setdefault(_folder(path), path)
    # A copy on top, beside the folder of a tar that holds the contributor's folder, has no folder of its own.
    inside = {folder.name.casefold() for folder in chosen if folder.is_dir()}
    chosen = {
        folder: path for folder, path in chosen.items() if folder.is_dir() or folder.name.casefold() not in inside
    }
    if not chosen:
        packed = f"; found {len(tars)} tar archives: unpack them, and the <uuid>.tar inside them" if tars else ""
        raise RecipeError(f"{root}: found no <uuid>/<uuid>.json, here or in Train/ or Dev/{packed}")
    return sorted(chosen.values())


def _folder(path: Path) -> Path:
    """Where the audio of a contributor's JSON lies."""
    return path.parent if path.parent.name.casefold() == path.stem.casefold() else path.with_suffix("")


class _Reader:
    """Adds contributors to ``rows``; counts the ratings that have no attribute."""

    def __init__(self, rows: Rows, root: Path) -> None:
        self.rows = rows
        self.root = root
        self.tars: list[str] = []
        self.malformed: list[str] = []  # "file: what is wrong with it"
        self.unused: Counter[str] = Counter()

    def contributor(self, path: Path) -> None:
        """Add the speaker and the files of one JSON."""
        where = path.relative_to(self.root).as_posix()
        try:
            card: Any = json.loads(text_of(path, errors="strict"))
        except (ValueError, RecursionError) as error:
            self.rows.reject(where, f"not JSON: {error}")
            return
        absent = [key for key in ("Contributor ID", "Files") if not isinstance(card, dict) or key not in card]
        fault = f"no key {', '.join(absent)}" if absent else ""
        if not absent and not (isinstance(card["Files"], list) and all(isinstance(f, dict) for f in card["Files"])):
            fault = "Files is not a list of objects"
        if fault:
            self.malformed.append(f"{where}: {fault}")
            self.rows.reject(where, fault)
            return
        owner_id = str(card["Contributor ID"]).strip().casefold()
        if f"{self.rows.corpus}:{owner_id}" in self.rows.speakers:
            self.rows.reject(where, "this contributor was read from another folder already")
            return
        audio = {file.name.casefold(): file for file in sorted(_folder(path).glob("[!.]*.wav"))}
        split = next((SPLITS[part.casefold()] for part in Path(where).parts if part.casefold() in SPLITS), None)
        used: set[str] = set()
        for place, file in enumerate(card["Files"]):
            name = str(file.get("Filename") or "").strip().casefold()
            found = next((known for known in _spellings(name) if known in audio), None)
            transcript = str(_prompt(file).get("Transcript") or "")
            used.update(_spellings(name))
            if not name:
                self.rows.reject(f"{where}:Files[{place}]", "no Filename")
            elif found is None:
                self.rows.reject(f"{where}:Files[{place}]", "no audio at Filename")
            elif CAREGIVER.search(transcript):
                self.rows.reject(audio[found].relative_to(self.root).as_posix(), "a caregiver speaks: (cs: ...)")
            else:
                self._file(self._speaker(owner_id, card.get("Etiology"), where), audio[found], file, split)
        for name in sorted(audio.keys() - used):
            self.rows.reject(audio[name].relative_to(self.root).as_posix(), "not among the Files of the JSON")

    def _speaker(self, owner_id: str, etiology: object, where: str) -> str:
        speaker_id = f"{self.rows.corpus}:{owner_id}"
        if speaker_id not in self.rows.speakers:
            self.rows.speaker(owner_id)
            stated = cell(etiology)
            attribute = ETIOLOGIES.get(fold((stated or "").replace("’", "'")))
            if attribute is not None:
                self.rows.observe(speaker_id, attribute, "present", source="owner")
            elif stated is not None:
                self.rows.reject(where, f"Etiology {stated!r} is not known: no condition stated")
        return speaker_id

    def _file(self, speaker_id: str, path: Path, file: Mapping[str, Any], split: str | None) -> None:
        prompt = _prompt(file)
        where = path.relative_to(self.root).as_posix()
        utt_id = self.rows.utterance(
            where,
            speaker_id,
            language="en",
            speech_task=SPEECH_TASKS.get(fold(str(prompt.get("Category Description") or ""))),
            recorded_on=_day(file.get("Created") or file.get("CreatedOrModified")),
            official_split=split,
        )
        levels: dict[str, int] = {}
        for dimension, level in self._ratings(file, where):
            attribute = DIMENSIONS.get(dimension)
            if attribute is None:
                self.unused[dimension] += 1
            else:
                levels[attribute] = max(level, levels.get(attribute, 0))
        for attribute, worst in levels.items():
            self.rows.observe(speaker_id, attribute, worst, source="rater", instrument="SAP", utt_id=utt_id)

    def _ratings(self, file: Mapping[str, Any], where: str) -> Iterator[tuple[str, int]]:
        """The dimension, folded, and the level 1..7 of each rating that has a level."""
        for rating in file.get("Ratings") or []:
            level = cell(rating.get("Level")) if isinstance(rating, dict) else "not an object"
            if level is None:
                continue
            if level in {"1", "2", "3", "4", "5", "6", "7"}:
                yield fold(str(rating.get("Dimension Description") or "")), int(level)
            else:
                self.rows.reject(where, f"Level {level!r} of a rating is not 1..7: left unknown")


def _prompt(file: Mapping[str, Any]) -> Mapping[str, Any]:
    prompt = file.get("Prompt")
    return prompt if isinstance(prompt, dict) else {}


def _spellings(name: str) -> tuple[str, str]:
    """A file name with and without the ``_16kHz`` of older copies, the stated one first."""
    other = name.replace("_16khz.wav", ".wav") if name.endswith("_16khz.wav") else name.replace(".wav", "_16khz.wav")
    return name, other


def _day(text: object) -> date | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").date()
    except ValueError:
        return None


# How much of a rating each etiology's rendered sound brings with it (`pipelines.voices.TRAITS`).
_BRINGS: dict[str, dict[str, float]] = {
    "parkinson": {"voice_monotony": 0.9, "voice_weakness": 0.5, "voice_breathiness": 0.5},
    "als": {"voice_nasality": 0.9, "voice_breathiness": 0.4},
    "cerebral_palsy": {"voice_strain": 0.9},
    "down_syndrome": {"voice_hyponasality": 0.7, "voice_harshness": 0.5},
    "stroke": {"voice_pauses": 0.15},
}


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature, unpacked: three files a speaker, etiologies crossed with ratings of the voice."""
    conditions: Sequence[Mapping[str, float]] = (
        {},
        {"parkinson": 0.5, "voice_pauses": 0.5},
        {"parkinson": 0.85, "voice_nasality": 0.5},
        {"als": 0.7, "voice_monotony": 0.7},
        {"cerebral_palsy": 0.7, "voice_weakness": 0.8},
        {"stroke": 0.7, "voice_breathiness": 0.85},
        {"down_syndrome": 0.6, "voice_strain": 0.7},
        {"voice_harshness": 0.85, "voice_pauses": 0.85},  # these two without a stated etiology
        {"voice_harshness": 0.6, "voice_breathiness": 0.6, "voice_roughness": 0.5, "voice_nasality": 0.7},
    )
    people = voices.cast("sap", 72, "en", conditions)
    for place, person in enumerate(people):
        owner_id = str(uuid.UUID(bytes=hashlib.sha256(person.seed.encode()).digest()[:16]))
        split = root / ("Dev" if place % 7 == 3 else "Train")
        files = [_file(owner_id, take, person, rated=take < 2 or place % 4 != 3) for take in range(3)]
        for take, file in enumerate(files):
            voices.write(split / owner_id / str(file["Filename"]), voices.say(person, take=take), 16000)
        if place == 1:
            _traps(split / owner_id, owner_id, files, voices, person)
        card = {"Contributor ID": owner_id.upper() if place % 2 else owner_id, "Files": files}  # trap: either case
        etiology = next((word for word, name in ETIOLOGIES.items() if person.strength(name)), None)
        if etiology is not None:
            card["Etiology"] = {"als": "ALS", "parkinson's disease": "Parkinson's Disease"}.get(
                etiology, etiology.title()
            )
        text = json.dumps(card, indent=1)
        (split / owner_id / f"{owner_id}.json").write_text(text, encoding="utf-8")
        if place < 5:  # trap: the JSON lies twice
            (split / f"{owner_id}.json").write_text(text, encoding="utf-8")
    nobody = "00000000-0000-4000-8000-000000000000"
    (root / "Train" / f"{nobody}.json").write_text('{"Contributor ID": ', encoding="utf-8")  # trap: cut off


def _traps(folder: Path, owner_id: str, files: list[dict[str, Any]], voices: Voices, person: Voice) -> None:
    """Traps: three files that cannot be used or have no rating, an unlisted one, and a copy by an older name."""
    wave = voices.say(person, take=3)
    missing, caregiver = _file(owner_id, 7, person, rated=False), _file(owner_id, 8, person, rated=False)
    caregiver["Prompt"]["Transcript"] = "Call my brother. (cs: Go ahead.)"
    voices.write(folder / caregiver["Filename"], wave, 16000)
    empty = _file(owner_id, 9, person, rated=True)
    empty["Ratings"] = [{"Dimension Description": "Hypernasality", "Level": ""}]
    voices.write(folder / empty["Filename"], wave, 16000)
    files += [missing, caregiver, empty]
    voices.write(folder / f"{owner_id}_1133_9999.wav", wave, 16000)
    copy = str(files[0]["Filename"]).replace(".wav", "_16kHz.wav")
    voices.write(folder / copy, voices.say(person, take=0), 16000)


def _file(owner_id: str, take: int, person: Voice, *, rated: bool) -> dict[str, Any]:
    category = ("Digital Assistant Commands", "Novel Sentences", "Spontaneous Speech Prompts")[take % 3]
    return {
        "Filename": f"{owner_id}_1133_{1447 + take}.wav",
        "Created": "2024-07-13 18:15:53",
        "CreatedOrModified": "2024-07-16 15:46:08",
        "Comment": "",
        "Prompt": {
            "Prompt Text": "Say what you see.",
            "Transcript": "(uh) I see a ship, {g: maybe}",
            "Category Description": category,
            "Sub Category Description": "",
        },
        "Ratings": _rated(person) if rated else [],
    }


def _rated(person: Voice) -> list[dict[str, str]]:
    """Ratings of all dimensions by how strongly each is rendered; 1 where it is not."""
    strengths = {attribute: person.strength(attribute) for attribute in set(DIMENSIONS.values())}
    for etiology, brings in _BRINGS.items():
        for attribute, share in brings.items():
            strengths[attribute] = min(1.0, strengths[attribute] + share * person.strength(etiology))
    strengths["voice_severity"] = max([strength for _, strength in person.traits], default=0.0)
    names = {
        "Hypernasality": "voice_nasality",
        "Hyponasality": "voice_hyponasality",
        "Harsh voice": "voice_harshness",
        "Monopitch": "voice_monotony",
        "Inappropriate silences": "voice_pauses",
        "Breathy voice (continuous) ": "voice_breathiness",
        "Strained-strangled voice": "voice_strain",
        "Loudness level": "voice_weakness",
        "Naturalness": "voice_severity",
    }
    levels = {name: str(1 + round(6 * strengths[attribute])) for name, attribute in names.items()}
    levels |= {"Monoloudness": "1", "Intelligbility ": levels["Naturalness"]}  # trap: a typo and a trailing blank
    return [
        {
            "Dimension Category Description": "Voice",
            "Dimension Description": name,
            "Level": level,
            "Comment": "",
            "RatingDate": "2024-10-03 09:08:11",
        }
        for name, level in levels.items()
    ]


CORPUS = Corpus(
    name="sap",
    title="Speech Accessibility Project",
    homepage="https://speechaccessibilityproject.beckman.illinois.edu",
    citation=(
        "Hasegawa-Johnson et al.: Community-supported shared infrastructure in support of speech accessibility. "
        "Journal of Speech, Language, and Hearing Research 67 (2024)."
    ),
    licence=Licence(
        name="Data use agreement between the University of Illinois and an institution",
        url="https://speechaccessibilityproject.beckman.illinois.edu",
        access="agreement",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("train",),
    scan=scan,
    miniature=miniature,
    label="parkinson",
    official_splits=True,
    no_inputs={r"(?i)_16kHz\.wav$": "a copy under the name of older releases"},
    traps={
        "tars-in-tars": "The release is tars in tars: both levels have to be unpacked, and what is not is noted.",
        "ids-in-either-case": "Contributor ids are upper case in some JSONs and lower case in names.",
        "json-twice": "A contributor's JSON may lie beside the folder as well as in it: read once.",
        "old-names": "Older copies have _16kHz in file names, and may hold a file under both names.",
        "levels-are-strings": "Levels are strings, 1 typical to 7 most deviant; an empty one is no rating.",
        "names-of-dimensions": "Names of dimensions have typos and trailing blanks.",
        "ratings-of-a-file": "Few files are rated, and a rating is of the file.",
        "etiology-missing": "The etiology may be missing: nothing is stated, and nobody is a healthy control.",
        "no-sex-no-age": "Neither sex nor age is released.",
        "caregiver": "A caregiver speaks in files with (cs: ...) in the transcript: rejected.",
        "created-or-modified": "The time of a file is in Created or in CreatedOrModified.",
        "listed-is-not-there": "Files are listed without audio, and audio lies there without being listed.",
    },
)
