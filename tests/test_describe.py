"""`slap describe`: zero-shot answers as calibrated probabilities, with their errors and warnings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark.task import load_tasks
from pipelines import describe
from pipelines.cli import main
from pipelines.collection import CollectionError, Model, load_model
from pipelines.describe import NOT_A_DIAGNOSIS, Curve, as_text, fit
from slap_model.card import OUT_OF_SCOPE
from slap_model.text import TextTower
from tests.surface import encode, tone, write_checkpoint, write_score

TOLD, MUTE, ILL = "crema_d_sex", "crema_d_age", "neurovoz_parkinson"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model, Path]:
    """A warehouse in which three tasks are judged: two tell their classes apart, one does not."""
    root = tmp_path_factory.mktemp("describe")
    write_checkpoint(root / "warehouse")
    model = load_model(root / "warehouse")
    write_score(root / "warehouse", model.slap, TOLD, told=True)
    write_score(root / "warehouse", model.slap, MUTE, told=False, seed=1)
    write_score(root / "warehouse", model.slap, ILL, told=True, seed=2)
    tone(root / "voice.wav", 120.0, 2.0)
    return root / "warehouse", model, root / "voice.wav"


@pytest.fixture(autouse=True)
def _letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextTower, "encode", encode)


def drawn(n: int, per_person: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of which the true probability is known: log odds 40 * score + 0.6, both classes equally common."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n) % 2, per_person).astype(np.int8)
    person = np.repeat([f"p{i:05d}" for i in range(n)], per_person)
    # Two normal classes with means m0, m1 and one variance have log odds linear in the score.
    spread, slope, shift = 0.05, 40.0, 0.6
    apart = slope * spread**2
    middle = -shift / slope
    return middle + apart * (y - 0.5) + spread * rng.standard_normal(len(y)), y, person


def test_the_curve_finds_the_true_odds() -> None:
    curve = fit(*drawn(4_000))
    assert curve.slope == pytest.approx(40.0, rel=0.1)
    assert curve.shift == pytest.approx(0.6, abs=0.2)
    scores, y, _ = drawn(10_000, seed=1)
    told = np.array([curve.probability(score) for score in scores])
    for low in (0.1, 0.3, 0.5, 0.7):
        some = (told >= low) & (told < low + 0.2)
        assert y[some].mean() == pytest.approx(told[some].mean(), abs=0.04)
    assert curve.brier is not None
    assert curve.brier == pytest.approx(float(np.mean((told - y) ** 2)), abs=0.02)


def test_each_class_and_each_speaker_weighs_the_same() -> None:
    scores, y, person = drawn(60)
    curve = fit(scores, y, person)
    rows = np.concatenate([np.arange(60), *[np.flatnonzero(person == "p00001")] * 200])  # one speaker talks a lot
    assert fit(scores[rows], y[rows], person[rows]).slope == pytest.approx(curve.slope, rel=1e-3)
    rare = np.flatnonzero((y == 0) | (np.arange(60) < 20))
    assert 0.3 < fit(scores[rare], y[rare], person[rare]).probability(-0.6 / 40) < 0.7


def test_few_speakers_without_an_error_give_no_certainty() -> None:
    scores, y = np.array([-0.3, -0.2, 0.2, 0.3]), np.array([0, 0, 1, 1], dtype=np.int8)
    curve = fit(scores, y, np.array(list("abcd")))
    assert 0.6 < curve.probability(0.3) < 0.95
    assert curve.brier is not None
    assert curve.brier < 0.25
    assert fit(scores[1:], y[1:], np.array(list("bcd"))).brier is None  # one speaker cannot be held out


def test_nothing_is_promised_where_nobody_was_judged() -> None:
    scores, y, person = drawn(60)
    curve = fit(scores, y, person)
    assert curve.probability(9.0) == curve.probability(float(scores.max())) < 0.9999
    assert curve.probability(-9.0) == curve.probability(float(scores.min())) > 0.0001


def test_a_base_rate_moves_the_odds_by_bayes() -> None:
    curve = Curve(slope=10.0, shift=0.0, low=-1.0, high=1.0, brier=None)
    even = curve.probability(0.1)
    assert curve.probability(0.1, 0.1) == pytest.approx(0.1 * even / (0.1 * even + 0.9 * (1 - even)))


def test_answers_come_with_what_the_benchmark_found(made: tuple[Path, Model, Path]) -> None:
    warehouse, model, voice = made
    profile = describe.describe(warehouse, model, voice)
    answers = {one.task: one for one in profile.answers}
    assert {one.group for one in profile.answers} == {"demographic", "voice"}
    task = next(one for one in load_tasks() if one.name == TOLD)
    wave = describe.audio.load(voice)
    sides = model.slap.similarity([wave], [text for pair in task.pairs("en")[1] for text in pair]).reshape(-1, 2)
    sex = answers[TOLD]
    assert np.sign(sex.score) == np.sign(sides[:, 1].mean() - sides[:, 0].mean())
    assert sex.separable
    assert sex.beyond == (abs(sex.score) > 0.1)  # the speakers of `write_score` have scores of 0.07 at most
    assert sex.probability is not None
    assert 0 < sex.probability < 1
    assert (sex.macro_f1, sex.n_speakers, sex.prevalence) == (0.8, 40, 0.5)
    assert not answers[MUTE].separable
    other = answers["voiced_sex"]
    assert (other.probability, other.note) == (None, describe.NOT_JUDGED)


def test_text_leaves_out_what_is_chance_and_counts_it(made: tuple[Path, Model, Path]) -> None:
    warehouse, model, voice = made
    profile = describe.describe(warehouse, model, voice)
    text = as_text(profile)
    assert "crema_d_sex: macro-F1 0.80 (0.70 to 0.90), 40 speakers, 50 % positive, held-out Brier" in text
    assert MUTE not in text
    assert "1 questions left out, as the model's score on them cannot be told from chance" in text
    assert "(--all shows them): age" in text
    assert f"child                  {describe.NOT_JUDGED}" in text
    everything = as_text(profile, everything=True)
    assert f"{MUTE}: macro-F1 0.50" in everything
    assert "[not to be told from chance]" in everything
    assert OUT_OF_SCOPE in text
    assert "parkinson" not in text.lower()


def test_health_only_when_asked_and_behind_the_warning(made: tuple[Path, Model, Path]) -> None:
    warehouse, model, voice = made
    profile = describe.describe(warehouse, model, voice, health=True)
    text = as_text(profile)
    assert text.index(NOT_A_DIAGNOSIS) < text.index(OUT_OF_SCOPE) < text.index("demographic\n") < text.index(ILL)
    assert next(iter(describe.as_json(profile))) == "warnings"
    assert describe.as_json(profile)["warnings"] == [NOT_A_DIAGNOSIS, OUT_OF_SCOPE]


def test_the_likelier_side_is_named(made: tuple[Path, Model, Path]) -> None:
    warehouse, model, voice = made
    for rate, side in ((0.9999, "A woman is speaking."), (0.0001, "A man is speaking.")):
        text = as_text(describe.describe(warehouse, model, voice, base_rates={"sex": rate}))
        line = next(one for one in text.splitlines() if one.startswith("  sex "))
        assert side in line
        assert float(line.split()[1]) > 0.9
        assert f"{rate:g}" in line


@pytest.mark.parametrize("stale", ["fingerprint", "prompts", "predictions"])
def test_what_was_judged_otherwise_calibrates_nothing(tmp_path: Path, stale: str) -> None:
    warehouse = tmp_path / "warehouse"
    write_checkpoint(warehouse)
    model = load_model(warehouse)
    score = write_score(warehouse, model.slap, TOLD, told=True)
    if stale == "fingerprint":
        write_score(warehouse, model.slap, TOLD, told=True, fingerprint="0" * 64)
    elif stale == "prompts":
        write_score(warehouse, model.slap, TOLD, told=True, hashes={**score.hashes, "task": "other"})
    else:
        (warehouse / "predictions" / "slap" / f"{TOLD}.zero-shot.parquet").unlink()
    tone(tmp_path / "voice.wav", 120.0)
    answers = {one.task: one for one in describe.describe(warehouse, model, tmp_path / "voice.wav").answers}
    assert answers[TOLD].probability is None
    assert answers[TOLD].note.startswith("no calibration: ")


def test_wrong_words_are_said_so(made: tuple[Path, Model, Path], tmp_path: Path) -> None:
    warehouse, model, voice = made
    (tmp_path / "x.wav").write_bytes(b"no sound")
    with pytest.raises(CollectionError, match=r"x\.wav: not audio or corrupt"):
        describe.describe(warehouse, model, tmp_path / "x.wav")
    with pytest.raises(CollectionError, match=r"no question 'wealth'; known: .*sex"):
        describe.describe(warehouse, model, voice, base_rates={"wealth": 0.1})
    for bad in ("sex", "sex=0", "sex=1.5", "sex=often"):
        with pytest.raises(CollectionError, match="a share between 0 and 1 is wanted"):
            describe.base_rates([bad])


def test_the_command(made: tuple[Path, Model, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    warehouse, _, voice = made
    monkeypatch.setenv("SLAP_WAREHOUSE", str(warehouse))
    run = CliRunner().invoke(main, ["describe", str(voice), "--json", "--health", "--base-rate", "parkinson=0.02"])
    assert run.exit_code == 0, run.output
    told = {one["task"]: one for one in json.loads(run.output)["answers"]}
    assert told[ILL]["base_rate"] == 0.02
    gone = CliRunner().invoke(main, ["describe", str(tmp_path / "gone.wav")])
    assert gone.exit_code != 0
    assert "gone.wav: file not found" in gone.output
