"""The warehouse and its peer in pandas come to the same facts, on generated tables with every rule in them."""

from pathlib import Path

import duckdb
import pytest

from pipelines import warehouse
from tests import houses
from tests.perf.generate import generate

HOME = Path(__file__).parents[2] / "warehouse"


@pytest.mark.parametrize("rows_a_part", [warehouse.OBSERVATIONS_PER_PART, 3000])
def test_same_facts_as_in_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_a_part: int) -> None:
    pandas_peer = pytest.importorskip("tests.perf.pandas_peer")
    monkeypatch.setattr(warehouse, "OBSERVATIONS_PER_PART", rows_a_part)  # 3000: each corpus in shares of its people
    corpora = generate(tmp_path / "tables", 4000)
    houses.build(tmp_path, corpora)
    peer = pandas_peer.normalise(tmp_path / "tables", corpora, HOME / "vocabulary")
    with duckdb.connect(str(tmp_path / "meta.db"), read_only=True) as con:
        facts = con.sql("FROM facts").df().set_index("utt_id")
        severities = con.sql("FROM fact WHERE attribute LIKE '%\\_severity' ESCAPE '\\'").df()
    assert len(facts) == len(peer) == 4000
    compared = 0
    for column in facts.columns.intersection(peer.columns).difference(["speaker_id"]):
        ours, theirs = facts[column], peer[column].reindex(facts.index)
        assert (ours.isna() == theirs.isna()).all(), column
        assert (ours[ours.notna()].round(9) if ours.dtype.kind == "f" else ours[ours.notna()]).equals(
            (theirs[theirs.notna()].round(9) if ours.dtype.kind == "f" else theirs[theirs.notna()]).astype(ours.dtype)
        ), column
        compared += 1
    assert compared >= 25
    wide = severities.pivot(index="utt_id", columns="attribute", values="value").reindex(facts.index)
    assert wide.notna().any().sum() >= 8
    for column in wide.columns.difference(["voice_severity"]):
        theirs = peer[column].reindex(facts.index)
        assert wide[column].where(wide[column].notna(), None).equals(theirs.where(theirs.notna(), None)), column
