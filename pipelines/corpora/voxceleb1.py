"""VoxCeleb1: 1,251 celebrities (690 men, 561 women) in interviews on YouTube, 16 kHz WAV.

::

    vox1_meta.csv
    wav/id10001/1zcIwhmdeo4/00001.wav                    both archives unpacked into one place
    dev/wav/id10001/1zcIwhmdeo4/00001.wav                or apart
    voxceleb1_wav/A.J._Buckley/1zcIwhmdeo4_0000001.wav   as released in 2017: folders are names

What the release asks of a reader:

- ``vox1_meta.csv`` is separated by **tabs** despite its ending, and nationalities hold blanks ("New Zealand").
- Nationality is a country, neither an accent nor a language.
- No ages. Those of VoxCeleb enrichment are read where its files lie beside the table (see `_voxceleb`).
- The owners say no language: utterances are ``und`` (undetermined), or what ``lang_vox1_final.csv`` of the
  workshop of 2021 says where it is there, which is a model's guess. Whether it has a header is not known.
- The archives have no common root. A recording unpacked twice, or also there as of 2017, is taken once.
- In the layout of 2017 the table gives each name its id. No name is taken over, but the path holds it.
- A video id may begin with ``-`` or ``_``.
- The owners' Set ``dev`` is our train. It is speaker-disjoint; ``iden_split.txt``, which is not, is not read.
- Speaker ids (``id1....``) do not collide with VoxCeleb2's (``id0....``) and no name is in both. ParaSpeechCaps
  holds the same people: person ``voxceleb:<id>``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora import _voxceleb
from pipelines.corpora._base import Corpus
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

RELEASE = _voxceleb.Release(
    corpus="voxceleb1",
    metas=("vox1_meta.csv",),
    id_column="voxceleb1 id",
    other_columns=("gender", "nationality", "set"),
    speaker=re.compile(r"^id1\d{4}$"),
    segment=re.compile(r"^(?P<segment>\d{5})\.wav$"),
    example="wav/id10001/1zcIwhmdeo4/00001.wav",
    name_column="vggface1 id",
    languages="lang_vox1_final.csv",
)


def scan(root: Path) -> Tables:
    """Read VoxCeleb1: ``vox1_meta.csv`` and ``[dev|test/]wav/<speaker>/<video>/<segment>.wav``.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    return _voxceleb.scan(RELEASE, root)


NATIONALITIES = ("USA", "UK", "New Zealand", "India", "Trinidad and Tobago")


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VoxCeleb1: two segments a made-up speaker, archives unpacked apart."""
    people = voices.cast(RELEASE.corpus, 12, "en")
    table = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]  # trap: tabs, and blanks in nationalities
    languages, ages = [], ["speaker_age,birth_year,Name,VoxCeleb_ID,video_id"]
    for index, voice in enumerate(people):
        speaker, part = f"id{19001 + index}", "test" if index // 2 % 5 == 3 else "dev"
        country, name = NATIONALITIES[index // 2 % len(NATIONALITIES)], f"Made-up_Person_{index}"
        table.append(f"{speaker}\t{name}\t{voice.sex[0]}\t{country}\t{part}")
        for take in range(2):
            video = _voxceleb.made_up_video(speaker, take)  # trap: some begin with - or _
            wave = voices.say(voice, seconds=3.0, take=take)
            place = root / part / "wav" / speaker / video / "00001.wav"  # trap: dev and test have no common root
            if index == 2:  # trap: the layout of 2017 names the folder after the person
                place = root / "voxceleb1_wav" / name / f"{video}_0000001.wav"
            voices.write(place, wave, 16000)
            if index != 4:
                languages.append(f"{speaker}/{video}/00001.wav,English,0.99")
        if index % 3 == 1:  # trap: an age holds for a video
            ages.append(f"{voice.age}.0,{2015 - voice.age}.0,{name},{speaker},{video}")
    table.append("id19998\tNobody_Here\tf\tSouth Africa\tdev")  # trap: a row without audio
    (root / RELEASE.metas[0]).write_text("\n".join(table) + "\n", encoding="utf-8")
    (root / "lang_vox1_final.csv").write_text("\n".join(languages) + "\n", encoding="utf-8")
    (root / "age-train.txt").write_text("\n".join(ages) + "\n", encoding="utf-8")
    silence = np.zeros(1600, np.float32)
    folder = root / "dev" / "wav" / "id19001" / _voxceleb.made_up_video("id19001", 0)
    voices.write(folder / "1.wav", silence, 16000)  # trap: not five digits
    voices.write(folder / "._00001.wav", silence, 16000)  # trap: a Mac's twin
    voices.write(root / "wav" / "id19001" / folder.name / "00001.wav", silence, 16000)  # trap: unpacked twice
    voices.write(root / "dev" / "wav" / "id19999" / "AAAAAAAAAAA" / "00001.wav", silence, 16000)  # trap: no row
    voices.write(root / "voxceleb1_wav" / "Nobody" / "AAAAAAAAAAA_0000001.wav", silence, 16000)  # trap: no such name
    voices.write(root / "vox2" / "aac" / "id09999" / "AAAAAAAAAAA" / "00001.wav", silence, 16000)  # trap: VoxCeleb2's


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
    traps={
        "tabs-and-blanks": "vox1_meta.csv is separated by tabs, and nationalities hold blanks.",
        "nationality-is-a-country": "Nationality is a country, neither an accent nor a language.",
        "no-common-root": "The archives unpack to wav/id1.., so dev and test may lie in one place, apart, or twice.",
        "names-as-folders": "The release of 2017 names folders after people; no name gets into the tables.",
        "video-ids": "A video id may begin with - or _.",
        "dev-is-train": "The owners' dev is what others call train; their iden_split.txt shares its speakers.",
        "language-unknown": "The owners say no language; lang_vox1_final.csv is a model's guess, its header unsure.",
        "ages-of-others": "There are no ages; those of VoxCeleb enrichment hold for one video, not for the speaker.",
        "two-voxcelebs": "VoxCeleb1 and 2 share no speaker, but may lie in one folder.",
        "files-of-a-mac": "Copies hold ._*.wav files that are no audio.",
        "rows-without-audio": "The table may name speakers whose audio is not there, and the reverse.",
    },
)
