"""TESS (Toronto): two actresses of 26 and 64 say "Say the word ..." with 200 words in seven acted emotions.

``<OAF|YAF>_<word>_<emotion>.wav``, flat in the owners' release, in 14 folders with irregular names in a copy on
Kaggle. What to know:

- There are two speakers, both women, and the age is the speaker: sex and age cannot be learnt from it. It is extra
  data for emotion, with a small share of an epoch, and no measure of it stands on its own.
- The folders' names are not to be trusted (``OAF_Fear`` beside ``YAF_fear``, ``OAF_Pleasant_surprise`` beside
  ``YAF_pleasant_surprised``): the file's name decides.
- ``ps`` is pleasant surprise. ``OA_bite_neutral.wav`` is the older actress too: the F is missing.
- Two files are AIFF though named .wav (YAF_germ_angry, YAF_neat_fear), one is 96 kHz (OAF_food_fear); the rest are
  24,414 Hz, a rate that no other corpus has. Audio is read by its content, so all are taken.
- The licence is CC BY-NC 4.0 or CC BY-NC-ND 4.0: the copies differ, so nothing is passed on.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from pipelines.corpora._acted import as_acted, clips, observe_acted
from pipelines.corpora._base import Corpus, Licence, Rows
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

NAME = re.compile(
    r"^(?P<speaker>OAF?|YAF)_(?P<word>[A-Za-z-]+)_(?P<emotion>angry|disgust|fear|happy|ps|sad|neutral)\.wav$",
    re.IGNORECASE,
)
AGES = {"OAF": 64, "YAF": 26}  # older and younger adult female
EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "ps": "pleasant surprise",
    "sad": "sad",
    "neutral": "neutral",
}


def scan(root: Path) -> Tables:
    """Read TESS below ``root``, flat or in folders.

    Raises:
        RecipeError: there is no file of that name.
    """
    rows = Rows(CORPUS.name)
    for clip in clips(
        root,
        NAME,
        rows,
        looks_like="<OAF or YAF>_<word>_<emotion>.wav",
        advice=f"unpack TESS ({CORPUS.homepage}) there",
        key=lambda name: "_".join((_speaker(name), name["word"].lower(), name["emotion"].lower())),
    ):
        identity = _speaker(clip.name)
        speaker = rows.speaker(identity, sex="female")
        utt_id = rows.utterance(clip.path, speaker, language="en", speech_task="read", age=AGES[identity])
        observe_acted(rows, speaker, utt_id, EMOTIONS[clip.name["emotion"].lower()])
    return rows.tables()


def _speaker(name: re.Match[str]) -> str:
    speaker = name["speaker"].upper()
    return "OAF" if speaker == "OA" else speaker


FOLDERS = {  # emotion -> folder of the older and the younger actress, as in the copy on Kaggle
    "angry": ("OAF_angry", "YAF_angry"),
    "disgust": ("OAF_disgust", "YAF_disgust"),
    "fear": ("OAF_Fear", "YAF_fear"),
    "happy": ("OAF_happy", "YAF_happy"),
    "ps": ("OAF_Pleasant_surprise", "YAF_pleasant_surprised"),
    "sad": ("OAF_Sad", "YAF_sad"),
    "neutral": ("OAF_neutral", "YAF_neutral"),
}
SOUNDS = {"disgust": "disgusted", "fear": "fearful", "ps": "surprised"}


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up TESS: two women at any scale, each emotion once (more words at scale 2 and above)."""
    women = [voice for voice in voices.cast(CORPUS.name, 8, "en") if voice.sex == "female"]
    rate = 24414
    words = ["back", "chain", "door", "learn"][: max(1, round(voices.scale))]
    for index, (identity, age) in enumerate(AGES.items()):
        voice = replace(women[index], age=age)
        for emotion, folders in FOLDERS.items():
            folder = root / folders[index]
            for word in words:
                acted = as_acted(voice, SOUNDS.get(emotion, emotion))
                wave = voices.say(acted, f"Say the word {word}.", seconds=2.0, rate=rate)
                if (identity, emotion) == ("OAF", "neutral") and word == "back":  # trap: the F is missing
                    voices.write(folder / "OA_bite_neutral.wav", wave, rate)
                elif (identity, emotion) == ("OAF", "fear") and word == "back":  # trap: another rate
                    wave = voices.say(acted, "Say the word food.", seconds=2.0, rate=96000)
                    voices.write(folder / "OAF_food_fear.wav", wave, 96000)
                elif (identity, emotion) == ("YAF", "angry") and word == "back":  # trap: AIFF named .wav
                    folder.mkdir()
                    soundfile.write(folder / "YAF_germ_angry.wav", wave, rate, format="AIFF", subtype="PCM_16")
                else:
                    voices.write(folder / f"{identity}_{word}_{emotion}.wav", wave, rate)
    copy = root / "TESS Toronto emotional speech set data" / "YAF_neutral"  # trap: everything twice
    voices.write(copy / "YAF_back_neutral.wav", wave, rate)
    voices.write(copy / "YAF_back_calm.wav", wave[:rate], rate)  # trap: no such emotion


CORPUS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set",
    homepage="https://doi.org/10.5683/SP2/E8H2MF",
    citation="Pichora-Fuller, Dupuis: Toronto emotional speech set (TESS). Borealis, 2020. doi:10.5683/SP2/E8H2MF",
    licence=Licence(
        name="CC BY-NC 4.0 or CC BY-NC-ND 4.0: the copies differ, read it at the download",
        url="https://doi.org/10.5683/SP2/E8H2MF",
        access="open",
        may_train=True,  # for purposes that are not commercial
        may_redistribute=False,  # shards are adapted material, which ND does not let out
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",  # both act every emotion: it cannot place a speaker in a split
    epoch_share=0.05,  # 2,800 clips of two women would drown others (our choice)
    traps={
        "two-speakers": "Two women, one of 64 and one of 26: age is the speaker, sex is constant.",
        "irregular-folders": "A copy's folders differ in spelling and case: the file's name decides.",
        "missing-letter": "OA_bite_neutral.wav is the older actress, elsewhere OAF.",
        "aiff-named-wav": "Two files are AIFF though their names end in .wav.",
        "odd-rates": "Files are 24,414 Hz, one is 96 kHz.",
        "ps": "ps is pleasant surprise.",
        "everything-twice": "A copy holds every file again in an inner folder.",
    },
)
