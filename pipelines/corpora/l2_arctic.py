"""L2-ARCTIC 5.0: 24 non-native speakers of English, two women and two men of each of six native languages.

``<SPEAKER>/wav/arctic_a0001.wav`` (read, about 1,100 sentences a speaker) and ``suitcase_corpus/wav/<speaker>.wav``
(a story told freely, one recording a speaker), 44.1 kHz. What to know:

* The release is an archive of archives, one a speaker: unpacked, a speaker's folder is often doubled
  (``ABA/ABA/wav``), and an archive that was left packed hides a whole speaker. Each is a reject.
* Sex and native language are in the README only, as a table of the 24 speakers; it is written down here, since
  the speakers' archives do not hold it. A folder of another name is a reject.
* The suitcase corpus writes the speakers in lower case, and two of them (SKA and ASI) are not in it.
* Everybody reads the same sentences under the same names: only the folder tells ``arctic_a0001`` from another.
  CMU ARCTIC, the native counterpart, has the same sentences again.
* The README says Chinese for Mandarin. It gives no ages, and there is no official split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import folders, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

# The table of the owners' README: sex and native language of each speaker.
SPEAKERS = {
    "ABA": ("M", "Arabic"),
    "SKA": ("F", "Arabic"),
    "YBAA": ("M", "Arabic"),
    "ZHAA": ("F", "Arabic"),
    "BWC": ("M", "Chinese"),
    "LXC": ("F", "Chinese"),
    "NCC": ("F", "Chinese"),
    "TXHC": ("M", "Chinese"),
    "ASI": ("M", "Hindi"),
    "RRBI": ("M", "Hindi"),
    "SVBI": ("F", "Hindi"),
    "TNI": ("F", "Hindi"),
    "HJK": ("F", "Korean"),
    "HKK": ("M", "Korean"),
    "YDCK": ("F", "Korean"),
    "YKWK": ("M", "Korean"),
    "EBVS": ("M", "Spanish"),
    "ERMS": ("M", "Spanish"),
    "MBMPS": ("F", "Spanish"),
    "NJS": ("F", "Spanish"),
    "HQTV": ("M", "Vietnamese"),
    "PNV": ("F", "Vietnamese"),
    "THV": ("F", "Vietnamese"),
    "TLV": ("M", "Vietnamese"),
}
SENTENCE = re.compile(r"^arctic_[ab]\d{4}\.wav$")
SUITCASE = "suitcase_corpus"
DEPTH = 5  # of a folder wav below the root: release/release/ABA/ABA/wav


def scan(root: Path) -> Tables:
    """Read the recordings of all speakers that were unpacked.

    Args:
        root: the folder that holds the speakers' folders, or one around it.

    Raises:
        RecipeError: there is no ``<SPEAKER>/wav`` below ``root``.
    """
    rows = Rows("l2_arctic")
    seen: dict[str, str] = {}  # speaker and recording -> path
    for folder in _wav_folders(root):
        _scan_folder(rows, root, folder, seen)
    if not seen:
        raise RecipeError(
            f"{root}: no <SPEAKER>/wav/arctic_a0001.wav found; unpack l2arctic_release_v5.0.zip there, and then the "
            "archives of the speakers inside it"
        )
    unpacked = {name.rpartition("/")[0] for name in seen}
    for archive in visible(path for folder in folders(root, 1) for path in folder.glob("*.zip")):
        name = "suitcase" if archive.stem == SUITCASE else archive.stem
        if name not in unpacked and (name in SPEAKERS or name == "suitcase"):
            rows.reject(archive.relative_to(root).as_posix(), "archive is not unpacked: its recordings are not read")
    return rows.tables()


def _wav_folders(root: Path) -> Iterator[Path]:
    """All folders ``wav``, those of single speakers before the suitcase corpus, each once."""
    found = [folder for folder in folders(root, DEPTH) if folder.name == "wav"]
    yield from sorted(found, key=lambda folder: (folder.parent.name == SUITCASE, len(folder.parts), folder))


def _scan_folder(rows: Rows, root: Path, folder: Path, seen: dict[str, str]) -> None:
    """The recordings of one speaker, or of the suitcase corpus, where the file is the speaker."""
    suitcase = folder.parent.name == SUITCASE
    place = folder.relative_to(root).as_posix()
    if not suitcase and folder.parent.name not in SPEAKERS:
        rows.reject(place, "folder is not one of the 24 speakers of the README")
        return
    for audio in visible(folder.glob("*.wav")):
        path = f"{place}/{audio.name}"
        speaker = audio.stem.upper() if suitcase else folder.parent.name
        if suitcase and speaker not in SPEAKERS:
            rows.reject(path, "not one of the 24 speakers of the README")
        elif not suitcase and SENTENCE.match(audio.name) is None:
            rows.reject(path, "name is not arctic_<a or b><4 digits>.wav")
        elif (first := seen.setdefault(f"{'suitcase' if suitcase else speaker}/{audio.name}", path)) != path:
            rows.reject(path, f"second copy of {first}")
        else:
            task = "spontaneous" if suitcase else "read"
            rows.utterance(path, _speaker(rows, speaker), language="en", speech_task=task)


def _speaker(rows: Rows, owner_id: str) -> str:
    sex, language = SPEAKERS[owner_id]
    speaker = f"{rows.corpus}:{owner_id}"
    if speaker not in rows.speakers:
        rows.speaker(owner_id, sex=sex, native_language=language)
        rows.observe(speaker, "accent", language, source="owner")
    return speaker


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up L2-ARCTIC: up to two speakers of each language, two sentences and, for some, a story each."""
    home, rate = root / "l2arctic_release_v5.0", 44100
    waiting = {
        "female": ["ZHAA", "NCC", "SVBI", "HJK", "NJS", "PNV"],
        "male": ["ABA", "BWC", "ASI", "HKK", "ERMS", "TLV"],
    }
    for index, voice in enumerate(voices.cast("l2_arctic", 12, "en", ages=(18, 60))):
        if not waiting[voice.sex]:
            break  # the owners have no more speakers either
        speaker = waiting[voice.sex].pop(0)
        folder = home / speaker / speaker if index % 3 else home / speaker  # trap: doubled folders
        for take in range(2):
            stem = f"arctic_{'ab'[take]}{index % 2 + 1:04}"  # trap: speakers share their sentences
            wave = voices.say(voice, take=take, seconds=2.5, rate=rate)
            voices.write(folder / "wav" / f"{stem}.wav", wave, rate)
            (folder / "transcript").mkdir(exist_ok=True)
            (folder / "transcript" / f"{stem}.txt").write_text("Made up text.")
        if index // 2 % 2 == 0 and speaker not in ("SKA", "ASI"):  # trap: two have no story
            story = voices.say(voice, take=5, seconds=3.0, rate=rate)
            voices.write(home / SUITCASE / SUITCASE / "wav" / f"{speaker.lower()}.wav", story, rate)
    # traps: an archive that nobody unpacked, a folder and a story of nobody, an odd name, a Mac's leftovers
    (home / "YKWK.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    voices.write(home / "XYZ" / "wav" / "arctic_a0001.wav", wave, rate)
    voices.write(home / SUITCASE / SUITCASE / "wav" / "xyz.wav", wave, rate)
    voices.write(folder / "wav" / "arctic_a1.wav", wave, rate)
    (folder / "wav" / "._arctic_a0001.wav").write_bytes(b"\x00\x05\x16\x07")
    (home / "README.md").write_text("# Made up\n")


CORPUS = Corpus(
    name="l2_arctic",
    title="L2-ARCTIC 5.0",
    homepage="https://psi.engr.tamu.edu/l2-arctic-corpus/",
    citation="Zhao et al., L2-ARCTIC: A Non-native English Speech Corpus, Interspeech 2018",
    licence=Licence(
        name="CC BY-NC 4.0",
        url="https://creativecommons.org/licenses/by-nc/4.0/",
        access="form",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    traps={
        "archives-in-the-archive": "Each speaker is an archive inside the archive, easily left packed.",
        "doubled-folders": "Unpacked, a speaker's folder is often doubled: ABA/ABA/wav.",
        "speakers-in-the-readme": "Sex and native language are in the README only, no file name tells them.",
        "stories-in-lower-case": "The suitcase corpus writes the speakers in lower case.",
        "stories-of-22": "SKA and ASI are not in the suitcase corpus.",
        "same-sentences": "All speakers read the same sentences under the same file names, as does CMU ARCTIC.",
        "chinese-is-mandarin": "The README names the native language Chinese; others say Mandarin.",
        "no-ages": "No age is given.",
    },
)
