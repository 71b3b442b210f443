"""EATD-Corpus (Mandarin, depression): three spoken answers a volunteer, and the Self-Rating Depression Scale.

162 volunteers: 83 train (``t_``), 79 validation (``v_``). No sex and no age is released. Layout::

    EATD-Corpus/t_1/positive.wav  positive_out.wav  positive.txt   (and neutral, negative)   16 kHz
    EATD-Corpus/t_1/label.txt  new_label.txt

What the release asks of a reader:

- **new_label.txt is the SDS index** (the raw total of label.txt times 1.25): the cut-off of 53 is one of the index.
  The raw total is taken, times 1.25, only where new_label.txt is not there.
- positive, neutral and negative are the questions that were asked. They are no emotions of the speaker.
- ``_out`` files are the same answers, denoised and with their silence removed. The original is taken, since pauses
  count; the ``_out`` copy only where the original is empty. Some files hold no frame.
- ``t_1`` and ``v_1`` are two people, and numbers have gaps. The authors' own code reads ``Data/1`` (train) and
  ``ValidationData/1`` (validation) instead: those are the same folders under other names.
- There is no test split. Texts are Chinese, UTF-8 or GBK; only the labels are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import number, text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

FOLDER = re.compile(r"(?:(?P<side>[tv])_)?(?P<number>\d+)")
SIDE_OF_PARENT = {"data": "t", "validationdata": "v"}
SPLIT = {"t": "train", "v": "dev"}
QUESTIONS = ("positive", "neutral", "negative")
SDS_INDEX = (25, 100)
SHORTEST_FILE = 44 + 3200  # bytes: a header, and 0.1 s at 16 kHz


def scan(root: Path) -> Tables:
    """Read EATD below ``root``: one folder a volunteer, named ``t_1`` or ``Data/1``.

    Raises:
        RecipeError: no such folder with recordings is found.
    """
    rows = Rows(CORPUS.name)
    folders = sorted({path.parent for path in root.rglob("*.wav") if not path.name.startswith("._")}, key=_order)
    if not any(FOLDER.fullmatch(folder.name) for folder in folders):
        raise RecipeError(f"{root}: no t_1/positive.wav or the like found; unpack EATD-Corpus here")
    taken: dict[str, str] = {}
    for folder in folders:
        place = folder.relative_to(root).as_posix()
        name = FOLDER.fullmatch(folder.name)
        if name is None:
            rows.reject(place, "folder is not named t_<n>, v_<n> or <n>")
            continue
        side = name["side"] or SIDE_OF_PARENT.get(folder.parent.name.casefold())
        owner_id = f"{side}_{int(name['number'])}" if side else name["number"]
        if taken.setdefault(owner_id, place) != place:
            rows.reject(place, f"second copy of {taken[owner_id]}")
            continue
        _add(folder, owner_id, None if side is None else SPLIT[side], root, rows)
    return rows.tables()


def _order(folder: Path) -> tuple[str, str, int]:
    """Sort t_2 before t_10."""
    digits = re.sub(r"\D", "", folder.name)
    return folder.parent.as_posix(), re.sub(r"\d", "", folder.name), int(digits or 0)


def _add(folder: Path, owner_id: str, split: str | None, root: Path, rows: Rows) -> None:
    recordings = [path for question in QUESTIONS if (path := _recording(folder, question, root, rows)) is not None]
    if not recordings:
        return
    speaker = rows.speaker(owner_id)
    sds = _sds(folder, root, rows)
    rows.observe(speaker, "sds", sds, source="self-report", instrument="SDS", unit="index points")
    for path in recordings:
        rows.utterance(
            path.relative_to(root).as_posix(), speaker, language="zh", speech_task="spontaneous", official_split=split
        )


def _recording(folder: Path, question: str, root: Path, rows: Rows) -> Path | None:
    """The original of an answer, or its processed copy where the original holds nothing."""
    choices = [folder / f"{question}.wav", folder / f"{question}_out.wav"]
    place = choices[0].relative_to(root).as_posix()
    found = [path for path in choices if path.is_file() and path.stat().st_size >= SHORTEST_FILE]
    if not found:
        rows.reject(place, "no recording of 0.1 s or more")
        return None
    if found[0] != choices[0]:
        rows.reject(place, f"absent or empty: {found[0].name} is taken")
    return found[0]


def _sds(folder: Path, root: Path, rows: Rows) -> float | None:
    place = (folder / "new_label.txt").relative_to(root).as_posix()
    index, total = _first_number(folder / "new_label.txt"), _first_number(folder / "label.txt")
    if index is None:
        rows.reject(place, "no number" + ("" if total is None else ": label.txt times 1.25 is taken"))
        index = None if total is None else 1.25 * total
    elif total is not None and abs(index - 1.25 * total) >= 1:
        rows.reject(place, "is not label.txt times 1.25: no score taken")
        return None
    if index is not None and not SDS_INDEX[0] <= index <= SDS_INDEX[1]:
        rows.reject(place, "SDS index is outside 25..100: no score taken")
        return None
    return index


def _first_number(path: Path) -> float | None:
    if not path.is_file():
        return None
    return number(text_of(path).partition("\n")[0])


# --- the miniature --------------------------------------------------------------------------------------------

ANSWERS = ("我昨天和朋友去公园玩，很开心。", "我每天早上七点起床，然后去上班。", "最近我觉得很累，晚上也睡不好。")


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: three answers a volunteer, every other one depressed, and every trap named above."""
    people = voices.cast(CORPUS.name, 12, "zh", ({}, {"depression": 0.6}), ages=(18, 30))
    people = people[: max(8, round(12 * min(voices.scale, 1.0)))]
    home = root / "EATD-Corpus"
    for index, voice in enumerate(people):
        # traps: t_5 and v_5 are two people; numbers have gaps
        side = "tv"[index // 4 % 2]
        folder = home / f"{side}_{5 + 2 * (index % 4) + 10 * (index // 8)}"
        for take, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
            wave = voices.say(voice, answer, seconds=2.5, rate=16000, take=take)
            voices.write(folder / f"{question}.wav", wave, 16000)
            (folder / f"{question}.txt").write_bytes(answer.encode("gbk" if index == 1 else "utf-8"))  # trap: GBK
            if index < 2:  # trap: the same answer again, processed
                voices.write(folder / f"{question}_out.wav", wave[8000:], 16000)
        total = 30 + 2 * index + (20 if voice.traits else 0)  # 53 / 1.25 is 42.4: a raw total of 50 is depressed
        (folder / "label.txt").write_text(f"{total}\n", encoding="utf-8")
        (folder / "new_label.txt").write_text(f"{1.25 * total}\n", encoding="utf-8")
    # traps: files without a frame, with and without a processed copy that has some
    voices.write(home / "t_5" / "neutral.wav", np.zeros(0, np.float32), 16000)
    for name in ("negative.wav", "negative_out.wav"):
        voices.write(home / "t_7" / name, np.zeros(0, np.float32), 16000)
    (home / "v_9" / "new_label.txt").unlink()  # trap: only the raw total is there
    voices.write(home / "t_5" / "._positive.wav", np.zeros(80, np.float32), 16000)


CORPUS = Corpus(
    name="eatd",
    title="EATD-Corpus: Emotional Audio-Textual Depression Corpus",
    homepage="https://github.com/speechandlanguageprocessing/ICASSP2022-Depression",
    citation="Shen, Yang, Lin: Automatic depression detection: an emotional audio-textual corpus and a "
    "GRU/BiLSTM-based model. ICASSP 2022.",
    licence=Licence(
        name="not stated; offered to researchers with a password on the authors' page",
        url="https://github.com/speechandlanguageprocessing/ICASSP2022-Depression",
        access="open",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("zh",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="depression",
    no_inputs={r"_out\.wav$": "a processed copy of an answer whose original is read"},
    traps={
        "raw-total": "label.txt is the raw SDS total, and the cut-off of 53 is one of the index in new_label.txt.",
        "processed-copies": "_out files are the same answers again, denoised and without silence.",
        "no-frames": "Some recordings hold no frame.",
        "same-number": "t_1 and v_1 are two people, and numbers have gaps.",
        "numeric-folders": "The authors' code reads Data/1 and ValidationData/1 where t_1 and v_1 are distributed.",
        "questions": "positive, neutral and negative are the questions asked, and no emotions of the speaker.",
        "encodings": "Texts are UTF-8 or GBK.",
        "no-demographics": "No sex and no age is released.",
        "apple-double": "A folder may hold ._ files that are no recordings.",
    },
)
