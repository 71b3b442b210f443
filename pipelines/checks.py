"""What stops the graph: a person in two splits, a label that no table knows. (Licences: see `assets.corpus`.)"""

import dagster as dg

from pipelines import warehouse
from pipelines.assets import common
from pipelines.resources import Slap


@dg.asset_check(asset="meta_db", blocking=True, description="No person is in two splits.")
def one_split_per_person(slap: Slap) -> dg.AssetCheckResult:
    """Blocks while a person's utterances lie in more than one split."""
    persons = warehouse.persons_in_two_splits(slap.settings().meta_db)
    return dg.AssetCheckResult(
        passed=persons == 0,
        metadata={
            "persons_in_two_splits": persons,
            "what_to_do": "look at table person_split in meta.db; remove the person's rows from tables/split.parquet",
        },
    )


@dg.asset_check(asset="meta_db", blocking=True, description="Every label is in the vocabulary.")
def labels_known(slap: Slap) -> dg.AssetCheckResult:
    """Blocks while a corpus uses an attribute, a state or a word for sex that no vocabulary table knows."""
    unknown = warehouse.unknown_labels(slap.settings().meta_db)
    return dg.AssetCheckResult(
        passed=not unknown,
        metadata={
            "unknown": dg.MetadataValue.md("\n".join(f"- {finding}" for finding in unknown) or "none"),
            "what_to_do": "add the word to warehouse/vocabulary/words.csv or attributes.csv, or mend the recipe",
        },
    )


@dg.asset_check(asset="meta_db", description="Every cohort in the raw folder is part of this graph.")
def cohorts_in_graph(slap: Slap) -> dg.AssetCheckResult:
    """Warns of cohorts that came after the graph was made, or lie in the folder that the resource's ``raw`` names."""
    settings = slap.settings()
    missing = common.left_out(settings)
    return dg.AssetCheckResult(
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "cohorts_without_assets": ", ".join(missing) or "none",
            "what_to_do": f"set SLAP_RAW={settings.raw} where Dagster is started, and reload the code location",
        },
    )


@dg.asset_check(asset="leaderboard", description="Every task of the paper has a score from every embedder.")
def board_complete(slap: Slap) -> dg.AssetCheckResult:
    """Warns while tasks of the paper's track are missing, and names them."""
    from benchmark.evaluate import read_scores

    missing = sorted(
        {
            f"{score.task}: {score.reason}"
            for score in read_scores(slap.settings().warehouse / "scores")
            if score.track == "paper" and score.status != "ok"
        }
    )
    return dg.AssetCheckResult(
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missing": dg.MetadataValue.md("\n".join(f"- {line}" for line in missing) or "none")},
    )
