"""RAVDESS (speech): 24 North American actors, two sentences, eight acted emotions in two strengths, 48 kHz.

``Actor_<01-24>/<modality>-<channel>-<emotion>-<intensity>-<statement>-<repetition>-<actor>.wav``, two digits each;
there is no table. What to know:

- The sex is in the actor's number: odd is male, even is female. Ages are not released, so none are given.
- The emotion is a number (03 is happy); the same numbers mean other things in other corpora.
- There is no strong neutral, so neutral has 96 recordings and every other emotion 192.
- Channel 02 is song (another archive of the same record, no actor 18), modalities 01 and 02 are film: only speech
  as sound (``03-01-``) is taken, the rest is counted by folder.
- Five files have two channels. Their mean is used, as everywhere.
- A copy on Kaggle holds everything twice, again under ``audio_speech_actors_01-24``: the first copy is taken.
- In a mirror 03-01-03-01-02-01-07 and 03-01-03-01-02-02-07 are the same bytes. Whether the original has it so is
  UNKNOWN; both are kept, since they are one speaker's and never part in a split.
- The licence is CC BY-NC-SA 4.0, though some lists call it CC BY.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._acted import as_acted, clips, observe_acted
from pipelines.corpora._base import Corpus, Licence, Rows
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

NAME = re.compile(
    r"^(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])\.wav$"
)
SOUND, SPEECH = "03", "01"
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
ACCENT = "neutral North American"


def scan(root: Path) -> Tables:
    """Read the speech of RAVDESS below ``root``, at any depth.

    Raises:
        RecipeError: there is no file of that name.
    """
    rows = Rows(CORPUS.name)
    for clip in clips(
        root,
        NAME,
        rows,
        looks_like="seven numbers of two digits like 03-01-05-01-02-01-12.wav",
        advice=f"unpack Audio_Speech_Actors_01-24.zip of {CORPUS.homepage} there",
    ):
        emotion, intensity = EMOTIONS[clip.name["emotion"]], INTENSITIES[clip.name["intensity"]]
        if clip.name["modality"] != SOUND:
            rows.reject(clip.path, "from a film, which repeats the sound")
        elif clip.name["channel"] != SPEECH:
            rows.reject(clip.path, "song, not speech")
        elif (emotion, intensity) == ("neutral", "strong"):
            rows.reject(clip.path, "there is no strong neutral: the name is wrong")
        else:
            actor = clip.name["actor"]
            first = f"{CORPUS.name}:{actor}" not in rows.speakers
            speaker = rows.speaker(actor, sex="male" if int(actor) % 2 else "female")
            if first:
                rows.observe(speaker, "accent", ACCENT, source="owner")
            utt_id = rows.utterance(clip.path, speaker, language="en", speech_task="read")
            observe_acted(rows, speaker, utt_id, emotion, intensity)
    return rows.tables()


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up RAVDESS: about 12 actors, three recordings each."""
    rate = 48000
    ranks = {"female": 2, "male": 1}  # even and odd
    codes = list(EMOTIONS)
    for voice in voices.cast(CORPUS.name, 12, "en"):
        number = ranks[voice.sex]
        if number > 24:
            continue  # there are no more than 24 actors, at any scale
        ranks[voice.sex] += 2
        folder = root / f"Actor_{number:02d}"
        for take in range(3):
            code = codes[(number // 2 + 3 * take) % 8]
            strong = code != "01" and take == 1
            name = f"03-01-{code}-{'02' if strong else '01'}-01-{'02' if take == 2 else '01'}-{number:02d}.wav"
            sound = "disgusted" if code == "07" else EMOTIONS[code]
            wave = voices.say(as_acted(voice, sound), seconds=2.5, rate=rate, take=take)
            if number == 5 and take == 0:  # trap: two channels
                wave = np.stack([wave, 0.8 * wave], axis=1)
            voices.write(folder / name, wave, rate)
            if number == 1:  # trap: everything twice
                voices.write(root / "audio_speech_actors_01-24" / folder.name / name, wave, rate)
        if number == 7:  # trap: two takes are the same bytes
            happy = voices.say(as_acted(voice, "happy"), seconds=2.5, rate=rate, take=4)
            for repetition in ("01", "02"):
                voices.write(folder / f"03-01-03-01-02-{repetition}-07.wav", happy, rate)
        if number == 2:  # traps: song; the sound of a film; a strong neutral; a name of six numbers; AppleDouble
            short = wave[: rate // 2]
            for name in ("03-02-03-01-01-01-02", "01-01-03-01-01-01-02", "03-01-01-02-01-01-02", "03-01-03-01-01-02"):
                voices.write(folder / f"{name}.wav", short, rate)
            (folder / "._03-01-03-01-01-01-02.wav").write_bytes(bytes(82))


CORPUS = Corpus(
    name="ravdess",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song (speech)",
    homepage="https://zenodo.org/records/1188976",
    citation="Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
    "PLoS ONE 13(5), 2018. doi:10.1371/journal.pone.0196391",
    licence=Licence(
        name="CC BY-NC-SA 4.0",
        url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        access="open",
        may_train=True,  # for purposes that are not commercial
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",  # an actor acts every emotion: it cannot place a speaker in a split
    traps={
        "numbers-for-emotions": "The emotion is a number whose meaning is this corpus' own.",
        "sex-in-the-number": "The sex is in the actor's number only: odd is male.",
        "no-ages": "Ages are not released: none may be given.",
        "no-strong-neutral": "Neutral has one strength: a strong neutral is a wrong name.",
        "song-and-film": "Song and the sound of the films have names of the same form.",
        "two-channels": "Five of the 1440 files are stereo.",
        "everything-twice": "A copy holds every file again under audio_speech_actors_01-24.",
        "identical-takes": "Two takes of actor 07 are the same bytes in a mirror: both are kept, with one speaker.",
        "not-cc-by": "Some lists call the licence CC BY 4.0: it is CC BY-NC-SA 4.0.",
    },
)
