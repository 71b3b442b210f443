"""LibriSpeech (OpenSLR 12): LibriVox volunteers reading books, 2,484 readers, about 982 hours, 16 kHz FLAC.

::

    LibriSpeech/SPEAKERS.TXT
    LibriSpeech/test-other/1688/142285/1688-142285-0000.flac      <reader>-<chapter>-<number>

What the release asks of a reader:

- ``SPEAKERS.TXT`` is padded with blanks around its pipes and starts with ``;`` comments. The last field is a
  name and one name (reader 60) holds pipes itself, so a row is split four times and no more.
- Sex is all it says of a reader: no age, no accent, no country. Names are not taken over.
- The list always covers all seven subsets, also where only some were downloaded: readers of an absent
  subset are one reject, not a thousand.
- LibriTTS-P found nine readers whose recordings hold both sexes; their sex is left unknown here.
- Reader ids are LibriVox', so LibriTTS, MLS and Libri-Light hold the same people: person ``librivox:<id>``.
- The subsets are the official split, which is speaker-disjoint: train-clean-100, train-clean-360,
  train-other-500, dev and test, clean and other.
- Copies made on a Mac hold ``._*`` files that are no audio.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora import _librivox
from pipelines.corpora._base import Corpus, Licence, Rows
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

LIST = "SPEAKERS.TXT"
RELEASE = _librivox.Release(
    root="LibriSpeech",
    archives="the OpenSLR 12 archives",
    name=re.compile(r"^(?P<reader>\d+)-(?P<chapter>\d+)-(?P<number>\d{4})\.flac$"),
    name_in_words="<reader>-<chapter>-<4 digits>.flac",
    lists=("speakers.txt",),
)


def scan(root: Path) -> Tables:
    """Read the readers' list and every FLAC of the subsets that are there.

    Args:
        root: the folder that holds ``LibriSpeech/``, or ``LibriSpeech`` itself.

    Raises:
        RecipeError: there is no ``SPEAKERS.TXT``.
    """
    rows = Rows("librispeech")
    _librivox.scan(RELEASE, root, rows)
    return rows.tables()


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up LibriSpeech of about 12 readers, each with two utterances of one chapter."""
    home = root / "LibriSpeech"
    cast = _librivox.made_up(voices, 12)
    lines = [
        "; Some pipe(|) separated metadata about all LibriVox readers",
        ";ID  |SEX| SUBSET           |MINUTES| NAME",
    ]
    chapters = [";ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE"]
    for index, person in enumerate(cast):
        voice, reader, chapter, subset = person.voice, person.reader, person.chapter, person.subset
        name = "|CBX|Made Up" if index == 0 else f"Made Up {index}"  # trap: pipes in a name
        lines.append(f"{reader:<5}| {voice.sex[0].upper()} | {subset:<17}| {0.10:.2f} | {name}")
        chapters.append(f"{chapter:<7}| {reader} | 0.10   | {subset:<17}| 1 | 1 | Chapter | Book")
        folder = home / subset / reader / chapter
        for take in range(2):
            wave = voices.say(voice, take=take, rate=16000)
            voices.write(folder / f"{reader}-{chapter}-{take:04}.flac", wave, 16000)
        (folder / f"{reader}-{chapter}.trans.txt").write_text(f"{reader}-{chapter}-0000 MADE UP TEXT\n")
    # trap: one id, two people
    lines.append("2074 | F | train-clean-100  | 0.10 | Made Up")
    for take, person in enumerate(cast[:2]):
        wave = voices.say(person.voice, take=7, rate=16000)
        voices.write(home / "train-clean-100" / "2074" / "700201" / f"2074-700201-{take:04}.flac", wave, 16000)
    # traps: a reader nobody recorded, a subset nobody downloaded, readers nobody listed, a Mac's leftovers
    lines += [
        "90991| F | train-clean-100  | 25.00 | Silent Reader",
        "90992| M | train-other-500  | 30.00 | Not Here",
    ]
    stranger = home / "dev-clean" / "90999" / "700999"
    voices.write(stranger / "90999-700999-0000.flac", voices.say(cast[0].voice, take=3, rate=16000), 16000)
    (folder / f"._{reader}-{chapter}-0000.flac").write_bytes(b"\x00\x05\x16\x07")
    (home / LIST).write_text("\n".join(lines) + "\n", "ascii")
    (home / "CHAPTERS.TXT").write_text("\n".join(chapters) + "\n", "ascii")


CORPUS = Corpus(
    name="librispeech",
    title="LibriSpeech",
    homepage="https://www.openslr.org/12",
    citation="Panayotov et al., Librispeech: an ASR corpus based on public domain audio books, ICASSP 2015",
    licence=Licence(
        name="CC BY 4.0",
        url="https://creativecommons.org/licenses/by/4.0/",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="LibriVox volunteers who gave their readings to the public domain",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    official_splits=True,
    traps={
        "pipes-in-a-name": "SPEAKERS.TXT is separated by pipes, and one name holds pipes itself.",
        "padded-list": "SPEAKERS.TXT starts with ; comments, and its cells are padded.",
        "names": "The list holds names; none is taken over.",
        "both-sexes": "Nine readers' recordings hold both sexes (LibriTTS-P).",
        "same-people": "A reader id is LibriVox', so the readers are also in LibriTTS, MLS and Libri-Light.",
        "absent-subsets": "The list covers all seven subsets, also where only some were downloaded.",
        "sex-only": "There is no age, no accent and no country.",
        "files-of-a-mac": "Copies hold ._*.flac files that are no audio.",
    },
)
