"""Paraphrases in the table of captions: beside the templates or instead of them, by the asset and by the command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from pipelines import captions, cli
from pipelines.assets import captions as making
from pipelines.paraphrase import options as paraphrasing
from pipelines.paraphrase import prompt, run
from pipelines.paraphrase.cache import strangers
from pipelines.paraphrase.options import Options, OptionsError
from pipelines.resources import Slap
from pipelines.settings import SettingsError, from_environment
from tests.paraphrase.server import Answer, completion, facts_of, right, serving
from tests.test_captions import meta_db

ROWS = [
    ("androids:u1", "androids", "train", ["sex=female", "depression=present", "language=it"]),
    ("androids:u2", "androids", "train", ["sex=male", "depression=absent", "accent=son of Maria"]),
    ("androids:u3", "androids", "train", ["sex=male", "depression=absent"]),
    ("androids:u4", "androids", "test", ["sex=male", "age=older"]),
    ("svd:u5", "svd", "train", ["sex=male", "voice_disorder=present"]),
]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    meta_db(folder / "meta.db", ROWS)
    monkeypatch.setenv("SLAP_WAREHOUSE", str(folder))
    monkeypatch.setenv("SLAP_ONLY", "androids")
    return folder


def materialize() -> Any:
    return dg.materialize([making.captions], resources={"slap": Slap()}, raise_on_error=False)


def table(warehouse: Path) -> pl.DataFrame:
    return pl.read_parquet(warehouse / "captions" / "captions.parquet")


def test_the_asset_adds_paraphrases_and_forgets_them_with_the_model(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert materialize().success
    templates = table(warehouse)
    assert set(templates["source"]) == {"template"}
    with serving() as server:
        monkeypatch.setenv("SLAP_LLM_MODEL", "m")
        monkeypatch.setenv("SLAP_LLM_URL", server.url)
        monkeypatch.setenv("SLAP_LLM_PRICES", "1,2")
        result = materialize()
        assert result.success
        first = table(warehouse)
        content = (warehouse / "captions" / "captions.parquet").read_bytes()
        assert materialize().success
    # Two sets of facts differ in free text alone: one question serves both.
    assert sorted(map(facts_of, server.bodies)) == [
        ("depression=absent", "sex=male"),
        ("depression=present", "language=it", "sex=female"),
    ]
    assert (warehouse / "captions" / "captions.parquet").read_bytes() == content
    metadata = result.asset_materializations_for_node("captions")[0].metadata
    found = {
        name: metadata[name].value for name in ("paraphrases_accepted", "paraphrases_replaced", "calls", "tokens_in")
    }
    assert found == {"paraphrases_accepted": 6, "paraphrases_replaced": 0, "calls": 2, "tokens_in": 1400}
    assert metadata["cost"].value == pytest.approx((1400 * 1 + 180 * 2) / 1e6, abs=1e-4)
    assert first.schema == templates.schema
    assert first.filter(source="template").equals(templates.sort("fact_hash", "language", "k"))
    added = first.filter(source="m")
    assert Counter(added["fact_hash"]) == dict.fromkeys(templates["fact_hash"].unique(), 3)
    assert added["language"].unique().to_list() == ["en"] and added["k"].min() == 12
    assert all(used.to_list() for used in added["used"])
    monkeypatch.delenv("SLAP_LLM_MODEL")
    monkeypatch.delenv("SLAP_LLM_URL")
    assert materialize().success
    assert table(warehouse).equals(templates)


def test_what_is_refused_is_replaced_and_alone_leaves_no_other_template(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(body: dict[str, Any], _: int) -> Answer:
        facts = facts_of(body)
        return completion([right(facts, 1)[0], "A woman who is never sad."] if "sex=female" in facts else "no")

    with serving(one) as server:
        monkeypatch.setenv("SLAP_LLM_MODEL", "m")
        monkeypatch.setenv("SLAP_LLM_URL", server.url)
        monkeypatch.setenv("SLAP_LLM_ALONE", "1")
        assert materialize().success
        alone = table(warehouse)
        monkeypatch.setenv("SLAP_LLM_ALONE", "0")
        assert materialize().success
        beside = table(warehouse)
    assert set(Counter(alone["fact_hash"]).values()) == {3}
    assert set(Counter(beside["fact_hash"]).values()) == {15}
    assert Counter(alone["source"]) == {"m": 1, "template": 8}
    assert Counter(beside["source"]) == {"m": 1, "template": 3 * 12 + 8}
    assert beside.select("fact_hash", "language", "k").is_unique().all()


def test_a_dead_server_fails_the_asset_with_what_to_do(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda *_: (401, {}, b"who are you")) as server:
        monkeypatch.setenv("SLAP_LLM_MODEL", "m")
        monkeypatch.setenv("SLAP_LLM_URL", server.url)
        result = materialize()
    assert not result.success
    said = str(result.get_step_failure_events()[0].step_failure_data.error)
    assert "set SLAP_LLM_KEY" in said


def test_the_command_estimates_refuses_and_makes(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_command = CliRunner().invoke
    assert "SLAP_LLM_MODEL" in run_command(cli.main, ["paraphrase"]).output
    with serving() as server:
        for name, value in {"MODEL": "m", "URL": server.url, "PRICES": "1000,1000", "BUDGET": "0.5"}.items():
            monkeypatch.setenv(f"SLAP_LLM_{name}", value)
        shown = run_command(cli.main, ["paraphrase", "--estimate"])
        assert shown.exit_code == 0 and server.bodies == []
        assert not (warehouse / "captions").exists()
        for expected in (
            "[system]",
            "Only affirmative words",
            "- depression=",
            "calls:         2",
            "cost:          about",
        ):
            assert expected in shown.output
        refused = run_command(cli.main, ["paraphrase"])
        assert refused.exit_code == 1 and "more than SLAP_LLM_BUDGET=0.5" in refused.output and server.bodies == []
        made = run_command(cli.main, ["paraphrase", "--over-budget"])
    assert made.exit_code == 0 and "6 paraphrases accepted" in made.output and len(server.bodies) == 2
    assert table(warehouse).filter(source="m").height == 9
    assert (
        "run `slap run`" in run_command(cli.main, ["paraphrase"], env={"SLAP_WAREHOUSE": str(warehouse / "x")}).output
    )


@pytest.fixture
def paraphrased(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The warehouse after a model has answered about both sets of facts."""
    with serving() as server:
        monkeypatch.setenv("SLAP_LLM_MODEL", "m")
        monkeypatch.setenv("SLAP_LLM_URL", server.url)
        assert materialize().success
    return warehouse


def test_answers_about_facts_that_nobody_has_any_more_are_found(paraphrased: Path) -> None:
    folder = paraphrased / "captions"
    sets = [row[3] for row in ROWS if row[2] == "train"]
    assert strangers(folder, sets) == []
    gone = strangers(folder, sets[1:])
    assert [file.name.partition("-")[0] for file in gone] == [prompt.set_hash(sets[0])]
    assert "depression=present" in gone[0].read_text()


def test_sets_of_facts_are_joined_where_the_same_is_sent(warehouse: Path) -> None:
    captions.build(warehouse / "meta.db", warehouse / "captions", corpora=["androids", "svd"], k=1, seed=0)
    sets = run.fact_sets(warehouse / "captions" / "facts.parquet", ["androids", "svd"])
    assert [(one.facts, sorted(one.corpora), len(one.hashes)) for one in sets] == [
        (("depression=absent", "sex=male"), ["androids"], 2),
        (("depression=present", "language=it", "sex=female"), ["androids"], 1),
        (("sex=male", "voice_disorder=present"), ["svd"], 1),
    ]


# Options


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.example.org", "https://api.example.org/v1/chat/completions"),
        ("https://api.example.org/v1/", "https://api.example.org/v1/chat/completions"),
        ("http://127.0.0.1:8000/api/v2", "http://127.0.0.1:8000/api/v2/chat/completions"),
        ("https://a.b/v1/chat/completions", "https://a.b/v1/chat/completions"),
    ],
)
def test_the_address_may_be_given_in_three_ways(given: str, url: str) -> None:
    found = paraphrasing.from_environment({"SLAP_LLM_MODEL": "m", "SLAP_LLM_URL": given, "SLAP_LLM_KEY": "k"})
    assert found is not None and found.url == url


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL": ""}, "SLAP_LLM_MODEL is not"),
        ({"URL": "ftp://x"}, "no http"),
        ({"URL": "https://user:word@x/v1"}, "SLAP_LLM_KEY"),
        ({"URL": "http://far.example.org/v1", "KEY": "k"}, "in the clear"),
        ({"PRICES": "1"}, "SLAP_LLM_PRICES"),
        ({"PRICES": "1,-1"}, "no price"),
        ({"BUDGET": "1"}, "needs SLAP_LLM_PRICES"),
        ({"PARALLEL": "0"}, "SLAP_LLM_PARALLEL='0' is below 1"),
        ({"PARALLEL": "1.5"}, "no whole number"),
        ({"RPM": "x"}, "SLAP_LLM_RPM='x' is no number"),
        ({"TIMEOUT": "nan"}, "SLAP_LLM_TIMEOUT"),
        ({"ALONE": "yes"}, "neither 0 nor 1"),
    ],
)
def test_bad_options_name_their_variable(changes: dict[str, str], message: str) -> None:
    environment = {"MODEL": "m", "URL": "https://a.b/v1"} | changes
    with pytest.raises(OptionsError, match=message):
        paraphrasing.from_environment({f"SLAP_LLM_{name}": value for name, value in environment.items()})


def test_settings_hold_the_options_but_never_the_key(warehouse: Path) -> None:
    environment = {"SLAP_WAREHOUSE": str(warehouse), "SLAP_LLM_MODEL": "m", "SLAP_LLM_URL": "https://a.b/v1"}
    settings = from_environment("demo", environment | {"SLAP_LLM_KEY": "very-secret"})
    assert settings.paraphrase == Options("m", url="https://a.b/v1/chat/completions")
    assert "very-secret" not in repr(settings)
    assert from_environment("demo", {"SLAP_WAREHOUSE": str(warehouse)}).paraphrase is None
    with pytest.raises(SettingsError, match="SLAP_LLM_BUDGET"):
        from_environment("demo", environment | {"SLAP_LLM_BUDGET": "3"})


def test_a_withdrawal_takes_what_was_said_of_facts_that_nobody_else_has(paraphrased: Path) -> None:
    from pipelines.withdraw import _Texts

    folder = paraphrased / "captions"
    assert len(list((folder / "paraphrases").glob("*.json"))) == 2
    _Texts(folder, pl.DataFrame({"utt_id": [row[0] for row in ROWS[1:]]})).remove(away=False)
    (left,) = (folder / "paraphrases").glob("*.json")
    assert "depression=absent" in left.read_text() and "depression=present" not in left.read_text()
    assert "depression=present" not in table(paraphrased)["used"].explode().to_list()
