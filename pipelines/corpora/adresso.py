"""ADReSSo 2021, diagnosis task (English, probable Alzheimer's disease): interviews of DementiaBank.

One interview a speaker (Cookie Theft picture), 166 in train and 71 in test-dist. What the release asks of
a reader:

- The class of a training recording is its folder (``ad``, ``cn``), not the column ``dx``, whose words vary.
- The interviewer speaks too. ``segmentation/<...>.csv`` holds turns in **milliseconds**; the turns of ``PAR``
  that last a second or more become the utterances. A few files have no PAR row: their whole recording is
  taken, and a reject says so. Segments that end after the audio are cut where the audio is decoded.
- Test labels came later (``test_ground_truth/task1.csv``, ``task2.csv``). Without them the test speakers are
  unlabelled, which is not the same as healthy.
- No age and no sex: this corpus carries no demographic task.
- The same people are in Pitt and ADReSS 2020, but no mapping of ids is published, so none is made up here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, fold, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

SHORTEST_TURN_S = 1.0
MMSE_RANGE = (0, 30)
DIAGNOSES = {"ad": "present", "probablead": "present", "cn": "absent", "control": "absent"}


@dataclass(frozen=True)
class _Recording:
    audio: Path
    segmentation: Path
    split: str
    alzheimer: str | None
    mmse: float | None


def scan(root: Path) -> Tables:
    """Read the diagnosis part of ADReSSo 2021 below ``root``.

    Raises:
        RecipeError: the folders are not there, or a table lacks a column.
    """
    rows = Rows(CORPUS.name)
    home = _diagnosis_folder(root)
    for recording in (*_train(home, root, rows), *_test(home, root, rows)):
        turns = _participant_turns(recording, root, rows)
        if not turns:
            continue
        speaker = rows.speaker(recording.audio.stem)
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
    return rows.tables()


def _diagnosis_folder(root: Path) -> Path:
    for folder in sorted(root.rglob("diagnosis")):
        if (folder / "train" / "audio").is_dir():
            return folder
    raise RecipeError(
        f"{root}: no folder diagnosis/train/audio found; "
        "unpack ADReSSo21-diagnosis-train.tgz and ADReSSo21-diagnosis-test.tgz here"
    )


def _train(home: Path, root: Path, rows: Rows) -> Iterator[_Recording]:
    table = home / "train" / "adresso-train-mmse-scores.csv"
    scores = _by_name(table, "adressfname", ("mmse",), root, rows)
    for group in ("ad", "cn"):
        for audio in _wavs(home / "train" / "audio" / group):
            row = scores.pop(audio.stem, {})
            stated = DIAGNOSES.get((row.get("dx") or "").casefold())
            if stated is not None and stated != DIAGNOSES[group]:
                where = f"{table.relative_to(root).as_posix()}:{row['_row']}"
                rows.reject(where, f"dx contradicts the folder {group}: the folder is taken")
            yield _Recording(
                audio,
                home / "train" / "segmentation" / group / f"{audio.stem}.csv",
                "train",
                DIAGNOSES[group],
                _mmse(row, table, root, rows),
            )
    _reject_left_over(scores, table, root, rows)


def _test(home: Path, root: Path, rows: Rows) -> Iterator[_Recording]:
    folder = home / "test-dist"
    diagnoses = _test_truth("task1.csv", ("dx",), root, rows)
    scores = _test_truth("task2.csv", ("mmse",), root, rows)
    for audio in _wavs(folder / "audio"):
        diagnosis = diagnoses[1].pop(audio.stem, {})
        yield _Recording(
            audio,
            folder / "segmentation" / f"{audio.stem}.csv",
            "test",
            _diagnosis(diagnosis, diagnoses[0], root, rows),
            _mmse(scores[1].pop(audio.stem, {}), scores[0], root, rows),
        )
    for table, left_over in (diagnoses, scores):
        _reject_left_over(left_over, table, root, rows)


def _test_truth(name: str, required: tuple[str, ...], root: Path, rows: Rows) -> tuple[Path, dict[str, Row]]:
    table = next(iter(sorted(root.rglob(f"test_ground_truth/{name}"))), None)
    if table is None:
        rows.reject(f"test_ground_truth/{name}", "not found: the test speakers stay without these labels")
        return root / "test_ground_truth" / name, {}
    return table, _by_name(table, "id", required, root, rows)


def _by_name(table: Path, column: str, required: tuple[str, ...], root: Path, rows: Rows) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in read_table(table, (column, *required)):
        name = (row[column] or "").removesuffix(".wav")
        if not name or name in found:
            where = f"{table.relative_to(root).as_posix()}:{row['_row']}"
            rows.reject(where, f"{column} is {'twice' if name else 'not'} in the table")
        else:
            found[name] = row
    return found


def _diagnosis(row: Row, table: Path, root: Path, rows: Rows) -> str | None:
    word = row.get("dx")
    if word is not None and fold(word) not in DIAGNOSES:
        rows.reject(f"{table.relative_to(root).as_posix()}:{row['_row']}", "dx is neither Control nor ProbableAD")
    return DIAGNOSES.get(fold(word or ""))


def _mmse(row: Row, table: Path, root: Path, rows: Rows) -> float | None:
    score = number(row.get("mmse"))
    if score is None or MMSE_RANGE[0] <= score <= MMSE_RANGE[1]:
        return score
    rows.reject(f"{table.relative_to(root).as_posix()}:{row['_row']}", "mmse is outside 0..30: no score taken")
    return None


def _reject_left_over(left: dict[str, Row], table: Path, root: Path, rows: Rows) -> None:
    for row in left.values():
        rows.reject(f"{table.relative_to(root).as_posix()}:{row['_row']}", "row without audio")


def _wavs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.wav") if not path.name.startswith("._"))


def _participant_turns(recording: _Recording, root: Path, rows: Rows) -> list[tuple[float | None, float | None]]:
    table = recording.segmentation
    if not table.is_file():
        rows.reject(
            recording.audio.relative_to(root).as_posix(),
            f"no segmentation {table.relative_to(root).as_posix()}: the participant's turns are unknown",
        )
        return []
    place = table.relative_to(root).as_posix()
    segments = read_table(table, ("speaker", "begin", "end"))
    spoken = [row for row in segments if fold(row["speaker"] or "") == "par"]
    if not spoken:
        rows.reject(place, "no PAR row: the whole recording is taken, interviewer included")
        return [(None, None)]
    turns: list[tuple[float | None, float | None]] = []
    for row in spoken:
        begin_ms, end_ms = number(row["begin"]), number(row["end"])
        if begin_ms is None or end_ms is None or end_ms <= begin_ms:
            rows.reject(f"{place}:{row['_row']}", "begin and end are not two rising numbers of milliseconds")
        elif end_ms - begin_ms >= 1000 * SHORTEST_TURN_S:
            turns.append((begin_ms / 1000, end_ms / 1000))
    if not turns:
        rows.reject(place, f"no PAR turn of {SHORTEST_TURN_S:g} s or more")
    return list(dict.fromkeys(turns))


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of ADReSSo 2021: a short interview a made-up speaker, every third one in test."""
    people = voices.cast(CORPUS.name, 40, "en", ({}, {"alzheimer": 0.5}, {}, {"alzheimer": 0.85}), ages=(60, 85))
    home = root / "ADReSSo21" / "diagnosis"
    train_rows, test_labels, test_scores = [",adressfname,mmse,dx"], ["ID,Dx"], ["ID,MMSE"]
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
    _write(home / "train" / "adresso-train-mmse-scores.csv", train_rows)
    _write(root / "test_ground_truth" / "task1.csv", test_labels)
    _write(root / "test_ground_truth" / "task2.csv", test_scores)
    _add_traps(home, replace(people[0], seed="adresso-traps"), voices)


def _interview(folder: Path, name: str, voice: Voice, voices: Voices) -> None:
    rate = 16000
    asker = replace(voice, seed="adresso-interviewer", sex="female", age=40, traits=())
    parts: list[np.ndarray] = []
    segments = [",speaker,begin,end"]
    clock = 0.0
    for turn, (who, speaker, seconds) in enumerate(
        (("INV", asker, 1.5), ("PAR", voice, 3.2), ("PAR", voice, 0.6), ("PAR", voice, 3.0))
    ):
        wave = voices.say(speaker, seconds=seconds, rate=rate, take=turn)[: round(seconds * rate)]
        begin, clock = clock, clock + len(wave) / rate
        segments.append(f"{turn},{who},{round(1000 * begin)},{round(1000 * clock)}")
        parts += [wave, np.zeros(rate // 5, np.float32)]
        clock += 0.2
    # One segment in the release may end after the audio: the last one does so here.
    segments[-1] = segments[-1].rsplit(",", 1)[0] + f",{round(1000 * clock) + 150}"
    voices.write(folder / "audio" / f"{name}.wav", np.concatenate(parts), rate)
    _write(folder / "segmentation" / f"{name}.csv", segments)


def _add_traps(home: Path, voice: Voice, voices: Voices) -> None:
    train = home / "train"
    wave = voices.say(voice, seconds=2.5, take=5)
    with (train / "adresso-train-mmse-scores.csv").open("a", encoding="utf-8") as table:
        table.write("900,adrso899,28,cn\n")  # a row without audio
        table.write("901,adrso897,41,ad\n")  # says ad, lies in cn; the score is impossible
    voices.write(train / "audio" / "cn" / "adrso898.wav", wave, 16000)  # no segmentation
    voices.write(train / "audio" / "cn" / "._adrso898.wav", wave[:400], 16000)  # zip artefact
    voices.write(train / "audio" / "cn" / "adrso897.wav", wave, 16000)  # no PAR row
    _write(train / "segmentation" / "cn" / "adrso897.csv", [",speaker,begin,end", "0,INV,0,900"])


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


CORPUS = Corpus(
    name="adresso",
    title="ADReSSo 2021: Alzheimer's Dementia Recognition through Spontaneous Speech only",
    homepage="https://talkbank.org/dementia/ADReSSo-2021/index.html",
    citation="Luz, Haider, de la Fuente, Fromm, MacWhinney: Detecting Cognitive Decline Using Speech Only: "
    "The ADReSSo Challenge. Interspeech 2021.",
    licence=Licence(
        name="TalkBank DementiaBank membership",
        url="https://talkbank.org/dementia/ADReSSo-2021/index.html",
        access="agreement",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="alzheimer",
    official_splits=True,
)
