"""EARS (English): 107 speakers in an anechoic chamber, 100 hours of 48 kHz in reading styles and 22 emotions.

One archive a speaker: ``p001/<task>.wav`` to ``p107``. What to know:

- ``speaker_statistics.json`` (age, sex, native language) is in the repository, not in the archives: it has to be
  copied beside the speakers' folders; a clone of the repository beside them will do. Unpacked into a folder of
  its own, an archive makes a doubled one (``p001/p001``).
- Age is a range ("18-25" to "66-75"). Two speakers prefer not to answer anything, one not for sex; one is
  "non-binary / third gender".
- Native languages are words ("american english", "dari"): ``words.csv`` gives their tags. Ethnicity, weight and
  height are not taken over.
- The file's name is the task. ``emo_<emotion>_sentences`` is read and ``emo_<emotion>_freeform`` is spontaneous,
  both acted; two emotions are misspelt ("embarassment", "extasy"). Most of the 22 have no counterpart in
  ``attributes.csv``: the owners' word stays in the observation.
- ``rainbow_*`` and ``sentences_*`` end in the manner of speaking (regular, loud, whisper, highpitch, lowpitch,
  fast, slow): attribute ``speaking_style``. A whisper has no voice: mind it in tasks of sex.
- ``interjection_*`` are a few words or fillers: kept without a task. ``vegetative_*`` (coughing, eating ...),
  ``nonverbal_*`` (laughing, screaming ...) and ``melodic_*`` (a song) are not speech: left out, counted once a
  speaker.
- The blind test set (``blind_testset``, noisy) names no speakers: passed over. No official split of speakers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._acted import as_acted
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, folders, json_of, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

TABLE = "speaker_statistics.json"
SPEAKER = re.compile(r"^p\d{3}$")
TASK = re.compile(
    r"^(?:emo_(?P<emotion>[a-z]+)_(?P<way>sentences|freeform)"
    r"|(?:rainbow|sentences)_\d+_(?P<style>[a-z]+)"
    r"|(?P<free>freeform_speech_\d+)"
    r"|(?P<interjection>interjection_[a-z_]+))\.wav$"
)
NOT_SPEECH = ("vegetative_", "nonverbal_", "melodic_")


def scan(root: Path) -> Tables:
    """Read the speakers' folders and ``speaker_statistics.json`` beside them.

    Args:
        root: the folder that holds ``p001`` and the others, or a folder around it.

    Raises:
        RecipeError: there is no folder of a speaker, or the table is absent or not JSON.
    """
    home = next((path for path in folders(root) if _speakers(path)), None)
    if home is None:
        raise RecipeError(f"{root}: no folders p001 to p107; unpack the archives of EARS here")
    places = (home / TABLE, root / TABLE, *sorted(root.glob(f"*/{TABLE}")))
    table = next((path for path in places if path.is_file()), None)
    if table is None:
        raise RecipeError(f"{home}: no {TABLE}; copy it from {CORPUS.homepage} (it is not in the archives)")
    rows = Rows(CORPUS.name)
    people = _people(table)
    for folder in _speakers(home):
        person = people.pop(folder.name, None)
        if person is None:
            rows.reject(folder.relative_to(root).as_posix(), f"speaker is not in {TABLE}")
        else:
            _add_speaker(folder, root, person, rows)
    for owner_id in sorted(people):
        rows.reject(table.relative_to(root).as_posix(), f"speaker {owner_id} has no recordings")
    return rows.tables()


def _speakers(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("p[0-9][0-9][0-9]") if SPEAKER.match(path.name) and path.is_dir())


def _people(table: Path) -> dict[str, Mapping[str, object]]:
    try:
        people = json_of(table)
        return {str(owner_id): dict(person) for owner_id, person in people.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise RecipeError(f"{table}: not a JSON object of speakers: {error}") from error


def _add_speaker(folder: Path, root: Path, person: Mapping[str, object], rows: Rows) -> None:
    speaker, unspoken = None, 0
    place = folder.relative_to(root).as_posix()
    clips = [clip for inside in (folder, folder / folder.name) for clip in visible(inside.glob("*.wav"))]
    first: dict[str, str] = {}
    for clip in clips:
        path, task = clip.relative_to(root).as_posix(), TASK.match(clip.name)
        if first.setdefault(clip.name, path) != path:
            rows.reject(path, f"second copy of {first[clip.name]}")
            continue
        if clip.name.startswith(NOT_SPEECH):
            unspoken += 1
            continue
        if task is None:
            rows.reject(path, "name is no task of EARS")
            continue
        if speaker is None:
            native = cell(person.get("native language"))
            speaker = rows.speaker(folder.name, sex=cell(person.get("gender")), native_language=native)
            rows.observe(speaker, "age_range", cell(person.get("age")), source="self-report")
        utt_id = rows.utterance(path, speaker, language="en", speech_task=_speech_task(task))
        rows.observe(speaker, "emotion", task["emotion"], source="acted", utt_id=utt_id)
        rows.observe(speaker, "speaking_style", task["style"], source="acted", utt_id=utt_id)
    if not clips:
        rows.reject(place, "no recordings in the speaker's folder")
    if unspoken:
        rows.reject(place, f"{unspoken} recordings are not speech (vegetative, nonverbal, melodic)")


def _speech_task(task: re.Match[str]) -> str | None:
    if task["interjection"]:
        return None
    return "spontaneous" if task["free"] or task["way"] == "freeform" else "read"


RANGES = ("18-25", "26-35", "36-45", "46-55", "56-65", "66-75")
# A pair of speakers, a woman and a man, each: their native language, and what they do.
NATIVE = ("american english", "british english", "dari", "mandarin", "prefer not to answer")
TASKS = (
    ("emo_anger_sentences", "rainbow_01_whisper", "emo_embarassment_freeform"),  # trap: misspelt
    ("emo_sadness_freeform", "sentences_01_loud", "freeform_speech_01"),
    ("emo_extasy_sentences", "rainbow_02_regular", "interjection_greetings"),  # trap: misspelt
    ("emo_neutral_sentences", "rainbow_03_slow", "emo_anger_freeform"),
)
SOUNDS = {"anger": "angry", "sadness": "sad"}  # the other emotions sound neutral
RATE = 48000


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up EARS: three recordings a speaker; every fourth one also coughs and sings."""
    table: dict[str, dict[str, str]] = {}
    for index, voice in enumerate(voices.cast(CORPUS.name, 12, "en", ages=(18, 75))):
        owner_id = f"p{index + 1:03}"
        table[owner_id] = {
            "age": next(words for words in RANGES if voice.age <= int(words[-2:])),  # trap: a range
            "ethnicity": "made up",
            "gender": "non-binary / third gender" if index == 6 else voice.sex,  # trap: neither of two
            "weight": "140 - 160 lbs",
            "native language": NATIVE[index // 2 % len(NATIVE)],  # trap: words, not tags
            "height": "5'4 - 5'7",
        }
        if index == 7:  # trap: nothing is known
            table[owner_id] = dict.fromkeys(table[owner_id], "prefer not to answer")
        for take, task in enumerate(TASKS[index // 2 % len(TASKS)]):
            sound = SOUNDS.get(task.split("_")[1], "neutral")
            wave = voices.say(as_acted(voice, sound), seconds=2.0, rate=RATE, take=take)
            voices.write(root / owner_id / f"{task}.wav", wave, RATE)
        if index % 4 == 0:  # traps: no speech; a companion file of a Mac
            for sound in ("vegetative_coughing", "nonverbal_laughter_open", "melodic_happy_birthday"):
                noise = voices.say(voice, "vowel:a", seconds=0.5, rate=RATE)
                voices.write(root / owner_id / f"{sound}.wav", noise, RATE)
            (root / owner_id / f"._{task}.wav").write_bytes(b"\0")
    table["p107"] = table["p001"]  # described, no recordings
    voices.write(root / "p106" / "rainbow_01_regular.wav", wave, RATE)  # recordings, not described
    voices.write(root / "p001" / "rainbow.wav", wave, RATE)  # no task of EARS
    voices.write(root / "blind_testset" / "001.wav", wave, RATE)  # trap: noisy speech of nobody
    (root / TABLE).write_text(json.dumps(table, indent=4), "utf-8")


CORPUS = Corpus(
    name="ears",
    title="EARS: Expressive Anechoic Recordings of Speech",
    homepage="https://github.com/facebookresearch/ears_dataset",
    citation="Richter, Wu, Krenn, Welker, Lay, Watanabe, Richard, Gerkmann: EARS: An Anechoic Fullband Speech Dataset "
    "Benchmarked for Speech Enhancement and Dereverberation. Interspeech 2024",
    licence=Licence(
        name="CC BY-NC 4.0 (the README says CC-NC 4.0)",
        url="https://github.com/facebookresearch/ears_dataset/blob/main/LICENSE",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.5,  # 100 hours of 107 people who all say the same (our choice)
    no_inputs={
        r"(^|/)blind_testset/": "the blind test set names no speakers",
        r"/(vegetative|nonverbal|melodic)_[^/]*$": "no speech: vegetative, nonverbal or melodic",
    },
    traps={
        "table-elsewhere": "speaker_statistics.json is in the repository, not in the archives.",
        "doubled-folders": "An archive unpacked into a folder of its own makes a doubled one: p001/p001.",
        "age-is-a-range": 'Age is a range like "18-25".',
        "prefer-not-to-answer": 'Two speakers answer "prefer not to answer" to everything, one more to the sex.',
        "third-gender": 'One speaker is "non-binary / third gender".',
        "native-language-words": 'Native languages are words ("american english", "dari"), not tags.',
        "misspelt-emotions": 'File names say "embarassment" and "extasy".',
        "emotions-without-counterpart": "Most of the 22 emotions are not in the vocabulary: no fact follows from them.",
        "not-speech": "Coughing, eating, laughing, screaming and a song lie beside the speech.",
        "styles": "The same text is read in seven manners, among them whispering and shouting.",
        "nameless-test-set": "The blind test set is noisy and names no speakers.",
    },
)
