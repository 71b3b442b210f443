"""EWA-DB: Slovak speech of people with Alzheimer's, Parkinson's, mild cognitive impairment and of others.

1,649 speakers (Rusko et al., Scientific Data 2024). A complete speaker has 69 files: 62 named pictures, a vowel,
pa-ta-ka and five described pictures.

::

    S0489/SPEAKERS.TSV       one row a speaker
    S0489/FILES.TSV          one row a file: ./Healthy/611xqj2u01//naming/akvarium.wav
    S0489/Parkinson/abcd1ef201/pataka/pataka.wav

What to know, and what this recipe does:

* PUBLISH_AGREEMENT False: the speaker has a row and no audio (a third of all). One reject counts these rows; should
  audio of such a speaker be there after all, it is not used.
* DIAGNOSIS Healthy only means "no diagnosis": such speakers with a MoCA of 5 exist. They are controls (healthy,
  no Parkinson's, no Alzheimer's, no impairment) where INCLUSIVE_CRITERIA is True; else nothing is stated, and
  their MoCA speaks for itself. Patients state their own diagnosis and nothing about the others.
* Cognitive impairment is MCI as a diagnosis, else a MoCA below 26: also of a patient with Alzheimer's or Parkinson's.
* Two speakers have both diseases, in the folder ``Alzheimer-Parkinson`` (its spelling is not certain).
* LOW_QUALITY speakers stay, with audio_quality 0 (1 where False): the paper's 797 training speakers leave no room
  for dropping them.
* naming is left out, counted in one reject: single words of about a second, nine tenths of all files. The
  paper's 5,578 files of 797 speakers are the other seven a speaker. Add a line to `SPEECH_TASKS` to use it.
* Many speakers lack some of the 69 files, and 54 have files too short to use: what is there counts, nothing is
  expected. A scan decodes nothing; an empty or unreadable file is refused when shards are written.
* A MoCA outside 0..30 or a WAIS outside 0..60 is a sentinel that nobody documented: unknown, and rejected by row.
* Columns stand in no known order, and one is misspelt: EDUCATION_GRATUATED_SCHOOL. Tables are tab-separated without
  quoting: COFFEE holds commas, ANNOTATION lone quotation marks. Both, and PICTURE, are not read.
* Paths in FILES.TSV begin with ``./`` and have a double slash. A .json of unknown content lies beside the recordings.
* RECORDED is a time with its offset; the day is the local one.
* Codes share their first four characters within a site, and Parkinson's clusters in few sites: the room may tell
  the disease. Whether an instructor is heard in the picture descriptions is UNKNOWN. No official split; no UPDRS.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, folders, number, paths_below, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

SPEAKER_COLUMNS = (
    "speaker_code",
    "age",
    "diagnosis",
    "inclusive_criteria",
    "moca",
    "publish_agreement",
    "recorded",
    "sex",
)
FILE_COLUMNS = ("speaker_code", "audiofile")
EDUCATION = ("education_gratuated_school", "education_graduated_school")  # as the owners spell it, or would
FILE = re.compile(r"(?P<group>[A-Za-z _-]+)/(?P<code>[a-z0-9]{8}01)/(?P<task>[a-z]+)/[A-Za-z0-9]+\.wav")
SPEECH_TASKS = {"phonation": "vowel", "pataka": "syllables", "picture": "spontaneous"}
DIAGNOSES: dict[frozenset[str], tuple[str, ...]] = {
    frozenset({"healthy"}): (),
    frozenset({"parkinson"}): ("parkinson",),
    frozenset({"alzheimer"}): ("alzheimer",),
    frozenset({"alzheimer", "parkinson"}): ("alzheimer", "parkinson"),
    frozenset({"mci"}): ("cognitive_impairment",),
}
SCORES = {"moca": ("MoCA", 30.0), "wais": ("WAIS", 60.0)}  # column: instrument, highest score


def scan(root: Path) -> Tables:
    """Read the corpus below ``root``; see the module docstring for the layout and the rules.

    Raises:
        RecipeError: no ``SPEAKERS.TSV`` or ``FILES.TSV``, or one lacks a column.
    """
    home = _home(root)
    rows = Rows("ewa_db")
    people = _people(rows, home / "SPEAKERS.TSV", root)
    withheld = {code for code, row in people.items() if not _true(row["publish_agreement"])}
    if withheld:
        rows.reject(
            (home / "SPEAKERS.TSV").relative_to(root).as_posix(),
            f"{len(withheld)} speakers did not agree to publication: no audio of theirs is used",
        )
    left_out: Counter[str] = Counter()
    listed = set()
    here = {path for path in paths_below(home, ".wav") if path.count("/") == 3}  # no look-up of each row's file
    table = home / "FILES.TSV"
    for row in read_table(table, FILE_COLUMNS, separator="\t", quoted=False):
        where = f"{table.relative_to(root).as_posix()}:{row['_row']}"
        file = posixpath.normpath(row["audiofile"] or "")
        name = FILE.fullmatch(file)
        if name is None:
            rows.reject(where, "AUDIOFILE is not ./GROUP/SPEAKER//TASK/NAME.wav")
            continue
        seen_before = file in listed
        listed.add(file)
        code = name["code"]
        if seen_before:
            rows.reject(where, "the file is listed twice")
        elif code not in people:
            rows.reject(where, "no row for this speaker in SPEAKERS.TSV")
        elif code in withheld:
            left_out["speakers who did not agree to publication"] += 1
            if file in here:  # one of few: the owners do not give them out
                rows.reject((home / file).relative_to(root).as_posix(), "its speaker did not agree to publication")
        elif name["task"] not in SPEECH_TASKS:
            left_out[f"task {name['task']}"] += 1
        elif _diagnosis(name["group"]) != _diagnosis(people[code]["diagnosis"]):
            rows.reject(where, "the folder and DIAGNOSIS in SPEAKERS.TSV disagree")
        elif file not in here:
            rows.reject(where, "no audio at AUDIOFILE")
        else:
            _utterance(rows, (home / file).relative_to(root).as_posix(), name, people[code])
    for what, count in left_out.items():
        rows.reject(table.relative_to(root).as_posix(), f"{count} files left out: {what}")
    for code, row in people.items():
        if code not in withheld and f"{rows.corpus}:{code}" not in rows.speakers:
            rows.reject(row["_where"] or "", "no usable audio of this speaker")
    for file in sorted(here - listed):
        rows.reject((home / file).relative_to(root).as_posix(), "no row for this file in FILES.TSV")
    return rows.tables()


def _home(root: Path) -> Path:
    for folder in folders(root):
        if (folder / "SPEAKERS.TSV").is_file():
            return folder
    raise RecipeError(f"{root}: found no SPEAKERS.TSV, here or in S0489/: unpack the owners' archive into this folder")


def _people(rows: Rows, path: Path, root: Path) -> dict[str, Row]:
    """The rows of SPEAKERS.TSV by speaker; a second row of a speaker is rejected."""
    people: dict[str, Row] = {}
    for row in read_table(path, SPEAKER_COLUMNS, separator="\t", quoted=False):
        row["_where"] = where = f"{path.relative_to(root).as_posix()}:{row['_row']}"
        code, diagnosis = row["speaker_code"], row["diagnosis"]
        if code is None:
            rows.reject(where, "no SPEAKER_CODE")
        elif code in people:
            rows.reject(where, f"SPEAKER_CODE stands in row {people[code]['_row']} already")
        elif _diagnosis(diagnosis) not in DIAGNOSES:
            known = ", ".join("-".join(sorted(words)) for words in DIAGNOSES)
            rows.reject(where, f"DIAGNOSIS {diagnosis!r} is none of {known}")
        else:
            people[code] = row
    return people


def _diagnosis(text: str | None) -> frozenset[str]:
    """The words of a diagnosis: two diseases are joined by whatever sign."""
    return frozenset(word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", text or ""))


def _true(text: str | None) -> bool:
    return (text or "").casefold() == "true"


def _utterance(rows: Rows, path: str, name: re.Match[str], row: Row) -> None:
    code = name["code"]
    speaker_id = f"{rows.corpus}:{code}"
    if speaker_id not in rows.speakers:
        rows.speaker(code, sex=row["sex"])
        _health(rows, speaker_id, row)
        _background(rows, speaker_id, row)
    rows.utterance(
        path,
        speaker_id,
        language="sk",
        speech_task=SPEECH_TASKS[name["task"]],
        recorded_on=_day(row["recorded"]),
        age=number(row["age"]),
    )


def _health(rows: Rows, speaker_id: str, row: Row) -> None:
    diagnosed = DIAGNOSES[_diagnosis(row["diagnosis"])]
    rows.observe(speaker_id, "diagnosis_text", row["diagnosis"], source="clinician")
    for attribute in diagnosed:
        rows.observe(speaker_id, attribute, "present", source="clinician")
    if not diagnosed and _true(row["inclusive_criteria"]):
        rows.observe(speaker_id, "healthy", "present", source="owner")
        for attribute in ("parkinson", "alzheimer", "cognitive_impairment"):
            rows.observe(speaker_id, attribute, "absent", source="owner")
    for column, (instrument, highest) in SCORES.items():
        score = number(row.get(column))
        if score is not None and not 0 <= score <= highest:
            rows.reject(row["_where"] or "", f"{column.upper()} {score:g} is not 0..{highest:g}: left unknown")
        else:
            rows.observe(speaker_id, column, score, source="clinician", instrument=instrument, unit="points")


def _background(rows: Rows, speaker_id: str, row: Row) -> None:
    school = next((row[column] for column in EDUCATION if row.get(column)), None)
    rows.observe(speaker_id, "education", school, source="self-report")
    years = number(row.get("education_years"))
    rows.observe(speaker_id, "education_years", years, source="self-report", unit="years")
    rows.observe(speaker_id, "family_history", row.get("family"), source="self-report")
    low_quality = row.get("low_quality")
    if low_quality is not None:
        grade = 0.0 if _true(low_quality) else 1.0
        rows.observe(speaker_id, "audio_quality", grade, source="owner", unit="points")


def _day(text: str | None) -> date | None:
    try:
        return datetime.fromisoformat(text or "").date()
    except ValueError:
        return None


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: three files a speaker; every diagnosis, and healthy speakers who are no controls."""
    home = root / "S0489"
    conditions: Sequence[Mapping[str, float]] = (
        {},
        {"cognitive_impairment": 0.1},
        {"parkinson": 0.45},
        {"parkinson": 0.85, "cognitive_impairment": 0.3},
        {"alzheimer": 0.7, "cognitive_impairment": 0.6},
        {"cognitive_impairment": 0.5},
    )
    people = voices.cast("ewa_db", 48, "sk", conditions)
    people[4] = replace(people[4], traits=(*people[4].traits, ("parkinson", 0.6)))  # trap: a double diagnosis
    table, files = [], []
    for place, person in enumerate(people):
        group = _group(person)
        if group == "MCI" and place // len(conditions) % 4 == 3:
            group = "Healthy"  # trap: no diagnosis, but a low MoCA
        code = f"mini{place:04d}01"
        table.append(_speaker_row(code, group, person, place))
        tasks = ("picture/big3", "picture/big4", ("pataka/pataka", "phonation/vokal")[place // len(conditions) % 2])
        for take, task in enumerate(tasks):
            text = {"pataka/pataka": "pataka pataka pataka", "phonation/vokal": "vowel:a"}.get(task)
            voices.write(home / group / code / f"{task}.wav", voices.say(person, text, take=take), 16000)
            files.append(_file_row(code, group, task))
    first = people[0]
    word = voices.say(first, "akvárium", seconds=1.0)
    voices.write(home / "Healthy" / "mini000001" / "naming" / "akvarium.wav", word, 16000)
    files.append(_file_row("mini000001", "Healthy", "naming/akvarium"))
    files.append(_file_row("mini000001", "Healthy", "picture/big7"))  # trap: listed, never recorded
    voices.write(home / "Healthy" / "mini000001" / "picture" / "big6.wav", word, 16000)  # recorded, not listed
    twin = home / "Healthy" / "mini000001" / "picture" / "._big3.wav"  # trap: a Mac's twin
    twin.write_bytes(b"\x00\x05\x16\x07")
    for place in (9001, 9002):  # trap: no agreement to publication, no audio
        table.append(_speaker_row(f"mini{place}01", "Healthy", first, place, publish=False))
    _write_tsv(home / "SPEAKERS.TSV", SPEAKER_HEADER, table)
    _write_tsv(home / "FILES.TSV", ("SPEAKER_CODE", "DIAGNOSIS", "PICTURE", "AUDIOFILE"), files)
    (home / "Healthy" / "mini000001" / "picture" / "picture.json").write_text("{}\n", encoding="utf-8")


SPEAKER_HEADER = (
    "SPEAKER_CODE",
    "AGE",
    "COFFEE",
    "DIAGNOSIS",
    "EDUCATION_GRATUATED_SCHOOL",
    "EDUCATION_YEARS",
    "FAMILY",
    "INCLUSIVE_CRITERIA",
    "LOW_QUALITY",
    "MOCA",
    "PUBLISH_AGREEMENT",
    "RECORDED",
    "SEX",
    "WAIS",
    "ANNOTATION",
)


def _group(person: Voice) -> str:
    if person.strength("alzheimer"):
        return "Alzheimer-Parkinson" if person.strength("parkinson") else "Alzheimer"
    if person.strength("parkinson"):
        return "Parkinson"
    return "MCI" if person.strength("cognitive_impairment") >= 0.2 else "Healthy"


def _speaker_row(code: str, group: str, person: Voice, place: int, publish: bool = True) -> list[object]:
    moca = round(29 - 20 * person.strength("cognitive_impairment")) + place % 2
    return [
        code,
        person.age,
        # trap: commas in a cell
        "Yes, but less than 3 cups of coffee per week (6 cups of black tea)" if place % 7 == 0 else "Yes",
        group,
        ("Secondary", "University", "Secondary", "University", "")[place % 5],
        12 + place % 6,
        ("no occurrence", "AD", "PD", "ADPD")[place % 4],
        moca >= 26,
        place % 11 == 0,
        {8: "", 9: 99}.get(place, moca),  # trap: two ways to write that it was not taken
        publish,
        "2021-12-14T00:33:39+01:00",  # trap: still the 13th in UTC
        person.sex,
        place % 10,
        'said "nie' if place == 2 else "",  # trap: a lone quotation mark
    ]


def _file_row(code: str, group: str, task: str) -> list[object]:
    return [code, group, task.partition("/")[2], f"./{group}/{code}//{task}.wav"]


def _write_tsv(path: Path, header: Sequence[str], table: Sequence[Sequence[object]]) -> None:
    lines = ["\t".join(map(str, cells)) for cells in [header, *table]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


CORPUS = Corpus(
    name="ewa_db",
    title="EWA-DB: Early Warning of Alzheimer speech database",
    homepage="https://doi.org/10.1038/s41597-024-04171-6",
    citation=(
        "Rusko et al.: Slovak database of speech affected by neurodegenerative diseases. "
        "Scientific Data 11, 1320 (2024)."
    ),
    licence=Licence(
        name="Agreement with the owners; its text is UNKNOWN to this project, so nothing is passed on",
        url="https://doi.org/10.1038/s41597-024-04171-6",
        access="agreement",
        may_train=True,
        may_redistribute=False,
        consent="Speakers with PUBLISH_AGREEMENT False did not agree to the publication of their recordings",
    ),
    languages=("sk",),
    roles=("train", "evaluate"),
    scan=scan,
    miniature=miniature,
    label="parkinson",
    no_inputs={r"(?i)/naming/[^/]+$": "naming: one word of about a second"},
    traps={
        "no-agreement-to-publish": "PUBLISH_AGREEMENT False is a row without audio; such audio is never used.",
        "healthy-is-no-diagnosis": "DIAGNOSIS Healthy with INCLUSIVE_CRITERIA False is no control: nothing is stated.",
        "impairment-of-patients": "Patients state their own diagnosis; whether they are impaired is left to the MoCA.",
        "double-diagnosis": "Alzheimer-Parkinson is both diseases, however its two words are joined.",
        "low-quality": "LOW_QUALITY speakers stay and are marked: audio_quality 0.",
        "incomplete-speakers": "Few have all 69 files, and some files are too short: nothing is expected to be there.",
        "naming-is-single-words": "62 of 69 files hold one word: left out and counted.",
        "scores-without-documented-sentinel": "A MoCA or WAIS outside its scale is unknown, and rejected by row.",
        "columns-in-any-order": "The order of columns is unknown, and one is misspelt: EDUCATION_GRATUATED_SCHOOL.",
        "tab-separated-without-quotes": "COFFEE holds commas and ANNOTATION a lone quotation mark.",
        "paths-with-double-slash": "AUDIOFILE begins with ./ and has a double slash after the speaker.",
        "time-with-offset": "RECORDED carries its offset: the day is the local one.",
        "json-and-mac-twins": "A .json and ._* files lie beside the recordings and are none.",
        "codes-share-a-site": "Codes of one site begin with the same four characters: the whole code is the speaker.",
    },
)
