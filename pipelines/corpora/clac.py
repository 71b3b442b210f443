"""CLAC: healthy English speakers recorded by crowd workers (Haulcy & Glass, Interspeech 2021).

1,832 speakers, about 18,600 files, no diagnosis, no score, no split.

::

    CLAC-Dataset/metadata.xlsx
    CLAC-Dataset/cookie_theft/spk1.wav   CLAC-Dataset/cookie_theft/spk1_transcript.txt
    CLAC-Dataset/rainbow/spk1.wav   .../grandfather/   .../counting_1_to_20/   ...

What to know:

* The same file name stands in every task folder: a recording is folder and name. Not every speaker did every task.
* Where the words of ``repeat_5_times`` lie is not certain: in folders of their own or one level deeper, so audio is
  found by ``**/spk*.wav``. The root folder is sometimes doubled. Transcripts lie beside the recordings.
* The table has an unnamed index column; the city is often blank; education may be blank or NaN.
* Country ``None (None)`` is not known. Country, region and city are where the worker was, not an accent: only the
  country is read, as its code.
* Thirteen call themselves ``other`` than female or male.
* The owners call the speakers healthy; that is recorded for those who report no symptoms. Nobody was examined.
* Recorded on the workers' own computers: the rate differs and is read from the header, and there is noise.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, number, read_table, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

COLUMNS = ("speakerid", "worker_country", "age (years)", "education (years)", "gender", "symptoms")
NAME = re.compile(r"spk\d{1,4}", re.IGNORECASE)
SPEECH_TASKS = {
    "cookie_theft": "spontaneous",  # picture descriptions
    "picnic": "spontaneous",
    "rainbow": "read",
    "grandfather": "read",
    "smr": "syllables",  # sequential motion rate: pa-ta-ka
    "max_phonation": "vowel",
    "counting_1_to_20": "digits",
    "days_of_the_week": "words",
    "artillery": "words",
    "catastrophe": "words",
    "impossibility": "words",
}


def scan(root: Path) -> Tables:
    """Read the corpus below ``root``; see the module docstring for the layout.

    Raises:
        RecipeError: no ``metadata.xlsx``, or it lacks a column.
    """
    home = _home(root)
    rows = Rows("clac")
    people = _people(rows, home / "metadata.xlsx", root)
    heard = set()
    for path in visible(home.glob("**/*.wav")):
        where, owner_id = path.relative_to(root).as_posix(), path.stem.casefold()
        if not NAME.fullmatch(owner_id):
            rows.reject(where, "the name is not spkN.wav")
        elif owner_id not in people:
            rows.reject(where, "no row for this speaker in metadata.xlsx")
        else:
            speaker_id = _speaker(rows, owner_id, people[owner_id])
            age = number(people[owner_id]["age (years)"])
            rows.utterance(where, speaker_id, language="en", speech_task=_speech_task(path), age=age)
            heard.add(owner_id)
    for owner_id, row in people.items():
        if owner_id not in heard:
            rows.reject(f"{(home / 'metadata.xlsx').relative_to(root).as_posix()}:{row['_row']}", "no audio")
    return rows.tables()


def _home(root: Path) -> Path:
    for folder in (root, root / "CLAC-Dataset", root / "CLAC-Dataset" / "CLAC-Dataset"):
        if (folder / "metadata.xlsx").is_file():
            return folder
    raise RecipeError(
        f"{root}: found no metadata.xlsx, here or in CLAC-Dataset/: unpack CLAC-Dataset.zip into this folder"
    )


def _people(rows: Rows, path: Path, root: Path) -> dict[str, Row]:
    """The table's rows by speaker; a second row of a speaker is rejected."""
    people: dict[str, Row] = {}
    for row in read_table(path, COLUMNS):
        where = f"{path.relative_to(root).as_posix()}:{row['_row']}"
        owner_id = (row["speakerid"] or "").casefold()
        if not NAME.fullmatch(owner_id):
            rows.reject(where, "speakerID is not spkN")
        elif owner_id in people:
            rows.reject(where, f"speakerID stands in row {people[owner_id]['_row']} already")
        else:
            people[owner_id] = row
    return people


def _speaker(rows: Rows, owner_id: str, row: Row) -> str:
    speaker_id = f"{rows.corpus}:{owner_id}"
    if speaker_id in rows.speakers:
        return speaker_id
    rows.speaker(owner_id, sex=row["gender"], country=_country(row["worker_country"]))
    symptoms = row["symptoms"]
    rows.observe(speaker_id, "symptoms", symptoms, source="self-report")
    if symptoms is not None and symptoms.casefold() == "no":
        rows.observe(speaker_id, "healthy", "present", source="owner")
    years = number(row["education (years)"])
    rows.observe(speaker_id, "education_years", years, source="self-report", unit="years")
    return speaker_id


def _country(text: str | None) -> str | None:
    """``United States (US)`` as ``US``."""
    code = re.search(r"\(([A-Z]{2})\)", text or "")
    return code[1] if code else text


def _speech_task(path: Path) -> str | None:
    """What the folder asks for; null for a folder that is not known."""
    folder = path.parent.name.casefold().removeprefix("repeat_5_times_")
    return "words" if folder == "repeat_5_times" else SPEECH_TASKS.get(folder)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: a picture description, a read passage and counting by each speaker."""
    home = root / "CLAC-Dataset"
    people = voices.cast("clac", 48, "en", ages=(18, 80))
    table = []
    for place, person in enumerate(people):
        owner_id = f"spk{1001 + place}"
        for take, folder in enumerate(("cookie_theft", "rainbow", "counting_1_to_20")):
            if (place, folder) == (1, "rainbow"):  # trap: one speaker missed a task, and has a repeated word instead
                folder = "repeat_5_times/artillery"
            if (place, folder) == (2, "rainbow"):  # trap: the other place of a repeated word
                folder = "repeat_5_times_catastrophe"
            rate = 48000 if place == 3 else 16000  # trap: every browser has its own rate
            voices.write(home / folder / f"{owner_id}.wav", voices.say(person, take=take, rate=rate), rate)
        transcript = home / "cookie_theft" / f"{owner_id}_transcript.txt"
        transcript.write_text("the boy is on the stool\n", encoding="utf-8")
        table.append(_table_row(place, owner_id, person))
    table.append([len(table), "spk9998", "None (None)", "", "", 33, "", "other", "no"])  # trap: a row without audio
    voices.write(home / "rainbow" / "spk9999.wav", voices.say(people[0], take=3), 16000)  # trap: audio without a row
    voices.write(home / "rainbow" / "spk1001 (1).wav", voices.say(people[0], take=1), 16000)
    (home / "rainbow" / "._spk1001.wav").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin
    (home / "README.txt").write_text("Miniature with rendered voices.\n", encoding="utf-8")
    _write_table(home / "metadata.xlsx", table)


def _table_row(place: int, owner_id: str, person: Voice) -> list[object]:
    country, region, city = (  # trap: a worker of nowhere
        ("None (None)", "None (None)", "") if place == 4 else ("United States (US)", "Maryland (MD)", "Springfield")
    )
    gender = "other" if place == 5 else person.sex
    symptoms = "yes" if place % 24 == 6 else "no"
    education: object = {3: "", 7: "NaN"}.get(place, 10 + place % 9)  # trap: two ways to say nothing
    return [place, owner_id, country, region, city, person.age, education, gender, symptoms]


def _write_table(path: Path, table: list[list[object]]) -> None:
    import xlsxwriter

    names = ["", "speakerID", "worker_country", "worker_region", "worker_city", "age (years)", "education (years)"]
    with xlsxwriter.Workbook(path) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
        sheet = book.add_worksheet()
        for line, cells in enumerate([[*names, "gender", "symptoms"], *table]):
            sheet.write_row(line, 0, cells)


CORPUS = Corpus(
    name="clac",
    title="CLAC: Crowdsourced Language Assessment Corpus",
    homepage="https://doi.org/10.21437/Interspeech.2021-1810",
    citation="Haulcy, Glass: CLAC: A Speech Corpus of Healthy English Speakers. Interspeech 2021.",
    licence=Licence(
        name="Research and academic use; the exact text is in the archive's README (UNKNOWN to this project)",
        url="https://data.csail.mit.edu/placesaudio/CLAC-Dataset.zip",
        access="open",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("train", "evaluate"),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.5,
    traps={
        "names-repeat-in-every-folder": "spk1.wav stands in every task folder: a recording is folder and name.",
        "repeat-5-times-folders": "Repeated words lie in repeat_5_times_<word>/ or in repeat_5_times/<word>/.",
        "doubled-root-folder": "CLAC-Dataset/ is sometimes doubled.",
        "unnamed-index-column": "The first column of metadata.xlsx has no name.",
        "country-none": "Country None (None) is not known.",
        "location-is-no-accent": "Country, region and city are where the worker was, not an accent.",
        "sex-other": "Thirteen speakers are neither female nor male.",
        "blank-education": "Years of education are blank or NaN for some.",
        "missing-tasks": "Not every speaker did every task, and a row may have no audio.",
        "healthy-without-examination": "Healthy is who reports no symptoms: nobody was examined.",
        "mixed-sample-rates": "The workers' computers recorded at rates of their own: the header tells.",
        "transcripts-and-mac-twins": "Transcripts and ._* files lie beside the recordings.",
    },
)
