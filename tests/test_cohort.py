"""A cohort that is only a folder: from the folder to the facts, in the graph, and on the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from pipelines import cohort, ingest, warehouse
from pipelines.cli import corpus_table, main
from pipelines.corpora._base import Corpus, RecipeError, corpora, recipes
from pipelines.settings import PROJECT, Settings, SettingsError, from_environment
from pipelines.voices import Voices
from tests import houses

# The worked example of the README, word for word.
TABLE = """\
patient,file,gender,age,PHQ-9,GAD-7,diagnosis,notes
P01,audio/P01_a.wav,F,34,17,8,MDD,
P01,audio/P01_b.wav,F,34,17,8,MDD,tired
P02,audio/P02_a.wav,M,41,23,16,MDD,
P03,audio/P03_a.wav,F,29,3,2,control,
P04,audio/P04_a.wav,M,63,,11,,left early
"""
CORPUS_TOML = """\
[corpus]
title = "Voices of my clinic"
language = "German"
label = "depression"            # what the split into train, dev and test balances
ignore = ["notes"]

[licence]
name = "Ethics vote 123/24"
access = "private"
may_train = true
may_redistribute = false
expires = 2099-12-31
consent = "research on speech and mental health"

[columns]                       # your column = ours, or several of ours
patient = "speaker"
file = "path"
gender = "sex"
PHQ-9 = "phq9"
GAD-7 = "gad7"
diagnosis = ["depression", "healthy"]

[words.depression]              # your words in it
MDD = "present"
control = "absent"

[words.healthy]
MDD = "absent"
control = "present"

[sources]
depression = "clinician"        # who says so; a clinician's word goes before a score
"""
Clinic = Callable[..., Path]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def clinic(raw: Path) -> Clinic:
    """Writes the README's example, or another table and corpus.toml, with a second of noise for each path in it."""

    def write(name: str = "my_clinic", table: str | None = TABLE, toml: str | None = CORPUS_TOML) -> Path:
        folder = raw / name
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for path in [word for line in (table or "").splitlines() for word in line.split(",") if word.endswith(".wav")]:
            (folder / path).parent.mkdir(exist_ok=True)
            soundfile.write(folder / path, rng.normal(0, 0.1, 16_000), 16_000)
        if table is not None:
            (folder / "metadata.csv").write_text(table, encoding="utf-8")
        if toml is not None:
            (folder / "corpus.toml").write_text(toml, encoding="utf-8")
        return folder

    return write


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def declared(raw: Path, name: str = "my_clinic") -> Corpus:
    return corpora(raw)[name]


# --- from the folder to the facts ---------------------------------------------------------------------------


def facts(raw: Path, out: Path, name: str = "my_clinic") -> dict[str, dict[str, str]]:
    """Path of a recording -> its facts, by way of ingest and the warehouse."""
    done = ingest.ingest(declared(raw, name), raw / name, out / "tables", b"key")
    assert done.reason == ""
    houses.build(out, [name])
    assert warehouse.unknown_labels(out / "meta.db") == []
    import duckdb

    found: dict[str, dict[str, str]] = {}
    with duckdb.connect(str(out / "meta.db"), read_only=True) as connection:
        query = "SELECT path, attribute, value FROM fact JOIN utterance USING (utt_id)"
        for path, attribute, value in connection.execute(query).fetchall():
            found.setdefault(path, {})[attribute] = value
    return found


def test_the_example_of_the_readme_from_the_folder_to_the_facts(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    clinic()
    corpus = declared(raw)
    assert (corpus.title, corpus.languages, corpus.label) == ("Voices of my clinic", ("de",), "depression")
    assert corpus.roles == ("train", "evaluate")
    assert corpus.licence.expires == date(2099, 12, 31)
    assert corpus.licence.consent == "research on speech and mental health"
    said = facts(raw, tmp_path)
    first = {  # PHQ-9 17 is moderately severe; GAD-7 8 is below its cut-off
        "sex": "female",
        "age": "young",
        "language": "de",
        "depression": "present",
        "depression_severity": "moderately severe",
        "anxiety": "absent",
        "anxiety_severity": "mild",
        "healthy": "absent",
    }
    assert said == {
        "audio/P01_a.wav": first,
        "audio/P01_b.wav": first,
        "audio/P02_a.wav": {
            "sex": "male",
            "age": "middle-aged",
            "language": "de",
            "depression": "present",
            "depression_severity": "severe",
            "anxiety": "present",
            "anxiety_severity": "severe",
            "healthy": "absent",
        },
        "audio/P03_a.wav": {
            "sex": "female",
            "age": "young",
            "language": "de",
            "depression": "absent",
            "depression_severity": "minimal",
            "anxiety": "absent",
            "anxiety_severity": "minimal",
            "healthy": "present",
        },
        # neither diagnosis nor PHQ-9: whether there is a depression is not known; GAD-7 11 is above its cut-off
        "audio/P04_a.wav": {
            "sex": "male",
            "age": "older",
            "language": "de",
            "anxiety": "present",
            "anxiety_severity": "moderate",
        },
    }


def test_the_readme_shows_this_example() -> None:
    section = (PROJECT / "README.md").read_text("utf-8").partition("## Bring your own cohort")[2].partition("\n## ")[0]
    blocks = dict(re.findall(r"```(csv|toml)\n(.*?)```", section, re.DOTALL))
    assert blocks == {"csv": TABLE, "toml": CORPUS_TOML}


def test_a_clinicians_word_goes_before_the_score(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    clinic(table=TABLE.replace("29,3,2,control", "29,12,2,control"))
    said = facts(raw, tmp_path)["audio/P03_a.wav"]
    assert said["depression"] == "absent"
    assert "depression_severity" not in said


def test_what_is_in_the_card_is_what_the_folder_declares(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    clinic()
    ingest.ingest(declared(raw), raw / "my_clinic", tmp_path / "tables", b"key")
    card = json.loads((tmp_path / "tables" / "my_clinic" / "corpus.json").read_text())
    assert card["licence"]["expires"] == "2099-12-31"
    assert card["licence"]["may_redistribute"] is False
    assert card["languages"] == ["de"]


def test_a_change_of_corpus_toml_is_read_again(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    folder = clinic()

    def read() -> ingest.Ingested:
        return ingest.ingest(declared(raw), folder, tmp_path / "tables", b"key")

    assert read().changed
    assert not read().changed
    (folder / "corpus.toml").write_text(CORPUS_TOML + '\n[words.gad7]\n11 = ""\n')
    assert read().changed


# --- discovery ----------------------------------------------------------------------------------------------


def test_without_a_raw_folder_there_are_only_recipes(
    monkeypatch: pytest.MonkeyPatch, clinic: Clinic, raw: Path
) -> None:
    clinic()
    monkeypatch.delenv("SLAP_RAW", raising=False)
    assert corpora() == recipes()
    monkeypatch.setenv("SLAP_RAW", str(raw))
    assert corpora().keys() - recipes().keys() == {"my_clinic"}
    assert corpora()["my_clinic"].cohort


def test_settings_know_the_cohorts_of_their_own_raw_folder(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    clinic()
    given = {"SLAP_RAW": str(raw), "SLAP_WAREHOUSE": str(tmp_path), "SLAP_ONLY": "my_clinic"}
    assert "my_clinic" in from_environment("real", given).corpora
    with pytest.raises(SettingsError, match="SLAP_ONLY names my_clinic"):
        from_environment("real", given | {"SLAP_RAW": str(tmp_path)})
    with pytest.raises(SettingsError, match="SLAP_ONLY names my_clinic"):  # a demo has miniatures only
        from_environment("demo", given)


def test_other_folders_are_no_cohorts(raw: Path) -> None:
    for name in (".partial", "notes", "svd", "lost+found"):
        (raw / name).mkdir(parents=True)
    (raw / "notes" / "readme.txt").touch()
    (raw / ".partial" / "metadata.csv").touch()
    (raw / "svd" / "metadata.csv").touch()  # a file of the owners
    (raw / "metadata.csv").touch()
    assert corpora(raw) == recipes()


def why(corpus: Corpus, folder: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        corpus.scan(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (None, "corpus.toml not found: `slap new-cohort"),
        ("", "[corpus] does not say title, language; [licence] does not say name, access, may_train, may_redistribute"),
        ("[corpus", "corpus.toml: not TOML"),
        (
            CORPUS_TOML.replace("may_train = true\n", "").replace("consent", "# consent"),
            "[licence] does not say may_train, consent",
        ),
        (CORPUS_TOML.replace('"private"', '"secret"'), "access 'secret' is not known"),
        (CORPUS_TOML.replace("may_train = true", 'may_train = "yes"'), "may_train = 'yes' has to be true or false"),
        (CORPUS_TOML.replace("2099-12-31", '"next year"'), "expires = 'next year' has to be a day"),
        (CORPUS_TOML.replace("[licence]", "[license]"), "table 'license' is not known (did you mean 'licence'?)"),
        (
            CORPUS_TOML.replace("may_train", "may_trian"),
            "key of [licence] 'may_trian' is not known (did you mean 'may_tr",
        ),
    ],
)
def test_a_broken_declaration_is_a_corpus_that_says_so(
    clinic: Clinic, raw: Path, tmp_path: Path, toml: str | None, message: str
) -> None:
    folder = clinic(toml=toml)
    clinic("another")
    corpus = declared(raw)
    assert message in why(corpus, folder)
    assert str(folder) in why(corpus, folder)
    done = ingest.ingest(corpus, folder, tmp_path / "tables", b"key")
    assert message in done.reason
    assert (done.found, done.utterances) == (True, 0)
    assert corpus.roles == ()
    assert declared(raw, "another").title == "Voices of my clinic"


def test_the_missing_keys_are_shown_with_their_meaning(clinic: Clinic, raw: Path) -> None:
    folder = clinic(toml=CORPUS_TOML.replace("may_train = true\n", ""))
    assert "\n  may_train = true  # true or false: may models be trained on it?" in why(declared(raw), folder)


def test_the_old_name_of_the_file_is_not_passed_over(clinic: Clinic, raw: Path) -> None:
    folder = clinic(toml=None)
    (folder / "columns.toml").write_text("[columns]\n")
    assert "columns.toml: this file is called corpus.toml now: rename it" in why(declared(raw), folder)


def test_a_name_that_no_asset_can_have_is_said_under_the_nearest_that_one_can(clinic: Clinic, raw: Path) -> None:
    folder = clinic("My Clinic-2")
    corpus = declared(raw, "my_clinic_2")
    assert "rename it, to 'my_clinic_2'" in why(corpus, folder)
    assert corpus.folder == "My Clinic-2"
    clinic("my_clinic_2")
    clinic("2023")
    clinic("SVD")
    found = corpora_anew(raw)
    assert found.keys() - recipes().keys() == {"my_clinic_2", "my_clinic_2_", "cohort_2023", "svd_"}
    assert found["my_clinic_2"].title == "Voices of my clinic"
    assert found["svd"] == recipes()["svd"]


def corpora_anew(raw: Path) -> dict[str, Corpus]:
    """The corpora of a folder that has changed since it was looked through."""
    from pipelines.corpora._byo import cohorts

    return recipes() | cohorts(raw)


def test_a_cohort_never_takes_the_name_of_a_recipe(clinic: Clinic, raw: Path) -> None:
    folder = clinic("svd")
    corpus = declared(raw, "svd")
    assert "'svd' is the name of the corpus 'Saarbruecken Voice Database': rename the folder" in why(corpus, folder)
    assert corpus.licence == recipes()["svd"].licence


def test_the_private_corpora_of_the_paper_may_say_more_in_corpus_toml(clinic: Clinic, raw: Path) -> None:
    folder = clinic("popgen")
    corpus = declared(raw, "popgen")
    assert (corpus.title, corpus.licence.name) == ("Voices of my clinic", "Ethics vote 123/24")
    assert set(corpus.scan(folder).utterances["language"]) == {"de"}
    assert recipes()["popgen"].title == "PopGen (private)"
    clinic("voces", table="speaker,path\na,1.wav\n", toml=None)
    assert corpora_anew(raw)["voces"] == recipes()["voces"]


def test_the_readmes_table_holds_recipes_only(monkeypatch: pytest.MonkeyPatch, clinic: Clinic, raw: Path) -> None:
    clinic()
    clinic("broken", toml="[")
    monkeypatch.setenv("SLAP_RAW", str(raw))
    assert run("corpora", "--markdown").output.splitlines() == corpus_table(recipes().values())
    listed = run("corpora").output
    assert f"{'my_clinic':22s} de" in listed
    assert "broken " in listed


# --- the graph ----------------------------------------------------------------------------------------------

GRAPH = """
import json, sys
import dagster as dg
from pathlib import Path
from pipelines.definitions import definitions

def execute(names):
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("run").execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey(name) for name in names])

def said(result):
    checks = [[check.asset_key.path[-1], check.check_name, check.passed,
               str({name: value.value for name, value in check.metadata.items()})]
              for check in result.get_asset_check_evaluations()]
    return {"success": result.success, "checks": checks}

from pipelines.corpora import _base
graph = definitions.resolve_asset_graph().get_all_asset_keys()
first = execute([*(f"{name}_tables" for name in _base.corpora()), "meta_db", "captions", *sys.argv[2:]])
# A cohort that comes after the graph was made, as a run's own process then sees it.
late = Path(sys.argv[1])
late.rename(late.with_name("too_late"))
_base._with_cohorts.cache_clear()
second = execute(["meta_db"])
print(json.dumps({
    "assets": sorted("/".join(key.path) for key in graph), "first": said(first), "second": said(second)
}))
"""


@pytest.mark.slow
def test_cohorts_are_in_the_graph_and_a_broken_one_stops_nothing(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    clinic()
    clinic("broken", toml=CORPUS_TOML.replace("may_train = true\n", ""))
    clinic("my-lab")
    shutil.copytree(clinic("hidden"), raw / ".late")
    shutil.rmtree(raw / "hidden")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLAP_")}
    process = subprocess.run(
        [sys.executable, "-c", GRAPH, raw / ".late", "my_clinic_shards", "broken_shards", "my_lab_shards"],
        cwd=PROJECT,
        env={**kept, "SLAP_RAW": str(raw), "SLAP_WAREHOUSE": str(tmp_path / "warehouse"), "SLAP_ID_KEY": "k"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    said = json.loads(process.stdout.splitlines()[-1])
    assert said["first"]["success"]
    assert {"my_clinic_raw", "my_clinic_tables", "my_clinic_shards", "broken_tables", "my_lab_tables"} <= {
        *said["assets"]
    }
    checks = {(asset, check): (passed, text) for asset, check, passed, text in said["first"]["checks"]}
    assert checks["my_clinic_tables", "readable"][0]
    assert not checks["broken_tables", "readable"][0]
    assert "[licence] does not say may_train" in checks["broken_tables", "readable"][1]
    assert checks["broken_tables", "licence"][0]  # nothing was read, so nothing is refused
    assert "rename it, to 'my_lab'" in checks["my_lab_tables", "readable"][1]
    assert checks["meta_db", "labels_known"][0]
    assert checks["meta_db", "cohorts_in_graph"][0]
    assert sorted(path.name for path in (tmp_path / "warehouse" / "shards" / "my_clinic").glob("*.tar"))
    assert not list((tmp_path / "warehouse" / "shards" / "broken").glob("*.tar"))
    assert said["second"]["success"]
    (late,) = [
        text for _, check, passed, text in said["second"]["checks"] if check == "cohorts_in_graph" and not passed
    ]
    assert "too_late" in late
    assert "reload the code location" in late


# --- slap check ---------------------------------------------------------------------------------------------


def test_check_says_what_is_understood(clinic: Clinic) -> None:
    result = run("check", clinic())
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) < 30
    for line in (
        "my_clinic: Voices of my clinic; label depression; used to train and evaluate",
        "licence     Ethics vote 123/24 (private); train: yes; redistribute: no; expires: 2099-12-31",
        "speakers    4; sex: female 2, male 2",
        "recordings  5; language: de 5; age: 29 to 63, unknown 0",
        "columns of metadata.csv (5 rows)",
        "  depression          present 2, absent 1; unknown 1; clinician",
        "  phq9                3 to 23, decides depression; unknown 1; by PHQ-9, self-report",
        "of 5 recordings listened to, 5 can be used",
    ):
        assert line in lines
    assert "phq-9 -> phq9" in result.output
    assert "ignored: notes" in result.output


def test_check_shows_rejects_and_what_cannot_be_heard(clinic: Clinic) -> None:
    folder = clinic(table=TABLE + "P05,audio/lost.wav,F,20,1,1,control,\nP05,../P05.wav,F,20,1,1,control,\n")
    (folder / "audio" / "lost.wav").unlink()
    soundfile.write(folder / "audio" / "P03_a.wav", np.zeros(16_000), 16_000)
    result = run("check", folder)
    assert result.exit_code == 0
    assert "rejects     2" in result.output
    assert "      1  no audio at this path; first: metadata.csv:7" in result.output
    assert "! audio/P03_a.wav: silent" in result.output
    assert "of 5 recordings listened to, 4 can be used" in result.output


def test_check_fails_where_nothing_that_was_listened_to_can_be_used(clinic: Clinic) -> None:
    folder = clinic()
    for path in (folder / "audio").iterdir():
        soundfile.write(path, np.zeros(16_000), 16_000)
    (folder / "audio" / "P04_a.wav").write_text("no audio")
    result = run("check", folder)
    assert result.exit_code == 1
    assert "recordings  5" in result.output  # what is understood is still said
    assert "! audio/P01_a.wav: silent" in result.output
    assert "of 5 recordings listened to, 0 can be used" in result.output
    assert f"{folder}: none of the recordings listened to can be used" in result.output
    assert "Traceback" not in result.output


def test_check_warns_of_a_licence_and_a_label_that_stop_or_miss(clinic: Clinic) -> None:
    toml = CORPUS_TOML.replace("2099", "2020").replace('label = "depression" ', 'label = "als" ')
    output = run("check", clinic(toml=toml)).output
    assert "! licence 'Ethics vote 123/24' expired on 2020-12-31: a run stops here" in output
    assert "! nobody's als is known, and it is the label" in output


@pytest.mark.parametrize(
    ("table", "toml", "message"),
    [
        (TABLE.replace("PHQ-9", "PHQ9 total"), CORPUS_TOML, "metadata.csv has no column 'phq-9'"),
        (TABLE.replace(",control,", ",controll,"), CORPUS_TOML, "row 5, column diagnosis (depression): 'controll'"),
        (
            TABLE.replace("F,34,17,8,MDD,tired", "M,34,17,8,MDD,"),
            CORPUS_TOML,
            "row 3, column gender (sex): 'M' is another",
        ),
        (TABLE.replace(",23,", ",32,"), CORPUS_TOML, "row 4, column phq-9 (phq9): '32' is not within 0..27"),
        (TABLE, CORPUS_TOML.replace("[licence]", "[licenc]"), "did you mean 'licence'?"),
        (TABLE, None, "corpus.toml not found: `slap new-cohort"),
        (None, CORPUS_TOML, "found none of metadata.csv"),
        (TABLE.replace("audio/", "/audio/"), CORPUS_TOML, "no recording could be used"),
    ],
)
def test_check_ends_in_a_message_that_says_where_and_what(
    clinic: Clinic, table: str | None, toml: str | None, message: str
) -> None:
    folder = clinic(table=TABLE)
    (folder / "metadata.csv").write_text(table) if table else (folder / "metadata.csv").unlink()
    (folder / "corpus.toml").write_text(toml) if toml else (folder / "corpus.toml").unlink()
    result = run("check", folder)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_check_stays_short_on_a_wide_table(clinic: Clinic) -> None:
    from pipelines.corpora._vocabulary import attributes

    states = [name for name, known in attributes().items() if known.kind == "state"]
    head = ",".join(["speaker", "path", "session", "speech_task", *states])
    rows = [f"s{i},audio/{i}.wav,v{i},read,{','.join('01'[i % 2] for _ in states)}" for i in range(30)]
    lost = [f"s{i},nowhere/{i}.flac,v{i},read,{','.join('' for _ in states)}" for i in range(9)]
    folder = clinic(table="\n".join([head, *rows, *lost, ",x.flac", "x,", "x,/x.flac", "s1,audio/1.wav"]) + "\n")
    toml = CORPUS_TOML.split("[columns]")[0].replace('ignore = ["notes"]\n', "")
    (folder / "corpus.toml").write_text(toml)
    result = run("check", folder)
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) < 30
    assert max(map(len, result.output.splitlines())) <= 120


def test_check_reads_the_folder_of_a_recipe_and_no_other(tmp_path: Path) -> None:
    recipes()["fsdd"].miniature(tmp_path / "fsdd", Voices(scale=0.1))
    result = run("check", tmp_path / "fsdd")
    assert result.exit_code == 0, result.output
    assert "fsdd: Free Spoken Digit Dataset; label accent; used to train" in result.output
    (tmp_path / "fsd").mkdir()
    result = run("check", tmp_path / "fsd")
    assert result.exit_code == 1
    assert "not named like a known corpus (did you mean 'fsdd'?). `slap corpora` lists" in result.output
    assert run("check", tmp_path / "nowhere").exit_code == 1
    assert f"{tmp_path} holds the corpora fsdd: check one of them" in run("check", tmp_path).output


def test_check_says_that_a_cohort_has_the_name_of_a_recipe(clinic: Clinic) -> None:
    assert "'svd' is the name of the corpus" in run("check", clinic("svd")).output


@pytest.mark.parametrize("name", ["popgen", "voces"])
def test_check_reads_the_miniatures_of_the_private_corpora(tmp_path: Path, name: str) -> None:
    recipes()[name].miniature(tmp_path / name, Voices(scale=0.1))
    result = run("check", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) < 30
    assert "UNKNOWN: the paper's own terms are not public" in result.output


# --- slap new-cohort ----------------------------------------------------------------------------------------


def test_new_cohort_guesses_nothing_silently(clinic: Clinic) -> None:
    folder = clinic(table=TABLE, toml=None)
    assert run("new-cohort", folder).exit_code == 0
    text = (folder / "corpus.toml").read_text()
    assert '# "phq-9" = "phq9"  # a guess' in text
    assert '# "gender" = "sex"  # a guess' in text
    assert '# "notes" = ?' in text
    assert "those that have our name already: age" in text
    assert all(line.startswith(("#", "[")) for line in text.splitlines() if line)
    assert "does not say title, language" in run("check", folder).output
    again = run("new-cohort", folder)
    assert again.exit_code == 1
    assert "is there already" in again.output


def test_new_cohort_leads_to_a_cohort_that_is_read(clinic: Clinic) -> None:
    folder = clinic(table=TABLE, toml=None)
    cohort.new(folder)
    text = (folder / "corpus.toml").read_text()
    wanted = ("title", "language", "name", "access", "may_train", "may_redistribute", "consent", '"')
    lines = [
        line.removeprefix("# ") if line.removeprefix("# ").startswith(wanted) else line for line in text.splitlines()
    ]
    lines = [line for line in lines if " = ?" not in line]
    mended = "\n".join(lines).replace('# ignore = ["notes"]', 'ignore = ["notes", "diagnosis"]')
    (folder / "corpus.toml").write_text(mended)
    assert "speakers    4; sex: female 2, male 2" in cohort.check(folder)


def test_new_cohort_needs_a_table(tmp_path: Path) -> None:
    result = run("new-cohort", tmp_path)
    assert result.exit_code == 1
    assert "found none of metadata.csv" in result.output
    assert f"{tmp_path / 'nowhere'} is no folder" in run("new-cohort", tmp_path / "nowhere").output


def test_a_demo_leaves_cohorts_out(clinic: Clinic, raw: Path, tmp_path: Path) -> None:
    from pipelines.assets import common

    clinic()
    demo = Settings(mode="demo", raw=raw, warehouse=tmp_path)
    assert "my_clinic" not in common.taking_part(demo)
    assert not common.raw_root(demo, declared(raw)).exists()
    with pytest.raises(RecipeError, match="has no miniature"):
        declared(raw).miniature(raw / "my_clinic", Voices(scale=0.1))
