"""VOICED (Italian): 208 people, one held /a/ of about five seconds each, 150 of them with a voice disorder.

A PhysioNet record a person (8 kHz), beside each other in one folder::

    voice-icar-federico-ii-database-1.0.0/
        voice001.dat  voice001.hea     the signal (WFDB) and its header: both are needed
        voice001.txt                   the same samples as text: passed over
        voice001-info.txt              "Key:<TAB>value" lines: ID, Age, Gender, Diagnosis, ...

What the release asks of a reader:

- The keys vary in capitals and blanks and end in a colon: they are compared without any of it.
- NU is "not used": the number is unknown, never 0. Decimals may be written with a comma.
- The diagnosis is "healthy" or one of 26 others, many with a word in parentheses ("hyperkinetic dysphonia
  (nodule)"). Anything but healthy is a voice disorder; the words are kept as diagnosis_text.
- Smoker and alcohol have three words each (no, casual smoker, yes): they stay as they are.
- VHI and RSI are questionnaires that the person filled in.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, fold, number, text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.voices import Voices

FILE = re.compile(r"^voice(?P<id>\d{3})(?P<kind>\.dat|\.hea|\.txt|-info\.txt)$", re.IGNORECASE)
SCORES = (  # a word of the key, the attribute, its instrument
    ("(vhi)", "vhi", "VHI"),
    ("(rsi)", "rsi", "RSI"),
)
HABITS = (("smoker", "smoking"), ("alcohol consumption", "alcohol"))  # key, attribute


def scan(root: Path) -> Tables:
    """Read VOICED below ``root``: ``voice<3 digits>.dat`` with its ``.hea`` and ``-info.txt``.

    Raises:
        RecipeError: not one recording is found.
    """
    rows = Rows(CORPUS.name)
    people = _people(root)
    if not any(".dat" in files for files in people.values()):
        raise RecipeError(
            f"{root}: no voice001.dat or the like found; download it, e.g. wget -r -N -c -np "
            "https://physionet.org/files/voiced/1.0.0/"
        )
    for owner_id, files in sorted(people.items()):
        place = {kind: path.relative_to(root).as_posix() for kind, path in files.items()}
        if ".dat" not in files:
            rows.reject(sorted(place.values())[0], "person without a recording (.dat)")
        elif ".hea" not in files:
            rows.reject(place[".dat"], "recording without its header (.hea), which says how to read it")
        elif "-info.txt" not in files:
            rows.reject(place[".dat"], "recording without voice<id>-info.txt")
        else:
            _add(owner_id, place[".dat"], files["-info.txt"], place["-info.txt"], rows)
    return rows.tables()


def _people(root: Path) -> dict[str, dict[str, Path]]:
    """Owner id -> ending -> file; of two copies the first in sorted order."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.rglob("*")):
        name = FILE.match(path.name)
        if name is not None and path.is_file():
            found[f"voice{name['id']}"].setdefault(name["kind"].lower(), path)
    return dict(found)


def _add(owner_id: str, audio: str, info_file: Path, place: str, rows: Rows) -> None:
    info = _info(info_file)
    stated = re.search(r"(\d+)$", info.get("id") or "")
    if stated is not None and int(stated[1]) != int(owner_id[-3:]):
        rows.reject(place, "ID is not that of the file name: recording left out")
        return
    speaker = rows.speaker(owner_id, sex=info.get("gender"))
    diagnosis = info.get("diagnosis")
    if diagnosis is None:
        rows.reject(place, "no Diagnosis: the person stays without a label")
    else:
        healthy = fold(diagnosis) == "healthy"
        rows.observe(speaker, "voice_disorder", "absent" if healthy else "present", source="clinician")
        rows.observe(speaker, "healthy", "present" if healthy else None, source="clinician")
        rows.observe(speaker, "diagnosis_text", diagnosis, source="clinician")
    for word, attribute, instrument in SCORES:
        value = next((number(text) for key, text in info.items() if word in key), None)
        rows.observe(speaker, attribute, value, unit="points", instrument=instrument, source="scale")
    for key, attribute in HABITS:
        rows.observe(speaker, attribute, info.get(key), source="self-report")
    cigarettes = number(info.get("number of cigarettes smoked per day"))
    rows.observe(speaker, "cigarettes_per_day", cigarettes, unit="per day", source="self-report")
    rows.utterance(audio, speaker, language="it", speech_task="vowel", age=number(info.get("age")))


def _info(path: Path) -> dict[str, str | None]:
    """Folded key without its colon -> value; lines that are not "Key:<TAB>value" are passed over."""
    found: dict[str, str | None] = {}
    for line in text_of(path).splitlines():
        key, _, value = line.strip().partition("\t" if "\t" in line.strip() else ":")
        if key:
            found.setdefault(fold(key.strip().rstrip(":")), cell(value))
    return found


# The miniature -----------------------------------------------------------------------------------

HOME = "voice-icar-federico-ii-database-1.0.0"
DIAGNOSES = ("hyperkinetic dysphonia (nodule)", "hypokinetic dysphonia", "reflux laryngitis", "hyperkinetic dysphonia ")
SMOKERS = (("no", "NU"), ("casual smoker", "2"), ("yes", "15"))
DRINKERS = ("nondrinker", "casual drinker", "habitual drinker")
RATE = 8000


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VOICED: one vowel a person, in both sample formats of WFDB."""
    cast = voices.cast(CORPUS.name, 12, "it", ({}, {"voice_disorder": 0.8}))[: max(8, round(12 * voices.scale))]
    for index, voice in enumerate(cast):
        owner_id = f"voice{index + 1:03d}"
        wave = voices.say(voice, "vowel:a", seconds=3.0, rate=RATE)
        _write_record(root / HOME / f"{owner_id}.dat", wave, bits=(16, 32)[index // 4 % 2])
        # trap: a second .txt, of samples and not of facts
        _write(root / HOME / f"{owner_id}.txt", [f"{sample:.6f}" for sample in wave[:800]])
        smoker, cigarettes = SMOKERS[index % 3]
        ill = voice.strength("voice_disorder") > 0
        vhi = 30 + index if ill else index % 5
        shout = str.upper if index % 4 == 1 else str  # trap: keys vary in capitals and blanks
        _write(
            root / HOME / f"{owner_id}-info.txt",
            [
                f"ID:\t{owner_id}",
                "",
                f"{shout('Age')}:\t{voice.age}",
                f"{shout('Gender')} :\t{voice.sex[0]}",
                "",
                f"{shout('Diagnosis')}:\t{DIAGNOSES[index // 2 % 4] if ill else 'healthy'}",
                "Occupation status:\tEmployee",
                f"Voice  Handicap Index (VHI) Score:\t{f'{vhi},5' if index == 3 else vhi}",  # trap: decimal comma
                f"Reflux Symptom Index (RSI) Score:\t{'NU' if index == 4 else 3 + index}",  # trap: NU is missing
                "",
                f"{shout('Smoker')}:\t{smoker}",
                f"Number of cigarettes smoked per day:\t{cigarettes}",
                f"Alcohol consumption:\t{DRINKERS[index % 3]}",
                "Coffee:\talmost always",
            ],
        )
    # traps: a recording without a header, one without facts, facts without a recording
    wave = voices.say(cast[0], "vowel:a", seconds=2.0, rate=RATE, take=1)
    for owner_id in ("voice901", "voice902"):
        _write_record(root / HOME / f"{owner_id}.dat", wave, bits=16)
    (root / HOME / "voice901.hea").unlink()
    for owner_id in ("voice901", "voice903"):
        _write(root / HOME / f"{owner_id}-info.txt", [f"ID:\t{owner_id}", "Age:\t50", "Diagnosis:\thealthy"])


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_record(path: Path, wave: NDArray[np.float32], bits: int) -> None:
    """A WFDB record of one signal: samples without a header, and the header beside them."""
    full_scale = 2 ** (bits - 1)
    steps = np.clip(np.round(wave.astype(np.float64) * full_scale), -full_scale, full_scale - 1)
    header = f"{path.stem} 1 {RATE} {len(steps)}\n{path.name} {bits} {full_scale}(0)/NU {bits} 0 {steps[0]:.0f} 0 0"
    _write(path.with_suffix(".hea"), [header])
    path.write_bytes(steps.astype(f"<i{bits // 8}").tobytes())


CORPUS = Corpus(
    name="voiced",
    title="VOICED: VOice ICar fEDerico II database",
    homepage="https://physionet.org/content/voiced/1.0.0/",
    citation="Cesari, De Pietro, Marciano, Niri, Sannino, Verde: A new database of healthy and pathological voices. "
    "Computers & Electrical Engineering 68, 2018. PhysioNet, doi:10.13026/C25Q2N.",
    licence=Licence(
        name="ODC-By 1.0 (as commonly stated for the record)",
        url="https://physionet.org/content/voiced/1.0.0/",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the files of the release",
    ),
    languages=("it",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="voice_disorder",
    audio_endings=("dat",),
    traps={
        "keys-vary": "Keys of the info files vary in capitals and blanks and end in a colon.",
        "nu-is-missing": "NU means not used: the number is unknown, not 0.",
        "decimal-comma": "Scores may be written with a decimal comma.",
        "diagnosis-with-a-remark": "Diagnoses carry extra words in parentheses; only healthy alone is healthy.",
        "two-text-files": "voice001.txt holds samples, voice001-info.txt the facts.",
        "wfdb-signal": "The audio is a WFDB signal without a signature: its .hea says rate, format and scale.",
        "three-words-for-smoking": "Smoker is no, casual smoker or yes, and alcohol has three words too.",
    },
)
