"""VoxCeleb2: 6,112 celebrities on YouTube, over a million segments, 16 kHz AAC in M4A.

``vox2_meta.csv`` exists in two official shapes: tabs with a Name column, or commas without it; both with
blanks after cells and column names, some with a byte order mark and CRLF. It lists 120 test speakers where
the audio holds 118. No language is given: utterances are ``und`` (undetermined). The owners' Set ``dev`` is
our train.

Ages come from AgeVoxCeleb where its ``utt2age.train`` and ``utt2age.test`` lie beside the table:
``id00042/34f5sBShxSo/00001 70``, separated by a blank, no header. An age holds for a whole video.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora import _voxceleb
from pipelines.corpora._base import Corpus, Rows
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

RELEASE = _voxceleb.Release(
    corpus="voxceleb2",
    meta="vox2_meta.csv",
    id_column="voxceleb2 id",
    other_columns=("gender", "set"),
    audio=re.compile(r"(?:^|/)(?P<speaker>id0\d{4})/(?P<video>[A-Za-z0-9_-]{11})/(?P<segment>\d{5})\.(?:m4a|wav)$"),
    example="dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
)

AGE = re.compile(r"^(?P<video>id0\d{4}/[A-Za-z0-9_-]{11})/\d{5} (?P<age>\d{1,2})\s*$")


def scan(root: Path) -> Tables:
    """Read VoxCeleb2: ``vox2_meta.csv`` and ``{dev,test}/[aac/]<speaker>/<video>/<segment>.m4a``.

    ``.wav`` after a conversion is read too. Ages: see the head of this file.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    rows = Rows(RELEASE.corpus)
    folder = _voxceleb.meta_file(root, RELEASE.meta).parent
    return _voxceleb.scan(RELEASE, root, rows, _ages(folder, root, rows))


def _ages(folder: Path, root: Path, rows: Rows) -> dict[str, float]:
    """AgeVoxCeleb's ages in years by ``<speaker>/<video>``."""
    ages: dict[str, float] = {}
    for path in (folder / "utt2age.train", folder / "utt2age.test"):
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
        for number_, line in enumerate(lines, start=1):
            found = AGE.match(line)
            if found is not None:
                ages[found["video"]] = float(found["age"])
            else:
                place = f"{path.relative_to(root).as_posix()}:{number_}"
                rows.reject(place, "line is not <speaker>/<video>/<segment> <age>")
    return ages


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VoxCeleb2: two or three M4A segments a made-up speaker, ages for most of them."""
    people = voices.cast(RELEASE.corpus, 48, "en")
    table = ["Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet "]
    ages: dict[str, list[str]] = {"train": [], "test": []}
    for index, voice in enumerate(people):
        speaker, part = f"id{9501 + index:05d}", "test" if index // 2 % 5 == 3 else "dev"
        name = "Žofia_Vymyslená" if index == 0 else f"Made-up_Person_{index}"
        table.append(f"{name} \t{speaker} \tn0{speaker[2:]} \t{voice.sex[0]} \t{part} ")
        for take in range(2 + index % 2):
            video = _voxceleb.made_up_video(speaker, take // 2)
            wave = voices.say(voice, seconds=3.0, take=take)
            voices.write(root / part / "aac" / speaker / video / f"{take + 1:05d}.m4a", wave, 16000)
            if index % 6 != 5 and take != 1:  # constant in a video, so one line is enough
                ages["test" if part == "test" else "train"].append(f"{speaker}/{video}/{take + 1:05d} {voice.age}")
    table.append("Nobody_Here \tid09998 \tn009998 \tm \ttest ")  # a test speaker without audio
    ages["test"] += ["id09998/AAAAAAAAAAA/00001 70", "id09501/unknown"]  # not here; no age
    (root / RELEASE.meta).write_text("\n".join(table) + "\n", encoding="utf-8")
    for part, lines in ages.items():
        (root / f"utt2age.{part}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    silence = np.zeros(1600, np.float32)
    folder = root / "dev" / "aac" / "id09501" / _voxceleb.made_up_video("id09501", 0)
    voices.write(folder / "1.m4a", silence, 16000)  # not five digits
    voices.write(folder / "00001.wav", silence, 16000)  # a segment converted in place
    voices.write(root / "dev" / "aac" / "id09999" / "AAAAAAAAAAA" / "00001.m4a", silence, 16000)  # no row


CORPUS = Corpus(
    name="voxceleb2",
    title="VoxCeleb2",
    homepage="https://mm.kaist.ac.kr/datasets/voxceleb/",
    citation="Chung, Nagrani, Zisserman: VoxCeleb2: Deep Speaker Recognition. Interspeech 2018.",
    licence=_voxceleb.LICENCE,
    languages=(_voxceleb.LANGUAGE,),
    roles=("train",),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.05,
    official_splits=True,
)
