"""Tables, workbooks and JSON that somebody built to fill the memory, to hang, or to lose rows without a word."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ingest
from pipelines.corpora import _byo, _read
from pipelines.corpora._base import RecipeError, corpora
from pipelines.corpora._read import json_of, read_table, text_of
from tests.hostile.run import peak, reset_peak

FEW = 200 * 2**20  # bytes that a refusal may take above what the tests already hold
TOML = """\
[corpus]
title = "Voices of my clinic"
language = "de"

[licence]
name = "Ethics vote 123/24"
access = "private"
may_train = true
may_redistribute = false
consent = "research on speech and health"
"""


def cohort(raw: Path, table: bytes | None, name: str = "metadata.csv", toml: str = TOML) -> Path:
    """A cohort of one recording, whose name stands in no other file."""
    folder = raw / "clinic"
    folder.mkdir(parents=True)
    (folder / "corpus.toml").write_text(toml)
    (folder / "1.wav").write_bytes(b"RIFF")
    if table is not None:
        (folder / name).write_bytes(table)
    return folder


def holes(size: int, begin: bytes = b"") -> Callable[[Path], None]:
    """Write a file of so many zeros, which takes no room."""

    def write(path: Path) -> None:
        path.write_bytes(begin)
        os.truncate(path, size)

    return write


def written(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def book(sheet: str, *more: tuple[str, bytes]) -> bytes:
    """An XLSX of one sheet, given as its XML."""
    office, kind = "http://schemas.openxmlformats.org", "application/vnd.openxmlformats-officedocument.spreadsheetml"
    package, relations = f"{office}/package/2006", f"{office}/officeDocument/2006/relationships"
    main = f'xmlns="{office}/spreadsheetml/2006/main"'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/s.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="a" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{relations}"><sheets><sheet name="S" sheetId="1" r:id="a"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="a" '
        f'Type="{relations}/worksheet" Target="/s.xml"/></Relationships>',
        "s.xml": f"<worksheet {main}><sheetData>{sheet}</sheetData></worksheet>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in (*((name, text.encode()) for name, text in parts.items()), *more):
            archive.writestr(name, text)
    return out.getvalue()


def cells(row: int, **values: str) -> str:
    inside = "".join(
        f'<c r="{column}{row}" t="inlineStr"><is><t>{text}</t></is></c>' for column, text in values.items()
    )
    return f'<row r="{row}">{inside}</row>'


HEAD = cells(1, A="speaker", B="path")
ATTACKS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "10 million columns": ("csv", written(b"speaker,path" + b",a" * 10_000_000), "is no row of a table"),
    "500,000 columns": ("csv", written(b"speaker,path" + b",a" * 400_000), "columns, and no table of more than 20000"),
    "10 million cells": ("csv", written(b"speaker,path\n" + b"a," * 10_000_000), "row 2 has 1048576 characters"),
    "NUL bytes": ("csv", written(b"speaker,path\nP1,1.\0wav\n"), "row 2 holds NUL bytes"),
    "UTF-16": ("csv", written("speaker,path\nP1,1.wav\n".encode("utf-16")), 'encoding = "utf-16"'),
    "a line of 400 MB": ("csv", holes(4 * 10**8, b"speaker,path\n"), "row 2 holds NUL bytes"),
    "a table of 20 GB": ("csv", holes(20 * 2**30, b"speaker,path\n"), "no table or text of more than"),
    "an unclosed quotation mark": (
        "csv",
        written(b'speaker,path\nP1,1.wav\n"P2,2.wav\nP3,3.wav\n'),
        "a quotation mark in row 3 or after it is never closed",
    ),
    "an unclosed quotation mark in a long table": (
        "csv",
        written(b'speaker,path\n"P2,2.wav\n' + b"P3,3.wav\n" * 20_000),
        "line 2: field larger than field limit (131072); is a quotation mark not closed?",
    ),
    "a lost letter": ("csv", written("speaker,path\nJosé,1.wav\n".encode("cp1252")), "is not text in utf-8"),
    "mixed encodings": ("csv", written("speaker,path\né,1.wav\n".encode() + b"\xe9,1.wav\n"), "row 3, column speaker"),
    "two byte order marks": ("csv", written("\ufeff\ufeffspeaker,path\nP1,1.wav\n".encode()), "'\\ufeffspeaker'"),
    "a column twice": ("csv", written(b"speaker,path,age,Age\nP1,1.wav,1,1\n"), "two columns are named 'age'"),
    "XLSX with a cell far out": ("xlsx", written(book(HEAD + cells(1_048_576, XFD="x"))), "reader of XLSX gave up"),
    "XLSX with a cell beyond": ("xlsx", written(book(HEAD + cells(4 * 10**9, ZZZZZZ="x"))), "cannot be read"),
    "XLSX bomb": ("xlsx", written(book(HEAD, *((f"{n}.xml", bytes(2**26)) for n in range(9)))), "unpacks to 603"),
    "XLSX of rows in rows": ("xlsx", written(book("<row>" * 200_000)), "holds no"),
    "XLSX that is none": ("xlsx", written(b"PK\x03\x04 and no more"), "cannot be read as a table"),
    "Parquet that is none": ("parquet", written(b"PAR1" + bytes(100) + b"PAR1"), "cannot be read as Parquet"),
}  # fmt: skip


@pytest.mark.parametrize(("ending", "attack", "message"), ATTACKS.values(), ids=ATTACKS)
def test_a_table_is_refused_in_words_and_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, attack: Callable[[Path], None], message: str
) -> None:
    monkeypatch.setenv("SLAP_FILE_TIMEOUT", "30")
    folder = cohort(tmp_path / "raw", None)
    attack(folder / f"metadata.{ending}")
    reset_peak()
    before, started = peak(), time.monotonic()
    done = ingest.ingest(corpora(tmp_path / "raw")["clinic"], folder, tmp_path / "tables", b"key")
    assert message in done.reason
    assert str(folder) in done.reason and len(done.reason) < 1_000
    assert (done.utterances, done.rejects) == (0, 1)
    assert peak() - before < FEW
    assert time.monotonic() - started < 30


@dataclass(frozen=True)
class Side:
    """A table of a recipe, good as far as ``begin``, with what must lie around it."""

    corpus: str
    table: str
    begin: str
    around: dict[str, str] = field(default_factory=dict)
    needed: bool = False  # the corpus cannot be read without it


VIDEO = "21Uxsk56VDQ"
VOX1 = {"vox1_meta.csv": "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA\tm\tIreland\tdev\n"}
VOX1 |= {f"wav/id10001/{VIDEO}/00001.wav": ""}
PVQD = {
    "Audio Files/BL01.wav": "",
    "demographics.csv": "Participant ID,Gender,Age\nBL01,F,40\n",
    "cape-v.csv": "File,Characteristics,Rater 1 Time 1\nBL01,Severity,4\n",
    "grbas.csv": "File,Characteristics,Rater 1 Time 1\nBL01,Grade,1\n",
}
ANDROIDS = {"Reading-Task/01_CF56_1.wav": ""}
ENRICHED = "VoxCeleb_ID,video_id,speaker_age,gender,gender_wiki,gender_dbpedia,gender_gkg\n"
CLIP = "cv-corpus-22.0-2025-06-20/en/clips/common_voice_en_1.mp3"
LIST = "cv-corpus-22.0-2025-06-20/en/validated.tsv"
SIDES = {
    "androids: turns": Side("androids", "interview_timedata.csv", "01_CF56_1,1,2\n", ANDROIDS),
    "androids: folds": Side("androids", "fold-lists.csv", "Read,,Interview\n", ANDROIDS),
    "pvqd: people": Side("pvqd", "demographics.csv", PVQD["demographics.csv"], PVQD, needed=True),
    "pvqd: ratings": Side("pvqd", "cape-v.csv", PVQD["cape-v.csv"], PVQD, needed=True),
    "voxceleb: people": Side("voxceleb1", "vox1_meta.csv", VOX1["vox1_meta.csv"], VOX1, needed=True),
    "voxceleb: ages": Side("voxceleb1", "utt2age.train", f"id10001/{VIDEO}/00001 70\n", VOX1),
    "voxceleb: videos": Side("voxceleb1", "final_dataframe_extended.csv", ENRICHED, VOX1),
    "voxceleb: languages": Side("voxceleb1", "lang_vox1_final.csv", f"id10001/{VIDEO}/00001.wav,en,1\n", VOX1),
    "common voice": Side("common_voice", LIST, "client_id\tpath\nC1\tcommon_voice_en_1.mp3\n", {CLIP: ""}),
    "esd": Side("esd", "0001/0001.txt", "0001_000001\tx\tHappy\n", {"0001/Happy/0001_000001.wav": ""}, needed=True),
    "speechocean762": Side(
        "speechocean762",
        "train/spk2age",
        "0001 30\n",
        {
            "WAVE/SPEAKER0001/000010001.WAV": "",
            "train/utt2spk": "000010001 0001\n",
            "train/wav.scp": "000010001 WAVE/SPEAKER0001/000010001.WAV\n",
            "train/spk2gender": "0001 m\n",
        },
        needed=True,
    ),
}
LINES = tuple(name for name in SIDES if name not in ("esd", "speechocean762"))  # the others are read as a whole
WOUNDS: dict[str, tuple[Callable[[bytes], Callable[[Path], None]], str, tuple[str, ...]]] = {
    "10 million columns": (lambda begin: written(begin + b"a,\ta " * 5_000_000), "is no row of a table", LINES),
    "NUL bytes": (lambda begin: written(begin + b"a\0b\n"), "holds NUL bytes", LINES),
    "20 GB": (lambda begin: holes(20 * 2**30, begin), "no table or text of more than", tuple(SIDES)),
    "an unclosed quotation mark": (
        lambda begin: written(begin + b'"a,b\nc,d\n'),
        "is never closed",
        tuple(name for name in LINES if name not in ("voxceleb: ages", "voxceleb: people", "common voice")),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("side", "wound"),
    [(side, wound) for wound, (_, _, hit) in WOUNDS.items() for side in hit],
)
def test_the_tables_of_recipes_are_bounded(tmp_path: Path, side: str, wound: str) -> None:
    one, (attack, message, _) = SIDES[side], WOUNDS[wound]
    folder = tmp_path / "raw"
    for name, text in {**one.around, one.table: ""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    attack(one.begin.encode())(folder / one.table)
    reset_peak()
    before, started = peak(), time.monotonic()
    done = ingest.ingest(corpora()[one.corpus], folder, tmp_path / "tables", b"key")
    assert peak() - before < FEW
    assert time.monotonic() - started < 10
    rejects = dict(pl.read_parquet(tmp_path / f"tables/{one.corpus}/reject.parquet").select("path", "reason").rows())
    if one.needed:
        assert message in done.reason and one.table in done.reason and len(done.reason) < 1_000
        assert rejects == {".": done.reason}
    else:
        assert message in rejects.get(one.table, ""), rejects
        assert rejects[one.table].startswith("not read to its end: ") and str(folder) not in rejects[one.table]
        if not (one.corpus == "common_voice" and wound == "20 GB"):
            assert (done.reason, done.utterances) == ("", 1)


def test_a_long_list_of_common_voice_is_read(tmp_path: Path) -> None:
    """It is read row by row: the size that bounds other tables does not."""
    one, folder = SIDES["common voice"], tmp_path / "raw"
    (folder / CLIP).parent.mkdir(parents=True)
    (folder / CLIP).touch()
    holes(4 * 2**30, one.begin.encode())(folder / LIST)
    tables = corpora()["common_voice"].scan(folder)
    assert tables.utterances["path"].to_list() == [CLIP]
    assert "row 3 holds NUL bytes" in dict(tables.rejects.select("path", "reason").rows())[LIST]


def test_accents_of_common_voice_are_parted_in_linear_time(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    (folder / CLIP).parent.mkdir(parents=True)
    (folder / CLIP).touch()
    (folder / LIST).write_text("client_id\tpath\taccents\nC1\tcommon_voice_en_1.mp3\t" + "a," * 500_000 + "b (c,d)\n")
    started = time.monotonic()
    tables = corpora()["common_voice"].scan(folder)
    assert time.monotonic() - started < 10
    assert set(tables.observations.filter(attribute="accent")["value"]) == {"a", "b (c,d)"}


def test_a_short_row_takes_a_cell_for_every_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    path.write_text(",".join(f"c{n}" for n in range(20_000)) + "\n" + "a\n" * 2_600)
    with pytest.raises(RecipeError, match="has 20000 columns and more than 2501 rows"):
        read_table(path)
    monkeypatch.setattr(_read, "MOST_ROWS", 1_000)
    path.write_text("a\n" * 1_001)
    with pytest.raises(RecipeError, match="has more than 1000 rows"):
        read_table(path)
    path.write_text("a\n1\n" + "\n" * 2_000)  # blank rows are none
    assert read_table(path) == [{"_row": "2", "a": "1"}]


def test_a_message_does_not_repeat_all_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("age," + ",".join(f"column {n}" for n in range(19_999)) + "\na\n")
    with pytest.raises(RecipeError, match="no column speaker; found age, column 0, column 1, ") as caught:
        read_table(path, ["speaker", "age"])
    assert len(str(caught.value)) < 1_000


def test_the_first_person_of_a_table_without_a_header_is_not_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Anna Kovac,34,f\nJan Novak,40,m\n")
    with pytest.raises(RecipeError) as caught:
        read_table(path, ["speaker", "age"])
    assert str(caught.value) == f"{path}: no column speaker, age; found 3 others: no header?"
    folder = cohort(tmp_path / "raw", b"Anna Kovac,34,f\nJan Novak,40,m\n")
    with pytest.raises(RecipeError, match="none of its 3 columns is known") as caught:
        corpora(tmp_path / "raw")["clinic"].scan(folder)
    assert "kovac" not in str(caught.value).lower()


def test_parquet_that_says_more_rows_than_any_cohort_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_byo, "MOST_ROWS", 1_000)
    folder = cohort(tmp_path / "raw", None)
    pl.DataFrame({"speaker": ["a"] * 1_001, "path": ["1.wav"] * 1_001}).write_parquet(folder / "metadata.parquet")
    with pytest.raises(RecipeError, match="has 1001 rows and 2 columns"):
        corpora(tmp_path / "raw")["clinic"].scan(folder)


def test_parquet_of_few_bytes_and_endless_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, path = cohort(tmp_path / "raw", None), tmp_path / "raw/clinic/metadata.parquet"
    word = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), pa.array(["a" * 2**20]))
    pq.write_table(pa.table({"speaker": word}), path, compression="zstd")  # 2 GB as rows of Python's
    assert path.stat().st_size < 2_000
    monkeypatch.setattr(_byo, "MOST_BYTES", 2**26)  # 512 MiB would take longer, and more of `FEW`
    reset_peak()
    before = peak()
    with pytest.raises(RecipeError, match="holds more than 67108864 characters"):
        corpora(tmp_path / "raw")["clinic"].scan(folder)
    assert peak() - before < FEW
    monkeypatch.setattr(_byo, "MOST_CELLS", 1_000)
    pl.DataFrame({str(n): [0] * 100 for n in range(11)}).write_parquet(path)
    with pytest.raises(RecipeError, match="has 100 rows and 11 columns"):
        corpora(tmp_path / "raw")["clinic"].scan(folder)
    pl.DataFrame({"speaker": [["a", "b"]], "path": ["1.wav"]}).write_parquet(path)
    with pytest.raises(RecipeError, match="has lists in column speaker"):
        corpora(tmp_path / "raw")["clinic"].scan(folder)


def test_a_workbook_of_a_recipe_is_bounded(tmp_path: Path) -> None:
    for name, text in PVQD.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "Demographics.xlsx").write_bytes(book(HEAD, *((f"{n}.xml", bytes(2**26)) for n in range(9))))
    with pytest.raises(RecipeError, match=r"Demographics\.xlsx: cannot be read as a table: unpacks to 603"):
        corpora()["pvqd"].scan(tmp_path)


PATHS = {
    ".": "no audio at this path",
    "./": "no audio at this path",
    "a" * 300 + ".wav": "no audio at this path",
    "a/" * 3_000 + "1.wav": "no audio at this path",
    "1.wav/": "",  # POSIX paths of a file may not end so, but tables do
    "/etc/passwd": "the path leaves the corpus folder",
    "../1.wav": "the path leaves the corpus folder",
    "C:\\1.wav": "the path leaves the corpus folder",
    "a/../../1.wav": "the path leaves the corpus folder",
    "/dev/zero": "the path leaves the corpus folder",
    "link.wav": "symbolic link out of the corpus folder",
    "pipe.wav": "no audio at this path",
}


@pytest.mark.parametrize(("path", "reason"), PATHS.items(), ids=[path[:20] for path in PATHS])
def test_a_path_is_a_recording_or_a_reject(tmp_path: Path, path: str, reason: str) -> None:
    folder = cohort(tmp_path / "raw", f"speaker,path\nP1,{path}\n".encode())
    (tmp_path / "outside.wav").touch()
    (folder / "link.wav").symlink_to("../../outside.wav")
    os.mkfifo(folder / "pipe.wav")
    tables = corpora(tmp_path / "raw")["clinic"].scan(folder)
    said = dict(tables.rejects.select("path", "reason").iter_rows())
    assert tables.utterances["path"].to_list() == ([] if reason else ["1.wav"])
    assert reason in said.get("metadata.csv:2", "")


@pytest.mark.parametrize("toml", ["x = " + "[" * 100_000, "x" * 10 + "\0", "x = " + "9" * 10_000, "\udcff"])
def test_a_corpus_toml_that_is_none_stops_only_its_cohort(tmp_path: Path, toml: str) -> None:
    folder = cohort(tmp_path / "raw", b"speaker,path\nP1,1.wav\n")
    (folder / "corpus.toml").write_bytes(toml.encode("utf-8", "surrogateescape"))
    done = ingest.ingest(corpora(tmp_path / "raw")["clinic"], folder, tmp_path / "tables", b"key")
    assert "corpus.toml: " in done.reason


def test_json_and_text_of_recipes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in (b"[" * 100_000, b'{"a":' * 100_000, b"\0", b'"\xff"', b"9" * 10_000):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"x\.json: not JSON: "):
            json_of(path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": [1]}).encode())
    assert json_of(path) == {"a": [1]}
    holes(20 * 2**30)(path)
    for read in (json_of, text_of, read_table):
        with pytest.raises(RecipeError, match="no table or text of more than"):
            read(path)
