"""EmoDB (Berlin): ten German actors, ten sentences, seven acted emotions, 16 kHz; listeners judged every recording.

``wav/<speaker><text><emotion><version>.wav`` such as ``03a01Fa.wav``, beside ``erkennung.txt`` (release 1, 535
files). Release 2 (816 files, audformat) has the same names in ``wav``, tables ``db.*.csv``, and laryngograms.
What to know:

- The letters are the German words': A is *Angst*, not anger (that is W, *Wut*); F is *Freude*, E is *Ekel*. They
  are decoded into the German words.
- Sex and age are in no table of release 1. They are written out here, as corrected in release 1.1.1 of the
  audformat version: the one before had 09, 10, 12 and 13 wrong.
- ``erkennung.txt`` says how many listeners recognised the emotion and found it natural. It is Latin-1, with decimal
  commas and no-break spaces after the numbers, and has 816 rows for the 535 files.
- Release 2 holds the laryngogram of each recording under the same file name in ``laryngo``: not speech.
- A mirror has only 339 of the files: what is there is read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.corpora._acted import as_acted, clips, observe_acted
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

NAME = re.compile(r"^(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<version>[a-f])\.wav$")
EMOTIONS = {
    "W": "Wut",
    "L": "Langeweile",
    "E": "Ekel",
    "A": "Angst",
    "F": "Freude",
    "T": "Trauer",
    "N": "neutral",
}
SPEAKERS = {  # sex and age
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
JUDGED = "erkennung.txt"  # release 1: percent
JUDGED_2 = "db.emotion.csv"  # release 2: shares of 1


def scan(root: Path) -> Tables:
    """Read EmoDB, release 1 or 2, below ``root``.

    Raises:
        RecipeError: there is no recording, or the table of the listeners lacks a column.
    """
    rows = Rows(CORPUS.name)
    judged = _judged(root, rows)
    heard = 0
    for clip in clips(
        root,
        NAME,
        rows,
        looks_like="<speaker><text><emotion><version>.wav like 03a01Fa.wav",
        advice=f"unpack download.zip of {CORPUS.homepage} or emodb_2.0.zip of {CORPUS.licence.url} there",
        twins="laryngo",
    ):
        identity = clip.name["speaker"]
        if identity not in SPEAKERS:
            rows.reject(clip.path, "no such speaker")
            continue
        sex, age = SPEAKERS[identity]
        speaker = rows.speaker(identity, sex=sex, native_language="de")
        utt_id = rows.utterance(clip.path, speaker, language="de", speech_task="read", age=age)
        observe_acted(rows, speaker, utt_id, EMOTIONS[clip.name["emotion"]])
        recognised, natural = judged.get(PurePosixPath(clip.path).stem, (None, None))
        rows.observe(speaker, "emotion_recognised", recognised, unit="%", source="rater", utt_id=utt_id)
        rows.observe(speaker, "emotion_naturalness", natural, unit="%", source="rater", utt_id=utt_id)
        heard += PurePosixPath(clip.path).stem in judged
    if len(judged) > heard:
        rows.reject(f"{JUDGED} or {JUDGED_2}", f"judgements without a recording: {len(judged) - heard} rows")
    return rows.tables()


def _judged(root: Path, rows: Rows) -> dict[str, tuple[float | None, float | None]]:
    """Recording -> percent of listeners who recognised the emotion, and who found it natural."""
    judged: dict[str, tuple[float | None, float | None]] = {}
    for name, file, columns, separator, encoding, factor in (
        (JUDGED, "satz", ("erkannt", "natuerlich"), "\t", "latin-1", 1.0),
        (JUDGED_2, "file", ("emotion.confidence", "emotion.naturalness"), ",", "utf-8-sig", 100.0),
    ):
        table = next(iter(sorted(root.rglob(name))), None)
        if table is None:
            continue
        try:
            lines = read_table(
                table, (file, columns[0]), separator=separator, encoding=encoding, quoted=separator == ","
            )
        except RecipeError as error:
            if name == JUDGED:
                raise
            # which columns the tables of release 2 have is not known for sure
            rows.reject(table.relative_to(root).as_posix(), f"judgements not read: {str(error).rpartition(': ')[2]}")
            continue
        for row in lines:
            recording, shares = row[file], [number(row.get(column)) for column in columns]
            if recording is None or any(share is not None and not 0 <= share * factor <= 100 for share in shares):
                rows.reject(
                    f"{table.relative_to(root).as_posix()}:{row['_row']}", f"no name or not 0 to {100 / factor:g}"
                )
                continue
            recognised, natural = (None if share is None else share * factor for share in shares)
            judged.setdefault(PurePosixPath(recording).stem, (recognised, natural))
    if not judged:
        rows.reject(f"{JUDGED} or {JUDGED_2}", "not there: how well the emotions are recognised is unknown")
    return judged


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up EmoDB, release 1, with three recordings an actor (and one laryngogram of release 2)."""
    sounds = dict(zip("WLEAFTN", ("angry", "bored", "disgusted", "fearful", "happy", "sad", "neutral"), strict=True))
    free = {sex: [name for name, (own, _) in SPEAKERS.items() if own == sex] for sex in ("female", "male")}
    table = ["Nr.\tSatz\terkannt\tnatuerlich"]
    for index, voice in enumerate(voices.cast(CORPUS.name, 10, "de")):
        if not free[voice.sex]:
            continue  # there are no more than ten actors, at any scale
        identity = free[voice.sex].pop(0)
        actor = replace(voice, age=SPEAKERS[identity][1])
        for take in range(3):
            letter = "WLEAFTN"[(index // 2 + 2 * take) % 7]
            name = f"{identity}{('a01', 'a04', 'b02')[take]}{letter}{'abc'[take]}.wav"
            wave = voices.say(as_acted(actor, sounds[letter]), seconds=2.2, rate=16000, take=take)
            voices.write(root / "wav" / name, wave, 16000)
            # trap: decimal commas, padded with no-break spaces
            table.append(f"{len(table)}\t{name}\t{80 + index},{take}0\xa0\xa0\t{65 + take},00\xa0\xa0\xa0")
            if index == 0:  # trap: the laryngogram has the same name
                voices.write(root / "laryngo" / name, 0.1 * wave, 16000)
    for letter in "WLE":  # trap: judgements of recordings that were left out of the release
        table.append(f"{len(table)}\t16b10{letter}f.wav\t35,00\xa0\t20,00\xa0")
    table.append(f"{len(table)}\t03a01Fb.wav\t835,00\t20,00")  # trap: no percentage
    voices.write(root / "wav" / "99a01Fa.wav", wave[:16000], 16000)  # trap: no such speaker
    voices.write(root / "wav" / "03a01Xa.wav", wave[:16000], 16000)  # trap: no such emotion
    (root / JUDGED).write_bytes(("\r\n".join(table) + "\r\n").encode("latin-1"))
    for folder, ending in (("lablaut", "lablaut"), ("silb", "silb")):
        (root / folder).mkdir()
        (root / folder / f"03a01Fa.{ending}").write_text("made up labels\n")


CORPUS = Corpus(
    name="emodb",
    title="Berlin Database of Emotional Speech",
    homepage="http://emodb.bilderbar.info",
    citation="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech. "
    "Interspeech 2005. doi:10.21437/Interspeech.2005-446",
    licence=Licence(
        name="CC0 1.0 as the audformat release says; release 1 states no licence that we know of",
        url="https://zenodo.org/records/17651657",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("de",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",  # an actor acts every emotion: it cannot place a speaker in a split
    no_inputs={r"(^|/)laryngo/": "a laryngogram, no speech"},
    traps={
        "german-letters": "The letters are of German words: A is fear (Angst), W is anger (Wut).",
        "first-table-was-wrong": "The first published table of sexes was wrong for 09, 10, 12 and 13.",
        "latin-1-commas": "erkennung.txt is Latin-1 with decimal commas and no-break spaces after the numbers.",
        "more-rows-than-files": "erkennung.txt has 816 rows for the 535 files of release 1.",
        "laryngograms": "Release 2 holds a laryngogram of each recording under the same file name.",
    },
)
