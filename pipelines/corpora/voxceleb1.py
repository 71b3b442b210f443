"""VoxCeleb1: 1,251 celebrities in interviews on YouTube, 16 kHz WAV.

``vox1_meta.csv`` is separated by **tabs**, and nationalities hold blanks ("New Zealand"). Nationality is a
country, not an accent. No ages, no language: utterances are ``und`` (undetermined). Speaker ids (``id1....``)
do not collide with VoxCeleb2's (``id0....``) and no name is in both. The owners' Set ``dev`` is our train.
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
    corpus="voxceleb1",
    meta="vox1_meta.csv",
    id_column="voxceleb1 id",
    other_columns=("gender", "nationality", "set"),
    audio=re.compile(r"(?:^|/)(?P<speaker>id1\d{4})/(?P<video>[A-Za-z0-9_-]{11})/(?P<segment>\d{5})\.wav$"),
    example="wav/id10001/1zcIwhmdeo4/00001.wav",
)


def scan(root: Path) -> Tables:
    """Read VoxCeleb1: ``vox1_meta.csv`` and ``[dev|test/]wav/<speaker>/<video>/<segment>.wav``.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    return _voxceleb.scan(RELEASE, root, Rows(RELEASE.corpus))


NATIONALITIES = ("USA", "UK", "New Zealand", "India", "Trinidad and Tobago")


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VoxCeleb1: two or three segments a made-up speaker, archives unpacked apart."""
    people = voices.cast(RELEASE.corpus, 48, "en")
    table = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for index, voice in enumerate(people):
        speaker, part = f"id{19001 + index}", "test" if index // 2 % 5 == 3 else "dev"
        country = NATIONALITIES[index // 2 % len(NATIONALITIES)]
        table.append(f"{speaker}\tMade-up_Person_{index}\t{voice.sex[0]}\t{country}\t{part}")
        for take in range(2 + index % 2):
            video = _voxceleb.made_up_video(speaker, take // 2)  # the third segment is of another video
            wave = voices.say(voice, seconds=3.0, take=take)
            voices.write(root / part / "wav" / speaker / video / f"{take + 1:05d}.wav", wave, 16000)
    table.append("id19998\tNobody_Here\tf\tSouth Africa\tdev")  # a row without audio
    (root / RELEASE.meta).write_text("\n".join(table) + "\n", encoding="utf-8")
    silence = np.zeros(1600, np.float32)
    folder = root / "dev" / "wav" / "id19001" / _voxceleb.made_up_video("id19001", 0)
    voices.write(folder / "1.wav", silence, 16000)  # not five digits
    voices.write(folder / "._00001.wav", silence, 16000)  # zip artefact
    voices.write(root / "wav" / "id19001" / folder.name / "00001.wav", silence, 16000)  # unpacked twice
    voices.write(root / "dev" / "wav" / "id19999" / "AAAAAAAAAAA" / "00001.wav", silence, 16000)  # no row


CORPUS = Corpus(
    name="voxceleb1",
    title="VoxCeleb1",
    homepage="https://mm.kaist.ac.kr/datasets/voxceleb/",
    citation="Nagrani, Chung, Zisserman: VoxCeleb: a large-scale speaker identification dataset. Interspeech 2017.",
    licence=_voxceleb.LICENCE,
    languages=(_voxceleb.LANGUAGE,),
    roles=("train",),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.25,
    official_splits=True,
)
