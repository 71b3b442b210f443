"""VoxCeleb2: 6,112 celebrities on YouTube, over a million segments, 16 kHz AAC in M4A.

::

    vox2_meta.csv                               or full_vox2_meta.csv, of work on faces and voices
    dev/aac/id00012/21Uxsk56VDQ/00001.m4a       aac/id00017/.. where the test archive lies alone
    dev/id00012/21Uxsk56VDQ/00001.m4a           mirrors drop aac/, or convert to .wav

What the release asks of a reader:

- ``vox2_meta.csv`` exists in two official shapes: tabs with a Name column, or commas without it; both with
  blanks after cells and column names, some with a byte order mark and CRLF. ``full_vox2_meta.csv`` has commas
  and names, some with commas in them. Names are not taken over.
- It lists 120 test speakers where the audio holds 118: rows without audio are rejects.
- The archives have no common root: dev unpacks to ``dev/aac``, test to ``aac``.
- M4A is not read by libsndfile, and a decoded file is up to 2,112 samples longer than a WAV of it. A segment
  converted in place is taken once.
- Some sexes of the table are wrong. VoxCeleb enrichment compares with Wikidata, DBpedia and Google: where its
  table is there, and two of them or more say the same and the owners the opposite, the sex is left unknown.
- No language is given: utterances are ``und`` (undetermined). The owners' Set ``dev`` is our train.
- Ages come from others, where their files lie beside the table: AgeVoxCeleb (``utt2age.train``,
  ``utt2age.test``: ``id00042/34f5sBShxSo/00001 70``, a blank, no header) and VoxCeleb enrichment
  (``age-train.txt``, ``age-test.txt``, ``final_dataframe_extended.csv``, mostly without an age). An age holds for
  a video. Their train and test are not VoxCeleb2's. Few are under 18 or over 80.
- ParaSpeechCaps and AgeVoxCeleb hold the same people: person ``voxceleb:<id>``.
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
    corpus="voxceleb2",
    metas=("vox2_meta.csv", "full_vox2_meta.csv"),
    id_column="voxceleb2 id",
    other_columns=("gender", "set"),
    speaker=re.compile(r"^id0\d{4}$"),
    segment=re.compile(r"^(?P<segment>\d{5})\.(?:m4a|wav)$"),
    example="dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
)


def scan(root: Path) -> Tables:
    """Read VoxCeleb2: ``vox2_meta.csv`` and ``{dev,test}/[aac/]<speaker>/<video>/<segment>.m4a``.

    ``.wav`` after a conversion is read too. Ages: see the head of this file.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    return _voxceleb.scan(RELEASE, root)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VoxCeleb2: two M4A segments a made-up speaker, ages for most of them."""
    people = voices.cast(RELEASE.corpus, 12, "en")
    # trap: the shape with tabs, names, and blanks after every cell
    table = ["Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet "]
    ages: dict[str, list[str]] = {"train": [], "test": []}
    enriched = [ENRICHED]
    for index, voice in enumerate(people):
        speaker, part = f"id{9501 + index:05d}", "test" if index // 2 % 5 == 3 else "dev"
        name = "Žofia_Vymyslená" if index == 0 else f"Made-up_Person_{index}"
        table.append(f"{name} \t{speaker} \tn0{speaker[2:]} \t{voice.sex[0]} \t{part} ")
        # trap: dev unpacks to dev/aac, test to aac, and mirrors drop aac
        home = root / ("aac" if part == "test" else "dev/aac" if index % 4 < 3 else "dev")
        for take in range(2):
            video = _voxceleb.made_up_video(speaker, take)
            wave = voices.say(voice, seconds=3.0, take=take)
            voices.write(home / speaker / video / "00001.m4a", wave, 16000)
            if index % 6 < 4:
                ages["test" if part == "test" else "train"].append(f"{speaker}/{video}/00001 {voice.age}")
        if index % 6 == 4:  # trap: one video of the speaker has an age, the other has none
            enriched.append(_enriched(name, voice.sex, speaker, video, voice.age))
    # trap: two sources contradict the table's sex
    wrong, sex = people[3], {"female": "male", "male": "female"}[people[3].sex]
    enriched.append(_enriched("Made-up Person 3", wrong.sex, "id09504", "AAAAAAAAAAA", "", others=sex))
    # trap: an age that differs from the first one
    first = _voxceleb.made_up_video("id09501", 0)
    enriched.append(_enriched("Someone", people[0].sex, "id09501", first, people[0].age + 9))
    table.append("Nobody_Here \tid09998 \tn009998 \tm \ttest ")  # trap: a test speaker without audio
    ages["test"] += ["id09998/AAAAAAAAAAA/00001 70", "id09501/unknown"]  # trap: not here; no age
    (root / RELEASE.metas[0]).write_text("\n".join(table) + "\n", encoding="utf-8")
    for part, lines in ages.items():
        (root / f"utt2age.{part}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "dataset").mkdir()
    (root / "dataset" / _voxceleb.ENRICHMENT).write_text("\n".join(enriched) + "\n", encoding="utf-8")
    silence = np.zeros(1600, np.float32)
    folder = root / "dev" / "aac" / "id09501" / first
    voices.write(folder / "1.m4a", silence, 16000)  # trap: not five digits
    voices.write(folder / "00001.wav", silence, 16000)  # trap: a segment converted in place
    (folder / "._00001.m4a").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin
    voices.write(root / "dev" / "aac" / "id09999" / "AAAAAAAAAAA" / "00001.m4a", silence, 16000)  # trap: no row


ENRICHED = (
    "Name,gender_wiki,birth_date_wiki,nationality_wiki,gender_dbpedia,birth_date_dbpedia,nationality_dbpedia,gender_gkg,"
    "birth_date_gkg,nationality_gkg,video_id,title,publishing_date,description,year_in_title,VoxCeleb_ID,gender,"
    "birth_year,year_upload_yt,recording_year,recording_year_title_only,speaker_age,speaker_age_title_only"
)


def _enriched(name: str, sex: str, speaker: str, video: str, age: object, others: str | None = None) -> str:
    """A row of the enrichment's table; its descriptions run over lines."""
    said = others or sex
    return (
        f'{name},{said},,,{said},,,,,,{video},"Made up, 2013",2013-01-30,"of two\nlines",2013,{speaker},{sex},'
        f",2013,2013,2013,,{age}"
    )


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
    traps={
        "two-shapes": "vox2_meta.csv has tabs and names, or commas, a byte order mark, CRLF; blanks after all cells.",
        "full-meta": "full_vox2_meta.csv is a third shape: commas with names.",
        "names": "Tables of speakers hold names; none is taken over.",
        "commas-in-names": "Fifteen names hold commas, which matters where commas separate the cells.",
        "test-speakers-without-audio": "The table lists 120 test speakers, the audio holds 118.",
        "no-common-root": "Archives unpack to dev/aac and aac, and mirrors drop aac/.",
        "aac": "M4A is not read by libsndfile, and decodes to up to 2,112 samples more.",
        "converted-in-place": "A segment may be there as .m4a and as .wav.",
        "wrong-sex": "The table has known errors of sex; the enrichment's sources may contradict it.",
        "age-of-a-video": "An age holds for a video, joined on speaker and video, and most videos have none.",
        "utt2age": "AgeVoxCeleb has blanks, no header, endings .train and .test, and a split that is not VoxCeleb2's.",
        "enrichment-table": "The enrichment's table has text over lines, and ages in two columns, mostly empty.",
        "ages-disagree": "Two sources of ages may differ: the first is used, and more than two years are a reject.",
        "dev-is-train": "The owners' dev is what others call train.",
        "no-language": "The owners say no language.",
        "files-of-a-mac": "Copies hold ._* files that are no audio.",
    },
)
