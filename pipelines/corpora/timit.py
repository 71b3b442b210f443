"""TIMIT (LDC93S1): 630 speakers of American English from eight dialect regions, ten sentences each, 16 kHz.

``TIMIT/{TRAIN,TEST}/DR<1-8>/<speaker>/<sentence>.WAV`` beside ``DOC/SPKRINFO.TXT``. What to know:

* The ``.WAV`` files are NIST SPHERE, not RIFF. Copies spell all names in upper or all in lower case, and one
  on Kaggle holds RIFF twins named ``SA1.WAV.wav``: the SPHERE file is read, its twin stands in where it is alone.
* A speaker's folder is the sex and the id of SPKRINFO: ``FCJF0`` is row ``CJF0`` with sex ``F``. A folder without
  row keeps the sex and the region of its path. Where the row has another sex than the folder, the sex is left
  unknown.
* ``SPKRINFO.TXT`` starts with comments (``;``); the rows are separated by blanks, and the last field is free text
  with blanks. Of the rows we know the fields, not every value: what is no date or no region is a reject.
* Years have two digits and are of the twentieth century: read the usual way, somebody born in ``60`` would be born
  in 2060. A date may hold ``??``; where only day and month do, the year of birth is kept and the age is unknown.
* Age is in full years from BirthDate to RecDate. The region (``DR1`` New England to ``DR8`` moved around) is the
  accent; degrees are folded to the levels of education. Race, height and the comments are not taken over.
* ``SA1`` and ``SA2`` are read by all speakers, in the training and in the test set. They are kept: the words say
  nothing about who reads them. Where words must not recur, leave out the paths that end in ``SA1`` and ``SA2``.
* NTIMIT, CTIMIT and FFMTIMIT are re-recordings of the same: person ``timit:<folder>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import full_years, text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.voices import Voices

TABLE = "SPKRINFO.TXT"
FILE = re.compile(
    r"(?:^|/)(?P<use>train|test)/dr(?P<region>[1-8])/(?P<speaker>[fm][a-z]{3}\d)/(?P<sentence>s[aix]\d+)\.wav(?:\.wav)?$",
    re.IGNORECASE,
)
DAY = re.compile(r"^(?P<month>\d\d|\?+)/(?P<day>\d\d|\?+)/(?P<year>\d\d|\?+)$")
DEGREES = re.compile(r"^[A-Z]+$")  # HS AS BS MS PHD; unknown is ??
FIELDS = 9  # ID Sex DR Use RecDate BirthDate Ht Race Edu [Comments]


@dataclass(frozen=True)
class _Speaker:
    place: str  # file:line
    sex: str
    region: str
    recorded: date | None
    born: date | None
    birth_year: int | None
    education: str | None


def scan(root: Path) -> Tables:
    """Read TIMIT: every sentence below ``TRAIN`` and ``TEST``, and ``SPKRINFO.TXT`` wherever it is.

    Raises:
        RecipeError: there is no ``{TRAIN,TEST}/DR<n>/<speaker>/<sentence>.WAV`` below ``root``.
    """
    rows = Rows("timit")
    people = _people(root, rows)
    if not people:
        rows.reject(TABLE, "no rows found: sex and region are those of the folders, ages are unknown")
    sentences = list(_sentences(root, rows))
    if not sentences:
        raise RecipeError(f"{root}: no TRAIN/DR1/<speaker>/<sentence>.WAV found; unpack LDC93S1 there")
    for path, name in sentences:
        folder = name["speaker"].upper()
        person = people.get(folder[1:])
        speaker = f"timit:{folder}"
        if speaker not in rows.speakers:
            _add_speaker(rows, folder, name["region"], person)
            if people and person is None:
                rows.reject(path, f"folder {folder} has no row in {TABLE}: only sex and region are known")
        rows.utterance(
            path,
            speaker,
            language="en",
            speech_task="read",
            recorded_on=None if person is None else person.recorded,
            official_split=name["use"].lower(),
            age=None if person is None else full_years(person.born, person.recorded),
        )
    for identity, person in people.items():
        if not {f"timit:F{identity}", f"timit:M{identity}"} & rows.speakers.keys():
            rows.reject(person.place, "row without audio")
    return rows.tables()


def _sentences(root: Path, rows: Rows) -> Iterator[tuple[str, re.Match[str]]]:
    """Path and parts of one file for each (speaker, sentence); second copies and odd names are rejects."""
    first: dict[tuple[str, str], str] = {}
    files = (path for path in root.rglob("*") if path.suffix.casefold() == ".wav")
    # a SPHERE file sorts before its twin in RIFF, which has one more ending
    for audio in sorted(files, key=lambda path: (len(path.suffixes), path)):
        path = audio.relative_to(root).as_posix()
        name = FILE.search(path)
        if audio.name.startswith("._"):
            continue
        if name is None:
            rows.reject(path, "path is not {TRAIN,TEST}/DR<1-8>/<speaker>/<sentence>.WAV")
            continue
        before = first.setdefault((name["speaker"].upper(), name["sentence"].upper()), path)
        if before == path:
            yield path, name
        else:
            rows.reject(path, f"second copy of {before}")


def _people(root: Path, rows: Rows) -> dict[str, _Speaker]:
    """The rows of SPKRINFO.TXT by their ID; empty where a copy has no such file."""
    tables = sorted(path for path in root.rglob("*") if path.name.upper() == TABLE)
    if not tables:
        return {}
    people: dict[str, _Speaker] = {}
    for number, line in enumerate(text_of(tables[0]).splitlines(), start=1):
        if not line.strip() or line.startswith(";"):
            continue
        place = f"{tables[0].relative_to(root).as_posix()}:{number}"
        fields = line.split(None, FIELDS)
        if len(fields) < FIELDS or fields[1].upper() not in ("F", "M"):
            rows.reject(place, "row is not ID, F or M, DR, Use, RecDate, BirthDate, Ht, Race, Edu")
            continue
        _, recorded = _date(fields[4], "RecDate", place, rows)
        birth_year, born = _date(fields[5], "BirthDate", place, rows)
        degree = fields[8].upper()
        people[fields[0].upper()] = _Speaker(
            place=place,
            sex=fields[1].upper(),
            region=fields[2],
            recorded=recorded,
            born=born,
            birth_year=birth_year,
            education=degree if DEGREES.match(degree) else None,
        )
    return people


def _date(text: str, column: str, place: str, rows: Rows) -> tuple[int | None, date | None]:
    """Year and day of ``mm/dd/yy`` in the twentieth century; None for what is ``??``."""
    parts = DAY.match(text)
    if parts is not None and "?" in text:
        return (None if "?" in parts["year"] else 1900 + int(parts["year"])), None
    try:
        if parts is not None:
            day = date(1900 + int(parts["year"]), int(parts["month"]), int(parts["day"]))
            return day.year, day
    except ValueError:
        pass
    rows.reject(place, f"{column} is not a date like 03/14/86: left unknown")
    return None, None


def _add_speaker(rows: Rows, folder: str, region: str, person: _Speaker | None) -> None:
    """Add the speaker of a folder, with the facts of the row of SPKRINFO that has its ID."""
    sex: str | None = folder[0]
    if person is not None and person.sex != sex:
        rows.reject(person.place, f"sex is not that of folder {folder}: left unknown")
        sex = None
    if person is not None and person.region != region:
        rows.reject(person.place, f"region is not that of folder {folder}: the folder's is used")
    speaker = rows.speaker(
        folder,
        sex=sex,
        birth_year=None if person is None else person.birth_year,
        person_id=f"timit:{folder}",
    )
    rows.observe(speaker, "accent", f"DR{region}", source="owner")
    if person is not None:
        rows.observe(speaker, "education", person.education, source="self-report")


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up TIMIT: two or three sentences a speaker, one of them read by all."""
    home = root / "TIMIT"
    people = voices.cast("timit", 8, "en", ages=(21, 76))
    table = [f"; made-up line {number} of the owners' 39 lines of comments" for number in range(1, 39)]
    table.append(";ID  Sex DR Use RecDate   BirthDate Ht    Race Edu Comments")
    degrees = ("BS", "HS", "??", "PHD", "MS", "AS")
    for index, voice in enumerate(people):
        identity = f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[index % 26]}QX{index // 26}"
        sex, region = voice.sex[0].upper(), 1 + index % 8
        test = index % 8 in (2, 3, 4, 5)  # both sets hear both sexes, young and old
        comment = "  MADE UP, NOT A REAL PERSON" if index % 3 == 1 else ""  # trap: free text with blanks
        table.append(
            f"{identity}  {sex}  {region}  {'TST' if test else 'TRN'}  03/03/86  02/11/{86 - voice.age:02}  "
            f"5'{index % 12:02}\"  ???  {degrees[index % len(degrees)]}{comment}"
        )
        place = home / ("TEST" if test else "TRAIN") / f"DR{region}" / f"{sex}{identity}"
        for take, sentence in enumerate(("SA1", f"SX{101 + index}", f"SI{601 + index}")[: 2 + index % 2]):
            _sphere(place / f"{sentence}.WAV", voices.say(voice, take=take, seconds=2.5))
            (place / f"{sentence}.TXT").write_text("0 40000 Made up text.\n", "ascii")
    # traps: a twin in RIFF, and one without its SPHERE file
    voices.write(place / "SA1.WAV.wav", voices.say(voice, take=0, seconds=2.5), 16000)
    voices.write(place / "SX399.WAV.wav", voices.say(voice, take=4, seconds=2.5), 16000)
    # traps: a copy in lower case, a folder without row, dates that are unknown, or but for the year
    _sphere(root / "copy" / "train" / "dr1" / "faqx0" / "sa1.wav", voices.say(people[0], seconds=2.5))
    for index, folder in enumerate(("FZZZ0", "MWWW0", "FVVV0")):
        voice = replace(people[index % 2], seed=f"timit-{folder}")
        _sphere(home / "TRAIN" / "DR8" / folder / "SA1.WAV", voices.say(voice, seconds=2.5))
    table += [
        "WWW0  M  8  TRN  ??/??/86  ??/??/??  5'11\"  ???  ??",
        "VVV0  F  8  TRN  03/04/86  ??/??/60  5'05\"  ???  BS",
        "YYY0  F  2  TRN  03/05/86  04/01/55  5'04\"  ???  HS",  # trap: a row without folder
        "XXX0  F  2",  # half a row
    ]
    (home / "DOC").mkdir()
    (home / "DOC" / TABLE).write_bytes("".join(f"{line}\r\n" for line in table).encode("ascii"))


def _sphere(path: Path, wave: NDArray[np.float32]) -> None:
    """Write a recording with the header that TIMIT's files have."""
    samples: NDArray[np.int16] = np.clip(np.round(wave * 32768.0), -32768, 32767).astype("<i2")
    utterance = f"{path.parent.name[1:]}_{path.stem}".lower()
    header = (
        "NIST_1A\n   1024\ndatabase_id -s5 TIMIT\ndatabase_version -s3 1.0\n"
        f"utterance_id -s{len(utterance)} {utterance}\n"
        f"channel_count -i 1\nsample_count -i {samples.size}\nsample_rate -i 16000\n"
        f"sample_min -i {samples.min()}\nsample_max -i {samples.max()}\n"
        "sample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_sig_bits -i 16\nend_head\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode("ascii").ljust(1024) + samples.tobytes())


CORPUS = Corpus(
    name="timit",
    title="TIMIT Acoustic-Phonetic Continuous Speech Corpus",
    homepage="https://catalog.ldc.upenn.edu/LDC93S1",
    citation="Garofolo et al., TIMIT Acoustic-Phonetic Continuous Speech Corpus LDC93S1, Linguistic Data "
    "Consortium, 1993",
    licence=Licence(
        name="LDC user agreement",
        url="https://catalog.ldc.upenn.edu/LDC93S1",
        access="paid",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    official_splits=True,
    traps={
        "sphere-named-wav": "The .WAV files are NIST SPHERE, not RIFF.",
        "folder-is-sex-and-id": "A folder is the sex and the ID of SPKRINFO: FCJF0 is row CJF0 with sex F.",
        "case-of-names": "Names are in upper case in the master and in lower case in some copies.",
        "twins-with-two-endings": "A copy on Kaggle holds SA1.WAV.wav beside SA1.WAV: the same sentence in RIFF.",
        "list-elsewhere": "SPKRINFO.TXT is in TIMIT/DOC, or beside the folder data of the copy on Kaggle, or missing.",
        "comments-and-blanks": "SPKRINFO.TXT starts with lines of comments, and its last field is text with blanks.",
        "two-digit-years": "Years have two digits and are all 19xx: %y makes somebody born in 60 be born in 2060.",
        "unknown-dates": "A date may hold ??, in all parts or in some.",
        "unknown-codes": "Unknown is ??? as race and ?? as education.",
        "sentences-of-all": "SA1 and SA2 are read by all speakers, in the training and in the test set.",
        "recorded-again": "NTIMIT, CTIMIT and FFMTIMIT are re-recordings of the same speakers.",
    },
)
