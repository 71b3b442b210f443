"""ADReSSo 2021, diagnosis task (English, probable Alzheimer's disease): interviews of DementiaBank.

One interview a speaker (Cookie Theft picture), 166 in train and 71 in test-dist::

    ADReSSo21/diagnosis/train/audio/{ad,cn}/adrso024.wav    train/segmentation/{ad,cn}/adrso024.csv
    ADReSSo21/diagnosis/train/adresso-train-mmse-scores.csv
    ADReSSo21/diagnosis/test-dist/audio/adrsdt1.wav         test-dist/segmentation/adrsdt1.csv
    training-groundtruth.csv + train/*.mp3                  ADReSS-M 2023, read where the above is absent

What the release asks of a reader:

- The class of a training recording is its folder (``ad``, ``cn``), not the column ``dx``, whose words vary.
- The interviewer speaks too: see ``_talkbank.py``, which says how turns of PAR (in milliseconds) become utterances,
  and what happens where there are none, or where they end after the audio.
- Test labels came later, and their names vary (``test_ground_truth/task1.csv``, ``*task1*groundtruth.csv``; task2 has
  the MMSE). Without them the test speakers are unlabelled, which is not the same as healthy.
- "NA" is a missing MMSE. Tables may have an unnamed column of row numbers first: columns are found by name.
- No age and no sex: this corpus carries no demographic task. (ADReSS-M has both, and years of schooling.)
- The same people are in Pitt (``pitt.py``) and ADReSS 2020 (``adress.py``): see ``_talkbank.py``.
- The progression task (``progression/``, decline or not) is another one: it is left out.
- ADReSS-M has no segmentation: its recordings are taken whole, interviewer included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora import _talkbank as talkbank
from pipelines.corpora._base import Corpus, RecipeError, Rows
from pipelines.corpora._read import Row, fold, number
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

ADRESS_M = "training-groundtruth.csv"


@dataclass(frozen=True)
class _Recording:
    audio: Path
    segmentation: Path
    split: str
    alzheimer: str | None
    mmse: float | None


def scan(root: Path) -> Tables:
    """Read the diagnosis part of ADReSSo 2021 below ``root``, or ADReSS-M where only that is there.

    Raises:
        RecipeError: the folders are not there, or the owners' table lacks a column.
    """
    rows = Rows(CORPUS.name)
    people = talkbank.People(root, rows)
    home = _diagnosis_folder(root)
    if home is None:
        _read_adress_m(root, people, rows)
        return rows.tables()
    for recording in (*_train(home, root, rows), *_test(home, root, rows)):
        turns = _turns(recording, root, rows)
        if not turns:
            continue
        name = recording.audio.stem
        speaker = rows.speaker(name, person_id=people.person_id(name))
        rows.observe(speaker, "alzheimer", recording.alzheimer, source="clinician")
        rows.observe(speaker, "mmse", recording.mmse, source="scale", instrument="MMSE", unit="points")
        for start, end in turns:
            rows.utterance(
                recording.audio.relative_to(root).as_posix(),
                speaker,
                language="en",
                speech_task="spontaneous",
                start_s=start,
                end_s=end,
                official_split=recording.split,
            )
    for folder in sorted(root.rglob("progression")):
        rows.reject(folder.relative_to(root).as_posix(), "the progression task is another one: left out")
    return rows.tables()


def _diagnosis_folder(root: Path) -> Path | None:
    for folder in sorted(root.rglob("diagnosis")):
        if (folder / "train" / "audio").is_dir():
            return folder
    return None


def _train(home: Path, root: Path, rows: Rows) -> Iterator[_Recording]:
    table = home / "train" / "adresso-train-mmse-scores.csv"
    scores = talkbank.table_by_id(table, "adressfname", ("mmse",), root, rows)
    for group in ("ad", "cn"):
        for audio in talkbank.sound_files(home / "train" / "audio" / group, ".wav"):
            row = scores.pop(audio.stem, {})
            stated = talkbank.DIAGNOSES.get(fold(row.get("dx") or ""))
            if stated is not None and stated != talkbank.DIAGNOSES[group]:
                where = talkbank.place_of(row, table, root)
                rows.reject(where, f"dx contradicts the folder {group}: the folder is taken")
            yield _Recording(
                audio,
                home / "train" / "segmentation" / group / f"{audio.stem}.csv",
                "train",
                talkbank.DIAGNOSES[group],
                _mmse(row, table, root, rows),
            )
    talkbank.refuse_left_over(scores, table, root, rows)


def _test(home: Path, root: Path, rows: Rows) -> Iterator[_Recording]:
    apart = (folder / "test-dist" for folder in sorted(root.rglob("diagnosis")))  # archives unpacked in two folders
    folder = next((folder for folder in apart if (folder / "audio").is_dir()), home / "test-dist")
    if not folder.is_dir():
        rows.reject(folder.relative_to(root).as_posix(), "not found: no test speakers")
    diagnoses = _test_truth("task1", ("dx",), root, rows)
    scores = _test_truth("task2", ("mmse",), root, rows)
    for audio in talkbank.sound_files(folder / "audio", ".wav"):
        row = diagnoses[1].pop(audio.stem, {})
        stated = None
        if row:
            stated = talkbank.diagnosis(row["dx"], talkbank.place_of(row, diagnoses[0], root), rows)
        yield _Recording(
            audio,
            folder / "segmentation" / f"{audio.stem}.csv",
            "test",
            stated,
            _mmse(scores[1].pop(audio.stem, {}), scores[0], root, rows),
        )
    for table, left_over in (diagnoses, scores):
        talkbank.refuse_left_over(left_over, table, root, rows)


def _test_truth(task: str, required: tuple[str, ...], root: Path, rows: Rows) -> tuple[Path, dict[str, Row]]:
    tables = [
        path
        for path in sorted(root.rglob(f"*{task}*.csv"))
        if "progression" not in path.parts and not path.name.startswith("._")
    ]
    if not tables:
        rows.reject(f"test_ground_truth/{task}.csv", "not found: the test speakers stay without these labels")
        return root / "test_ground_truth" / f"{task}.csv", {}
    return tables[0], talkbank.table_by_id(tables[0], "id", required, root, rows)


def _mmse(row: Row, table: Path, root: Path, rows: Rows) -> float | None:
    return talkbank.mmse(number(row["mmse"]), talkbank.place_of(row, table, root), rows) if row else None


def _turns(recording: _Recording, root: Path, rows: Rows) -> list[talkbank.Turn]:
    table, audio = recording.segmentation, recording.audio.relative_to(root).as_posix()
    if not table.is_file():
        place = table.relative_to(root).as_posix()
        rows.reject(audio, f"no segmentation {place}: the participant's turns are unknown")
        return []
    lines = talkbank.readable(table, rows, root, "speaker", "begin", "end")
    if lines is None:
        rows.reject(audio, "its segmentation cannot be read: the participant's turns are unknown")
        return []
    segments = [
        talkbank.Segment(
            talkbank.place_of(line, table, root), line["speaker"] or "", number(line["begin"]), number(line["end"])
        )
        for line in lines
    ]
    return talkbank.participant_turns(segments, table.relative_to(root).as_posix(), rows)


def _read_adress_m(root: Path, people: talkbank.People, rows: Rows) -> None:
    table = next(iter(sorted(root.rglob(ADRESS_M))), None)
    if table is None:
        raise RecipeError(
            f"{root}: no folder diagnosis/train/audio (and no {ADRESS_M} of ADReSS-M) found; "
            "unpack ADReSSo21-diagnosis-train.tgz and ADReSSo21-diagnosis-test.tgz here"
        )
    lines = talkbank.table_by_id(table, "adressfname", ("age", "gender", "dx", "mmse"), root, rows)
    audio = talkbank.sound_files(table.parent / "train", ".mp3", ".wav")
    for path in audio:
        row = lines.pop(path.stem, None)
        if row is None:
            rows.reject(path.relative_to(root).as_posix(), f"recording without a row in {ADRESS_M}")
            continue
        where = talkbank.place_of(row, table, root)
        sex = talkbank.SEXES.get(row["gender"] or "", row["gender"])
        speaker = rows.speaker(path.stem, sex=sex, person_id=people.person_id(path.stem))
        rows.observe(speaker, "alzheimer", talkbank.diagnosis(row["dx"], where, rows), source="clinician")
        score = talkbank.mmse(number(row["mmse"]), where, rows)
        rows.observe(speaker, "mmse", score, source="scale", instrument="MMSE", unit="points")
        rows.observe(speaker, "education_years", number(row.get("educ")), source="owner", unit="years")
        rows.utterance(
            path.relative_to(root).as_posix(),
            speaker,
            language="en",
            speech_task="spontaneous",
            official_split="train",
            age=number(row["age"]),
        )
    if audio:
        place = audio[0].parent.relative_to(root).as_posix()
        rows.reject(place, "ADReSS-M has no segmentation: recordings are taken whole, interviewer included")
    talkbank.refuse_left_over(lines, table, root, rows)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of ADReSSo 2021: a short interview a made-up speaker, every third one in test."""
    people = talkbank.cast(voices)
    home = root / "ADReSSo21" / "diagnosis"
    train_rows, test_labels, test_scores = [",adressfname,mmse,dx"], ["ID,Dx"], ["ID,MMSE"]
    pitt_ids = ["id,pitt"]
    seen: Counter[tuple[float, str]] = Counter()
    for index, voice in enumerate(people):
        strength = voice.strength("alzheimer")
        group = "ad" if strength else "cn"
        mmse = "NA" if index == 0 else str(round(29 - 18 * strength) - index % 3)
        seen[strength, voice.sex] += 1
        if seen[strength, voice.sex] % 3:
            name = f"adrso{901 + index}"
            _interview(home / "train", f"{group}/{name}", voice, voices)
            train_rows.append(f"{index},{name},{mmse},{group}")
        else:
            name = f"adrsdt{901 + index}"
            _interview(home / "test-dist", name, voice, voices)
            test_labels.append(f"{name},{'ProbableAD' if strength else 'Control'}")
            test_scores.append(f"{name},{mmse}")
        if index < 8:  # the people whom the miniatures of ADReSS 2020 and Pitt hold too
            pitt_ids.append(f"{name},{901 + index}")
    talkbank.write_lines(home / "train" / "adresso-train-mmse-scores.csv", train_rows)
    talkbank.write_lines(root / "test_ground_truth" / "task1.csv", test_labels)
    talkbank.write_lines(root / "test_ground_truth" / "task2.csv", test_scores)
    talkbank.write_lines(root / talkbank.PITT_IDS, pitt_ids)
    _add_traps(home, replace(people[0], seed="adresso-traps"), voices)


def _interview(folder: Path, name: str, voice: Voice, voices: Voices) -> None:
    wave, turns = talkbank.interview(voice, voices)
    voices.write(folder / "audio" / f"{name}.wav", wave, talkbank.RATE)
    lines = [f"{turn},{who},{begin},{end}" for turn, (who, begin, end) in enumerate(turns)]
    talkbank.write_lines(folder / "segmentation" / f"{name}.csv", [",speaker,begin,end", *lines])


def _add_traps(home: Path, voice: Voice, voices: Voices) -> None:
    train = home / "train"
    wave = voices.say(voice, seconds=2.5, take=5)
    with (train / "adresso-train-mmse-scores.csv").open("a", encoding="utf-8") as table:
        table.write("900,adrso899,28,cn\n")  # trap: a row without audio
        table.write("901,adrso897,41,ad\n")  # trap: says ad, lies in cn; the score is impossible
    voices.write(train / "audio" / "cn" / "adrso898.wav", wave, 16000)  # trap: no segmentation
    voices.write(train / "audio" / "cn" / "._adrso898.wav", wave[:400], 16000)  # trap: what macOS left
    voices.write(train / "audio" / "cn" / "adrso897.wav", wave, 16000)  # trap: no PAR row
    # trap: another task, without a diagnosis
    voices.write(home.parent / "progression" / "train" / "audio" / "decline" / "adrspt1.wav", wave, 16000)
    talkbank.write_lines(train / "segmentation" / "cn" / "adrso897.csv", [",speaker,begin,end", "0,INV,0,900"])


CORPUS = Corpus(
    name="adresso",
    title="ADReSSo 2021: Alzheimer's Dementia Recognition through Spontaneous Speech only",
    homepage="https://talkbank.org/dementia/ADReSSo-2021/index.html",
    citation="Luz, Haider, de la Fuente, Fromm, MacWhinney: Detecting Cognitive Decline Using Speech Only: "
    "The ADReSSo Challenge. Interspeech 2021.",
    licence=replace(talkbank.LICENCE, url="https://talkbank.org/dementia/ADReSSo-2021/index.html"),
    languages=("en",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="alzheimer",
    official_splits=True,
    traps={
        "class-is-the-folder": "The class of a training recording is its folder; dx has other words and may differ.",
        "interviewer": "The interviewer speaks too: only turns of PAR are the participant's.",
        "milliseconds": "Segmentations count in milliseconds.",
        "segment-ends-after-the-audio": "A segment may end after the audio: it is cut where the audio ends.",
        "no-par-rows": "A few segmentations have no row of PAR: the recording is taken whole and noted.",
        "test-labels-came-later": "Test labels are other files, under several names; without them nobody is healthy.",
        "index-column": "Tables may begin with an unnamed column of row numbers: columns are found by name.",
        "na-mmse": "NA is a missing MMSE, not a number.",
        "no-age-no-sex": "Neither age nor sex is released: none is made up.",
        "same-people": "ADReSS 2020 and Pitt hold the same people under other ids: person_id is the family's.",
        "progression-part": "The folder progression is another task without a diagnosis: left out.",
        "adress-m": "ADReSS-M 2023 is the same people once more, in another layout and without segmentation.",
    },
)
