"""Speech Accent Archive: 2,138 talkers of 214 native languages read one English passage, an MP3 each.

``speakers_all.csv`` beside ``recordings/recordings/<native language><number>.mp3`` (the copy on Kaggle, whose folder
is doubled). What to know:

* Drop the rows whose ``file_missing?`` is TRUE first: 32 rows, whose file names are bare and repeated
  (``haitian`` six times). The column is text: the word FALSE is a text, too.
* ``filename`` has no ending. It is the talker's id here, since it is unique among the rows that have a file.
* Native speakers of English are those whose native language is ``english``. Their ``age_onset`` is 0, which is no
  age of a second language: only that of the others becomes ``l2_onset_age``.
* The native language is the accent of the others. That of native speakers is not stated: ``english`` would be read
  as the accent of England.
* The names of three languages, ``ga bai kru``, would be read as the codes of others; they are replaced by codes.
* Age 0 is unknown; some ages have fractions (15.5). Four talkers are ``synthesized``, no people: rejects.
* Sex has the slip ``famale``. The last three columns have no name and are empty but for one remark.
* ``country`` is where the talker was born, and may be empty.
* The passage ("Please call Stella") is also read by VCTK's speakers, who are other people.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, folders, number, read_table, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

TABLE = "speakers_all.csv"
COLUMNS = ("age", "age_onset", "filename", "native_language", "sex", "country", "file_missing?")
NATIVE = "english"
NO_PERSON = "synthesized"
# Ga, Central Bai and the Kru languages; the names are ISO 639 codes of Irish, Bamileke and Kurukh
NAMES_LIKE_CODES = {"ga": "gaa", "bai": "bca", "kru": "kro"}


def scan(root: Path) -> Tables:
    """Read the table of talkers and keep those whose recording is there.

    Args:
        root: the folder that holds ``speakers_all.csv`` and ``recordings``, or one around it.

    Raises:
        RecipeError: there is no table, it lacks a column, or there is no MP3 beside it.
    """
    rows = Rows("speech_accent_archive")
    table = next((folder / TABLE for folder in folders(root) if (folder / TABLE).is_file()), None)
    if table is None:
        raise RecipeError(f"{root}: {TABLE} not found; unpack rtatman/speech-accent-archive from Kaggle there")
    audio: dict[str, str] = {}
    for recording in visible(table.parent.rglob("*.mp3")):
        path = recording.relative_to(root).as_posix()
        if audio.setdefault(recording.stem, path) != path:
            rows.reject(path, f"second copy of {audio[recording.stem]}")
    if not audio:
        raise RecipeError(f"{table.parent}: no recordings/*.mp3 below; unpack the whole archive there")
    where = table.relative_to(root).as_posix()
    for row in read_table(table, COLUMNS):
        _add_talker(row, f"{where}:{row['_row']}", audio, rows)
    for path in audio.values():
        rows.reject(path, f"recording that no row of {TABLE} names")
    return rows.tables()


def _add_talker(row: Row, place: str, audio: dict[str, str], rows: Rows) -> None:
    """Add the talker of a row, and take the recording out of ``audio``."""
    if (row["file_missing?"] or "").casefold() == "true":
        rows.reject(place, "the owners have no file (file_missing? is TRUE)")
        return
    name, language = row["filename"], row["native_language"]
    path = audio.pop(name, None) if name else None
    if name is None or path is None:
        rows.reject(place, "no such recording")
        return
    if language == NO_PERSON:
        rows.reject(path, "synthesized speech, no person")
        return
    code = None if language is None else NAMES_LIKE_CODES.get(language, language)
    speaker = rows.speaker(name, sex=row["sex"], native_language=code, country=row["country"])
    age = _years(row, "age", place, rows) or None
    rows.utterance(path, speaker, language="en", speech_task="read", age=age)
    if language != NATIVE:
        rows.observe(speaker, "accent", language, source="owner")
        onset = _years(row, "age_onset", place, rows)
        if age is None and onset == 0:
            onset = None  # as unknown as the age beside it
        rows.observe(speaker, "l2_onset_age", onset, source="self-report", unit="years")


def _years(row: Row, column: str, place: str, rows: Rows) -> float | None:
    """A cell as years; what is no age of a person is a reject."""
    years = number(row[column])
    if row[column] is not None and (years is None or not 0 <= years <= 120):
        rows.reject(place, f"{column} is not an age in years: left unknown")
        return None
    return years


PLACES = {  # native language -> birthplace, country
    "english": ("made up town, ohio, usa", "usa"),
    "mandarin": ("made up town, hubei, china", "china"),
    "arabic": ("made up town, egypt", "egypt"),
    "ga": ("made up town, ghana", "ghana"),
    "lao": ("made up town, ", ""),  # trap: no country
}


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up archive: half of the talkers are native speakers of English."""
    home, rate = root / "speech-accent-archive", 44100
    recordings = home / "recordings" / "recordings"  # trap: the doubled folder
    text = io.StringIO()
    table = csv.writer(text)  # as the owners': CRLF, quotes where they are needed
    table.writerow(["age", "age_onset", "birthplace", "filename", "native_language", "sex", "speakerid", "country",
                    "file_missing?", "", "", ""])  # fmt: skip
    # traps: names without a file, bare and repeated
    for number_ in (9001, 9002):
        table.writerow(
            [40, 35, "made up town, haiti", "haitian", "haitian", "male", number_, "haiti", "TRUE", "", "", ""]
        )
    counts = dict.fromkeys(PLACES, 0)
    others = [language for language in PLACES if language != NATIVE]
    passage = "Please call Stella. Ask her to bring these things with her from the store."
    for index, voice in enumerate(voices.cast("speech_accent_archive", 10, "en", ages=(18, 84))):
        language = NATIVE if index // 2 % 2 else others[index // 4 % 2 * 2 + index % 2]
        counts[language] += 1
        name = f"{language}{counts[language]}"
        # traps: an age with a fraction, the slip of a key, a remark in a column without name
        age = f"{voice.age}.5" if index == 4 else str(voice.age)
        sex = "famale" if index == 4 else voice.sex
        remark = "no" if index == 5 else ""
        onset = "0" if language == NATIVE else ("2.5" if index == 1 else str(5 + index))
        birthplace, country = PLACES[language]
        table.writerow([age, onset, birthplace, name, language, sex, index + 1, country, "FALSE", "", "", remark])
        voices.write(recordings / f"{name}.mp3", voices.say(voice, passage, seconds=3.0, rate=rate), rate)
    # traps: no person, an unknown age, a row whose file is lost, a file without row, a Mac's leftovers
    wave = voices.say(voice, passage, take=1, seconds=3.0, rate=rate)
    for name, language in (("synthesized1", NO_PERSON), ("basque1", "basque"), ("yiddish9", "yiddish")):
        table.writerow([0, 0, "", name, language, voice.sex, 9003, "", "FALSE", "", "", ""])
    for name in ("synthesized1", "basque1", "zulu9"):
        voices.write(recordings / f"{name}.mp3", wave, rate)
    (recordings / "._english1.mp3").write_bytes(b"\x00\x05\x16\x07")
    (home / TABLE).write_bytes(text.getvalue().encode("utf-8"))
    (home / "reading-passage.txt").write_text(passage + "\n", "ascii")


CORPUS = Corpus(
    name="speech_accent_archive",
    title="Speech Accent Archive",
    homepage="https://accent.gmu.edu",
    citation="Weinberger, Speech Accent Archive, George Mason University, 2015",
    licence=Licence(
        name="CC BY-NC-SA",
        url="https://www.kaggle.com/datasets/rtatman/speech-accent-archive",
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
    traps={
        "missing-files": "Rows whose file_missing? is TRUE have bare, repeated file names: drop them before joining.",
        "truth-as-text": "file_missing? is the text TRUE or FALSE; a text FALSE is not false.",
        "names-without-ending": "filename has no ending: afrikaans1 is afrikaans1.mp3.",
        "doubled-folder": "The recordings are in recordings/recordings.",
        "slip-in-sex": "One talker's sex is written famale.",
        "fractions-in-ages": "Some ages and onsets have fractions, such as 15.5.",
        "age-zero": "Age 0 means unknown.",
        "synthesized-talkers": "Four talkers of the native language synthesized are no people.",
        "columns-without-name": "The last three columns have no name; one cell of them holds a remark.",
        "empty-country": "country is the country of birth, and is empty for one talker.",
        "onset-of-natives": "age_onset is 0 for native speakers, who have learned no second language.",
        "english-is-no-accent": "The native language english is not the accent of England.",
        "names-like-codes": "The languages ga, bai and kru are named like the codes of Irish, Bamileke and Kurukh.",
    },
)
