"""What stops the graph: a person in two splits, a label that no table knows. (Licences: see `assets.corpus`.)"""

import dagster as dg
import polars as pl

from pipelines import meta, warehouse
from pipelines import same_audio as copies
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


# Check of meta_db -> what it is about, and the findings of the table `quality` that belong to it.
QUALITY = {
    "scores": (
        "Scores lie in the range of their instrument, and agree with what is stated.",
        (
            "score out of range",
            "number outside the allowed range",
            "number without a known instrument",
            "scale without a number",
            "stated state contradicts the score",
            "raters disagree evenly",
        ),
    ),
    "ages": (
        "Ages are possible and agree with birth years.",
        ("age outside 0..110", "age contradicts the birth year", "person of two birth years", "unknown age range"),
    ),
    "sexes": (
        "Sex codes agree with the median F0 of a sample of voices, and a person has one sex.",
        ("median F0 contradicts the sex code", "person of two sexes"),
    ),
    "words": (
        "Every word of the owners is in a table of the vocabulary.",
        (
            "word that no table knows, not used",
            "word that no table knows, kept as it stands",
            "language is not a BCP-47 tag",
        ),
    ),
    "people": (
        "Every speaker has recordings, and people in two corpora are known.",
        (
            "person also in another corpus",
            "speaker without an utterance",
            "observation of an unknown utterance",
            "official split cannot be used, so a hash splits the corpus",
            "official split not followed",
        ),
    ),
}


LEVELS = {"error": "error", "warning": "warn", "note": "note"}


def quality_check(name: str) -> dg.AssetChecksDefinition:
    """The check ``name`` of `QUALITY`: fails while one of its findings is an error or a warning."""
    description, belonging = QUALITY[name]

    @dg.asset_check(name=name, asset="meta_db", description=description)
    def check(slap: Slap) -> dg.AssetCheckResult:
        found = meta.findings(slap.settings().meta_db).filter(pl.col("finding").is_in(list(belonging)))
        severities = set(found["severity"])
        return dg.AssetCheckResult(
            passed=severities <= {"note"},
            severity=dg.AssetCheckSeverity.ERROR if "error" in severities else dg.AssetCheckSeverity.WARN,
            metadata={
                **{f"{level}s": found.filter(pl.col("severity") == word).height for level, word in LEVELS.items()},
                "findings": common.markdown(found),
                "what_to_do": "SELECT * FROM quality in meta.db shows an example of each; words that no table knows "
                "are in unknown_word: add rows to warehouse/vocabulary/words.csv, or leave them",
            },
        )

    return check


quality_checks = [quality_check(name) for name in QUALITY]


SAME_AUDIO = """Give the two ids one `person_id` in the recipe, or take one of the files away. This names them:

    SELECT r.samples_sha256, u.corpus, u.path
    FROM recording AS r JOIN utterance AS u USING (utt_id)
    QUALIFY count(DISTINCT u.speaker_id) OVER (PARTITION BY r.samples_sha256) > 1 ORDER BY ALL
"""


@dg.asset_check(
    asset="manifest", blocking=True, description="No recording lies under two people, least of all in two splits."
)
def same_audio(slap: Slap) -> dg.AssetCheckResult:
    """Blocks training while the same audio is in two splits under two people; warns of copies in one split."""
    found = copies.read(slap.settings().shards)
    leaks = any(finding["severity"] == "error" for finding in found)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR if leaks else dg.AssetCheckSeverity.WARN,
        metadata={
            "findings": common.markdown(pl.DataFrame(found, schema=["severity", "corpus", "finding", "n", "example"])),
            "what_to_do": dg.MetadataValue.md(SAME_AUDIO),
        },
    )


@dg.asset_check(asset="manifest", blocking=True, description="Every utterance is in one tar or is one reject.")
def nothing_lost(slap: Slap) -> dg.AssetCheckResult:
    """Blocks training while an utterance is in no tar and no reject, in two, or known to the tars alone."""
    found = meta.accounting(slap.settings().meta_db)
    lost = {name: int(found[name].sum()) for name in ("missing", "unknown", "twice")}
    return dg.AssetCheckResult(
        passed=not any(lost.values()),
        metadata={
            **{name: int(found[name].sum()) for name in ("utterances", "in_tars", "rejected")},
            **lost,
            "per_corpus": common.markdown(found, rows=found.height),
            "what_to_do": "materialize the <corpus>_shards of the corpora at the top; SELECT * FROM accounting in "
            "meta.db shows them, and the view reject says why each file was left out",
        },
    )


@dg.asset_check(asset="leaderboard", description="Every task of the paper has a score from every embedder.")
def board_complete(slap: Slap) -> dg.AssetCheckResult:
    """Warns while tasks of the paper's track are missing, and names them; a confound may have nothing to say."""
    from benchmark.confounds import NAMES
    from benchmark.score import read_scores

    missing = sorted(
        {
            f"{score.task}: {score.reason}"
            for score in read_scores(slap.settings().warehouse / "scores")
            if score.track == "paper" and score.status != "ok" and score.embedder not in NAMES
        }
    )
    return dg.AssetCheckResult(
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missing": dg.MetadataValue.md("\n".join(f"- {line}" for line in missing) or "none")},
    )
