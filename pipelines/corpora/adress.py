"""ADReSS 2020 (English, probable Alzheimer's disease): Cookie Theft interviews of DementiaBank, by age and sex.

108 speakers in train and 48 in test, matched for age and sex, one interview each::

    ADReSS-IS2020-data/train/Full_wave_enhanced_audio/{cc,cd}/S001.wav    train/transcription/{cc,cd}/S001.cha
    ADReSS-IS2020-data/train/cc_meta_data.txt, cd_meta_data.txt
    ADReSS-IS2020-data/test/Full_wave_enhanced_audio/S160.wav             test/transcription/S160.cha
    ADReSS-IS2020-data/test/meta_data.txt                                 meta_data_test.txt came later, with labels

What the release asks of a reader:

- The class of a training recording is its folder: ``cd`` dementia, ``cc`` control.
- Tables are parted by ";" and padded with blanks, in names and in cells. "NA" is a missing MMSE.
- The test folder has no classes. ``meta_data_test.txt`` (anywhere) states them as 0 and 1; without it the test
  speakers have age and sex and no label, which is not the same as healthy.
- Sex is a word in train; one reader met 0 and 1 in the test table, 0 for male. Other corpora have it the other way.
- ``Normalised_audio-chunks`` is the same speech once more, cut into pieces: passed over.
- The interviewer speaks too: turns come from the transcripts (CHAT, milliseconds), see ``_talkbank.py``.
- The same people are in Pitt (``pitt.py``) and ADReSSo 2021 (``adresso.py``): see ``_talkbank.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora import _talkbank as talkbank
from pipelines.corpora._base import Corpus, RecipeError, Rows
from pipelines.corpora._read import Row, number
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

AUDIO = "Full_wave_enhanced_audio"
LABELLED_TEST = "meta_data_test.txt"


def scan(root: Path) -> Tables:
    """Read ADReSS 2020 below ``root``: both archives, in one folder or in two.

    Raises:
        RecipeError: the training folder is not there, or a table lacks a column.
    """
    rows = Rows(CORPUS.name)
    people = talkbank.People(root, rows)
    homes = {folder.parent for folder in sorted(root.rglob(AUDIO)) if folder.is_dir()}
    train = [home for home in sorted(homes) if home.name == "train"]
    if not train:
        raise RecipeError(f"{root}: no folder train/{AUDIO} found; unpack ADReSS-IS2020-train.tgz and -test.tgz here")
    for home in train:
        for group in ("cc", "cd"):
            _read(home, group, home / f"{group}_meta_data.txt", people, root, rows)
    for home in sorted(homes - set(train)):
        labelled = next(iter(sorted(root.rglob(LABELLED_TEST))), None)
        if labelled is None:
            rows.reject(f"{home.relative_to(root).as_posix()}/{LABELLED_TEST}", "not found: no labels of the test")
        _read(home, "", labelled or home / "meta_data.txt", people, root, rows)
    return rows.tables()


def _read(home: Path, group: str, table: Path, people: talkbank.People, root: Path, rows: Rows) -> None:
    """Add the recordings of one folder; ``group`` is its class, empty where it has none."""
    about = talkbank.table_by_id(table, "id", ("age", "gender"), root, rows)
    for audio in talkbank.sound_files(home / AUDIO / group, ".wav"):
        row = about.pop(audio.stem, None)
        place = audio.relative_to(root).as_posix()
        if row is None:
            rows.reject(place, f"recording without a row in {table.name}: neither age nor sex is known")
            row = {"_row": "1"}
        turns = _turns(home / "transcription" / group / f"{audio.stem}.cha", place, root, rows)
        if not turns:
            continue
        speaker = _speaker(audio.stem, group, row, table, people, root, rows)
        for start, end in turns:
            rows.utterance(
                place,
                speaker,
                language="en",
                speech_task="spontaneous",
                start_s=start,
                end_s=end,
                official_split="train" if group else "test",
                age=number(row.get("age")),
            )
    talkbank.refuse_left_over(about, table, root, rows)


def _speaker(name: str, group: str, row: Row, table: Path, people: talkbank.People, root: Path, rows: Rows) -> str:
    where = talkbank.place_of(row, table, root)
    gender = row.get("gender")
    sex = talkbank.SEXES.get(gender or "", gender)
    speaker = rows.speaker(name, sex=sex, person_id=people.person_id(name))
    stated = talkbank.DIAGNOSES[group] if group else talkbank.diagnosis(row.get("label"), where, rows)
    rows.observe(speaker, "alzheimer", stated, source="clinician")
    score = talkbank.mmse(number(row.get("mmse")), where, rows)
    rows.observe(speaker, "mmse", score, source="scale", instrument="MMSE", unit="points")
    return speaker


def _turns(transcript: Path, audio: str, root: Path, rows: Rows) -> list[talkbank.Turn]:
    place = transcript.relative_to(root).as_posix()
    if not transcript.is_file():
        rows.reject(audio, f"no transcript {place}: the participant's turns are unknown")
        return []
    return talkbank.participant_turns(talkbank.read_chat(transcript, place).segments, place, rows)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of ADReSS 2020: eight people, two of them in test, and every trap named above."""
    home = root / "ADReSS-IS2020-data"
    tables = {group: ["ID   ; age; gender ; mmse"] for group in ("cc", "cd")}
    unlabelled, labelled = ["ID   ; age; gender "], ["ID   ; age; gender ; Label ; mmse"]
    ids = ["id,pitt"]
    for index, voice in enumerate(talkbank.cast(voices)[:8]):
        name, ill = f"S{901 + index}", bool(voice.traits)
        group, mmse = ("cd", str(18 - index % 4)) if ill else ("cc", "NA" if index == 0 else "29")  # trap: NA
        ids.append(f"{name},{901 + index}")  # trap: the same people as in Pitt
        folder = home / ("test" if index in (2, 7) else "train")
        below = "" if index in (2, 7) else group
        wave, turns = talkbank.interview(voice, voices)
        voices.write(folder / AUDIO / below / f"{name}.wav", wave, talkbank.RATE)
        about = (
            f"{voice.age};|{voice.sex}|{'ProbableAD' if ill else 'Control'}||Participant|{'' if mmse == 'NA' else mmse}"
        )
        talkbank.write_lines(folder / "transcription" / below / f"{name}.cha", talkbank.chat(turns, about))
        if below:
            tables[group].append(f"{name} ;  {voice.age}; {voice.sex} ; {mmse}")  # trap: padding blanks
        else:
            unlabelled.append(f"{name} ;  {voice.age}; {voice.sex} ")
            sex = {"male": 0, "female": 1}[voice.sex]  # trap: digits for the sex in test
            labelled.append(f"{name} ;  {voice.age}; {sex} ; {int(ill)} ; {mmse} ")
        if index == 1:  # trap: the same speech once more, in pieces
            chunks = folder / "Normalised_audio-chunks" / group
            voices.write(chunks / f"{name}-240-1700-4900-1-0-3200.wav", wave[27200:78400], talkbank.RATE)
            voices.write(folder / AUDIO / group / "S899.wav", wave, talkbank.RATE)  # trap: no transcript, no row
    for group, lines in tables.items():
        talkbank.write_lines(home / "train" / f"{group}_meta_data.txt", lines)
    talkbank.write_lines(home / "test" / "meta_data.txt", unlabelled)
    talkbank.write_lines(home / LABELLED_TEST, labelled)
    talkbank.write_lines(root / talkbank.PITT_IDS, ids)


CORPUS = Corpus(
    name="adress",
    title="ADReSS 2020: Alzheimer's Dementia Recognition through Spontaneous Speech",
    homepage="https://talkbank.org/dementia/ADReSS-2020/index.html",
    citation="Luz, Haider, de la Fuente, Fromm, MacWhinney: Alzheimer's Dementia Recognition through Spontaneous "
    "Speech: The ADReSS Challenge. Interspeech 2020.",
    licence=replace(talkbank.LICENCE, url="https://talkbank.org/dementia/ADReSS-2020/index.html"),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="alzheimer",
    official_splits=True,
    no_inputs={r"(^|/)Normalised_audio-chunks/": "the same speech once more, cut into pieces"},
    traps={
        "padded-tables": "Tables are parted by semicolons and padded with blanks in names and cells.",
        "na-mmse": "NA is a missing MMSE, not a number.",
        "test-has-no-class": "The test folder has no classes: they are in a table released later, as 0 and 1.",
        "sex-in-digits": "The test table may have 0 and 1 for male and female, the training tables words.",
        "chunks-repeat-the-audio": "Normalised_audio-chunks holds the same speech once more: passed over.",
        "interviewer": "The interviewer speaks too: turns of PAR come from the transcripts.",
        "milliseconds": "Time bullets of CHAT count in milliseconds and may stand on a continued line.",
        "same-people": "ADReSSo 2021 and Pitt hold the same people under other ids: person_id is the family's.",
    },
)
