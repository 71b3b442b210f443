"""TORGO (English, dysarthria): eight speakers with cerebral palsy or ALS and seven controls.

::

    F01/Session1/wav_headMic/0001.wav     F01/Session1/wav_arrayMic/0001.wav     F01/Session1/prompts/0001.txt
    FC01/Session1/...    M04/Session2/...    MC02/Session1/phn_arrayMic/0012.PHN (of a few; not read)

What the release asks of a reader:

- There is no metadata table. The folder says it all: ``F``/``M`` is the sex, a ``C`` after it a control. Whether
  cerebral palsy or ALS makes a speaker dysarthric is not said of each.
- The four archives may lie in folders of their own; sessions are called ``Session1``, ``Session1_2`` and so on.
- Most utterances were recorded by two microphones at once. One is kept: the head microphone, which hears less
  of the room (rooms differ between patients and controls); the array's file stands in where the other is
  missing or has no frames. Some sessions have one microphone alone.
- Only names of four digits are recordings; others are copies or notes, and rejected.
- ``prompts/<utterance>.txt``: ``xxx`` means discard; ``[...]`` is an instruction, a picture's path asks for a
  description: both are usable audio. A recording without a prompt is kept without a speech task, and so is one with
  an instruction that does not ask to repeat a syllable.
- Published severity tables contradict each other: severity is left out. No ages are released.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

WAV = re.compile(
    r"(?:^|/)(?P<speaker>(?P<sex>[FM])(?P<control>C?)\d{2})/(?P<session>Session\w+)"
    r"/wav_(?P<mic>headMic|arrayMic)/(?P<utterance>\d{4})\.wav$"
)
WAV_HEADER_BYTES = 44
SEX = {"F": "female", "M": "male"}


def scan(root: Path) -> Tables:
    """Read TORGO below ``root``: ``<speaker>/Session*/wav_{head,array}Mic/<4 digits>.wav``.

    Raises:
        RecipeError: not one such file is found.
    """
    rows = Rows(CORPUS.name)
    spoken = _recordings(root, rows)
    if not spoken:
        raise RecipeError(
            f"{root}: no F01/Session1/wav_headMic/0001.wav or the like found; unpack the archives F, FC, M and MC here"
        )
    for session, utterances in spoken.items():
        prompts = {path.stem: path for path in sorted((session / "prompts").glob("*.txt"))}
        for utterance, microphones in sorted(utterances.items()):
            _add(root, session, prompts.get(utterance), microphones, rows)
        for name in sorted(prompts.keys() - utterances.keys()):
            rows.reject(prompts[name].relative_to(root).as_posix(), "prompt without audio")
    for speaker in rows.speakers:
        control = "C" in speaker.rpartition(":")[2]
        rows.observe(speaker, "dysarthria", "absent" if control else "present", source="group")
    return rows.tables()


def _recordings(root: Path, rows: Rows) -> dict[Path, dict[str, dict[str, Path]]]:
    """Session folder -> utterance -> microphone -> file."""
    found: dict[Path, dict[str, dict[str, Path]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted(root.rglob("*.wav")):
        if path.name.startswith("._"):
            continue
        place = path.relative_to(root).as_posix()
        name = WAV.search(place)
        if name is None:
            rows.reject(place, "not <speaker>/Session*/wav_headMic|wav_arrayMic/<4 digits>.wav")
        else:
            found[path.parents[1]][name["utterance"]][name["mic"]] = path
    return found


def _add(root: Path, session: Path, written: Path | None, microphones: dict[str, Path], rows: Rows) -> None:
    usable = [mic for mic in ("headMic", "arrayMic") if mic in microphones and _has_frames(microphones[mic])]
    if not usable:
        path = next(iter(microphones.values()))
        rows.reject(path.relative_to(root).as_posix(), "no frames")
        return
    for mic in microphones.keys() - usable:
        rows.reject(microphones[mic].relative_to(root).as_posix(), "no frames: the other microphone is read")
    place = microphones[usable[0]].relative_to(root).as_posix()
    prompt = None if written is None else text_of(written).strip()
    if prompt is not None and re.search(r"\bxxx\b", prompt, re.IGNORECASE):
        rows.reject(place, "prompt xxx: the owners discard it")
        return
    name = WAV.search(place)
    assert name is not None  # every file in `microphones` matched
    speaker = rows.speaker(name["speaker"], sex=SEX[name["sex"]])
    rows.utterance(
        place,
        speaker,
        language="en",
        speech_task=_speech_task(prompt),
        session_id=f"{name['speaker']}/{name['session']}",
        device=usable[0],
    )


def _has_frames(path: Path) -> bool:
    return path.stat().st_size > WAV_HEADER_BYTES


def _speech_task(prompt: str | None) -> str | None:
    if not prompt:
        return None
    if prompt.casefold().endswith((".jpg", ".jpeg")):
        return "spontaneous"
    words = re.sub(r"\[.*?\]", " ", prompt).split()
    if not words:  # "[say Ah-P-Eee repeatedly]"; any other instruction may ask for anything, or for silence
        return "syllables" if "repeatedly" in prompt.casefold() else None
    return "words" if len(words) == 1 else "read"


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of TORGO: up to 99 made-up speakers a letter, two microphones for some utterances."""
    people = voices.cast(CORPUS.name, 40, "en", ({}, {"dysarthria": 0.5}, {}, {"dysarthria": 0.85}))
    numbers: Counter[str] = Counter()
    first: dict[str, Voice] = {}
    for index, voice in enumerate(people):
        letters = ("F" if voice.sex == "female" else "M") + ("" if voice.strength("dysarthria") else "C")
        numbers[letters] += 1
        if numbers[letters] <= 99:  # the owners' names have two digits
            first.setdefault(letters, voice)
            _speaker(root / f"{letters}{numbers[letters]:02d}", voice, voices, two_sessions=index % 4 == 0)
    _add_traps(root, first["M"], voices)


def _speaker(folder: Path, voice: Voice, voices: Voices, two_sessions: bool) -> None:
    prompts = {"0001": None, "0002": "stick", "0003": "input/images/boat.jpg"}
    for take, (utterance, prompt) in enumerate(prompts.items()):
        session = folder / ("Session1_2" if two_sessions and take == 2 else "Session1")
        wave = voices.say(voice, seconds=3.0, take=take)
        voices.write(session / "wav_headMic" / f"{utterance}.wav", wave, 16000)
        if take == 0:  # trap: the same utterance by another microphone
            voices.write(session / "wav_arrayMic" / f"{utterance}.wav", 0.4 * wave, 16000)
        _write(session / "prompts" / f"{utterance}.txt", prompt or "The quick brown fox jumps over the lazy dog.")


def _add_traps(root: Path, voice: Voice, voices: Voices) -> None:
    session = root / "M01" / "Session1"
    wave = voices.say(voice, seconds=2.5, take=6)
    voices.write(session / "wav_headMic" / "0004.wav", wave[:0], 16000)  # trap: no frames: the array stands in
    voices.write(session / "wav_arrayMic" / "0004.wav", wave, 16000)  # trap: and there is no prompt
    voices.write(session / "wav_headMic" / "0005.wav", wave, 16000)
    _write(session / "prompts" / "0005.txt", "xxx")  # trap: discard
    _write(session / "prompts" / "0006.txt", "[say Ah-P-Eee repeatedly]")  # trap: no audio
    voices.write(session / "wav_headMic" / "0007 (copy).wav", wave, 16000)  # trap: not four digits
    voices.write(root / "M001" / "Session1" / "wav_headMic" / "0001.wav", wave, 16000)  # trap: three digits


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


CORPUS = Corpus(
    name="torgo",
    title="TORGO database of dysarthric articulation",
    homepage="http://www.cs.toronto.edu/~complingweb/data/TORGO/torgo.html",
    citation="Rudzicz, Namasivayam, Wolff: The TORGO database of acoustic and articulatory speech from "
    "speakers with dysarthria. Language Resources and Evaluation 46, 2012.",
    licence=Licence(
        name="free for academic use (web copy, as commonly understood); LDC agreement for LDC2012S02",
        url="http://www.cs.toronto.edu/~complingweb/data/TORGO/torgo.html",
        access="open",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="dysarthria",
    no_inputs={r"/wav_arrayMic/\d{4}\.wav$": "the same utterance by the second microphone"},
    traps={
        "no-table": "No metadata table: sex and group are letters of the folder. No ages are released.",
        "two-microphones": "One utterance was recorded by two microphones: one is kept, the head's if it can be.",
        "no-frames": "Some files have a header and no frames.",
        "odd-sessions": "Sessions are called Session1, Session1_2, Session2_1; archives may lie in folders.",
        "discard-prompt": "A prompt xxx means that the owners discard the recording.",
        "instruction-prompts": "A prompt in brackets is an instruction, a picture's path asks for a description.",
        "prompt-and-audio-part": "There are recordings without a prompt and prompts without a recording.",
        "odd-names": "Only names of four digits are recordings.",
        "severity-disagrees": "Published tables of severity contradict each other: left out.",
    },
)
