"""Emotional Speech Dataset (ESD): ten Mandarin and ten English speakers, 350 sentences in five acted emotions each.

35,000 clips of 16 kHz: ``<speaker>/<Emotion>/<train|evaluation|test>/<speaker>_<number>.wav``, or without the
folders of the split (the copy that most people have). What to know:

- ``<speaker>/<speaker>.txt`` (id, text, emotion, by tab) has another encoding for each speaker: GB 2312,
  UTF-16, UTF-8 or Latin-1. The emotion in it is Chinese for the Mandarin speakers. Some lines are broken.
- The emotion is the folder's; where the text file says another one, the clip keeps no emotion.
- Sex is in no table: the owners' ``ReadMe.txt`` lists it ("0004: Chinese Male"), which many copies lack. Its list
  is repeated here. (A common script calls everybody male.)
- Speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English. No ages.
- The split cuts every speaker's clips, so it is not speaker-disjoint: the split of the system is its own.
- The data are for research, after a form; the MIT licence in the repository is that of the page, not of the data.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._acted import as_acted, observe_acted
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import bytes_of, folders, text_of, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

SPEAKER = re.compile(r"^00(?:0[1-9]|1\d|20)$")
FILE = re.compile(r"^(?P<speaker>\d{4})_(?P<number>\d{6})\.wav$")
EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
CHINESE = {"中立": "Neutral", "生气": "Angry", "快乐": "Happy", "伤心": "Sad", "惊喜": "Surprise"}
SPLITS = {"train": "train", "evaluation": "dev", "test": "test"}
LAST_MANDARIN = 10

# The owners' ReadMe.txt, for copies without it.
WOMEN = frozenset({"0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"})
README_LINE = re.compile(r"^[ \t]*(?P<speaker>\d{4})\s*:\s*(?:Chinese|English)\s+(?P<sex>Female|Male)\s*$", re.M)


def scan(root: Path) -> Tables:
    """Read the folders ``0001`` to ``0020`` and their text files.

    Args:
        root: the folder that holds them ("Emotion Speech Dataset"), or a folder around it.

    Raises:
        RecipeError: there is no folder of a speaker.
    """
    home = next((path for path in folders(root) if _speakers(path)), None)
    if home is None:
        raise RecipeError(f"{root}: no folders 0001 to 0020; unpack 'Emotional Speech Dataset (ESD).zip' here")
    rows = Rows(CORPUS.name)
    sexes = _sexes(home)
    for folder in _speakers(home):
        _add_speaker(folder, root, sexes.get(folder.name), rows)
    return rows.tables()


def _speakers(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("00[0-2][0-9]") if SPEAKER.match(path.name) and path.is_dir())


def _sexes(home: Path) -> dict[str, str]:
    """Speaker -> sex, as ReadMe.txt says, or as it said in the copy that this recipe was written from."""
    listed = {f"{n:04}": "Female" if f"{n:04}" in WOMEN else "Male" for n in range(1, 21)}
    for path in sorted(home.glob("[Rr]ead[Mm]e.txt")):
        text = text_of(path)
        listed |= {line["speaker"]: line["sex"] for line in README_LINE.finditer(text)}
    return listed


def _add_speaker(folder: Path, root: Path, sex: str | None, rows: Rows) -> None:
    language = "zh" if int(folder.name) <= LAST_MANDARIN else "en"
    written = _written(folder / f"{folder.name}.txt", root, rows)
    heard: dict[str, str] = {}
    for clip in visible(folder.rglob("*.wav")):
        path = clip.relative_to(root).as_posix()
        name, inside = FILE.match(clip.name), clip.relative_to(folder).parts[:-1]
        emotion = inside[0].capitalize() if inside else ""
        if name is None or name["speaker"] != folder.name:
            rows.reject(path, "name is not <speaker>_<six digits>.wav of its folder")
            continue
        if emotion not in EMOTIONS or len(inside) > 2 or (len(inside) == 2 and inside[1].lower() not in SPLITS):
            rows.reject(path, f"not in <{'|'.join(EMOTIONS)}>[/train|evaluation|test]")
            continue
        if heard.setdefault(clip.stem, path) != path:
            rows.reject(path, f"second copy of {heard[clip.stem]}")
            continue
        speaker = rows.speaker(folder.name, sex=sex, native_language=language)
        split = SPLITS[inside[1].lower()] if len(inside) == 2 else None
        utt_id = rows.utterance(path, speaker, language=language, speech_task="read", official_split=split)
        said = written.pop(clip.stem, emotion)
        if said == emotion:
            observe_acted(rows, speaker, utt_id, emotion)
        else:
            rows.reject(path, f"{folder.name}.txt says {said}: the clip keeps no emotion")
    if written:
        place = (folder / f"{folder.name}.txt").relative_to(root).as_posix()
        rows.reject(place, f"{len(written)} lines without a clip, first {min(written)}")


def _written(path: Path, root: Path, rows: Rows) -> dict[str, str]:
    """Clip -> emotion, in the words of the folders, as a text file says; empty where there is no such file."""
    place = path.relative_to(root).as_posix()
    if not path.is_file():
        rows.reject(place, "text file is not there")
        return {}
    found: dict[str, str] = {}
    unknown: Counter[str] = Counter()
    for number, line in enumerate(_text(bytes_of(path)).splitlines(), start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        emotion = CHINESE.get(cells[-1], cells[-1].capitalize())
        if len(cells) != 3 or not FILE.match(f"{cells[0]}.wav"):
            if line.strip():
                rows.reject(f"{place}:{number}", "line is not id, text, emotion (the clip keeps its folder's emotion)")
        elif emotion in EMOTIONS:
            found[cells[0]] = emotion
        else:
            unknown[cells[-1]] += 1
    for word, lines in sorted(unknown.items()):
        rows.reject(place, f"{lines} lines with the unknown emotion {word!r} (the clips keep their folder's emotion)")
    return found


def _text(content: bytes) -> str:
    """A text in one of the owners' encodings, which nothing but the bytes tell."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if content[1:2] == b"\0":  # UTF-16 without a mark: every id begins with a digit
        return content.decode("utf-16-le", errors="replace")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


# For the miniature: a woman and a man of each language in turn, with the encodings that the owners gave them.
MADE_UP = {
    "zh": (("0003", "0001", "0002", "0007", "0009"), ("0004", "0006", "0005", "0008", "0010")),
    "en": (("0016", "0015", "0017", "0018", "0019"), ("0011", "0012", "0013", "0014", "0020")),
}
ENCODINGS = {
    "gb2312": frozenset({"0001", "0002", "0004", "0005", "0009"}),
    "utf-8": frozenset({"0011", "0015", "0020"}),
    "latin-1": frozenset({"0016", "0017"}),
}
TEXTS = {"zh": "早饭我们吃面包。", "en": "The rain fell on the garden."}
SOUNDS = {"Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad", "Surprise": "surprised"}
RATE = 16000


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up ESD with the folders of the split: three clips a speaker, in two emotions."""
    home = root / "Emotion Speech Dataset"
    chinese = {english: word for word, english in CHINESE.items()}
    readme = ["The ESD database can be used for research only.", ""]
    for language, pools in MADE_UP.items():
        size = min(10, max(2, round(6 * voices.scale)))
        for index, voice in enumerate(voices.cast(f"{CORPUS.name}-{language}", 6, language)[:size]):
            owner_id = pools[voice.sex == "male"][index // 2]
            readme.append(f"{owner_id}: {'Chinese' if language == 'zh' else 'English'} {voice.sex.capitalize()}")
            lines = []
            for take, split in enumerate(("train", "evaluation", "test")):
                emotion = EMOTIONS[(index // 2 + take % 2) % len(EMOTIONS)]
                clip = f"{owner_id}_{EMOTIONS.index(emotion) * 350 + 1 + take:06}"
                wave = voices.say(as_acted(voice, SOUNDS[emotion]), seconds=2.0, rate=RATE, take=take)
                voices.write(home / owner_id / emotion / split / f"{clip}.wav", wave, RATE)
                text = "A café by the river." if owner_id == "0016" else TEXTS[language]
                word = chinese[emotion] if language == "zh" else emotion  # trap: Chinese words of emotion
                broken = owner_id == "0011" and take == 2  # trap: a line without its tabs
                lines.append(f"{clip} {text} {word}" if broken else f"{clip}\t{text}\t{word}")
            if owner_id == "0004":
                lines.append(f"{owner_id}_001750\t{text}\t{chinese['Surprise']}")  # a line without a clip
            encoding = next((code for code, owners in ENCODINGS.items() if owner_id in owners), "utf-16")
            # trap: another encoding for each speaker; UTF-16 with its mark, the same on every machine
            mark = codecs.BOM_UTF16_LE if encoding == "utf-16" else b""
            content = ("\r\n".join(lines) + "\r\n").encode("utf-16-le" if mark else encoding)
            (home / owner_id / f"{owner_id}.txt").write_bytes(mark + content)
    # traps: a clip whose text file says another emotion, a folder that is no emotion, a Mac's companion file
    contradicted = home / "0011" / "Sad" / "train"
    voices.write(contradicted / "0011_001060.wav", voices.say(voice, seconds=1.0, rate=RATE), RATE)
    with (home / "0011" / "0011.txt").open("ab") as file:
        file.write(b"0011_001060\tThe rain fell on the garden.\tNeutral\r\n")
    voices.write(home / "0011" / "Old" / "0011_000009.wav", voices.say(voice, seconds=1.0, rate=RATE), RATE)
    (contradicted / "._0011_001060.wav").write_bytes(b"\0")
    (home / "ReadMe.txt").write_text("\n".join(readme) + "\n", "utf-8")


CORPUS = Corpus(
    name="esd",
    title="Emotional Speech Dataset (ESD)",
    homepage="https://github.com/HLTSingapore/Emotional-Speech-Data",
    citation="Zhou, Sisman, Liu, Li: Emotional Voice Conversion: Theory, Databases and ESD. Speech Communication 137, "
    "2022. Zhou, Sisman, Liu, Li: Seen and Unseen Emotional Style Transfer for Voice Conversion with a New Emotional "
    "Speech Dataset. ICASSP 2021",
    licence=Licence(
        name="Research use only, after the owners' licence form (the MIT file in the repository is not the data's)",
        url="https://github.com/HLTSingapore/Emotional-Speech-Data",
        access="form",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en", "zh"),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.2,  # 29 hours of 350 sentences by 20 people (our choice)
    traps={
        "encodings": "Each speaker's text file has its own encoding: GB 2312, UTF-16, UTF-8 or Latin-1.",
        "chinese-words": "The text files of the Mandarin speakers name the emotions in Chinese.",
        "broken-lines": "15 lines of speakers 0012 to 0015 lack their tabs.",
        "two-layouts": "Copies have or lack the folders train, evaluation and test, under one or two root folders.",
        "sex-in-no-table": "Sex is only in ReadMe.txt, which many copies lack; a common script calls everybody male.",
        "split-by-sentence": "The owners' split cuts every speaker's clips: it is not speaker-disjoint.",
    },
)
