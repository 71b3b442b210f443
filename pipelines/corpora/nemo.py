"""nEMO (Polish): nine actors read 90 sentences in six acted emotions, 4,481 clips of 24 kHz.

``data.tsv`` beside ``samples/<speaker>_<emotion>_<sentence>.wav``. What to know:

- ``speaker_id`` is padded with eight blanks before the id: joined as it stands, it meets no file name.
- The words of emotion are nouns (anger, fear, happiness, sadness) beside the adjectives "surprised" and
  "neutral": ``words.csv`` folds both.
- The texts hold Polish quotation marks and commas, so the table is read without quoting.
- The file name repeats speaker and emotion: a row that contradicts its file is rejected.
- Not every actor reads every sentence in every emotion: the table decides what there is.
- The actors are 23 to 28 years old: no task of age. No official split; the sentences are the same for all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._acted import as_acted, observe_acted
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, folders, number, read_table, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

TABLE = "data.tsv"
AUDIO = "samples"
COLUMNS = ("file_id", "emotion", "speaker_id", "gender", "age")
FILE = re.compile(r"^(?P<speaker>[A-Za-z]+\d+)_(?P<emotion>[a-z]+)_(?P<sentence>\d+)\.wav$")
EMOTIONS = {  # the owners' word -> how it is acted in the miniature
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}
RATE = 24000


def scan(root: Path) -> Tables:
    """Read ``data.tsv`` and keep the clips that are in ``samples``.

    Args:
        root: the folder that holds both, or a folder around it (an unpacked archive of the repository).

    Raises:
        RecipeError: no ``data.tsv`` beside ``samples``, or it lacks a column.
    """
    home = next((path for path in folders(root) if (path / TABLE).is_file() and (path / AUDIO).is_dir()), None)
    if home is None:
        raise RecipeError(f"{root}: no {TABLE} beside {AUDIO}; clone github.com/amu-cai/nEMO here")
    rows = Rows(CORPUS.name)
    here = {path.name: path.relative_to(root).as_posix() for path in visible((home / AUDIO).glob("*.wav"))}
    place = (home / TABLE).relative_to(root).as_posix()
    for row in read_table(home / TABLE, COLUMNS, separator="\t", quoted=False):
        _add(row, f"{place}:{row['_row']}", here, rows)
    for path in here.values():
        rows.reject(path, f"clip that no row of {TABLE} names")
    return rows.tables()


def _add(row: Row, place: str, here: dict[str, str], rows: Rows) -> None:
    file, owner_id, emotion = row["file_id"], row["speaker_id"], row["emotion"]
    name = FILE.match(file or "")
    if file is None or name is None or owner_id is None or emotion is None:
        rows.reject(place, "no speaker_id or emotion, or file_id is not <speaker>_<emotion>_<sentence>.wav")
        return
    if owner_id != name["speaker"] or emotion != name["emotion"]:
        clip = here.pop(file, None)  # named, though not used
        rows.reject(clip or place, f"row says {owner_id}, {emotion}; its file is {file}")
        return
    path = here.pop(file, None)
    if path is None:
        rows.reject(place, f"no clip {file} in {AUDIO}, or named by an earlier row")
        return
    speaker = rows.speaker(owner_id, sex=row["gender"], native_language="pl")
    utt_id = rows.utterance(path, speaker, language="pl", speech_task="read", age=number(row["age"]))
    observe_acted(rows, speaker, utt_id, emotion)


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up nEMO: two emotions an actor, the same two for a woman and a man."""
    people = voices.cast(CORPUS.name, 9, "pl", ages=(23, 28))
    table = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    text = "„Ród smoka” to serial, a to jest zdanie.\tród smoka to serial a to jest zdanie"

    def clip(owner_id: str, emotion: str, sentence: int, index: int) -> None:
        wave = voices.say(as_acted(people[index], EMOTIONS[emotion]), seconds=2.0, rate=RATE, take=sentence)
        voices.write(root / AUDIO / f"{owner_id}_{emotion}_{sentence}.wav", wave, RATE)

    def line(file: str, emotion: str, owner_id: str, sex: str, age: int) -> str:
        # trap: the id is padded with blanks; trap: lone quotation marks in the text
        return f'{file}.wav\t{emotion}\t{text} "\t        {owner_id}\t{sex}\t{age}'

    for index, voice in enumerate(people):
        owner_id = f"M{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[index % 26]}{index // 26}"
        for sentence in (1, 2):
            emotion = tuple(EMOTIONS)[(index // 2 * 2 + sentence) % len(EMOTIONS)]  # trap: nouns beside "surprised"
            clip(owner_id, emotion, sentence, index)
            table.append(line(f"{owner_id}_{emotion}_{sentence}", emotion, owner_id, voice.sex, voice.age))
    clip("MA0", "fear", 88, 0)  # a clip that no row names
    clip("MA0", "anger", 89, 0)
    table.append(line("MA0_anger_89", "sadness", "MA0", "female", 25))  # trap: row and file name contradict
    table.append(line("MA0_anger_90", "anger", "MA0", "female", 25))  # trap: a sentence that was not released
    (root / TABLE).write_text("\n".join(table) + "\n", "utf-8")


CORPUS = Corpus(
    name="nemo",
    title="nEMO: Dataset of Emotional Speech in Polish",
    homepage="https://github.com/amu-cai/nEMO",
    citation="Christop: nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024",
    licence=Licence(
        name="CC BY-NC-SA 4.0",
        url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("pl",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    traps={
        "padded-speaker-id": "speaker_id has eight blanks before the id: a plain join with file names finds nothing.",
        "mixed-word-forms": "Emotions are nouns (anger, sadness) beside adjectives (surprised, neutral).",
        "lone-quotes": "Texts may hold single quotation marks, so a quoting reader swallows rows.",
        "name-repeats-the-row": "A file name repeats speaker and emotion; a row that contradicts it is not used.",
        "not-all-combinations": "4,481 of 4,860 actor, emotion and sentence combinations exist; the rest have no clip.",
    },
)
