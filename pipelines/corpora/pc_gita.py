"""PC-GITA (Colombian Spanish): 50 people with Parkinson's disease and 50 healthy controls, 25 of each sex.

Layout (44.1 kHz, and a copy at 16 kHz; the folders' spelling varies)::

    PC-GITA_per_task_16000Hz/
        Vowels/{Control,Patologicas}/A/AVPEPUDEAC0001a1.wav
        modulated_vowels/{hc,pd}/A/...              DDK_analysis/pataka/sin_normalizar/{HC,PD}/...
        Words/Sin_normalizar/{Control,Patologica}/apto/...
        sentences/laura/sin_normalizar/{HC,PD}/...  sentences2/1_viste/non-normalized/{hc,pd}/...
        read_text/ayerfuialmedico/sin_normalizar/{hc,pd}/...   monologue/sin_normalizar/{hc,pd}/...
    PCGITA_metadata.xlsx

What the release asks of a reader:

- The group is in the id, AVPEPUDEA0001 (patient) or AVPEPUDEAC0001 (control): folders are spelled HC, hc or
  Control, and are not believed. Blank, hyphen and underscore are one in the names of folders.
- The task is the folder, the item the folder below or the file name or both. Two files of one task, item and name
  are copies (other rate, normalised loudness, a stray folder ``bodega``): the one that is not normalised, then the
  one of 44.1 kHz is kept.
- ``ñame`` is spelled in both ways of Unicode. ``fruta`` lacks patient 0016; ``clavo`` of patient 0038 is bad.
- The table's id column is "RECODING ORIGINAL NAME". Controls have no clinical values. Hoehn and Yahr has halves.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, number, paths_below, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

FILE = re.compile(r"^(?P<id>AVPEPUDEA(?P<control>C?)\d{4})(?!\d)(?P<item>.*)\.wav$", re.IGNORECASE)
BOOK = re.compile(r"pc_?gita.*metadata.*\.(?:xlsx|csv)$")
ID_COLUMNS = ("recoding original name", "recording original name")  # the first is the owners' spelling
TASKS = {
    "vowels": "vowel",
    "modulated_vowels": "vowel",
    "ddk_analysis": "syllables",
    "words": "words",
    "sentences": "read",
    "sentences2": "read",
    "read_text": "read",
    "monologue": "spontaneous",
}
SCORES = (  # column, attribute, instrument, unit
    ("updrs", "updrs", "UPDRS", "points"),
    ("updrs-speech", "updrs_speech", "UPDRS", "points"),
    ("h/y", "hoehn_yahr", "Hoehn-Yahr", "stage"),
    ("time after diagnosis", "years_since_diagnosis", None, "years"),
)

# Folders that say nothing of what is spoken: group and loudness.
NO_ITEM = re.compile(r"hc|pd|control\w*|path?ologic\w*|(?:(?:sin|non|no)_)?normal\w*")

Recording = tuple[str, str, str, str]  # task folder, owner id, folder of the item, rest of the file name
Rank = tuple[bool, bool, str]  # normalised, not 44.1 kHz, path: the smallest is kept


def scan(root: Path) -> Tables:
    """Read PC-GITA below ``root``: ``AVPEPUDEA[C]<4 digits>*.wav`` in the folders of their tasks.

    Raises:
        RecipeError: not one such file is found, or the table lacks a column.
    """
    rows = Rows(CORPUS.name)
    found = _recordings(root, rows)
    if not found:
        raise RecipeError(f"{root}: no Vowels/Control/A/AVPEPUDEAC0001a1.wav or the like found; unpack PC-GITA here")
    table = _table(root, rows)
    listed = bool(table)
    spoken: dict[str, list[tuple[Recording, str]]] = defaultdict(list)
    for recording, (*_, place) in sorted(found.items()):
        spoken[recording[1]].append((recording, place))
    for owner_id, recordings in spoken.items():
        place, row = table.pop(owner_id, ("", None))
        if row is None and listed:
            rows.reject(recordings[0][1], f"{owner_id} is in no row of the table: age and sex unknown")
        _add(owner_id, recordings, row, rows)
    for owner_id, (place, _) in table.items():
        rows.reject(place, f"row without recordings of {owner_id}")
    return rows.tables()


def _fold(text: str) -> str:
    """A name of a file or folder as it is compared: one Unicode form, lower case, "_" for blank and hyphen."""
    return re.sub(r"[ _-]+", "_", unicodedata.normalize("NFC", text).casefold().strip())


def _recordings(root: Path, rows: Rows) -> dict[Recording, Rank]:
    found: dict[Recording, Rank] = {}
    for place in paths_below(root, ".wav"):
        *inside, file = place.split("/")
        parts = [_fold(part) for part in inside]
        task = next((part for part in parts if part in TASKS), None)
        name = FILE.match(file)
        if name is None:
            rows.reject(place, "name does not start with AVPEPUDEA or AVPEPUDEAC and four digits")
            continue
        if task is None:
            rows.reject(place, f"in no folder of a task ({', '.join(TASKS)})")
            continue
        owner_id, item = name["id"].upper(), _fold(name["item"]).strip("_")
        if (task, owner_id) == ("words", "AVPEPUDEA0038") and "clavo" in (item, *parts):
            rows.reject(place, "known error: a bad recording")
            continue
        below = [part for part in parts[parts.index(task) + 1 :] if not NO_ITEM.fullmatch(part)]
        if below[-1:] == ["bodega"] and item and item != "bodega":  # a word as well as the name of a stray folder
            below.pop()
        recording = (task, owner_id, below[-1] if below else "", item)
        rank = (not any(re.match(r"(sin|non|no)_normal", part) for part in parts), "44100" not in place, place)
        kept = min(found.get(recording, rank), rank)
        if recording in found:
            rows.reject(max(found[recording], rank)[2], f"second copy of {kept[2]}")
        found[recording] = kept
    return found


def _table(root: Path, rows: Rows) -> dict[str, tuple[str, Row]]:
    """Owner id -> its place and its row; empty, with a reject, where no table was copied."""
    books = sorted(path for path in root.rglob("*") if BOOK.search(_fold(path.name)) and path.name[:1] not in "~.")
    if not books:
        rows.reject("PCGITA_metadata.xlsx", "not found: nobody has sex, age or scores")
        return {}
    place = books[0].relative_to(root).as_posix()
    table: dict[str, tuple[str, Row]] = {}
    for row in read_table(books[0], ("sex", "age")):
        owner_id = next((row[column] for column in ID_COLUMNS if column in row), "")
        if owner_id == "":
            raise RecipeError(
                f"{books[0]}: no column {ID_COLUMNS[0]}; found {', '.join(sorted(row.keys() - {'_row'}))}"
            )
        where = f"{place}:{row['_row']}"
        if owner_id is None or FILE.match(f"{owner_id}.wav") is None:
            rows.reject(where, f"{ID_COLUMNS[0]} is not AVPEPUDEA or AVPEPUDEAC and four digits")
        elif owner_id.upper() in table:
            rows.reject(where, f"second row of {owner_id}")
        else:
            table[owner_id.upper()] = (where, row)
    return table


def _add(owner_id: str, recordings: list[tuple[Recording, str]], row: Row | None, rows: Rows) -> None:
    speaker = rows.speaker(owner_id, sex=row["sex"] if row else None, native_language="es")
    name = FILE.match(f"{owner_id}.wav")
    control = name is not None and bool(name["control"])
    rows.observe(speaker, "parkinson", "absent" if control else "present", source="group")
    rows.observe(speaker, "healthy", "present" if control else None, source="group")
    for column, attribute, instrument, unit in SCORES if row else ():
        value = number(row.get(column)) if row else None
        rows.observe(speaker, attribute, value, source="clinician", instrument=instrument, unit=unit)
    for (task, *_), place in recordings:
        age = number(row["age"]) if row else None
        rows.utterance(place, speaker, language="es", speech_task=TASKS[task], age=age)


# The miniature -----------------------------------------------------------------------------------

HOME = "PC-GITA_per_task_16000Hz"
HEADER = ["RECODING ORIGINAL NAME", "UPDRS", "UPDRS-speech", "H/Y", "SEX", "AGE", "time after diagnosis"]
PATIENTS = (1, 16, 38, *(number for number in range(2, 1000) if number not in (16, 38)))  # of the traps first
RATE = 16000


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of PC-GITA: three tasks a speaker, in the copy of 16 kHz."""
    people = voices.cast(CORPUS.name, 12, "es", ({"parkinson": 0.8}, {}), ages=(31, 86))
    people = people[: max(8, round(12 * voices.scale))]
    home, counts = root / HOME, Counter[bool]()
    lines: list[list[object]] = []
    for index, voice in enumerate(people):
        patient = voice.strength("parkinson") > 0
        count = counts[patient]
        counts[patient] += 1
        owner_id = f"AVPEPUDEA{PATIENTS[count]:04d}" if patient else f"AVPEPUDEAC{count + 1:04d}"
        _write_speaker(home, owner_id, patient, voice, voices, index)
        scores: list[object] = [20 + 5 * index, index % 4, (1, 2.5, 3)[count % 3]] if patient else [None] * 3
        years = 1.5 + index if patient else "NaN"
        lines.append([f"{owner_id} " if index == 1 else owner_id, *scores, voice.sex[0].upper(), voice.age, years])
    lines.append(["AVPEPUDEAC0999", None, None, None, "F", 60, None])  # a row without recordings
    _write_book(root / "PCGITA_metadata.xlsx", lines)


def _write_speaker(home: Path, owner_id: str, patient: bool, voice: Voice, voices: Voices, index: int) -> None:
    short = "pd" if patient else "hc"
    said = {  # traps: folders in several cases and spellings
        f"Vowels/{'Patologicas' if patient else 'Control'}/A/{owner_id}a1": "vowel:a",
        f"monologue/sin_normalizar/{short}/{owner_id}-Monologo-NR": None,
        (
            f"DDK_analysis/pataka/sin_normalizar/{short.upper()}/{owner_id}pataka",
            f"read text/ayerfuialmedico/sin normalizar/{short}/{owner_id}readtext",
            f"sentences2/1_viste/non-normalized/{short}/{owner_id}_viste",
        )[index // 2 % 3]: ("pataka pataka pataka", "Ayer fui al médico.", "¿Viste las noticias?")[index // 2 % 3],
    }
    for take, (place, text) in enumerate(said.items()):
        voices.write(home / f"{place}.wav", voices.say(voice, text, seconds=2.5, rate=RATE, take=take), RATE)
    words = home / "Words" / "Sin_normalizar" / ("Patologica" if patient else "Control")
    wave = voices.say(voice, "clavo", seconds=2.0, rate=RATE)
    if owner_id == "AVPEPUDEA0038":
        voices.write(words / "clavo" / f"{owner_id}clavo.wav", wave, RATE)  # trap: a bad recording
    if owner_id == "AVPEPUDEAC0001":
        voices.write(words / "fruta" / f"{owner_id}fruta.wav", wave, RATE)  # trap: patient 0016 has none
        for folder in ("bodega", "apto/bodega"):  # trap: a stray folder
            voices.write(words / folder / f"{owner_id}bodega.wav", wave, RATE)
        # trap: two ways to write ñ
        for word, version in (("\u00f1ame", "Sin_normalizar"), ("n\u0303ame", "Normalizadas")):
            voices.write(home / "Words" / version / "Control" / word / f"{owner_id}{word}.wav", wave, RATE)
        voices.write(home / "Words" / "Sin_normalizar" / "Control" / "apto" / "prueba.wav", wave, RATE)


def _write_book(path: Path, lines: list[list[object]]) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
        sheet = book.add_worksheet("Hoja1")
        for line, cells in enumerate([HEADER, *lines]):
            sheet.write_row(line, 0, cells)


CORPUS = Corpus(
    name="pc_gita",
    title="PC-GITA (Parkinson's disease, Colombian Spanish)",
    homepage="https://gita.udea.edu.co",
    citation="Orozco-Arroyave, Arias-Londoño, Vargas-Bonilla, González-Rátiva, Nöth: New Spanish speech corpus "
    "database for the analysis of people suffering from Parkinson's disease. LREC 2014.",
    licence=Licence(
        name="Universidad de Antioquia, on request, no redistribution",
        url="https://gita.udea.edu.co",
        access="agreement",
        may_train=True,  # research use, as commonly understood: read the agreement
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("es",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="parkinson",
    traps={
        "folder-names": "Folders are spelled HC, hc, Control, Patologica(s), with blanks or underscores.",
        "group-from-the-id": "The group is the C in the id, whatever folder the file lies in.",
        "copies-of-a-recording": "Other rates and normalised versions repeat the recordings.",
        "stray-bodega-folder": "A stray subfolder bodega repeats recordings.",
        "fruta-lacks-0016": "The word fruta lacks patient 0016: no gap to fill or to report.",
        "clavo-0038-is-bad": "The word clavo of patient 0038 is a bad recording.",
        "two-ways-to-write-n-tilde": "The word ñame is spelled in composed and in decomposed Unicode.",
        "recoding-original-name": "The id column is RECODING, not RECORDING, ORIGINAL NAME.",
        "no-scores-of-controls": "Clinical columns are empty or NaN for controls: unknown, not 0.",
        "half-stages": "Hoehn and Yahr stages include 2.5.",
    },
)
