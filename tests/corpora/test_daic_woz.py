from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import daic_woz
from pipelines.corpora._base import RecipeError

ITEMS = "PHQ8_NoInterest,PHQ8_Depressed,PHQ8_Sleep,PHQ8_Tired,PHQ8_Appetite,PHQ8_Failure,PHQ8_Concentrating"
HEADER = f"Participant_ID,PHQ8_Binary,PHQ8_Score,Gender,{ITEMS},PHQ8_Moving\n"


def session(root: Path, identity: str, *turns: str) -> None:
    folder = root / f"{identity}_P"
    folder.mkdir()
    (folder / f"{identity}_AUDIO.wav").touch()
    lines = ["start_time\tstop_time\tspeaker\tvalue", *turns]
    (folder / f"{identity}_TRANSCRIPT.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def by_hand(tmp_path):
    """The split tables: one participant each in train and dev, two in test."""
    (tmp_path / daic_woz.TRAIN).write_text(HEADER + "300,0,9,0,2,1,2,1,1,1,1,0\n")
    (tmp_path / daic_woz.DEV).write_text(HEADER + "301,1,12,1,2,1,2,1,2,2,1,1\n")
    (tmp_path / daic_woz.TEST).write_text("participant_ID,Gender\n302,1\n303,0\n")
    (tmp_path / daic_woz.TEST_LABELS).write_text("Participant_ID,PHQ_Binary,PHQ_Score,Gender\n302,1,15,1\n303,0,2,0\n")
    for identity in ("300", "301", "302", "303"):
        session(tmp_path, identity, "0\t2\tEllie\thi i'm ellie", "3\t6\tParticipant\tyes i do")
    return tmp_path


def turns(tables, identity):
    own = tables.utterances.filter(pl.col("speaker_id") == f"daic_woz:{identity}")
    return own.select("start_s", "end_s").sort("start_s").rows()


def sexes(tables):
    return dict(tables.speakers.select("speaker_id", "sex").iter_rows())


def scores(tables):
    return dict(tables.observations.select("speaker_id", "value_num").iter_rows())


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(root):
    tables = daic_woz.scan(root)
    assert tables.speakers.height == 32
    assert tables.utterances.height == 32 * 2 + 1  # the one without Ellie also keeps the chatter before her
    per_split = tables.utterances.group_by("official_split").agg(pl.col("speaker_id").n_unique())
    assert dict(per_split.iter_rows()) == {"train": 16, "dev": 8, "test": 8}
    ids = tables.speakers["speaker_id"].str.strip_prefix("daic_woz:").cast(pl.Int32)
    assert ids.min() >= 300
    assert ids.max() <= 492
    assert set(tables.observations["instrument"]) == {"PHQ-8"}


def test_labels_on_both_sides_for_both_sexes_in_every_split(root):
    tables = daic_woz.scan(root)
    people = (
        tables.utterances.unique("speaker_id")
        .join(tables.speakers.drop("corpus"), on="speaker_id")
        .join(tables.observations.drop("corpus"), on="speaker_id")
        .select("official_split", "sex", pl.col("value_num") >= 10)
    )
    assert people.unique().height == 3 * 2 * 2
    assert set(tables.speakers["sex"]) == {"female", "male"}


@pytest.mark.trap("daic_woz.missing-sessions", "daic_woz.junk-rows", "daic_woz.wrong-binary", "daic_woz.apple-double")
def test_traps_are_rejected(root):
    tables = daic_woz.scan(root)
    found = reasons(tables)
    assert "none of the split tables" in found["444_P/444_AUDIO.wav"]
    assert {"row without audio", "participant_id is not a number from 300 to 492"} <= set(found.values())
    assert "PHQ-8 binary contradicts the total: the total is taken" in found.values()
    assert len(found) == 4
    assert scores(tables)["daic_woz:409"] >= 10
    assert (root / "444_P" / "._444_AUDIO.wav").is_file()
    assert not any("._" in path for path in [*found, *tables.utterances["path"]])


@pytest.mark.trap("daic_woz.missing-item")
def test_total_of_the_participant_who_lacks_an_item_stands(root):
    table = (root / daic_woz.TRAIN).read_text().splitlines()
    row = next(line for line in table if line.startswith("319,")).split(",")
    assert row[6] == ""
    assert scores(daic_woz.scan(root))["daic_woz:319"] == float(row[2])


@pytest.mark.trap("daic_woz.no-row-of-ellie")
def test_without_ellie_the_turns_start_at_once(root):
    assert "Ellie" not in (root / "451_P" / "451_TRANSCRIPT.csv").read_text()
    assert len(turns(daic_woz.scan(root), "451")) == 3


@pytest.mark.trap("daic_woz.shared-people")
def test_a_person_is_the_same_in_e_daic(root):
    people = dict(daic_woz.scan(root).speakers.select("speaker_id", "person_id").iter_rows())
    assert people["daic_woz:302"] == "daic:302"


@pytest.mark.trap("daic_woz.transcript-offset")
def test_known_offsets_shift_the_turns(root):
    tables = daic_woz.scan(root)
    plain, shifted = turns(tables, "319"), turns(tables, "321")
    assert [round(b - a, 3) for (a, _), (b, _) in zip(plain, shifted, strict=True)] == [3.838, 3.838]


@pytest.mark.trap(
    "daic_woz.tab-separated-transcript",
    "daic_woz.lone-quotation-mark",
    "daic_woz.interviewer",
    "daic_woz.chatter-before-greeting",
)
def test_only_turns_of_the_participant_after_the_greeting(by_hand):
    session(
        by_hand,
        "310",
        "1\t4\tParticipant\tis it on",
        "5\t8\tEllie\tokay (hi i'm ellie thanks for coming in today)",
        "9\t9.5\tParticipant\tgood",
        "10\t12\tParticipant\t<synch>",
        "12\t14\tParticipant\tscrubbed_entry",
        '15\t18\tParticipant\ta lone " quotation mark',
        "15\t18\tParticipant\ta lone again",
        "20\t19\tParticipant\tbackwards",
    )
    with (by_hand / daic_woz.TRAIN).open("a") as table:
        table.write("310,0,0,0,0,0,0,0,0,0,0,0\n")
    tables = daic_woz.scan(by_hand)
    assert turns(tables, "310") == [(15.0, 18.0)]
    assert "rising numbers" in reasons(tables)["310_P/310_TRANSCRIPT.csv:9"]


@pytest.mark.trap("daic_woz.sync-tokens")
@pytest.mark.parametrize(
    "text", ["<sync>", "<synch>", "[sync]", "[synch]", "[syncing]", "[synching]", "scrubbed_entry"]
)
def test_marks_are_no_speech(by_hand, text):
    session(by_hand, "310", f"1\t4\tParticipant\t{text}", "5\t8\tParticipant\ti will sync it")
    with (by_hand / daic_woz.TRAIN).open("a") as table:
        table.write("310,0,0,0,0,0,0,0,0,0,0,0\n")
    assert turns(daic_woz.scan(by_hand), "310") == [(5.0, 8.0)]


@pytest.mark.trap("daic_woz.interruptions")
def test_interruptions_are_cut(by_hand):
    lines = [
        "390\t394\tParticipant\ta",
        "394\t396\tParticipant\tb",
        "400\t410\tParticipant\tc",
        "428\t430\tParticipant\td",
    ]
    session(by_hand, "373", *lines)
    with (by_hand / daic_woz.DEV).open("a") as table:
        table.write("373,0,0,1,0,0,0,0,0,0,0,0\n")
    assert turns(daic_woz.scan(by_hand), "373") == [(390.0, 394.0), (428.0, 430.0)]


@pytest.mark.trap("daic_woz.wrong-binary", "daic_woz.missing-item")
@pytest.mark.parametrize(
    ("row", "score", "reason"),
    [
        ("300,0,10,0,2,1,2,1,1,1,1,1", 10.0, "binary contradicts"),
        ("300,1,13,0,2,1,,2,1,3,1,1", 13.0, None),
        ("300,1,13,0,2,1,2,1,1,1,1,1", None, "not the sum"),
        ("300,1,,0,2,1,2,1,1,1,1,1", 10.0, None),
        ("300,1,30,0,,,,,,,,", None, "outside 0..24"),
    ],
)
def test_score_is_recomputed_and_the_binary_never_trusted(by_hand, row, score, reason):
    (by_hand / daic_woz.TRAIN).write_text(HEADER + row + "\n")
    tables = daic_woz.scan(by_hand)
    assert scores(tables).get("daic_woz:300") == score
    assert [reason in text for text in reasons(tables).values()] == ([] if reason is None else [True])


@pytest.mark.trap("daic_woz.sex-code")
def test_sex_code_and_contradiction_between_the_test_tables(by_hand):
    (by_hand / daic_woz.TEST).write_text("participant_ID,Gender\n302,1\n303,1\n")
    tables = daic_woz.scan(by_hand)
    assert sexes(tables) == {
        "daic_woz:300": "female",
        "daic_woz:301": "male",
        "daic_woz:302": "male",
        "daic_woz:303": None,
    }
    assert "gender contradicts" in reasons(tables)[f"{daic_woz.TEST}:3"]


@pytest.mark.trap("daic_woz.sex-code")
def test_a_code_that_contradicts_two_known_people_gives_nobody_a_sex(by_hand):
    (by_hand / daic_woz.TEST).write_text("participant_ID,Gender\n302,0\n303,1\n")
    (by_hand / daic_woz.TEST_LABELS).write_text("Participant_ID,PHQ_Binary,PHQ_Score,Gender\n302,1,15,0\n303,0,2,1\n")
    tables = daic_woz.scan(by_hand)
    assert set(sexes(tables).values()) == {None}
    assert "coded the other way" in reasons(tables)[f"{daic_woz.TEST_LABELS}:2"]


@pytest.mark.trap("daic_woz.test-columns")
def test_the_test_tables_name_their_columns_otherwise(by_hand):
    tables = daic_woz.scan(by_hand)
    assert scores(tables)["daic_woz:302"] == 15
    assert dict(tables.utterances.select("speaker_id", "official_split").iter_rows())["daic_woz:303"] == "test"


def test_a_transcript_that_cannot_be_read_leaves_out_its_session_only(by_hand):
    (by_hand / "301_P" / "301_TRANSCRIPT.csv").write_text("start_time,stop_time,speaker,value\n1,2,3,4\n")
    tables = daic_woz.scan(by_hand)
    assert tables.speakers.height == 3
    assert "no column start_time" in reasons(tables)["301_P/301_TRANSCRIPT.csv"]
    assert str(by_hand) not in reasons(tables)["301_P/301_TRANSCRIPT.csv"]


def test_without_test_labels_the_test_participants_are_unlabelled(by_hand):
    (by_hand / daic_woz.TEST_LABELS).unlink()
    tables = daic_woz.scan(by_hand)
    assert scores(tables) == {"daic_woz:300": 9.0, "daic_woz:301": 12.0}
    assert tables.speakers.height == 4
    assert daic_woz.TEST_LABELS in reasons(tables)


def test_session_without_transcript_is_rejected(by_hand):
    (by_hand / "300_P" / "300_TRANSCRIPT.csv").unlink()
    tables = daic_woz.scan(by_hand)
    assert "daic_woz:300" not in tables.speakers["speaker_id"].to_list()
    assert "no transcript" in reasons(tables)["300_P/300_TRANSCRIPT.csv"]


def test_wrong_folder(by_hand, tmp_path_factory):
    with pytest.raises(RecipeError, match=daic_woz.TRAIN):
        daic_woz.scan(tmp_path_factory.mktemp("empty"))
    for path in by_hand.rglob("*_AUDIO.wav"):
        path.unlink()
    with pytest.raises(RecipeError, match=r"300_P/300_AUDIO.wav"):
        daic_woz.scan(by_hand)


@pytest.mark.parametrize(
    ("table", "header", "missing"),
    [
        (daic_woz.DEV, "Participant_ID,Gender", "phq8_score"),
        (daic_woz.TEST_LABELS, "Participant_ID,PHQ_Score", "gender"),
    ],
)
def test_missing_column_names_file_and_column(by_hand, table, header, missing):
    (by_hand / table).write_text(header + "\n1,2,3,4\n")
    with pytest.raises(RecipeError, match=f"{Path(table).name}.*no column {missing}"):
        daic_woz.scan(by_hand)
