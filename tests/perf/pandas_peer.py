"""The warehouse's normalisation written in pandas: a peer to measure against, and a second opinion on the result.

It follows the same rules as ``warehouse/sql`` (words folded by tables, scores banded, raters averaged or voting, the
most specific level first, clinicians before scores before people about themselves before models) in the way one would
write them in pandas: categories for the columns of few words, merges, group-bys, and a sort that puts the winner first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

CLINICIAN, SCORE, ONESELF, MODEL = range(4)
AUTHORITY = {"clinician": CLINICIAN, "owner": CLINICIAN, "group": CLINICIAN, "model": MODEL, "acted": MODEL}
LOWEST_WORDS = ("none", "minimal", "normal")


def fold(words: pd.Series) -> pd.Series:
    """Stripped, blanks collapsed, lower case."""
    return words.map(lambda word: re.sub(r"\s+", " ", word).strip().lower(), na_action="ignore")


def normalise(tables: Path, corpora: Sequence[str], vocabulary: Path) -> pd.DataFrame:
    """One row an utterance (index ``utt_id``): sex, language, age bounds, states, severities, categories and scales."""
    speakers, utterances, observed = (_read(tables, corpora, name) for name in ("speaker", "utterance", "observation"))
    attributes = pd.read_csv(vocabulary / "attributes.csv").set_index("attribute")
    words = pd.read_csv(vocabulary / "words.csv", keep_default_na=False)
    utterances["key"] = np.arange(len(utterances))
    spread = _spread(utterances, observed)
    scores = _scores(spread, attributes, pd.read_csv(vocabulary / "instruments.csv", keep_default_na=False))
    states = _states(spread, attributes, words, scores)
    categories = _categories(spread, attributes, words)
    scales = scores[scores["attribute"].map(attributes["kind"]) == "scale"]
    scales = scales.sort_values(["level", "preference"], ascending=[False, True]).drop_duplicates(["key", "attribute"])
    wide = utterances.set_index("key")[["utt_id", "speaker_id", "language", "age", "recorded_on"]]
    wide = wide.join(states).join(categories).join(scales.pivot(index="key", columns="attribute", values="value"))
    people = speakers.set_index("speaker_id")
    sex = _domain(words, "sex")
    wide["sex"] = wide["speaker_id"].map(fold(people["sex"]).map(sex)).replace("", None)
    tag = _domain(words, "language")
    raw = fold(wide["language"]).str.replace("_", "-")
    wide["language"] = raw.map(tag).where(raw.isin(tag.index), raw).replace("", None)
    return _aged(wide, people["birth_year"]).set_index("utt_id")


def _read(tables: Path, corpora: Sequence[str], name: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(tables / corpus / f"{name}.parquet") for corpus in corpora], ignore_index=True)


def _domain(words: pd.DataFrame, domain: str) -> pd.Series:
    own = words[words["domain"] == domain]
    return pd.Series(fold(own["canonical"]).values, index=fold(own["raw"]))


def _spread(utterances: pd.DataFrame, observed: pd.DataFrame) -> pd.DataFrame:
    """Every observation beside every utterance it speaks about, with its level."""
    for column in ("attribute", "value", "instrument", "source"):
        observed[column] = observed[column].astype("category")
    facts = ["attribute", "value", "value_num", "instrument", "source"]
    of_utterance = observed["utt_id"].notna()
    of_session = ~of_utterance & observed["session_id"].notna()
    parts = []
    for level, chosen, on in (
        (3, of_utterance, ["utt_id", "speaker_id"]),
        (2, of_session, ["speaker_id", "session_id"]),
        (1, ~of_utterance & ~of_session, ["speaker_id"]),
    ):
        part = observed.loc[chosen, [*on, *facts]].merge(utterances[["key", *on]], on=on)[["key", *facts]]
        parts.append(part.assign(level=np.int8(level)))
    return pd.concat(parts, ignore_index=True)


def _scores(spread: pd.DataFrame, attributes: pd.DataFrame, instruments: pd.DataFrame) -> pd.DataFrame:
    """Mean score of each utterance, level, attribute and instrument, inside the instrument's range."""
    instruments = instruments.assign(line=np.arange(1, len(instruments) + 1), folded=fold(instruments["instrument"]))
    scale = instruments.groupby(["folded", "measures"], as_index=False).agg(
        low=("low", "min"), high=("high", "max"), preference=("line", "min")
    )
    numbers = spread[spread["value_num"].notna()]
    pairs = numbers[["attribute", "instrument"]].drop_duplicates().astype(object)
    pairs["folded"] = fold(pairs["instrument"])
    named = pairs[pairs["folded"].notna()].merge(
        scale, left_on=["attribute", "folded"], right_on=["measures", "folded"]
    )
    own = pairs[pairs["folded"].isna() & (pairs["attribute"].map(attributes["kind"]) == "scale")]
    unnamed = own.drop(columns="folded").merge(scale, left_on="attribute", right_on="measures")
    known = pd.concat([named, unnamed])[["attribute", "instrument", "low", "high", "preference"]]
    for column in ("attribute", "instrument"):
        known[column] = known[column].astype(numbers[column].dtype)
    read = numbers.merge(known, on=["attribute", "instrument"])
    read = read[read["value_num"].between(read["low"], read["high"])]
    mean = read.groupby(["key", "level", "attribute", "preference"], observed=True, as_index=False)["value_num"].mean()
    mean = mean.rename(columns={"value_num": "value"})
    bands = instruments.assign(preference=instruments.groupby(["folded", "measures"])["line"].transform("min"))
    mean["target"], mean["state"], mean["word"] = None, None, None
    for preference, rows in bands.groupby("preference"):
        chosen = mean["preference"] == preference
        rows = rows.sort_values("low")
        place = np.searchsorted(rows["low"].to_numpy(), mean.loc[chosen, "value"].to_numpy(), side="right") - 1
        for column in ("target", "state", "word"):
            mean.loc[chosen, column] = rows[column].to_numpy()[place]
    return mean


def _states(spread: pd.DataFrame, attributes: pd.DataFrame, words: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Columns of states and of their severities, by utterance."""
    common = _domain(words, "state")
    said = spread[spread["value"].notna()]
    pairs = said[["attribute", "value"]].drop_duplicates().astype(object)
    pairs = pairs[pairs["attribute"].map(attributes["kind"]) == "state"]
    folded = fold(pairs["value"])
    pairs["vote"] = [
        {"present": 1, "absent": -1}.get(own.get(word, common.get(word, "")), 0)
        for own, word in (
            (_domain(words, attribute), word) for attribute, word in zip(pairs["attribute"], folded, strict=True)
        )
    ]
    pairs = pairs[pairs["vote"] != 0]
    for column in ("attribute", "value"):
        pairs[column] = pairs[column].astype(said[column].dtype)
    votes = said.merge(pairs, on=["attribute", "value"])
    votes["authority"] = votes["source"].map(lambda source: AUTHORITY.get(source, ONESELF)).astype(int)
    counted = votes.groupby(["key", "attribute", "authority", "level"], observed=True, as_index=False)["vote"].sum()
    counted = counted[counted["vote"] != 0].sort_values("level", ascending=False)  # an even vote says nothing
    counted = counted.drop_duplicates(["key", "attribute", "authority"])
    counted["value"] = np.where(counted["vote"] > 0, "present", "absent")
    banded = scores[scores["target"].fillna("") != ""].sort_values(["level", "preference"], ascending=[False, True])
    banded = banded.drop_duplicates(["key", "target"])
    scored = banded.rename(columns={"attribute": "measured", "target": "attribute"})
    scored = scored[scored["state"] != ""].assign(authority=SCORE, value=lambda frame: frame["state"])
    both = pd.concat([counted.astype({"attribute": object}), scored])[["key", "attribute", "authority", "value"]]
    final = both.sort_values("authority").drop_duplicates(["key", "attribute"])
    wide = final.pivot(index="key", columns="attribute", values="value")
    beside = banded[banded["word"] != ""].merge(
        final, left_on=["key", "target"], right_on=["key", "attribute"], suffixes=("", "_final")
    )
    contradicts = (beside["value_final"] == "absent") & (beside["state"] == "present")
    contradicts |= (beside["value_final"] == "present") & beside["word"].isin(LOWEST_WORDS)
    severity = beside[~contradicts].pivot(index="key", columns="target", values="word")
    return wide.join(severity.add_suffix("_severity"), how="outer")


def _categories(spread: pd.DataFrame, attributes: pd.DataFrame, words: pd.DataFrame) -> pd.DataFrame:
    """Columns of categories, by utterance."""
    said = spread[spread["value"].notna()]
    pairs = said[["attribute", "value"]].drop_duplicates().astype(object)
    pairs = pairs[pairs["attribute"].map(attributes["kind"]) == "category"]
    pairs["word"] = [
        _category(attribute, word, _domain(words, attribute), attributes["allowed"].get(attribute))
        for attribute, word in zip(pairs["attribute"], fold(pairs["value"]), strict=True)
    ]
    pairs = pairs[pairs["word"].notna() & (pairs["word"] != "")]
    for column in ("attribute", "value"):
        pairs[column] = pairs[column].astype(said[column].dtype)
    rows = said.merge(pairs, on=["attribute", "value"])
    authority = {
        source: 0 if source == "acted" else AUTHORITY.get(source, ONESELF) for source in rows["source"].unique()
    }
    rows["authority"] = rows["source"].map(authority).astype(int)
    keys = ["key", "attribute", "level", "authority", "word"]
    counted = rows.groupby(keys, observed=True, as_index=False).size()
    counted = counted.sort_values(["level", "authority", "size", "word"], ascending=[False, True, False, True])
    return counted.drop_duplicates(["key", "attribute"]).pivot(index="key", columns="attribute", values="word")


def _category(attribute: str, word: str, own: pd.Series, allowed: object) -> str | None:
    if word in own.index:
        return str(own[word])
    if isinstance(allowed, str):
        return word if word in allowed.split("|") else None
    if attribute != "age_range":
        return word
    bounds = re.fullmatch(r"(\d+) ?[-–] ?(\d+)", word)
    return f"{bounds[1]}-{bounds[2]}" if bounds else None


def _aged(wide: pd.DataFrame, born: pd.Series) -> pd.DataFrame:
    exact = wide["age"].where(wide["age"].between(0, 110))
    turned = pd.to_datetime(wide["recorded_on"]).dt.year - wide["speaker_id"].map(born)
    turned = turned.where(turned.between(1, 110))
    bounds = (
        wide.get("age_range", pd.Series(index=wide.index, dtype=object)).str.extract(r"^(\d+)-(\d+)$").astype(float)
    )
    bounds = bounds.where((bounds[0] <= bounds[1]) & (bounds[1] <= 110))
    wide["age_low"] = exact.fillna(turned - 1).fillna(bounds[0])
    wide["age_high"] = exact.fillna(turned).fillna(bounds[1])
    return wide
