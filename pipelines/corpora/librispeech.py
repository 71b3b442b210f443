"""LibriSpeech (OpenSLR 12): LibriVox volunteers reading books, 2,484 readers, about 982 hours, 16 kHz FLAC.

The owners' tree is ``LibriSpeech/<subset>/<reader>/<chapter>/<reader>-<chapter>-<number>.flac`` beside one
``SPEAKERS.TXT``. What to know before reading it:

* ``SPEAKERS.TXT`` is padded with blanks around its pipes and starts with ``;`` comments. The last field is a
  name and one name holds pipes itself, so a row is split four times and no more.
* Sex is all it says of a reader: no age, no accent, no country. Names are not taken over.
* The list always covers all seven subsets, also where only some were downloaded: readers of an absent
  subset are one reject, not a thousand.
* LibriTTS-P found nine readers whose recordings hold both sexes; their sex is left unknown here.
* Reader ids are LibriVox', so LibriTTS, MLS and Libri-Light hold the same people: person ``librivox:<id>``.
* Copies made on a Mac hold ``._*`` files that are no audio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

NAME = re.compile(r"^(?P<reader>\d+)-(?P<chapter>\d+)-(?P<number>\d{4})\.flac$")
SEX = {"F": "female", "M": "male"}
LIST = "SPEAKERS.TXT"

# excluded_spk_list.txt of LibriTTS-P (github.com/line/LibriTTS-P): more than one person under one id
BOTH_SEXES = frozenset({"1734", "2074", "2262", "3546", "3793", "4455", "6032", "8097", "8295"})


@dataclass(frozen=True)
class Reader:
    """One row of ``SPEAKERS.TXT``."""

    row: int
    sex: str
    subset: str


def scan(root: Path) -> Tables:
    """Read the readers' list and every FLAC of the subsets that are there.

    Args:
        root: the folder that holds ``LibriSpeech/``, or ``LibriSpeech`` itself.

    Raises:
        RecipeError: there is no ``SPEAKERS.TXT``.
    """
    home = _home(root)
    rows = Rows("librispeech")
    where = (home / LIST).relative_to(root).as_posix()
    readers = _readers(home / LIST, where, rows)
    subsets = {folder.name for folder in home.iterdir() if folder.is_dir()}
    heard = set()
    for audio in sorted(home.glob("*/*/*/*.flac")):
        path = audio.relative_to(root).as_posix()
        name = NAME.match(audio.name)
        if audio.name.startswith("._"):
            rows.reject(path, "AppleDouble file of a Mac, no audio")
        elif name is None:
            rows.reject(path, "name is not <reader>-<chapter>-<4 digits>.flac")
        elif (audio.parent.parent.name, audio.parent.name) != (name["reader"], name["chapter"]):
            rows.reject(path, "reader or chapter of the name is not that of its folders")
        elif name["reader"] not in readers:
            rows.reject(path, f"reader not in {LIST}")
        else:
            reader = name["reader"]
            heard.add(reader)
            speaker = rows.speaker(
                reader,
                sex=None if reader in BOTH_SEXES else readers[reader].sex,
                person_id=f"librivox:{reader}",
            )
            rows.utterance(
                path,
                speaker,
                language="en",
                speech_task="read",
                session_id=name["chapter"],
                official_split=_split(audio.parents[2].name),
            )
    for reader in sorted(heard & BOTH_SEXES):
        rows.reject(f"{where}:{readers[reader].row}", "recordings hold both sexes (LibriTTS-P): sex not used")
    _reject_unheard(rows, readers, heard, subsets, where)
    return rows.tables()


def _home(root: Path) -> Path:
    for folder in (root, root / "LibriSpeech", root / "LibriSpeech" / "LibriSpeech"):
        if (folder / LIST).is_file():
            return folder
    raise RecipeError(f"no {LIST} in {root} or {root / 'LibriSpeech'}: unpack the OpenSLR 12 archives there")


def _readers(path: Path, where: str, rows: Rows) -> dict[str, Reader]:
    """The readers by id; rows that cannot be read become rejects."""
    readers = {}
    for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith(";"):
            continue
        fields = [field.strip() for field in line.split("|", 4)]
        if len(fields) < 4 or not fields[0].isdigit() or fields[1] not in SEX:
            rows.reject(f"{where}:{number}", "row is not id | F or M | subset | minutes | name")
            continue
        readers[fields[0]] = Reader(number, SEX[fields[1]], fields[2])
    return readers


def _reject_unheard(rows: Rows, readers: dict[str, Reader], heard: set[str], subsets: set[str], where: str) -> None:
    """Readers without audio: one reject each, or one for a whole subset that was not downloaded."""
    silent = {key: reader for key, reader in readers.items() if key not in heard}
    for reader in silent.values():
        if reader.subset in subsets:
            rows.reject(f"{where}:{reader.row}", f"no recordings of this reader in {reader.subset}")
    for subset in sorted({reader.subset for reader in silent.values()} - subsets):
        count = sum(reader.subset == subset for reader in silent.values())
        rows.reject(where, f"subset {subset} is not there: {count} readers passed over")


def _split(subset: str) -> str | None:
    kind = subset.split("-")[0]
    return kind if kind in ("train", "dev", "test") else None


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up LibriSpeech of about 24 readers, each with two utterances of one chapter."""
    home = root / "LibriSpeech"
    cast = voices.cast("librispeech", 24, "en")
    ranks = {"female": 0, "male": 0}
    lines = [
        "; Some pipe(|) separated metadata about all LibriVox readers",
        ";ID  |SEX| SUBSET           |MINUTES| NAME",
    ]
    chapters = [";ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE"]
    for index, voice in enumerate(cast):
        # every subset hears both sexes
        held_out = ("dev-clean", "test-clean") if voice.sex == "female" else ("test-clean", "dev-clean")
        subset = ("train-clean-100", "train-clean-100", *held_out)[ranks[voice.sex] % 4]
        ranks[voice.sex] += 1
        reader, chapter = str(90001 + 7 * index), str(700100 + index)
        name = "|CBX|Made Up" if index == 0 else f"Made Up {index}"
        lines.append(f"{reader:<5}| {voice.sex[0].upper()} | {subset:<17}| {0.10:.2f} | {name}")
        chapters.append(f"{chapter:<7}| {reader} | 0.10   | {subset:<17}| 1 | 1 | Chapter | Book")
        folder = home / subset / reader / chapter
        for take in range(2):
            wave = voices.say(voice, take=take, rate=16000)
            voices.write(folder / f"{reader}-{chapter}-{take:04}.flac", wave, 16000)
        (folder / f"{reader}-{chapter}.trans.txt").write_text(f"{reader}-{chapter}-0000 MADE UP TEXT\n")
    # traps: a reader nobody recorded, a subset nobody downloaded, readers nobody listed, a Mac's leftovers
    lines += [
        "90991| F | train-clean-100  | 25.00 | Silent Reader",
        "90992| M | train-other-500  | 30.00 | Not Here",
    ]
    stranger = home / "dev-clean" / "90999" / "700999"
    voices.write(stranger / "90999-700999-0000.flac", voices.say(cast[0], take=3, rate=16000), 16000)
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
)
