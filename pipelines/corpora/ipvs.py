"""IPVS, Italian Parkinson's Voice and Speech: young controls, elderly controls, Parkinson's disease.

Layout (IEEE DataPort aw6b-tg17; blanks and an apostrophe in the names; a mirror adds an outer folder)::

    Italian Parkinson's Voice and speech/15 Young Healthy Control/<Name S>/B1....wav      + 15 YHC.xlsx
    .../22 Elderly Healthy Control/<Name S>/VA1....wav                                    + Tab 3.xlsx
    .../28 People with Parkinson's disease/1-5/<Name S>/....wav     (6-10, 11-16, 17-28)  + TAB 5.xlsx

Facts and traps of the release:

* The root folder's name holds the word Parkinson's: the group is read from the group folder alone.
* **Folders are named after people.** A speaker id is therefore a digest of group, name and initial. A reason
  for rejection never repeats a name (its path does, because a person has to find the file).
* The tables have their header in the second row, the patients' one starts in column B; names have blanks around
  them and "*" behind, "-" and "//" are missing, footnotes follow. A row counts where its age is a number.
  ``FILE CODES.xlsx`` beside them is no table of people. Where people are from, and their times and characters per
  second, are not read.
* Folder and row are joined by first name and initial, else by surname and initial of the name, in either order,
  capitals and accents or not. One that does not match is recorded and never guessed: the person is kept without
  an age.
* About three people lie in two range folders (recorded a year apart): one speaker, two sessions. The ranges are
  a numbering, not a severity.
* File names end in two digits, M or F, date (ddmmyyyy of 2017, ddmmyy of 2016) and time. Readers disagree about
  the two digits: they are not read. Sex comes from table and file names; where they disagree it is left empty.
* Young controls have readings alone, no vowels and no syllables.
* 160 patients' files (2016) have 44.1 kHz, all others 16 kHz, and the recording rooms differ: a classifier
  can tell the groups apart from silence alone. Scores on this corpus need that sentence beside them.
* The mirror adds an outer folder and the archive itself once more; counts of files differ (831 or 815).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import fold, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

GROUPS = {
    "young healthy control": "young",
    "elderly healthy control": "elderly",
    "people with parkinson": "patient",
}
TASK_CODE = re.compile(r"(?P<code>B[12]|D[12]|V[AEIOU][12]|PR1|FB1)", re.IGNORECASE)
SUFFIX = re.compile(r"\d{2}(?P<sex>[MF])(?P<date>\d{8}|\d{6})\d{4}$", re.IGNORECASE)
SPEECH_TASKS = {
    "B": "read",
    "F": "read",
    "P": "words",
    "D": "syllables",
    "V": "vowel",
}  # by the code's first letter
SEX = {"M": "male", "F": "female"}

Key = tuple[str, str]  # folded first name(s), initial of the surname


@dataclass
class TableRows:
    """What a group's table says of one (name, initial); a person recorded twice has two rows."""

    where: str
    ages: list[float] = field(default_factory=list)
    sexes: set[str] = field(default_factory=set)

    def age(self) -> float | None:
        """The age in years, the middle where two rows lie at most two years apart, else None."""
        near = bool(self.ages) and max(self.ages) - min(self.ages) <= 2
        return sum(self.ages) / len(self.ages) if near else None


def scan(root: Path) -> Tables:
    """Read the raw folder ``root`` (``<raw>/ipvs``).

    Raises:
        RecipeError: a group folder, its table or a needed column is not there.
    """
    rows = Rows("ipvs")
    for group, folder in _group_folders(root).items():
        table, turned = _table(rows, root, folder)
        matched: set[Key] = set()
        recordings: dict[Key, list[Path]] = {}
        for path in sorted(folder.rglob("[!.]*.wav")):
            if TASK_CODE.match(path.name) is None:
                rows.reject(path.relative_to(root).as_posix(), "name starts with none of the task codes")
            elif path.parent == folder:
                rows.reject(path.relative_to(root).as_posix(), "recording outside a person's folder")
            else:
                key = _folder_key(path.parent.name)
                recordings.setdefault(key if key in table else turned.get(key, key), []).append(path)
        for key, paths in recordings.items():
            where = paths[0].parent.relative_to(root).as_posix()
            if key in table:
                matched.add(key)
            else:
                rows.reject(where, "folder matches no row of the group's table: kept without age, resolve by hand")
            _add_person(rows, root, group, key, paths, table.get(key, TableRows(where)))
        for key, entry in table.items():
            if key not in matched:
                rows.reject(entry.where, "row matches no folder: resolve by hand")
    return rows.tables()


def _group_folders(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for home in (root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))):
        inside = [path for path in sorted(home.glob("*")) if path.is_dir()]
        for words, group in GROUPS.items():
            for folder in inside:
                if words in fold(folder.name) and group not in found:
                    found[group] = folder
        if len(found) == len(GROUPS):
            return found
        found.clear()
    raise RecipeError(
        f"{root}: no folder that holds '15 Young Healthy Control', '22 Elderly Healthy Control' and "
        "'28 People with Parkinson's disease': unpack the IPVS archive there"
    )


def _table(rows: Rows, root: Path, folder: Path) -> tuple[dict[Key, TableRows], dict[Key, Key]]:
    """What the group's table says by key, and the keys of those whom (surname, initial of the name) tells alone."""
    books = [
        path for path in sorted(folder.glob("*.xlsx")) if not fold(path.name).startswith(("file codes", "~", "._"))
    ]
    if not books:
        raise RecipeError(f"{folder}: no .xlsx with the speakers' ages (15 YHC.xlsx, Tab 3.xlsx, TAB 5.xlsx)")
    table: dict[Key, TableRows] = {}
    turned: dict[Key, set[Key]] = {}
    for row in read_table(books[0], ["name", "surname", "sex", "age"], header_row=1):
        where = f"{books[0].relative_to(root).as_posix()}:{row['_row']}"
        age = number(row["age"])
        if age is None:  # a footnote, or a person whose age is not known
            continue
        name, surname = _letters(row["name"]), _letters(row["surname"])
        if not name or not surname:
            rows.reject(where, "row without name or surname")
            continue
        entry = table.setdefault((name, surname[0]), TableRows(where))
        turned.setdefault((surname, name[0]), set()).add((name, surname[0]))
        entry.ages.append(age)
        if sex := SEX.get((row["sex"] or "")[:1].upper()):
            entry.sexes.add(sex)
    return table, {key: next(iter(keys)) for key, keys in turned.items() if len(keys) == 1}


def _letters(text: str | None) -> str:
    plain = unicodedata.normalize("NFKD", text or "").casefold()
    return " ".join(re.findall(r"[a-z]+", "".join(c for c in plain if not unicodedata.combining(c))))


def _folder_key(folder: str) -> Key:
    """(name, initial) of a folder "Name S" or "S Name"; without a one-letter word the last is the surname."""
    words = _letters(folder).split()
    initials = [word for word in words if len(word) == 1]
    surname = initials[-1] if initials else (words or [""])[-1]
    if surname in words:
        words.remove(surname)
    return " ".join(words), surname[:1]


def _add_person(rows: Rows, root: Path, group: str, key: Key, paths: list[Path], entry: TableRows) -> None:
    suffixes = {path: SUFFIX.search(path.stem) for path in paths}
    sexes = entry.sexes | {SEX[match["sex"].upper()] for match in suffixes.values() if match}
    if len(sexes) > 1:
        rows.reject(paths[0].parent.relative_to(root).as_posix(), "sex differs in table and file names: left empty")
    owner_id = hashlib.sha256("/".join((group, *key)).encode()).hexdigest()[:12]
    speaker = rows.speaker(owner_id, sex=sexes.pop() if len(sexes) == 1 else None)
    rows.observe(speaker, "parkinson", "present" if group == "patient" else "absent", source="group")
    if group != "patient":
        rows.observe(speaker, "healthy", "present", source="group")
    for path, match in suffixes.items():
        rows.utterance(
            path.relative_to(root).as_posix(),
            speaker,
            session_id=f"{owner_id}/{path.parent.parent.name}" if group == "patient" else None,
            language="it",
            speech_task=SPEECH_TASKS[path.name[0].upper()],
            recorded_on=_date(match["date"]) if match else None,
            age=entry.age(),
        )


def _date(digits: str) -> date | None:
    """ddmmyyyy or ddmmyy; None where that is no day."""
    year = int(digits[4:]) + (2000 if len(digits) == 6 else 0)
    try:
        return date(year, int(digits[2:4]), int(digits[:2]))
    except ValueError:
        return None


# The miniature -----------------------------------------------------------------------------------

FOLDERS = {
    "young": ("15 Young Healthy Control", "15 YHC.xlsx"),
    "elderly": ("22 Elderly Healthy Control", "Tab 3.xlsx"),
    "patient": ("28 People with Parkinson's disease", "TAB 5.xlsx"),
}
RANGES = ("1-5", "6-10", "11-16", "17-28")
SYLLABLES = ("Bel", "Cor", "Dan", "Fir", "Gal", "Lum", "Nor", "Pal", "Sar", "Tev")
ENDINGS = {"female": "ina", "male": "aldo"}
TEXT = "Il papà, o il babbo come dice il piccolo Dado, era sul letto."
Person = tuple[str, str]  # made-up first name, surname


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: two readings a speaker, a vowel too but of the young, and every trap above."""
    people = voices.cast("ipvs", 40, "it", [{}, {"parkinson": 0.4}, {}, {"parkinson": 0.8}], ages=(19, 80))
    home = root / "Italian Parkinson's Voice and speech"  # trap: the root holds the word
    members: dict[str, list[tuple[Person, Voice]]] = {group: [] for group in FOLDERS}
    for i, voice in enumerate(people):
        group = "patient" if voice.strength("parkinson") else "young" if voice.age < 35 else "elderly"
        members[group].append((_made_up_name(i, voice), voice))
    for group, cast in members.items():
        folder = home / FOLDERS[group][0]
        table: list[list[object]] = [_table_row(i, person, voice) for i, (person, voice) in enumerate(cast)]
        for i, (person, voice) in enumerate(cast):
            ranged = folder / RANGES[i % 4] if group == "patient" else folder
            _write_person(voices, ranged / _folder_name(group, i, person), group, i, voice)
        if group == "patient":
            person, voice = cast[1]  # trap: recorded again a year later, in the next range folder
            _write_person(voices, folder / RANGES[2] / _folder_name(group, 1, person), group, 2, voice)
            table.append([f"{person[0]} ", person[1], voice.sex[0].upper(), voice.age + 1, "//"])
            wave = voices.say(voice, TEXT, seconds=1.0)
            voices.write(folder / RANGES[0] / _folder_name(group, 0, cast[0][0]) / "registrazione.wav", wave, 16000)
        if group == "elderly":
            table[0][2] = {"F": "M", "M": "F"}[str(table[0][2])]  # trap: sex in the table against the file names
        table.append(["Zelindro", "Querti", "M", 66, "-"])  # trap: a row without a folder
        # trap: a footnote
        table.append(["* registrazioni di scarsa qualita'", None, None, None, None])
        _write_books(folder, FOLDERS[group][1], group, table)


def _made_up_name(i: int, voice: Voice) -> Person:
    first = "".join(SYLLABLES[int(digit)] for digit in str(i)).capitalize() + ENDINGS[voice.sex]
    return first, SYLLABLES[i * 3 % len(SYLLABLES)] + "ervo"


def _folder_name(group: str, i: int, person: Person) -> str:
    name, initial = person[0], person[1][0]
    if group == "patient" and i == 2:
        return f"{name} {initial}".upper()  # trap: capitals
    if group == "patient" and i == 3:
        return f"{initial} {name}"  # trap: surname first
    if group == "patient" and i == 4:
        return f"{name} X"  # trap: another initial than in the table
    return f"{name} {initial}"


def _table_row(i: int, person: Person, voice: Voice) -> list[object]:
    name = f"{person[0]} *" if i == 1 else f" {person[0]} "  # trap: blanks and marks around names
    return [name, person[1], voice.sex[0].upper(), voice.age, "//" if i % 3 else 12.4]


def _write_person(voices: Voices, folder: Path, group: str, i: int, voice: Voice) -> None:
    campaign_2016 = group == "patient" and i // 2 % 2 == 0  # trap: those have 44.1 kHz and short dates
    rate, day = (44100, "140616") if campaign_2016 else (16000, "17032017")
    scrambled = "".join(sorted(folder.name.replace(" ", "").upper()))
    texts = {"B1": TEXT, "B2": None} | ({} if group == "young" else {"VA1": "vowel:a"})
    for take, (code, text) in enumerate(texts.items()):
        wave = voices.say(voice, text, rate=rate, take=take)
        name = f"{code}{scrambled}{voice.age:02d}{voice.sex[0].upper()}{day}11{take:02d}.wav"
        voices.write(folder / name, wave, rate)


def _write_books(folder: Path, name: str, group: str, lines: list[list[object]]) -> None:
    import xlsxwriter

    header: list[object] = ["name ", "surname", "sex", "age", "time 1/CPS1"]
    first_column = 1 if group == "patient" else 0  # trap: the patients' table starts in column B
    table = [[FOLDERS[group][0]], header, *lines]
    codes: list[list[object]] = [["B1", "first reading of the text"]]
    for title, content, column in ((name, table, first_column), ("FILE CODES.xlsx", codes, 0)):
        with xlsxwriter.Workbook(folder / title) as book:
            book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
            sheet = book.add_worksheet("Foglio1")
            for line, cells in enumerate(content):
                sheet.write_row(line, column, cells)


CORPUS = Corpus(
    name="ipvs",
    title="Italian Parkinson's Voice and Speech",
    homepage="https://ieee-dataport.org/open-access/italian-parkinsons-voice-and-speech",
    citation="Dimauro and Girardi (2019). Italian Parkinson's Voice and Speech. IEEE DataPort. doi:10.21227/aw6b-tg17",
    licence=Licence(
        name="CC BY 4.0 (download behind a login)",
        url="https://doi.org/10.21227/aw6b-tg17",
        access="form",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("it",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="parkinson",
    traps={
        "root-says-parkinson": "Every path holds the word Parkinson's: the group is the group folder's name.",
        "folders-are-names": "Folders are named after people: ids are digests, and no reason repeats a name.",
        "header-in-row-two": "Tables have their header in the second row; the patients' one starts in column B.",
        "marks-and-footnotes": "Names have blanks and asterisks, '-' and '//' are missing, footnotes follow.",
        "name-and-initial": "Folders are in capitals or surname first at times: joined by name and initial.",
        "unmatched-folder": "A folder or row that does not match is noted and never guessed.",
        "one-person-twice": "Some people lie in two range folders: one speaker, two sessions.",
        "two-digits": "The two digits before the sex in a file name are an age or a year: not read.",
        "two-kinds-of-dates": "Dates in file names have a year of four digits in one campaign and two in the other.",
        "sex-contradicts": "Sex in the table and in file names may differ: left empty and noted.",
        "rate-gives-patients-away": "Patients' files of 2016 have 44.1 kHz, all others 16 kHz.",
        "young-have-no-vowels": "Young controls have readings alone.",
        "outer-folder": "A mirror adds an outer folder and the archive itself.",
    },
)
