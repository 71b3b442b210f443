from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.corpora._base import RecipeError
from pipelines.corpora.sap import CORPUS, scan
from pipelines.schema import Tables

SOMEBODY = "0f8e6521-0ac9-4c7c-8658-08db73ef9d1c"


Contributor = Callable[..., Path]


@pytest.fixture
def contributor(tmp_path: Path) -> Contributor:
    """Writes one contributor with the given files; wavs are empty."""

    def write(files: list[dict[str, Any]], *, split: str = "Train", owner_id: str = SOMEBODY, **card: Any) -> Path:
        folder = tmp_path / split / owner_id
        folder.mkdir(parents=True)
        for file in files:
            (folder / file["Filename"]).touch()
        text = json.dumps({"Contributor ID": owner_id, "Files": files} | card)
        (folder / f"{owner_id}.json").write_text(text)
        return tmp_path

    return write


def file(take: int = 1, *ratings: tuple[str, str], transcript: str = "") -> dict[str, Any]:
    return {
        "Filename": f"{SOMEBODY}_1_{take}.wav",
        "Prompt": {"Transcript": transcript},
        "Ratings": [{"Dimension Description": name, "Level": level} for name, level in ratings],
    }


def levels(tables: Tables) -> dict[str, float]:
    return dict(tables.observations.filter(pl.col("instrument") == "SAP").select("attribute", "value_num").iter_rows())


def test_speakers_files_and_the_owners_split(tables: Tables) -> None:
    assert tables.speakers.height == 72
    assert tables.utterances.height == 72 * 3 + 1
    per_split = tables.utterances.group_by("official_split").agg(pl.col("speaker_id").unique())
    train, dev = (set(per_split.filter(official_split=split)["speaker_id"].item()) for split in ("train", "dev"))
    assert not train & dev
    assert len(dev) == 10
    assert CORPUS.official_splits


@pytest.mark.trap("sap.no-sex-no-age")
def test_no_sex_and_no_age_are_made_up(tables: Tables) -> None:
    assert tables.speakers["sex"].null_count() == tables.speakers.height
    assert tables.utterances["age"].null_count() == tables.utterances.height


@pytest.mark.trap("sap.etiology-missing")
def test_etiologies_are_stated_as_they_stand_and_nothing_is_inferred(tables: Tables) -> None:
    states = tables.observations.filter(pl.col("value").is_not_null())
    counts = dict(states.group_by("attribute").len().iter_rows())
    assert counts == {"parkinson": 16, "als": 8, "cerebral_palsy": 8, "down_syndrome": 8, "stroke": 8}
    assert set(states["value"]) == {"present"}
    without = tables.speakers.join(states, on="speaker_id", how="anti")
    assert without.height == 24  # no Etiology in the JSON


@pytest.mark.trap("sap.ratings-of-a-file")
def test_every_rating_is_on_both_sides_and_belongs_to_a_file(tables: Tables) -> None:
    ratings = tables.observations.filter(pl.col("instrument") == "SAP")
    assert ratings["utt_id"].null_count() == 0
    assert ratings["value_num"].is_between(1, 7).all()
    spread = ratings.group_by("attribute").agg(
        low=(pl.col("value_num") <= 2).sum(), high=(pl.col("value_num") >= 4).sum()
    )
    assert set(spread["attribute"]) == {
        "voice_nasality",
        "voice_hyponasality",
        "voice_harshness",
        "voice_monotony",
        "voice_pauses",
        "voice_breathiness",
        "voice_strain",
        "voice_weakness",
        "voice_severity",
    }
    assert spread["low"].min() >= 20
    assert spread.filter(pl.col("attribute") != "voice_hyponasality")["high"].min() >= 20


@pytest.mark.trap("sap.ratings-of-a-file")
def test_most_but_not_all_files_are_rated(tables: Tables) -> None:
    rated = tables.observations.filter(pl.col("instrument") == "SAP")["utt_id"].n_unique()
    assert 0.8 < rated / tables.utterances.height < 1.0


@pytest.mark.trap("sap.caregiver", "sap.listed-is-not-there")
def test_what_cannot_be_used_is_rejected(tables: Tables) -> None:
    reasons = sorted(reason.split(":")[0] for reason in tables.rejects["reason"])
    assert reasons == [
        "198 ratings of 'intelligbility' left out",
        "a caregiver speaks",
        "no audio at Filename",
        "not JSON",
        "not among the Files of the JSON",
    ]


@pytest.mark.trap("sap.json-twice", "sap.old-names")
def test_the_second_copy_of_a_json_and_of_a_wav_is_passed_over(root: Path, tables: Tables) -> None:
    assert len(list(root.glob("*/*.json"))) == 6  # five copies, one of them cut off and nobody's
    assert len(list(root.glob("**/*_16kHz.wav"))) == 1
    assert not tables.utterances["path"].str.contains("16kHz").any()


@pytest.mark.trap("sap.json-twice")
def test_a_copy_of_the_json_above_the_folder_of_a_tar_is_passed_over(tmp_path: Path, contributor: Contributor) -> None:
    root = contributor([file(1)], split="Train/SpeechAccessibility_2025-11-02_000")
    card = next(tmp_path.rglob("*.json"))
    (root / "Train" / card.name).write_text(card.read_text())
    tables = scan(root)
    assert tables.utterances["official_split"].to_list() == ["train"]
    assert tables.rejects.is_empty()


@pytest.mark.trap("sap.ids-in-either-case")
def test_contributor_ids_are_one_in_either_case(root: Path, tables: Tables) -> None:
    written = [json.loads(path.read_text())["Contributor ID"] for path in root.glob("*/*/*.json")]
    assert any(owner_id.isupper() for owner_id in written)
    assert set(tables.speakers["speaker_id"]) == {f"sap:{owner_id.casefold()}" for owner_id in written}


@pytest.mark.trap("sap.names-of-dimensions", "sap.levels-are-strings")
def test_dimensions_with_blanks_and_the_worse_of_two(contributor: Contributor) -> None:
    ratings = [
        ("Breathy voice (continuous) ", "2"),
        ("Breathy voice (transient)", "6"),
        ("Monopitch", "3"),
        ("Monoloudness", "5"),
        (" HYPERNASALITY", ""),
        ("Harsh voice", "8"),
    ]
    tables = scan(contributor([file(1, *ratings)]))
    assert levels(tables) == {"voice_breathiness": 2, "voice_monotony": 5}
    reasons = tables.rejects["reason"].to_list()
    assert "1 ratings of 'breathy voice (transient)' left out: no attribute for this dimension" in reasons
    assert "Level '8' of a rating is not 1..7: left unknown" in reasons


@pytest.mark.trap("sap.old-names")
def test_older_copies_with_16khz_in_their_name_are_found(contributor: Contributor) -> None:
    root = contributor([file(1)])
    wav = root / "Train" / SOMEBODY / f"{SOMEBODY}_1_1.wav"
    wav.rename(wav.with_name(f"{SOMEBODY}_1_1_16kHz.wav"))
    assert scan(root).utterances["path"].to_list() == [f"Train/{SOMEBODY}/{SOMEBODY}_1_1_16kHz.wav"]


def test_an_unknown_etiology_states_nothing(contributor: Contributor) -> None:
    tables = scan(contributor([file(1)], Etiology="Something new"))
    assert tables.observations.is_empty()
    assert "Etiology 'Something new' is not known" in tables.rejects["reason"].item()


def test_a_contributor_in_two_folders_is_read_once(contributor: Contributor) -> None:
    contributor([file(1)], split="Dev")
    tables = scan(contributor([file(2)], split="Train"))
    assert tables.utterances["official_split"].to_list() == ["dev"]
    assert "another folder" in tables.rejects["reason"].item()


@pytest.mark.trap("sap.tars-in-tars")
def test_a_contributor_still_packed_is_rejected(contributor: Contributor) -> None:
    root = contributor([file(1)])
    packed = root / "Train" / SOMEBODY.replace("0f", "1f")
    packed.with_suffix(".tar").touch()
    assert dict(scan(root).rejects.select("path", "reason").iter_rows()) == {f"Train/{packed.name}.tar": "not unpacked"}


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no <uuid>/<uuid>\.json, here or in Train/ or Dev/"):
        scan(tmp_path)


@pytest.mark.trap("sap.tars-in-tars")
def test_a_release_still_packed_says_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "Train").mkdir()
    (tmp_path / "Train" / "SpeechAccessibility_2025-11-02_000.tar").touch()
    with pytest.raises(RecipeError, match=r"found 1 tar archives: unpack them"):
        scan(tmp_path)


@pytest.mark.parametrize(
    "card", [{"Contributor ID": SOMEBODY}, {"Files": []}, [], {"Contributor ID": "", "Files": [1]}]
)
def test_a_missing_key_is_named_with_its_file(tmp_path: Path, card: Any) -> None:
    folder = tmp_path / "Train" / SOMEBODY
    folder.mkdir(parents=True)
    (folder / f"{SOMEBODY}.json").write_text(json.dumps(card))
    with pytest.raises(RecipeError, match=rf"{SOMEBODY}\.json: (no key (Files|Contributor ID)|Files is not a list)"):
        scan(tmp_path)


def test_one_malformed_card_stops_nothing(contributor: Contributor) -> None:
    root = contributor([file(1)])
    other = root / "Train" / SOMEBODY.replace("0f", "1f")
    for name, text in (
        (other.name, '{"Files": null}'),
        (other.name.replace("1f", "2f"), '{"Contributor ID": 1, "Files": 3}'),
    ):
        (other.parent / f"{name}.json").write_text(text)
    tables = scan(root)
    assert tables.utterances.height == 1
    assert sorted(tables.rejects["reason"]) == ["Files is not a list of objects", "no key Contributor ID"]


def test_odd_prompts_and_ratings_stop_nothing(contributor: Contributor) -> None:
    odd = file(1) | {"Prompt": "Say it.", "Ratings": ["3"]}
    tables = scan(contributor([odd]))
    assert tables.utterances["speech_task"].to_list() == [None]
    assert tables.rejects["reason"].to_list() == ["Level 'not an object' of a rating is not 1..7: left unknown"]


@pytest.mark.trap("sap.created-or-modified")
@pytest.mark.parametrize(
    ("times", "day"),
    [
        ({"Created": "2024-07-13 18:15:53", "CreatedOrModified": "2024-07-16 15:46:08"}, date(2024, 7, 13)),
        ({"CreatedOrModified": "2024-07-16 15:46:08"}, date(2024, 7, 16)),
        ({"Created": ""}, None),
    ],
)
def test_day_of_a_file(contributor: Contributor, times: dict[str, str], day: date | None) -> None:
    assert scan(contributor([file(1) | times])).utterances["recorded_on"].to_list() == [day]
