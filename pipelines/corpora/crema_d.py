"""CREMA-D: 91 American actors of 20 to 74 years say 12 sentences in six acted emotions; a crowd says what it hears.

``AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav`` (16 kHz), the same in ``AudioMP3`` and as film in
``VideoFlash``; ``VideoDemographics.csv`` has the actors, ``processedResults/summaryTable.csv`` the crowd's votes
(``data/InfoAndStats/processedResults`` in some versions). What to know:

- The acted emotion and the voted one agree only moderately. Both are stored: source ``acted`` is what the actor
  was asked for, source ``rater`` what the crowd heard.
- The crowd voted three times: on the voice, the face and both. Only the vote on the voice is about speech.
- A tie is joined by a colon (``A:D``): no emotion is recorded as heard, and the ties are counted in a reject.
- The level is given for one sentence only (IEO). ``XX`` is "not specified", never a level of its own.
- Audio is in git-lfs: a zip from the site or a clone without git-lfs holds pointers of 130 bytes. They are
  rejects; a folder of nothing else is an error that says what to run.
- ``1076_MTI_SAD_XX`` has no signal. MP3 stands in where the WAV is missing.
- No official split. Race and ethnicity are in the table and are not taken: they are sensitive, and no task needs them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._acted import as_acted, clips, is_pointer, observe_acted
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

TABLE = "VideoDemographics.csv"
VOTES = "summaryTable.csv"
NAME = re.compile(
    r"^(?P<actor>1\d{3})_(?P<sentence>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX)\.(?:wav|mp3)$"
)
EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
HEARD = {code[0]: word for code, word in EMOTIONS.items()}  # the votes use the first letter
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": None}
SILENT = "1076_MTI_SAD_XX"


def scan(root: Path) -> Tables:
    """Read CREMA-D below ``root``: the actors, the recordings, and the votes where they are there.

    Raises:
        RecipeError: the table of actors or all audio is missing, or a table lacks a column.
    """
    rows = Rows(CORPUS.name)
    table = _find(root, TABLE)
    if table is None:
        raise RecipeError(f"{root}: {TABLE} not found; it lies beside AudioWAV in {CORPUS.homepage}")
    people = _people(table, root, rows)
    table_of_votes = _find(root, VOTES)
    votes = _votes(table_of_votes, root, rows)
    place = table.relative_to(root).as_posix()
    for clip in clips(
        root,
        NAME,
        rows,
        looks_like="<actor>_<sentence>_<emotion>_<level>.wav",
        advice=f"clone {CORPUS.homepage} with git-lfs",
        endings=(".wav", ".mp3"),
    ):
        heard = votes.pop(Path(clip.path).stem, None)
        actor = people.get(clip.name["actor"])
        if Path(clip.path).stem == SILENT:
            rows.reject(clip.path, "known error: no signal")
        elif actor is None:
            rows.reject(clip.path, f"actor is not in {TABLE}")
        else:
            speaker = rows.speaker(clip.name["actor"], sex=actor["sex"])
            utt_id = rows.utterance(clip.path, speaker, language="en", speech_task="read", age=number(actor["age"]))
            observe_acted(rows, speaker, utt_id, EMOTIONS[clip.name["emotion"]], LEVELS[clip.name["level"]])
            rows.observe(speaker, "emotion", heard, source="rater", rater="crowd", utt_id=utt_id)
    for identity, row in people.items():
        if f"{CORPUS.name}:{identity}" not in rows.speakers:
            rows.reject(f"{place}:{row['_row']}", "row without audio")
    if table_of_votes is not None and votes:
        rows.reject(table_of_votes.relative_to(root).as_posix(), f"votes on recordings that are not here: {len(votes)}")
    return rows.tables()


def _find(root: Path, name: str) -> Path | None:
    return next(iter(sorted(root.rglob(name))), None)


def _people(table: Path, root: Path, rows: Rows) -> dict[str, Row]:
    people: dict[str, Row] = {}
    for row in read_table(table, ("actorid", "age", "sex")):
        identity = row["actorid"]
        if identity is None or identity in people:
            rows.reject(f"{table.relative_to(root).as_posix()}:{row['_row']}", "actor has no id, or is here twice")
        else:
            people[identity] = row
    return people


def _votes(table: Path | None, root: Path, rows: Rows) -> dict[str, str | None]:
    """Recording -> the emotion that the crowd heard in the voice; None where the vote is tied or unreadable."""
    if table is None:
        rows.reject(VOTES, "not there: only the acted emotion is known")
        return {}
    place = table.relative_to(root).as_posix()
    if is_pointer(table):
        rows.reject(place, "git-lfs pointer in place of the table, run `git lfs pull`: only the acted emotion is known")
        return {}
    votes: dict[str, str | None] = {}
    ties = 0
    for row in read_table(table, ("filename", "voicevote")):
        name, vote = row["filename"], row["voicevote"]
        if name is None or vote is None or not HEARD.keys() >= set(vote.split(":")):
            rows.reject(f"{place}:{row['_row']}", f"VoiceVote is not one of {', '.join(HEARD)}")
            continue
        ties += ":" in vote
        votes[name] = HEARD.get(vote)
    if ties:
        rows.reject(place, f"tied votes, no emotion is recorded as heard: {ties}")
    return votes


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up CREMA-D: about 12 actors, three recordings each, one in all three levels of IEO."""
    cast = voices.cast(CORPUS.name, 12, "en", ages=(20, 74))
    people = ['"ActorID","Age","Sex","Race","Ethnicity"', '1099,44,"Male","Unknown","Hispanic"']  # trap: no audio
    votes = ['"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"']
    sounds = {
        "ANG": "angry",
        "DIS": "disgusted",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    }
    codes = list(EMOTIONS)
    for index, voice in enumerate(cast):
        actor = "1076" if index == 1 else f"{1001 + index}"
        people.append(f'{actor},{voice.age},"{voice.sex.title()}","Unknown","Not Hispanic"')
        for take, (sentence, level) in enumerate(
            (("IEO", ("LO", "MD", "HI")[index % 3]), ("DFA", "XX"), ("TSI", "XX"))
        ):
            code = codes[(index // 2 + 2 * take) % 6]  # each emotion from both sexes
            # trap: neutral has no level
            name = f"{actor}_{sentence}_{code}_{'XX' if code == 'NEU' else level}"
            wave = voices.say(as_acted(voice, sounds[code]), seconds=2.2, rate=16000, take=take)
            if index == 2 and take == 1:  # trap: this clip is there as MP3 only
                voices.write(root / "AudioMP3" / f"{name}.mp3", wave, 16000)
            else:
                voices.write(root / "AudioWAV" / f"{name}.wav", wave, 16000)
            # traps: the crowd hears anger as disgust, is tied over fear in men, and sees other things than it hears
            vote = {"ANG": "D", "FEA": "F:N" if index % 2 else "F"}.get(code, code[0])
            votes.append(f'"{len(votes)}","{name}","{vote}","61.5","H","70","S","52.25"')
        if index == 0:  # traps: the same clip as MP3 and as film; a pointer; a name that is none
            voices.write(root / "AudioMP3" / f"{name}.mp3", wave, 16000)
            (root / "VideoFlash").mkdir()
            (root / "VideoFlash" / f"{name}.flv").write_bytes(b"FLV\x01" + bytes(600))
            pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 70494\n"
            (root / "AudioWAV" / f"{actor}_WSI_NEU_XX.wav").write_text(pointer)
            voices.write(root / "AudioWAV" / f"{actor}_ABC_NEU_XX.wav", wave[:16000], 16000)
    voices.write(root / "AudioWAV" / f"{SILENT}.wav", 0 * wave, 16000)  # trap
    votes.append(f'"{len(votes)}","{SILENT}","N","50","S","70","S","52.25"')
    votes.append(f'"{len(votes)}","1001_TAI_SAD_XX","S","50","S","70","S","52.25"')  # trap: not here
    (root / TABLE).write_text("\n".join(people) + "\n", "utf-8")
    (root / "processedResults").mkdir()
    (root / "processedResults" / VOTES).write_text("\n".join(votes) + "\n", "utf-8")


CORPUS = Corpus(
    name="crema_d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors "
    "Dataset. IEEE Transactions on Affective Computing 5(4), 2014. doi:10.1109/TAFFC.2014.2336244",
    licence=Licence(
        name="ODbL 1.0, contents under DbCL 1.0",
        url="https://github.com/CheyneyComputerScience/CREMA-D",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",  # an actor acts every emotion: it cannot place a speaker in a split
    traps={
        "lfs-pointers": "A zip of the site or a clone without git-lfs holds pointers of 130 bytes in place of audio.",
        "silent-recording": "1076_MTI_SAD_XX has no signal.",
        "acted-is-not-heard": "The acted and the voted emotion often differ: both are stored, each with its source.",
        "tied-votes": "Tied votes are joined by a colon (A:D) and name no one emotion.",
        "three-votes": "The crowd voted on voice, face and both: only the voice's vote is about speech.",
        "level-not-specified": "Only the sentence IEO has levels: XX is no level.",
        "three-copies": "Every clip is there as WAV, MP3 and film: one of them is an utterance.",
        "sensitive-columns": "Race and ethnicity are in the table of actors and must not reach the warehouse.",
    },
)
