"""The faithfulness check: what it must refuse, what it says was wrong, and how good it is on the set."""

from __future__ import annotations

import tomllib

import polars as pl
import pytest

from pipelines import captions
from pipelines.paraphrase import prompt
from pipelines.paraphrase.check import MOST_IN_PHRASE, WORDS, _lexicon, check, closed_accent, closed_values
from tests.paraphrase.faithfulness import HALVES, cases, score

WOMAN = ["age=older", "depression=present", "depression_severity=moderate", "sex=female"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("An elderly woman with moderate depression and diabetes.", "health"),
        ("An elderly woman with moderate depression and insomnia.", "added"),
        ("An elderly man with moderate depression.", "contradicts"),
        ("An elderly woman with severe depression.", "severity"),
        ("An elderly woman in good spirits.", "contradicts"),
        ("An elderly woman who has never had moderate depression.", "negated"),
        ("An elderly woman who isn't moderately depressed.", "negated"),
        ("An elderly woman who may have moderate depression.", "hedged"),
        ("An elderly woman who used to have moderate depression.", "past"),
        ("An elderly woman whose sister has moderate depression.", "other person"),
        ("A 71-year-old woman with moderate depression.", "number"),
        ("An elderly woman in her seventies with moderate depression.", "number"),
        ("An elderly Dutch woman with moderate depression.", "origin"),
        ("An elderly woman with moderate depression who enjoys gardening.", "unknown"),
        ("Una mujer mayor con depresión moderada.", "unknown"),
        ("An elderly woman with moderate depression, speaker spk0413.", "number"),
        ("An elderly woman with moderate depression", "form"),
        ("* An elderly woman with moderate depression.", "form"),
        ("She is old. She is a woman. She is depressed. Her depression is moderate.", "form"),
        ("A woman with moderate depression.", "dropped"),
        ("An elderly woman with depression.", "dropped"),
        ("", "form"),
    ],
)
def test_a_corruption_is_refused_by_its_name(text: str, kind: str) -> None:
    verdict = check(text, WOMAN, WOMAN)
    assert not verdict.accepted and kind in {problem.kind for problem in verdict.problems}, verdict


def test_used_is_what_is_said_and_only_required_facts_must_be() -> None:
    verdict = check("A woman with moderate depression.", WOMAN)
    assert verdict.accepted
    assert verdict.used == ("depression=present", "depression_severity=moderate", "sex=female")
    assert check("An old lady is speaking.", WOMAN).used == ("age=older", "sex=female")
    assert check("Her voice is heard.", WOMAN).used == ("sex=female",)
    assert check("This is a voice.", WOMAN).used == ()


def test_a_severity_belongs_to_its_own_state() -> None:
    facts = ["anxiety=present", "anxiety_severity=mild", "depression=present", "depression_severity=severe"]
    right = [
        "Severe depression and mild anxiety affect this speaker.",
        "The speaker's anxiety is mild, the depression severe.",
    ]
    assert [check(text, facts, facts).problems for text in right] == [(), ()]
    both = check("This speaker has severe depression and anxiety.", facts)
    assert [problem.kind for problem in both.problems] == ["severity"]  # "severe" may be said of both
    same = [*facts[:1], "anxiety_severity=severe", *facts[2:]]
    assert check("This speaker has severe depression and anxiety.", same, same).accepted


def test_a_negation_names_what_it_negates() -> None:
    messages = [p.message for p in check("A woman without moderate depression.", WOMAN).problems if p.kind == "negated"]
    assert messages == [
        '"without" negates "depression": say only what is there, by the opposite where a state is absent'
    ]


def test_words_with_several_meanings_say_what_the_facts_hold() -> None:
    assert check("A calm speaker.", ["anxiety=absent"]).used == ("anxiety=absent",)
    assert check("A calm speaker.", ["emotion=calm"]).used == ("emotion=calm",)
    assert not check("A calm speaker.", ["anxiety=present"]).accepted
    assert check("A strong voice.", ["voice_weakness=absent"]).used == ("voice_weakness=absent",)
    assert not check("A strong voice.", ["als=absent"]).accepted
    assert not check("Strong muscles.", ["voice_weakness=absent"]).accepted


def test_a_language_is_not_a_nationality_and_an_accent_is_not_an_origin() -> None:
    facts = ["accent=scottish", "language=it", "sex=female"]
    for right in ("She speaks Italian with a Scottish accent.", "An Italian-speaking woman who sounds Scottish."):
        assert check(right, facts, facts).accepted
    for wrong in (
        "An Italian woman.",
        "The speaker is an Italian woman.",
        "A Scottish woman.",
        "The woman heard is Italian.",
    ):
        assert {p.kind for p in check(wrong, facts).problems} == {"origin"}, wrong


@pytest.mark.parametrize("word", ["woman", "man", "lady"])
def test_words_for_grown_ups_are_refused_of_a_child(word: str) -> None:
    facts = ["age=child", f"sex={'male' if word == 'man' else 'female'}"]
    assert not check(f"A {word} is speaking.", facts).accepted


def test_every_closed_fact_is_understood_in_the_words_of_its_phrases() -> None:
    """Templates are right by construction, so the check must accept them and read the same facts out of them."""
    missed = []
    for attribute, values in closed_values().items():
        if attribute.endswith("_severity") and attribute != "voice_severity":
            continue
        for value in sorted(values):
            facts = [f"{attribute}={value}"]
            missed += [
                (c.text, facts) for c in captions.render(facts, 12, 3) if check(c.text, facts, c.used).used != c.used
            ]
    for facts in (WOMAN, ["age=child", "sex=male"], ["king_stage=4a/b", "als=present"], ["language=zh", "accent=us"]):
        missed += [(c.text, facts) for c in captions.render(facts, 24, 3) if check(c.text, facts, c.used).problems]
    assert missed == []


def test_no_template_of_other_facts_is_accepted() -> None:
    """Every state against its opposite: the words of one side are refused of the other."""
    accepted = []
    for attribute, values in closed_values().items():
        if values != {"present", "absent"}:
            continue
        for value, other in (("present", "absent"), ("absent", "present")):
            for caption in captions.render([f"{attribute}={value}"], 12, 1):
                if check(caption.text, [f"{attribute}={other}"]).accepted:
                    accepted.append((caption.text, f"{attribute}={other}"))
    assert accepted == []


def test_the_table_has_no_fact_that_the_vocabulary_lacks() -> None:
    table = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    closed = closed_values()
    facts = {fact for rows in table["says"].values() for facts in rows for fact in facts.split("&")}
    wrong = [f for f in facts if f.partition("=")[2] not in closed.get(f.partition("=")[0], ())]
    assert wrong == [] and set(table["says"]) - {"any"} == set(table["classes"])
    assert set(table["topics"]) <= set(closed)
    assert max(len(words.split()) for words in _lexicon().phrases) <= MOST_IN_PHRASE
    states = {f"{a}={v}" for a, values in closed.items() if values == {"present", "absent"} for v in values}
    assert states <= facts  # each state has synonyms
    refused = [table["words"][name].split() for name in ("negations", "hedges", "elsewhen", "others", "health")]
    assert set(table["words"]["neutral"].split()) & {word for words in refused for word in words} == set()


def test_an_accent_leaves_only_if_it_is_made_of_places() -> None:
    assert closed_accent("scottish") and closed_accent("North-American") and closed_accent("us")
    for value in ("mario rossi", "i come from rome", "", "irish irish irish irish irish", "native of 12 main street"):
        assert not closed_accent(value)


def test_what_is_sent_is_closed_and_can_be_said() -> None:
    told = prompt.sent(
        ["age=34", "age=older", "depression=absent", "depression_severity=mild", "symptoms=present", "x=y"]
    )
    assert told == ("age=older", "depression=absent")
    with pytest.raises(prompt.OutgoingError, match="attribute age"):
        prompt.question(["age=34"], [], seed=0)


def test_the_examples_of_the_prompt_keep_its_rules() -> None:
    for name, example in prompt._prompts()["examples"].items():
        assert set(prompt.sent(example["facts"])) == set(example["facts"]), name
        assert len(example["descriptions"]) == prompt.DESCRIPTIONS
        for text in example["descriptions"]:
            assert check(text, example["facts"], example["facts"]).problems == (), (name, text)


def test_facts_are_shuffled_by_the_seed_and_the_corpus_chooses_the_examples() -> None:
    facts = ["age=older", "depression=present", "language=it", "sex=female"]
    asked = [prompt.question(facts, ["androids", "zzz"], seed=seed) for seed in range(8)]
    assert asked[0] == prompt.question(facts[::-1], ["zzz", "androids"], seed=0)
    assert len({question.messages[-1]["content"] for question in asked}) > 2
    assert "Italian" in asked[0].messages[2]["content"]
    assert "Italian" not in prompt.question(facts, ["zzz"], seed=0).messages[2]["content"]


# The set of good and corrupted captions


def test_the_set_is_large_and_its_halves_share_no_caption() -> None:
    texts = {half: [case.text for case in cases(half)] for half in HALVES}
    assert sum(map(len, texts.values())) >= 300
    assert not set(texts["tuning"]) & set(texts["held_out"])
    assert all(len(set(half)) == len(half) for half in texts.values())
    kinds = pl.DataFrame({"kind": [case.kind for half in HALVES for case in cases(half)]})["kind"].unique()
    assert len(kinds) > 10


def test_the_facts_of_the_set_are_facts_that_may_be_sent() -> None:
    for half in HALVES:
        for case in cases(half):
            prompt.question(case.facts, [], seed=0)  # raises where one is not closed


@pytest.mark.parametrize(("half", "precision", "recall"), [("tuning", 1.0, 0.97), ("held_out", 0.99, 0.87)])
def test_the_check_is_as_good_as_is_said_of_it(half: str, precision: float, recall: float) -> None:
    """Floors a little below what `python -m tests.paraphrase.faithfulness` prints."""
    counts, errors = score(half)
    assert counts.precision >= precision, errors
    assert counts.recall >= recall, errors


def test_most_attacks_in_known_words_are_refused() -> None:
    counts, _ = score("adversarial")
    assert counts.good == 0 and counts.accepted_bad <= 2
