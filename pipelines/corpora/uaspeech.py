"""UASpeech (English): single words by 15 speakers with cerebral palsy and 13 controls, seven microphones.

Layout (16 kHz; an older copy has ``audio/<speaker>`` for patients and ``audio/control/<speaker>``)::

    UASpeech/audio/{original,noisereduce,normalized}/CF02/CF02_B1_C1_M2.wav   <speaker>_<block>_<word>_<microphone>
    UASpeech/mlf/CF02/CF02_word.mlf                                           not read

What the release asks of a reader:

- The name says it all: C before the sex letter is a control. In the third field a C is a computer command.
- Microphones M2 to M8 heard the same utterance at once, and each recording lies there in up to three versions.
  One is kept of each utterance: the original where there is one, by M5, else M6, else the lowest number. The
  others are left out without a reject: there are some 400,000.
- Words: D a digit, L a letter of the radio alphabet, C a computer command, CW a common, UW an uncommon word.
  Blocks B1 to B3 repeat all but the uncommon words. Block B2 is the usual test set, with the speakers of B1 and
  B3: no split over speakers. The block is kept as the session.
- Intelligibility is the owners' class by what listeners wrote down (15 patients; controls have none). It comes
  from publications, not from the release, which holds no table and no ages.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import paths_below
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

WAV = re.compile(
    r"^(?P<speaker>(?P<control>C?)(?P<sex>[FM])\d{2})_B(?P<block>[123])_(?P<word>D\d|C\d+|CW\d+|UW\d+|L[A-Z])"
    r"_M(?P<microphone>[2-8])\.wav$",
    re.IGNORECASE,
)
SPEAKER = re.compile(r"^C?[FM]\d{2}$", re.IGNORECASE)
SEX = {"F": "female", "M": "male"}
PROCESSED = ("noisereduce", "normalized")  # versions that come after the original, in this order of preference
BEST_MICROPHONES = "56"
INTELLIGIBILITY = {
    "very low": ("F03", "M01", "M04", "M12"),
    "low": ("F02", "M07", "M16"),
    "mid": ("F04", "M05", "M11"),
    "high": ("F05", "M08", "M09", "M10", "M14"),
}

Utterance = tuple[str, str, str]  # speaker, block, word
Rank = tuple[int, int, str]  # version, microphone, path: the smallest is kept


def scan(root: Path) -> Tables:
    """Read UASpeech below ``root``: ``<speaker>_B<block>_<word>_M<microphone>.wav`` in any folders.

    Raises:
        RecipeError: not one such file is found.
    """
    rows = Rows(CORPUS.name)
    best: dict[Utterance, Rank] = {}
    for place in paths_below(root, ".wav"):
        folder, _, file = place.rpartition("/")
        name = WAV.match(file)
        inside = folder.rpartition("/")[2].upper()
        if name is None:
            rows.reject(place, "name is not <speaker>_B<block>_<word>_M<microphone>.wav")
        elif SPEAKER.match(inside) and inside != name["speaker"].upper():
            rows.reject(place, "lies in the folder of another speaker")
        else:
            utterance = (name["speaker"].upper(), name["block"], name["word"].upper())
            rank = _rank(place, name["microphone"])
            best[utterance] = min(best.get(utterance, rank), rank)
    if not best:
        raise RecipeError(f"{root}: no audio/original/F02/F02_B1_C1_M5.wav or the like found; unpack UASpeech here")
    for (speaker, block, word), (*_, place) in sorted(best.items()):
        control = speaker.startswith("C")
        rows.utterance(
            place,
            rows.speaker(speaker, sex=SEX[speaker[1 if control else 0]]),
            language="en",
            speech_task="digits" if word.startswith("D") else "words",
            session_id=f"{speaker}/B{block}",
            device=place[-6:-4].upper(),
        )
    _observe_speakers(rows)
    return rows.tables()


def _rank(place: str, microphone: str) -> Rank:
    versions = [PROCESSED.index(part) + 1 for part in place.lower().split("/") if part in PROCESSED]
    order = int(microphone) if microphone in BEST_MICROPHONES else 10 + int(microphone)
    return max(versions, default=0), order, place


def _observe_speakers(rows: Rows) -> None:
    classes = {speaker: name for name, speakers in INTELLIGIBILITY.items() for speaker in speakers}
    for speaker in rows.speakers:
        owner_id = speaker.rpartition(":")[2]
        state = "absent" if owner_id.startswith("C") else "present"
        for attribute in ("dysarthria", "cerebral_palsy"):
            rows.observe(speaker, attribute, state, source="group")
        rows.observe(speaker, "intelligibility", classes.get(owner_id), source="rater")


# The miniature -----------------------------------------------------------------------------------

OWN_NUMBERS = {"F": ("03", "05", "02", "04"), "M": ("04", "08", "07", "05", "14", "01")}  # mixed by severity
WORDS = {"D1": "one", "C1": "command", "UW1": "naturalization"}


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of UASpeech: three words a speaker, some by several microphones and in several versions."""
    people = voices.cast(CORPUS.name, 12, "en", ({"dysarthria": 0.8}, {}))[: max(8, round(12 * voices.scale))]
    home = root / "UASpeech"
    counts: Counter[str] = Counter()
    for index, voice in enumerate(people):
        letters = ("" if voice.strength("dysarthria") else "C") + ("F" if voice.sex == "female" else "M")
        numbers, count = OWN_NUMBERS[letters[-1]], counts[letters]
        counts[letters] += 1
        if count < 79:  # the owners' names have two digits
            speaker = letters + (numbers[count] if count < len(numbers) else f"{20 + count}")
            _write_speaker(home, speaker, voice, voices, index)
    wave = voices.say(people[0], "command", seconds=2.0)
    voices.write(home / "audio" / "original" / "F03" / "F03_B1_C9_M1.wav", wave, 16000)  # no such microphone
    voices.write(home / "audio" / "original" / "F03" / "CM04_B1_C9_M5.wav", wave, 16000)  # another's folder
    # trap: the older layout beside the new one
    voices.write(home / "audio" / "control" / "CF03" / "CF03_B3_LA_M3.wav", wave, 16000)


def _write_speaker(home: Path, speaker: str, voice: Voice, voices: Voices, index: int) -> None:
    for take, (word, text) in enumerate(WORDS.items()):
        wave = voices.say(voice, text, seconds=2.0, take=take)
        block = f"B{1 + take}"
        # traps: the utterance by several microphones at once, and in processed versions
        for microphone in ("5", "6", "2") if index % 4 == 0 else ("6", "3") if index % 4 == 1 else ("5",):
            file = f"{speaker}_{block}_{word}_M{microphone}.wav"
            versions = ("original", "noisereduce") if take == 0 else ("normalized",) if index == 5 else ("original",)
            for version in versions:
                gain = 1.0 if version == "original" else 0.8
                voices.write(home / "audio" / version / speaker / file, gain * wave, 16000)
    mlf = home / "mlf" / speaker / f"{speaker}_word.mlf"
    mlf.parent.mkdir(parents=True, exist_ok=True)
    mlf.write_text(f'#!MLF!#\n"*/{speaker}_B1_D1_M5.lab"\nONE\n.\n', encoding="utf-8")


CORPUS = Corpus(
    name="uaspeech",
    title="UASpeech (dysarthric speech of people with cerebral palsy)",
    homepage="http://www.isle.illinois.edu/sst/data/UASpeech/",
    citation="Kim, Hasegawa-Johnson, Perlman, Gunderson, Huang, Watkin, Frame: Dysarthric speech database for "
    "universal access research. Interspeech 2008.",
    licence=Licence(
        name="University of Illinois, on request, for research",
        url="http://www.isle.illinois.edu/sst/data/UASpeech/",
        access="agreement",
        may_train=True,  # research use, as commonly understood: read the agreement
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="dysarthria",
    no_inputs={r"(?i)_M[2-8]\.wav$": "the same utterance by another microphone, or processed"},
    traps={
        "seven-microphones": "M2 to M8 heard the same utterance at once: one file of each utterance is kept.",
        "three-versions": "original, noisereduce and normalized hold the same recordings.",
        "control-letter": "C before the sex letter is a control; in the word field it is a computer command.",
        "older-layout": "An older copy has audio/<speaker> for patients and audio/control/<speaker> for controls.",
        "block-is-no-speaker-split": "The usual test set is block B2, with speakers who are in training too.",
        "intelligibility-of-patients-only": "The class of intelligibility is known for the 15 patients alone.",
        "no-ages": "The release holds no ages.",
    },
)
