"""LibriTTS-R (OpenSLR 141): LibriTTS with its sound restored, 2,456 LibriVox readers, 585 hours, 24 kHz WAV.

The owners' tree is ``LibriTTS_R/<subset>/<reader>/<chapter>/<reader>_<chapter>_<paragraph>_<sentence>.wav``
beside ``speakers.tsv`` (in ``doc.tar.gz``) or the ``SPEAKERS.txt`` of LibriTTS. What to know:

* The readers are LibriSpeech's, under the same ids: person ``librivox:<id>``. Sex is all that is said of them.
* ``speakers.tsv`` has one header line, whose words we do not know for sure: it is passed over. Some of its rows
  lack the last field, a name. ``SPEAKERS.txt`` is LibriSpeech's list: padded, pipes in one name, ``;`` comments.
  Names are not taken over.
* The list covers all seven subsets, also where only some were downloaded: readers of an absent subset are one
  reject, not a thousand. The archives are named ``train_clean_100``, the folders in them ``train-clean-100``.
* LibriTTS-P found nine readers whose recordings hold both sexes: their sex is left unknown. It found no usable
  restored sound of three others: their recordings are not used.
* ``*_bad_sample_list.txt`` (``libritts_r_failed_speech_restoration_examples.tar.gz``) name recordings whose
  restoration may have failed; where the lists are there, those recordings are not used.
* Copies made on a Mac hold ``._*`` files that are no audio; one WAV of LibriTTS is corrupt.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.corpora import _librivox
from pipelines.corpora._base import Corpus, Licence, Rows
from pipelines.corpora._read import text_of
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

RELEASE = _librivox.Release(
    root="LibriTTS_R",
    archives="doc.tar.gz and the other OpenSLR 141 archives",
    name=re.compile(r"^(?P<reader>\d+)_(?P<chapter>\d+)_(?P<paragraph>\d{6})_(?P<sentence>\d{6})\.wav$"),
    name_in_words="<reader>_<chapter>_<6 digits>_<6 digits>.wav",
    lists=("speakers.tsv", "speakers.txt"),
)
FAILED = "*bad_sample_list.txt"
CORRUPT = "1092_134562_000013_000004"
UNRESTORED = ("157", "2764", "4071")  # unannotated_spk_list.txt of LibriTTS-P


def scan(root: Path) -> Tables:
    """Read the readers' list and every WAV of the subsets that are there.

    Args:
        root: the folder that holds ``LibriTTS_R/``, or ``LibriTTS_R`` itself.

    Raises:
        RecipeError: there is neither ``speakers.tsv`` nor ``SPEAKERS.txt``.
    """
    rows = Rows("libritts_r")
    left_out = {CORRUPT: "corrupt in LibriTTS"}
    left_out |= {reader: f"no usable restored sound of reader {reader} (LibriTTS-P)" for reader in UNRESTORED}
    _librivox.scan(RELEASE, root, rows, left_out | _failed(root))
    return rows.tables()


def _failed(root: Path) -> dict[str, str]:
    """The recordings that the owners' lists name: lines like ``./dev-clean/84/121123/84_121123_000007_000001.wav``."""
    found = {}
    depths = ("", "*/", "*/*/")  # in the corpus' folder, beside it, or in a folder of their own
    for path in sorted(path for depth in depths for path in root.glob(depth + FAILED)):
        for line in text_of(path).splitlines():
            if line.strip():
                found[PurePosixPath(line.strip()).stem] = f"restoration may have failed ({path.name})"
    return found


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up LibriTTS-R: readers of the made-up LibriSpeech, two sentences each."""
    home = root / RELEASE.root
    rate = 24000
    table = ["READER\tGENDER\tSUBSET\tNAME"]
    people = _librivox.made_up(voices, 10)

    def record(place: Path, reader: str, chapter: str, number: int, voice: int) -> Path:
        stem = f"{reader}_{chapter}_{number:06}_{number % 3:06}"
        wave = voices.say(people[voice].voice, take=number, seconds=2.5, rate=rate)
        voices.write(place / reader / chapter / f"{stem}.wav", wave, rate)
        (place / reader / chapter / f"{stem}.normalized.txt").write_text("Made up text.")
        return place / reader / chapter / f"{stem}.wav"

    for index, person in enumerate(people):
        name = "" if index % 4 == 3 else f"\tMade Up {index}"  # trap: some rows lack the name
        table.append(f"{person.reader}\t{person.voice.sex[0].upper()}\t{person.subset}{name}")
        for number in (2, 7):
            last = record(home / person.subset, person.reader, person.chapter, number, index)
        (last.parent / f"{person.reader}_{person.chapter}.trans.tsv").write_text("made\tup\ttext\n")
    # trap: a Mac's leftovers
    (last.parent / f"._{last.name}").write_bytes(b"\x00\x05\x16\x07")
    # trap: one id, two people
    table.append("2074\tF\ttrain-clean-100\tMade Up")
    for number, voice in ((3, 0), (4, 1)):
        record(home / "train-clean-100", "2074", "700201", number, voice)
    # trap: a reader without usable restored sound, and the corrupt recording
    table += ["157\tM\ttrain-clean-100\tMade Up", "1092\tM\ttrain-clean-100\tMade Up"]
    record(home / "train-clean-100", "157", "700202", 5, 1)
    folder = home / "train-clean-100" / "1092" / "134562"
    folder.mkdir(parents=True)
    (folder / f"{CORRUPT}.wav").write_bytes(b"RIFF")
    # trap: a recording whose restoration failed, by the owners' list
    bad = record(home / people[0].subset, people[0].reader, people[0].chapter, 9, 0)
    lists = root / "libritts_r_failed_speech_restoration_examples"
    lists.mkdir()
    listed = f"./{bad.relative_to(home).as_posix()}\n"
    (lists / f"{people[0].subset}_bad_sample_list.txt").write_text(listed, "ascii")
    # traps: a reader nobody recorded, a subset nobody downloaded, a reader nobody listed
    table += ["90991\tF\ttrain-clean-100\tSilent Reader", "90992\tM\ttrain-other-500"]
    record(home / "dev-clean", "90999", "700999", 2, 0)
    (home / "speakers.tsv").write_text("\n".join(table) + "\n", "utf-8")


CORPUS = Corpus(
    name="libritts_r",
    title="LibriTTS-R",
    homepage="https://www.openslr.org/141",
    citation="Koizumi et al., LibriTTS-R: A Restored Multi-Speaker Text-to-Speech Corpus, Interspeech 2023",
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
        "same-people-as-librispeech": "A reader id is LibriVox', so the readers are also in LibriSpeech and MLS.",
        "rows-without-a-name": "Some rows of speakers.tsv have three fields, not four.",
        "header-line": "The header of speakers.tsv is not known for sure: line 1 is passed over, not matched.",
        "two-lists": "The readers may be in speakers.tsv or in SPEAKERS.txt, which LibriSpeech spells SPEAKERS.TXT.",
        "pipes-in-a-name": "SPEAKERS.txt is separated by pipes, and one name holds pipes itself.",
        "both-sexes": "Nine readers' recordings hold both sexes (LibriTTS-P).",
        "unrestored-readers": "Three readers have no usable restored sound (LibriTTS-P).",
        "failed-restoration": "Lists in an archive of their own name recordings whose restoration may have failed.",
        "corrupt-recording": "1092_134562_000013_000004.wav is corrupt in LibriTTS.",
        "files-of-a-mac": "Copies hold ._*.wav files that are no audio.",
        "absent-subsets": "The list covers all seven subsets, also where only some were downloaded.",
        "underscores-in-folders": "Archives are named train_clean_100, folders train-clean-100; both may be found.",
    },
)
