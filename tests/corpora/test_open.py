"""The four open corpora: their traps one by one, their miniatures, and the real recordings."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import common_voice, fsdd, librispeech, speechocean762
from pipelines.corpora._base import Corpus, RecipeError
from pipelines.schema import Tables
from pipelines.voices import Voices

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"
REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "audio"


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"audio")


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def sexes(tables: Tables) -> dict[str, str | None]:
    return dict(tables.speakers.select("speaker_id", "sex").iter_rows())


def splits(tables: Tables) -> dict[str, str | None]:
    return dict(tables.utterances.select("path", "official_split").iter_rows())


def rejects(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def observed(tables: Tables, attribute: str) -> list[object]:
    rows = tables.observations.filter(tables.observations["attribute"] == attribute)
    return rows["value"].to_list()


# --- LibriSpeech ------------------------------------------------------------------------------------------


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    write(
        tmp_path / "LibriSpeech" / "SPEAKERS.TXT",
        "; comment | with | pipes",
        "14   | F | train-clean-100  | 25.03 | Made Up",
        "60   | M | dev-clean        | 20.18 | |XYZ|Made Up",
        "61   | M | dev-clean        | 20.18 | Silent",
        "70   | X | dev-clean        | 20.18 | Odd",
        "2074 | F | dev-clean        | 20.18 | Two People",
        "90   | M | test-other       | 20.18 | Far",
        "91   | M | test-other       | 20.18 | Farther",
    )
    home = "LibriSpeech/dev-clean"
    touch(tmp_path, "LibriSpeech/train-clean-100/14/5/14-5-0000.flac", f"{home}/60/7/60-7-0001.flac")
    touch(tmp_path, f"{home}/2074/8/2074-8-0000.flac")
    return tmp_path


@pytest.mark.trap("librispeech.pipes-in-a-name", "librispeech.padded-list", "librispeech.names")
@pytest.mark.trap("librispeech.both-sexes", "librispeech.same-people", "librispeech.sex-only")
def test_librispeech_reads_sex_split_and_person(libri):
    tables = librispeech.scan(libri)
    assert sexes(tables) == {"librispeech:14": "F", "librispeech:60": "M", "librispeech:2074": None}
    assert list(splits(tables).values()) == ["dev", "dev", "train"]
    assert set(tables.speakers["person_id"]) == {"librivox:14", "librivox:60", "librivox:2074"}
    for table in (tables.speakers, tables.utterances, tables.rejects):
        assert not any("Made Up" in str(row) or "XYZ" in str(row) for row in table.iter_rows())
    assert tables.observations.is_empty()
    assert tables.utterances["age"].null_count() == 3


@pytest.mark.trap("librispeech.absent-subsets")
def test_librispeech_rejects_rows_without_audio_and_whole_subsets(libri):
    found = rejects(librispeech.scan(libri))
    assert found == {
        "LibriSpeech/SPEAKERS.TXT:4": "no recordings of this reader in dev-clean",
        "LibriSpeech/SPEAKERS.TXT:5": "row is not id | F or M | subset | minutes | name",
        "LibriSpeech/SPEAKERS.TXT:6": "recordings hold both sexes (LibriTTS-P): sex not used",
        "LibriSpeech/SPEAKERS.TXT": "subset test-other is not there: 2 readers passed over",
    }


@pytest.mark.trap("librispeech.files-of-a-mac")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("dev-clean/60/7/._60-7-0001.flac", "AppleDouble"),
        ("dev-clean/60/7/60-7-1.flac", "4 digits"),
        ("dev-clean/60/8/60-7-0002.flac", "not that of its folders"),
        ("dev-clean/99/7/99-7-0001.flac", "not in SPEAKERS.TXT"),
    ],
)
def test_librispeech_rejects_odd_files(libri, path, reason):
    touch(libri, f"LibriSpeech/{path}")
    tables = librispeech.scan(libri)
    assert reason in rejects(tables)[f"LibriSpeech/{path}"]
    assert tables.utterances.height == 3


def test_librispeech_root_may_be_the_inner_folder(libri):
    assert librispeech.scan(libri / "LibriSpeech").utterances.height == 3


# --- speechocean762 ---------------------------------------------------------------------------------------


@pytest.fixture
def ocean(tmp_path: Path) -> Path:
    for split, speaker, age, sex in (("train", "0001", "7", "f"), ("test", "0003", "26", "m")):
        write(tmp_path / split / "utt2spk", f"0{speaker}0011 {speaker}", f"0{speaker}0012 {speaker}")
        write(
            tmp_path / split / "wav.scp",
            *(f"0{speaker}{item}\tWAVE/SPEAKER{speaker}/0{speaker}{item}.WAV" for item in ("0011", "0012")),
        )
        write(tmp_path / split / "spk2age", f"{speaker}\t{age}")
        write(tmp_path / split / "spk2gender", f"{speaker}\t{sex}")
        touch(tmp_path, f"WAVE/SPEAKER{speaker}/0{speaker}0011.WAV")
    return tmp_path


@pytest.mark.trap("speechocean762.leading-zeros", "speechocean762.blanks-and-tabs")
@pytest.mark.trap("speechocean762.not-the-own-language", "speechocean762.children-and-adults")
def test_speechocean_reads_age_sex_and_official_split(ocean):
    tables = speechocean762.scan(ocean)
    assert sexes(tables) == {"speechocean762:0001": "f", "speechocean762:0003": "m"}
    assert set(tables.speakers["native_language"]) == {"zh"}
    columns = tables.utterances.select("speaker_id", "age", "official_split", "language").rows()
    assert columns == [
        ("speechocean762:0001", 7.0, "train", "en"),
        ("speechocean762:0003", 26.0, "test", "en"),
    ]


@pytest.mark.trap("speechocean762.orphans", "speechocean762.listed-without-audio")
def test_speechocean_rejects_listed_but_absent_and_orphans(ocean):
    touch(ocean, "WAVE/SPEAKER0003/000030099.WAV")
    assert rejects(speechocean762.scan(ocean)) == {
        "WAVE/SPEAKER0001/000010012.WAV": "listed in train, no such file",
        "WAVE/SPEAKER0003/000030012.WAV": "listed in test, no such file",
        "WAVE/SPEAKER0003/000030099.WAV": "recording that no wav.scp names",
    }


@pytest.mark.trap("speechocean762.upper-case")
def test_speechocean_path_names_the_speaker(ocean):
    name = "WAVE/SPEAKER0001/000019999.WAV"
    write(ocean / "train" / "utt2spk", "000010011 0001", "000010012 0001", "000019999 0002")
    with (ocean / "train" / "wav.scp").open("a") as file:
        file.write(f"000019999\t{name}\n")
    touch(ocean, name, "WAVE/SPEAKER0003/000030012.wav")
    found = rejects(speechocean762.scan(ocean))
    assert found[name] == "path does not name the speaker that utt2spk gives"
    assert found["WAVE/SPEAKER0003/000030012.wav"] == "recording that no wav.scp names"


@pytest.mark.trap("speechocean762.scores-may-be-absent")
def test_speechocean_takes_fluency_where_the_scores_are(ocean):
    assert speechocean762.scan(ocean).observations.height == 0
    write(ocean / "resource" / "scores.json", json.dumps({"000010011": {"fluency": 8}}))
    rows = speechocean762.scan(ocean).observations.select("attribute", "value_num", "source", "utt_id").rows()
    assert rows == [("fluency", 8.0, "rater", "speechocean762:WAVE/SPEAKER0001/000010011")]
    write(ocean / "resource" / "scores.json", "{")
    with pytest.raises(RecipeError, match=r"scores\.json"):
        speechocean762.scan(ocean)


def test_speechocean_names_the_list_that_is_missing(ocean):
    (ocean / "train" / "spk2age").unlink()
    with pytest.raises(RecipeError, match="spk2age"):
        speechocean762.scan(ocean)


def test_speechocean_unknown_age_stays_unknown(ocean):
    write(ocean / "train" / "spk2age", "0001\tunknown")
    tables = speechocean762.scan(ocean)
    assert tables.utterances["age"].to_list() == [None, 26.0]
    assert "train/spk2age:1" in rejects(tables) and "train/spk2age" in rejects(tables)


# --- Common Voice -----------------------------------------------------------------------------------------

ERAS = {
    "1-4": "client_id path sentence up_votes down_votes age gender accent",
    "5.0": "path client_id age gender accent locale segment sentence up_votes down_votes",
    "5-7": "client_id path sentence up_votes down_votes age gender accent locale segment",
    "8-12": "client_id path sentence up_votes down_votes age gender accents locale segment",
    "13-16": "client_id path sentence up_votes down_votes age gender accents variant locale segment",
    "17-25": "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant "
    "locale segment",
    "doubled": "client_id path sentence age gender accents accents variant locale segment",
}


def write_list(path: Path, header: str, *rows: dict[str, str]) -> None:
    columns = header.split()
    write(path, "\t".join(columns), *("\t".join(row.get(name, "") for name in columns) for row in rows))


def clip(path: str, client: str = "c1", **cells: str) -> dict[str, str]:
    row = {"client_id": client, "path": path, "sentence": 'a lone " mark', "age": "", "gender": ""}
    return row | {"locale": "en"} | cells


@pytest.mark.trap("common_voice.headers-of-25-releases", "common_voice.fourties", "common_voice.accents-since-8")
@pytest.mark.parametrize("era", ERAS)
def test_common_voice_reads_every_header(tmp_path, era):
    folder = tmp_path / ("cv-corpus-1_en" if era == "1-4" else "cv-corpus-9.0-2022-04-27/en")
    stated = {"age": "fourties", "gender": "female", "accent": "us", "accents": "us"}
    write_list(folder / "validated.tsv", ERAS[era], clip("a.mp3", **stated), clip("b.mp3", client="c2"))
    touch(folder, "clips/a.mp3", "clips/b.mp3")
    tables = common_voice.scan(tmp_path)
    assert sexes(tables) == {"common_voice:c1": "female", "common_voice:c2": None}
    assert tables.utterances["language"].to_list() == ["en", "en"]
    assert (observed(tables, "age_range"), observed(tables, "accent")) == (["fourties"], ["us"])
    assert tables.rejects.height == 0


@pytest.mark.trap("common_voice.no-quoting")
def test_common_voice_takes_a_quotation_mark_as_text(tmp_path):
    rows = [
        clip("a.mp3", sentence='"opened'),
        clip("b.mp3", sentence='a "closed'),
        clip("c.mp3", sentence="x\ry\u2028z"),
    ]
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], *rows)
    touch(tmp_path, "en/clips/a.mp3", "en/clips/b.mp3", "en/clips/c.mp3")
    tables = common_voice.scan(tmp_path)
    assert (tables.utterances.height, tables.rejects.height) == (3, 0)


@pytest.mark.trap("common_voice.path-without-ending")
@pytest.mark.parametrize("folder", ["cv-corpus-1_cy", "cv-corpus-3_cy"])
def test_common_voice_release_1_writes_paths_without_ending(tmp_path, folder):
    name = "ab12" if folder == "cv-corpus-1_cy" else "common_voice_cy_17.mp3"
    write_list(tmp_path / folder / "validated.tsv", ERAS["1-4"], clip(name))
    file = name.removesuffix(".mp3") + ".mp3"
    touch(tmp_path, f"{folder}/clips/{file}")
    tables = common_voice.scan(tmp_path)
    assert tables.utterances.select("path", "language").rows() == [(f"{folder}/clips/{file}", "cy")]


@pytest.mark.parametrize("locale", ["zh-TW", "nan-tw", "rm-sursilv", "ab"])
def test_common_voice_knows_the_locale_of_a_clip_in_any_folder(tmp_path, locale):
    name = f"common_voice_{locale}_41094461.mp3"
    write_list(tmp_path / "my clips" / "validated.tsv", ERAS["1-4"], clip(name))
    touch(tmp_path, f"my clips/clips/{name}")
    assert common_voice.scan(tmp_path).utterances["language"].to_list() == [locale]


@pytest.mark.trap("common_voice.commas-in-accents", "common_voice.free-text-accents")
def test_common_voice_splits_accents_outside_parentheses(tmp_path):
    text = "India and South Asia (India, Pakistan, Sri Lanka),Cornish English,Native "
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], clip("a.mp3", accents=text))
    touch(tmp_path, "en/clips/a.mp3")
    accents = observed(common_voice.scan(tmp_path), "accent")
    assert accents == ["Cornish English", "India and South Asia (India, Pakistan, Sri Lanka)", "Native"]


@pytest.mark.trap("common_voice.clip-in-several-lists", "common_voice.voted-down", "common_voice.listed-without-clip")
@pytest.mark.trap("common_voice.files-of-a-mac")
def test_common_voice_clip_in_several_lists_is_one_utterance(tmp_path):
    folder = tmp_path / "cv-corpus-22.0-2025-06-20" / "en"
    rows = [clip("a.mp3"), clip("b.mp3", client="c2"), clip("c.mp3", client="c3")]
    write_list(folder / "validated.tsv", ERAS["17-25"], *rows)
    write_list(folder / "train.tsv", ERAS["17-25"], rows[0])
    write_list(folder / "test.tsv", ERAS["17-25"], rows[1])
    write_list(folder / "other.tsv", ERAS["17-25"], clip("gone.mp3"), {"path": "a.mp3", "locale": "en"})
    write_list(folder / "invalidated.tsv", ERAS["17-25"], clip("bad.mp3"))
    touch(folder, *(f"clips/{name}.mp3" for name in ("a", "b", "c", "bad", "orphan", "._a")))
    tables = common_voice.scan(tmp_path)
    where = "cv-corpus-22.0-2025-06-20/en"
    assert splits(tables) == {
        f"{where}/clips/a.mp3": "train",
        f"{where}/clips/b.mp3": "test",
        f"{where}/clips/c.mp3": None,
    }
    assert rejects(tables) == {
        f"{where}/other.tsv": "1 rows without their clip, the first in row 2",
        f"{where}/other.tsv:3": "row without client_id or path",
        f"{where}/clips/bad.mp3": "listeners voted it down: not used",
        f"{where}/clips/orphan.mp3": "no TSV lists this file",
    }


@pytest.mark.trap("common_voice.splits-change")
def test_common_voice_takes_splits_from_the_newest_release_only(tmp_path):
    new, old = tmp_path / "cv-corpus-10.0-2022-07-04" / "en", tmp_path / "cv-corpus-9.0-2022-04-27" / "en"
    write_list(new / "train.tsv", ERAS["8-12"], clip("a.mp3"))
    write_list(old / "test.tsv", ERAS["8-12"], clip("a.mp3"), clip("only-old.mp3"))
    touch(new, "clips/a.mp3")
    touch(old, "clips/a.mp3", "clips/only-old.mp3")
    assert splits(common_voice.scan(tmp_path)) == {
        "cv-corpus-10.0-2022-07-04/en/clips/a.mp3": "train",
        "cv-corpus-9.0-2022-04-27/en/clips/only-old.mp3": None,
    }


@pytest.mark.trap("common_voice.delta-releases")
def test_common_voice_delta_adds_clips_without_a_split(tmp_path):
    whole, delta = tmp_path / "cv-corpus-22.0-2025-06-20" / "en", tmp_path / "cv-corpus-23.0-delta-2025-09-17" / "en"
    write_list(whole / "train.tsv", ERAS["17-25"], clip("a.mp3"))
    write_list(whole / "test.tsv", ERAS["17-25"], clip("b.mp3", client="c2"))
    write_list(delta / "validated.tsv", ERAS["17-25"], clip("new.mp3", client="c3"))
    touch(whole, "clips/a.mp3", "clips/b.mp3")
    touch(delta, "clips/new.mp3")
    tables = common_voice.scan(tmp_path)
    assert list(splits(tables).values()) == [None, "train", "test"]
    assert tables.rejects.height == 0


@pytest.mark.trap("common_voice.same-contributor-in-two-locales")
def test_common_voice_contributor_on_two_sides_is_on_none(tmp_path):
    write_list(tmp_path / "en" / "train.tsv", ERAS["17-25"], clip("a.mp3"), clip("b.mp3", client="c2"))
    write_list(tmp_path / "de" / "test.tsv", ERAS["17-25"], clip("c.mp3"), clip("d.mp3", client="c3"))
    touch(tmp_path, "en/clips/a.mp3", "en/clips/b.mp3", "de/clips/c.mp3", "de/clips/d.mp3")
    tables = common_voice.scan(tmp_path)
    assert splits(tables) == {
        "en/clips/a.mp3": None, "en/clips/b.mp3": "train", "de/clips/c.mp3": None, "de/clips/d.mp3": "test",
    }  # fmt: skip
    assert list(rejects(tables)) == ["."]


@pytest.mark.trap("common_voice.client-is-not-a-person", "common_voice.three-eras-of-gender")
def test_common_voice_commonest_sex_counts_and_contradictions_are_named(tmp_path):
    genders = ("male", "male_masculine", "male_masculine", "female_feminine", "", "do_not_wish_to_say")
    rows = [clip(f"{number}.mp3", gender=gender) for number, gender in enumerate(genders)]
    silent = clip("s.mp3", client="c2", gender="do_not_wish_to_say")
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], *rows, silent)
    touch(tmp_path, "en/clips/s.mp3", *(f"en/clips/{number}.mp3" for number in range(len(rows))))
    tables = common_voice.scan(tmp_path)
    assert sexes(tables) == {"common_voice:c1": "male_masculine", "common_voice:c2": "do_not_wish_to_say"}
    assert list(rejects(tables)) == ["en/validated.tsv:5"]
    assert "c1" not in rejects(tables)["en/validated.tsv:5"]


@pytest.mark.trap("common_voice.client-is-not-a-person")
def test_common_voice_ages_two_buckets_apart_are_named(tmp_path):
    ages = [("c1", "teens"), ("c1", "twenties"), ("c2", "thirties"), ("c2", "fourties"), ("c2", "fifties")]
    rows = [clip(f"{number}.mp3", client=client, age=age) for number, (client, age) in enumerate(ages)]
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], *rows)
    touch(tmp_path, *(f"en/clips/{number}.mp3" for number in range(len(rows))))
    tables = common_voice.scan(tmp_path)
    assert observed(tables, "age_range") == [age for _, age in ages]
    assert rejects(tables) == {"en/validated.tsv:6": "contributor is in the fifties here, in the thirties elsewhere"}


@pytest.mark.trap("common_voice.three-eras-of-gender")
def test_common_voice_words_are_in_the_word_table():
    with (VOCABULARY / "words.csv").open(encoding="utf-8") as file:
        words = {(row["domain"], row["raw"]): row["canonical"] for row in csv.DictReader(file)}
    for word, sex in {
        "male": "male", "female": "female", "other": "other", "male_masculine": "male", "female_feminine": "female",
        "transgender": "other", "non-binary": "other", "intersex": "other", "do_not_wish_to_say": "",
    }.items():  # fmt: skip
        assert words["sex", word] == sex
    assert words["age_range", "fourties"] == "40-49"
    assert words["age_range", "twenties"] == "19-29"
    for accent in ("india and south asia (india, pakistan, sri lanka)", "southatlandtic", "england english", "us"):
        assert words["accent", accent]


@pytest.mark.trap("common_voice.blanked-demographics")
def test_common_voice_blank_is_unknown(tmp_path):
    rows = [clip("a.mp3"), clip("b.mp3", gender="female", age="teens"), clip("c.mp3", client="c2")]
    write_list(tmp_path / "en" / "validated.tsv", ERAS["8-12"], *rows)
    touch(tmp_path, *(f"en/clips/{name}.mp3" for name in "abc"))
    tables = common_voice.scan(tmp_path)
    assert sexes(tables) == {"common_voice:c1": "female", "common_voice:c2": None}
    said = tables.observations.select("attribute", "value", "utt_id").rows()
    assert said == [("age_range", "teens", "common_voice:en/clips/b")]


@pytest.mark.trap("common_voice.broken-6.0")
def test_common_voice_does_not_use_the_demographics_of_6_0(tmp_path):
    stated = {"gender": "male", "age": "teens", "accent": "us"}
    for number, release in enumerate(("cv-corpus-6.0-2020-06-22", "cv-corpus-6.1-2020-12-11")):
        own = clip(f"{number}.mp3", client=f"c{number}", **stated)
        write_list(tmp_path / release / "en" / "validated.tsv", ERAS["5-7"], own)
        touch(tmp_path, f"{release}/en/clips/{number}.mp3")
    tables = common_voice.scan(tmp_path)
    assert sexes(tables) == {"common_voice:c0": None, "common_voice:c1": "male"}
    assert set(tables.observations["speaker_id"]) == {"common_voice:c1"}
    assert list(rejects(tables)) == ["cv-corpus-6.0-2020-06-22/en"]


@pytest.mark.trap("common_voice.other-layouts")
@pytest.mark.parametrize("name", ["cv-valid-train.csv", "sps-corpus-3.0-2026-03-09-ab/ss-corpus-ab.tsv"])
def test_common_voice_does_not_read_other_layouts(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(RecipeError, match="not read"):
        common_voice.scan(tmp_path)
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], clip("a.mp3"))
    touch(tmp_path, "en/clips/a.mp3")
    assert list(rejects(common_voice.scan(tmp_path))) == [name]


def test_common_voice_damaged_list_does_not_stop_the_others(tmp_path):
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], clip("a.mp3"))
    (tmp_path / "en" / "train.tsv").write_text("")
    write(tmp_path / "en" / "test.tsv", "something\telse")
    (tmp_path / "en" / "other.tsv").write_bytes(b"client_id\tpath\n\xff\xfe\tb.mp3\nc1\n\n")
    touch(tmp_path, "en/clips/a.mp3")
    tables = common_voice.scan(tmp_path)
    assert tables.utterances.height == 1
    assert rejects(tables).keys() == {"en/train.tsv", "en/test.tsv", "en/other.tsv", "en/other.tsv:3"}


def test_common_voice_paths_cannot_leave_the_clips(tmp_path):
    write_list(tmp_path / "en" / "validated.tsv", ERAS["17-25"], clip("../../secret.mp3"))
    touch(tmp_path, "secret.mp3", "en/clips/a.mp3")
    assert common_voice.scan(tmp_path).utterances.height == 0


# --- FSDD -------------------------------------------------------------------------------------------------

PEOPLE = "'anna': {'gender': 'female', 'accent': 'DEU/German', 'language': 'english'}"


@pytest.mark.trap("fsdd.accent-with-country", "fsdd.test-by-index", "fsdd.names-as-ids")
@pytest.mark.trap("fsdd.grows", "fsdd.files-of-a-mac")
def test_fsdd_reads_accent_and_the_owners_test_set(tmp_path):
    write(tmp_path / "metadata.py", '"""Made up."""', "metadata = {", PEOPLE, "}")
    touch(tmp_path, "recordings/7_anna_4.wav", "recordings/7_anna_5.wav", "recordings/7_bert_0.wav")
    touch(tmp_path, "recordings/notes.txt", "recordings/._7_anna_4.wav")
    tables = fsdd.scan(tmp_path)
    assert list(sexes(tables).values()) == ["female"]
    for table in (tables.speakers, tables.utterances.drop("path", "utt_id"), tables.observations):
        assert "anna" not in str(table.rows())
    assert not fsdd.CORPUS.official_splits  # the same speaker is on both sides
    assert splits(tables) == {"recordings/7_anna_4.wav": "test", "recordings/7_anna_5.wav": "train"}
    assert observed(tables, "accent") == ["DEU/German"]
    assert rejects(tables).keys() == {"recordings/7_bert_0.wav", "recordings/notes.txt"}
    write(tmp_path / "metadata.py", "metadata = {", PEOPLE, ", 'carl': {'gender': 'male'}}")
    assert rejects(fsdd.scan(tmp_path))["metadata.py"] == "1 speakers without recordings"


@pytest.mark.trap("fsdd.metadata-is-code")
@pytest.mark.parametrize(
    "text",
    [
        "metadata = {'a': __import__('pathlib').Path('RAN').touch()}",
        "metadata = {",
        "people = 3",
        "metadata = {'a': 1}",
    ],
)
def test_fsdd_never_runs_metadata(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "metadata.py", text)
    touch(tmp_path, "recordings/7_anna_4.wav")
    with pytest.raises(RecipeError, match=r"metadata\.py"):
        fsdd.scan(tmp_path)
    assert not (tmp_path / "RAN").exists()


# --- miniatures: what the tasks of the open track need ----------------------------------------------------


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    def scan(module) -> Tables:
        root = tmp_path_factory.mktemp("raw")
        module.miniature(root, Voices(scale=0.1))
        return module.scan(root)

    return scan


@pytest.mark.trap("librispeech.pipes-in-a-name", "librispeech.names", "librispeech.both-sexes")
def test_librispeech_miniature_has_both_sexes_in_every_split(miniature):
    tables = miniature(librispeech)
    joined = tables.utterances.join(tables.speakers, on="speaker_id")
    cells = set(joined.select("official_split", "sex").rows())
    wanted = {(split, sex) for split in ("train", "dev", "test") for sex in ("F", "M")}
    assert cells == wanted | {("train", None)}  # reader 2074, who is two people
    found = rejects(tables)
    assert sorted(found.values()) == [
        "AppleDouble file of a Mac, no audio",
        "no recordings of this reader in train-clean-100",
        "reader not in SPEAKERS.TXT",
        "recordings hold both sexes (LibriTTS-P): sex not used",
        "subset train-other-500 is not there: 1 readers passed over",
    ]
    assert not any("Made Up" in str(row) for row in tables.speakers.iter_rows())


@pytest.mark.trap("speechocean762.children-and-adults", "speechocean762.orphans")
@pytest.mark.trap("speechocean762.listed-without-audio")
def test_speechocean_miniature_has_children_and_adults_of_both_sexes_in_both_splits(miniature):
    tables = miniature(speechocean762)
    joined = tables.utterances.join(tables.speakers, on="speaker_id")
    cells = {(row["official_split"], row["sex"], row["age"] <= 15) for row in joined.iter_rows(named=True)}
    assert len(cells) == 8
    assert not any(15 < age < 19 for age in joined["age"])
    assert set(tables.speakers["sex"]) == {"f", "m"}
    reasons = Counter(tables.rejects["reason"])
    assert reasons.pop("recording that no wav.scp names") == 1
    assert sum(reasons.values()) == 2  # listed, and not there


def test_common_voice_miniature_has_both_sexes_and_ages_in_every_split(miniature):
    tables = miniature(common_voice)
    assert tables.speakers.height == 8 + 6 * 6
    ages = tables.observations.filter(tables.observations["attribute"] == "age_range")
    people = tables.speakers.select("speaker_id", "sex")
    joined = tables.utterances.join(ages.select("utt_id", "value"), on="utt_id").join(people, on="speaker_id")
    old = {"sixties", "seventies", "eighties", "nineties"}
    english = [row for row in joined.iter_rows(named=True) if row["language"] == "en" and row["official_split"]]
    for values in ({"female_feminine", "male_masculine"}, {True, False}):
        cells = {(row["official_split"], cell) for row in english for cell in (row["sex"], row["value"] in old)}
        assert {(split, value) for split in ("train", "dev", "test") for value in values} <= cells


def test_common_voice_miniature_has_both_sexes_on_both_sides_in_seven_languages(miniature):
    tables = miniature(common_voice)
    joined = tables.utterances.join(tables.speakers, on="speaker_id").filter(pl.col("official_split").is_not_null())
    cells = {(row["language"], row["official_split"], row["sex"][0]) for row in joined.iter_rows(named=True)}
    languages = ("en", "fr", "it", "es", "sk", "zh-CN", "de")
    assert cells >= {(tag, split, sex) for tag in languages for split in ("train", "test") for sex in "fm"}
    people = tables.utterances.join(tables.observations.filter(attribute="accent"), on="speaker_id")
    accents = set(people.filter(pl.col("official_split").is_not_null()).select("official_split", "value").rows())
    wanted = ("United States English", "England English")
    assert accents >= {(split, accent) for split in ("train", "test") for accent in wanted}


def test_common_voice_miniature_holds_every_trap(miniature):
    tables = miniature(common_voice)
    found = rejects(tables)
    assert {path.rpartition("/")[2] for path in found} == {
        "ss-corpus-en.tsv", "de", "other.tsv", "other.tsv:2", "common_voice_en_777777.mp3",
        "common_voice_en_999999.mp3", ".",
    }  # fmt: skip
    paths = tables.utterances.filter(tables.utterances["official_split"].is_null())["path"]
    folders = {path.partition("/")[0] for path in paths}
    assert folders >= {"cv-corpus-1_en", "cv-corpus-6.0-2020-06-22", "cv-corpus-23.0-delta-2025-09-17"}
    sides = tables.utterances.filter(tables.utterances["official_split"].is_not_null()).group_by("speaker_id")
    assert sides.n_unique()["official_split"].max() == 1
    assert "India and South Asia (India, Pakistan, Sri Lanka)" in observed(tables, "accent")


@pytest.mark.trap("fsdd.all-male", "fsdd.grows")
def test_fsdd_miniature_has_men_of_two_accents(miniature):
    tables = miniature(fsdd)
    assert set(tables.speakers["sex"]) == {"male"}
    assert set(observed(tables, "accent")) == {"USA/neutral", "DEU/German"}


# --- real recordings --------------------------------------------------------------------------------------


def real(corpus: Corpus) -> Tables:
    root = REAL / corpus.name
    if not root.is_dir():
        pytest.skip(f"no real recordings in {root}: name their folder with SLAP_REAL")
    tables = corpus.scan(root)
    assert all((root / path).is_file() for path in tables.utterances["path"])
    return tables


@pytest.mark.real
def test_real_librispeech():
    tables = real(librispeech.CORPUS)
    assert Counter(tables.speakers["sex"]) == {"M": 126, "F": 125}
    assert (tables.utterances.height, set(tables.utterances["official_split"])) == (251, {"train"})
    assert tables.rejects.height == 6  # one for each subset that is not there


@pytest.mark.real
def test_real_speechocean():
    tables = real(speechocean762.CORPUS)
    assert Counter(tables.speakers["sex"]) == {"m": 125, "f": 125}
    assert Counter(tables.utterances["official_split"]) == {"train": 375, "test": 375}
    assert tables.rejects.height == 5000 - 750
    people = tables.utterances.unique("speaker_id")
    assert people.filter(people["age"] <= 15).height == 58 + 64
    assert people.filter(people["age"] >= 19).height == 250 - 58 - 64


@pytest.mark.real
def test_real_common_voice():
    tables = real(common_voice.CORPUS)
    assert tables.utterances.height == 271  # and one clip that was voted down
    assert list(rejects(tables).values()) == ["listeners voted it down: not used"]
    sides = tables.utterances.drop_nulls("official_split").group_by("speaker_id").n_unique()
    assert sides["official_split"].max() == 1  # the owners' split is speaker-disjoint
    assert Counter(tables.speakers["sex"]) == {None: 9, "male_masculine": 2}
    assert Counter(tables.utterances["official_split"]) == {"train": 205, "test": 20, None: 46}
    assert Counter(observed(tables, "age_range")) == {"thirties": 215, "twenties": 5}


@pytest.mark.real
def test_real_fsdd():
    tables = real(fsdd.CORPUS)
    assert (tables.speakers.height, tables.utterances.height, tables.rejects.height) == (6, 3000, 0)
    assert Counter(tables.utterances["official_split"]) == {"train": 2700, "test": 300}
    assert sorted(observed(tables, "accent")) == [
        "BEL/French", "DEU/German", "DEU/German", "GRC/Greek", "USA/neutral", "USA/neutral",
    ]  # fmt: skip
