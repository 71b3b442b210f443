"""Saarbruecken Voice Database (German): vowels and a sentence, 71 voice diagnoses, 50 kHz with an EGG twin.

::

    voice_data.csv                                                       the owners' overview, downloaded by itself
    data/1/vowels/1-a_n.nsp       data/1/vowels/1-a_n-egg.egg            Zenodo; sentences lie in "sentnces" [sic]
    Laryngitis/9002/vowels/9002-a_n.nsp                                  Zenodo, an archive a pathology
    1-a_n.wav                     1-a_n-egg.wav                          older web export, flat or sorted by hand

What the release asks of a reader:

- The number in a file name is the **session** (AufnahmeID), not the speaker: ``voice_data.csv`` maps one to
  the other. 200 speakers have several sessions, 21 were once normal and once pathological.
- ``AufnahmeTyp`` p/n is the label, of the session: n is "a healthy voice at that session", not a healthy
  person, so no speaker is stated to be healthy. Sessions whose only labels are no disorder of the voice
  (singers, breaking voice, stuttering, cluttering) are left without a label: neither positive nor negative.
- Labels are parted by ", " inside one quoted cell; ``Diagnose`` is free German text, kept beside them.
- Speech is ``.nsp`` (Kay CSL, which soundfile does not read; ``.wav`` in the old web export). ``-egg`` files
  are the electroglottograph: skipped.
- Sessions above 2611 have no audio. In six sessions speech and EGG are swapped, or headers or cuts are wrong
  (found by the authors of sbvoicedb): those files are rejected. Of session 980 only four takes are right; its
  ``iau`` is swapped from sample 583414 on and rejected whole.
- The archives by pathology hold a session once per label: the first copy is taken.
- Age is full years from Geburtsdatum to AufnahmeDatum, and differs much between n (mean 28) and p (50). 58
  sessions are of minors.
- The ``.lst`` of the old export has no header, and question marks for umlauts: ``voice_data.csv`` is needed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, full_years, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

TABLE = "voice_data.csv"
COLUMNS = (
    "aufnahmeid",
    "aufnahmetyp",
    "aufnahmedatum",
    "sprecherid",
    "geburtsdatum",
    "geschlecht",
    "pathologien",
)
FILE = re.compile(r"^(?P<session>\d+)-(?P<take>[aiu]_(?:n|l|h|lhl)|iau|phrase)(?P<egg>-egg)?\.(?:nsp|egg|wav)$")
LAST_WITH_AUDIO = 2611

NOT_OF_THE_VOICE = frozenset(
    {
        "Gesangsstimme",
        "Sängerstimme",
        "Mutatio",
        "Balbuties",
        "Poltersyndrom",
        "Non-fluency-Syndrom",
    }
)
STATES = {
    "Morbus Parkinson": ("parkinson",),
    "Amyotrophe Lateralsklerose": ("als",),
    "Dysarthrophonie": ("dysarthria",),
    "Morbus Down": ("down_syndrome",),
    "Rhinophonie aperta": ("voice_nasality",),
    "Rhinophonie clausa": ("voice_hyponasality",),
    "Rhinophonie mixta": ("voice_nasality", "voice_hyponasality"),  # both at once
}


def scan(root: Path) -> Tables:
    """Read SVD below ``root``: ``voice_data.csv`` and the sessions' ``.nsp`` (or ``.wav``) files.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    rows = Rows(CORPUS.name)
    table = next(iter(sorted(root.rglob(TABLE))), None)
    if table is None:
        old = "; the .lst of the old export has no column names and is not read" if any(root.rglob("*.lst")) else ""
        raise RecipeError(f"{root}: {TABLE} not found; download it from {CORPUS.homepage}/data/{TABLE}{old}")
    place = table.relative_to(root).as_posix()
    sessions = read_table(table, COLUMNS)
    audio = _audio(root, rows)
    for row in sessions:
        _add_session(row, f"{place}:{row['_row']}", audio, rows)
    for takes in audio.values():
        for path in takes.values():
            rows.reject(path, f"session is not in {TABLE}")
    return rows.tables()


def _audio(root: Path, rows: Rows) -> dict[str, dict[str, str]]:
    """Session -> take -> path of its speech; known bad files and second copies are rejected."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    files = [*sorted(root.rglob("*.nsp")), *sorted(root.rglob("*.wav"))]
    for path in files:
        place = path.relative_to(root).as_posix()
        name = FILE.match(path.name)
        if path.name.startswith("._") or (name is not None and name["egg"]):
            continue
        if name is None:
            rows.reject(place, "name is not <session>-<take>.nsp")
            continue
        session, take = str(int(name["session"])), name["take"]
        fault = _known_fault(session, take)
        if fault is not None:
            rows.reject(place, fault)
        elif found[session].setdefault(take, place) != place:
            rows.reject(place, f"second copy of {found[session][take]}")
    if not files:
        raise RecipeError(f"{root}: no <session>-<take>.nsp found; unpack data.zip or the archives by pathology here")
    return dict(found)


def _known_fault(session: str, take: str) -> str | None:
    if session in {"139", "141", "1697"} or (session == "980" and take not in {"a_n", "i_n", "u_n", "i_h"}):
        return "known error: speech and EGG are swapped"
    if session == "713":
        return "known error: header without the size of the data"
    if session == "1573" and take in {"a_n", "i_n", "u_n"}:
        return "known error: the vowels are cut in the wrong places"
    return None


def _add_session(row: Row, place: str, audio: dict[str, dict[str, str]], rows: Rows) -> None:
    session, speaker = row["aufnahmeid"], row["sprecherid"]
    if session is None or not session.isdecimal() or speaker is None:
        rows.reject(place, "AufnahmeID or SprecherID is not a number")
        return
    takes = audio.pop(str(int(session)), None)
    if takes is None:
        known = int(session) > LAST_WITH_AUDIO
        rows.reject(
            place,
            "row without usable audio" + (f" (none is released above {LAST_WITH_AUDIO})" if known else ""),
        )
        return
    recorded, born = _day(row, "aufnahmedatum", place, rows), _day(row, "geburtsdatum", place, rows)
    speaker_id = rows.speaker(speaker, sex=row["geschlecht"], birth_year=None if born is None else born.year)
    labels = [label.strip() for label in (row["pathologien"] or "").split(",") if label.strip()]
    facts = dict.fromkeys((state for label in labels for state in STATES.get(label, ())), "present")
    disorder = _voice_disorder(row["aufnahmetyp"], labels, place, rows)
    for attribute, value in {"voice_disorder": disorder, **facts}.items():
        rows.observe(speaker_id, attribute, value, source="clinician", session_id=session)
    for column in ("pathologien", "diagnose"):
        rows.observe(speaker_id, "diagnosis_text", row.get(column), source="clinician", session_id=session)
    for take, path in sorted(takes.items()):
        rows.utterance(
            path,
            speaker_id,
            language="de",
            speech_task="read" if take == "phrase" else "vowel",
            session_id=session,
            recorded_on=recorded,
            age=full_years(born, recorded),
        )


def _voice_disorder(kind: str | None, labels: list[str], place: str, rows: Rows) -> str | None:
    if kind == "n":
        return "absent"
    if kind == "p":
        return None if labels and NOT_OF_THE_VOICE.issuperset(labels) else "present"
    rows.reject(place, "AufnahmeTyp is neither n nor p: the session stays without a label")
    return None


def _day(row: Row, column: str, place: str, rows: Rows) -> date | None:
    try:
        return None if row[column] is None else date.fromisoformat(str(row[column]))
    except ValueError:
        rows.reject(place, f"{column} is not a date like 2001-03-14: left unknown")
        return None


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of SVD: three takes a session, some with an EGG twin; two speakers came twice."""
    people = voices.cast(CORPUS.name, 40, "de", ({}, {"voice_disorder": 0.5}, {}, {"voice_disorder": 0.85}))
    table = [
        "AufnahmeID,AufnahmeTyp,AufnahmeDatum,Diagnose,SprecherID,Geburtsdatum,Geschlecht,Pathologien",
        "2790,n,2003-02-01,,9990,1975-05-05,w,",  # trap: the owners released no audio for this session
        "139,p,1999-03-01,Heiserkeit,9991,1950-05-05,m,Laryngitis",  # trap: speech and EGG are swapped
        "9700,p,2002-03-01,,9992,1970-05-05,w,Gesangsstimme",  # trap: a singer: no disorder of the voice
    ]
    diagnoses = (  # Diagnose, Pathologien
        ('"Rekurrensparese li., Z.n. Strumektomie"', '"Rekurrensparese, Dysphonie"'),
        ("Heiserkeit", "Laryngitis"),
        ("", "Reinke Ödem"),
    )
    for index, voice in enumerate(people):
        heard = {9001 + index: voice}
        if index % 16 in (1, 13):  # trap: a woman and a man who came back with a healthy voice
            heard[9501 + index] = replace(voice, traits=())
        for session, as_heard in heard.items():
            kind, (note, labels) = ("p", diagnoses[index % 3]) if as_heard.traits else ("n", ("", ""))
            _session(root / "data" / str(session), session, as_heard, voices, egg=index % 4 == 0)
            table.append(
                f"{session},{kind},2001-06-{1 + index % 28:02d},{note},{8001 + index},"
                f"{2001 - voice.age}-01-31,{'w' if voice.sex == 'female' else 'm'},{labels}"
            )
    (root / TABLE).write_text("\n".join(table) + "\n", encoding="utf-8")
    _session(root / "data" / "139", 139, people[1], voices, egg=True)
    _session(root / "data" / "9700", 9700, replace(people[0], seed="svd-singer"), voices, egg=False)
    vowel = voices.say(people[1], "vowel:a", seconds=2.5, rate=50000)
    voices.write(root / "data" / "9800" / "vowels" / "9800-a_n.nsp", vowel, 50000)  # trap: no such row
    voices.write(root / "Laryngitis" / "9002" / "vowels" / "9002-a_n.nsp", vowel, 50000)  # trap: a second copy
    voices.write(root / "data" / "9001" / "vowels" / "9001-a_x.nsp", vowel, 50000)  # trap: no such take


def _session(folder: Path, session: int, voice: Voice, voices: Voices, egg: bool) -> None:
    rate = 50000
    takes = {
        "vowels": {"a_n": ("vowel:a", 2.5), "i_n": ("vowel:i", 2.5)},
        "sentnces": {"phrase": ("Guten Morgen, wie geht es Ihnen?", 3.0)},
    }
    for kind, texts in takes.items():
        for take, (text, seconds) in texts.items():
            wave = voices.say(voice, text, seconds=seconds, rate=rate)
            voices.write(folder / kind / f"{session}-{take}.nsp", wave, rate)
            if egg:
                twin = folder / kind / f"{session}-{take}-egg.egg"
                voices.write(twin, 0.1 * np.sign(wave), rate)


CORPUS = Corpus(
    name="svd",
    title="Saarbruecken Voice Database",
    homepage="https://stimmdb.coli.uni-saarland.de",
    citation="Pützer, Barry: Saarbrücken Voice Database. Institute of Phonetics, Saarland University. "
    "Zenodo record 16874898.",
    licence=Licence(
        name="CC BY 4.0",
        url="https://zenodo.org/records/16874898",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("de",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="voice_disorder",
    traps={
        "number-is-the-session": "The number in a file name is the session: the table maps it to the speaker.",
        "normal-and-pathological": "A speaker may be pathological at one session and normal at another.",
        "normal-is-not-healthy": "AufnahmeTyp n is a healthy voice at that session, not a healthy person.",
        "labels-not-of-the-voice": "Singers, breaking voice and stuttering are labels, but no disorder of the voice.",
        "several-labels": "Labels are parted by commas inside one quoted cell.",
        "egg-twin": "Every recording has an electroglottograph twin: skipped.",
        "none-above-2611": "Sessions above 2611 have no audio.",
        "swapped-egg": "In sessions 139, 141, 1697 and most of 980 speech and EGG are swapped.",
        "broken-headers-and-cuts": "Session 713 has headers without the size of the data, 1573 vowels cut wrongly.",
        "copies-by-pathology": "The archives by pathology hold a session once a label: the first copy is taken.",
        "kay-csl": "Speech is in .nsp files of Kay CSL at 50 kHz, in a folder spelt sentnces, or .wav in older copies.",
        "full-years": "Age is full years between two dates, and some speakers are minors.",
        "old-lst": "The .lst of the old export has no header and broken umlauts: the overview is needed.",
    },
)
