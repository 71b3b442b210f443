"""The results for other programs: CSV, Parquet, JSON, mteb's own shape, and whom to cite.

Written beside the page, into the folder of the reports:

``leaderboard.csv``, ``.parquet``  one row a score: all numbers, and its hashes as columns ``hash_<what>``
``leaderboard.json``  the same, with means, paired comparisons, transfers, confound flags and what is absent
``mteb/results/<embedder>/<revision>/<task>.<mode>.json``, ``model_meta.json``  as mteb's ResultCache keeps them:
    ``mteb.ResultCache("reports/mteb").load_results()`` reads them, and a board can take them
``citation.bib``, ``CITATION.cff``  the paper, this software and each corpus that has a score

Aggregates only: no row is about one person. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from benchmark import citation
from benchmark.citation import Source
from benchmark.confounds import flags
from benchmark.files import as_parquet
from benchmark.results import Results
from benchmark.score import MODES, Score
from slap_model.store import write as put

ORGANISATION = "slap-benchmark"  # mteb wants organisation/name of every model
OOD = ("ood_corpus", "ood_language", "ood_label")
HASHES = ("manifest", "split", "data", "task", "code", "predictions")

# mteb writes a language as ISO 639-3 and ISO 15924; a language that is not here is left out there.
LANGUAGES: Mapping[str, str] = {
    "ar": "ara-Arab",
    "ca": "cat-Latn",
    "cs": "ces-Latn",
    "cmn": "cmn-Hans",
    "cy": "cym-Latn",
    "da": "dan-Latn",
    "de": "deu-Latn",
    "el": "ell-Grek",
    "en": "eng-Latn",
    "eo": "epo-Latn",
    "es": "spa-Latn",
    "eu": "eus-Latn",
    "fa": "fas-Arab",
    "fi": "fin-Latn",
    "fr": "fra-Latn",
    "hi": "hin-Deva",
    "hu": "hun-Latn",
    "it": "ita-Latn",
    "ja": "jpn-Jpan",
    "ko": "kor-Hang",
    "lg": "lug-Latn",
    "nl": "nld-Latn",
    "pl": "pol-Latn",
    "pt": "por-Latn",
    "ro": "ron-Latn",
    "ru": "rus-Cyrl",
    "rw": "kin-Latn",
    "sk": "slk-Latn",
    "sv": "swe-Latn",
    "sw": "swa-Latn",
    "ta": "tam-Taml",
    "tr": "tur-Latn",
    "tw": "twi-Latn",
    "uk": "ukr-Cyrl",
    "zh": "zho-Hans",
}


def write(
    results: Results,
    out: Path,
    *,
    absent: Mapping[str, str],
    sources: Mapping[str, Source],
    transfers: pl.DataFrame | None = None,
) -> None:
    """Write all exports into ``out``; what an earlier call wrote there and is not written again goes.

    Args:
        results: of the board.
        out: folder of the reports.
        absent: by corpus, why it takes no part.
        sources: by corpus, how it wants to be cited; corpora without a score are left out of the citations.
        transfers: from `benchmark.transfer.read_transfers`.
    """
    kept = sorted(results.scores.values(), key=lambda s: (s.embedder, s.mode, s.task))
    frame = table(kept)
    put(out / "leaderboard.csv", _as_csv(frame))
    put(out / "leaderboard.parquet", as_parquet(frame))
    put(out / "leaderboard.json", _as_json(document(results, absent=absent, transfers=transfers)))
    shutil.rmtree(out / "mteb", ignore_errors=True)
    for path, content in mteb_files(kept, results.languages).items():
        put(out / "mteb" / "results" / path, _as_json(content))
    scored = {score.corpus for score in kept if score.status == "ok"}
    cited = {corpus: source for corpus, source in sources.items() if corpus in scored}
    put(out / "citation.bib", citation.bibtex(cited).encode())
    put(out / "CITATION.cff", citation.cff(cited).encode())


_CURVE = pl.Struct({name: pl.Float64() for name in ("n_speakers", "macro_f1", "low", "high")})
_LISTS: Mapping[str, pl.DataType] = {"seeds": pl.List(pl.Float64()), "learning_curve": pl.List(_CURVE)}
_PLAIN = {"str": pl.String(), "bool": pl.Boolean(), "int": pl.Int64(), "float": pl.Float64()}


def table(scores: Sequence[Score]) -> pl.DataFrame:
    """One row a score; hashes are columns, lists stay lists, and a mapping is JSON."""
    columns = _columns()
    rows = []
    for score in scores:
        row = vars(score)
        hashes = {f"hash_{name}": score.hashes.get(name, "") for name in HASHES}
        rows.append({name: _json_of_mapping(row[name]) for name in columns if name in row} | hashes)
    return pl.DataFrame(rows, schema=columns)


def _columns() -> dict[str, pl.DataType]:
    """Name and type of each column, by the fields of `Score`: one that is null everywhere has its type too."""
    columns: dict[str, pl.DataType] = {}
    for name, kind in Score.__annotations__.items():
        if name != "hashes":
            columns[name] = _LISTS.get(name) or _PLAIN.get(str(kind).partition(" ")[0], pl.String())
    return {**columns, **{f"hash_{name}": pl.String() for name in HASHES}}


def _json_of_mapping(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value


def document(
    results: Results,
    *,
    absent: Mapping[str, str],
    transfers: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """What ``leaderboard.json`` holds; means and comparisons are those of the page. See `write` for the arguments."""
    return {
        "software": {"name": "slap", "version": citation.software_version()},
        "synthetic": any(score.synthetic for score in results.scores.values()),
        "tasks": [{name: value for name, value in asdict(task).items() if name != "prompts"} for task in results.tasks],
        "scores": [vars(score) for score in results.scores.values()],
        "means": [
            {"track": track, "stratum": stratum, "embedder": embedder, "mode": mode, **asdict(mean)}
            for track in results.tracks
            for stratum, tasks in results.strata(track).items()
            for embedder, mode in results.runs
            if (mean := results.mean(embedder, mode, tasks)) is not None
        ],
        "comparisons": [
            {"track": track, **asdict(one), "verdict": one.verdict}
            for track, tasks in results.tracks.items()
            for mode in MODES
            for one in results.comparisons(mode, tasks)
        ],
        "transfers": [] if transfers is None else transfers.to_dicts(),
        "flags": {task: [asdict(one) for one in found] for task, found in flags(list(results.scores.values())).items()},
        "absent": dict(absent),
    }


def mteb_files(scores: Sequence[Score], languages: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Path below mteb's ``results`` -> content, of the scores that have numbers.

    The revision is the embedder's fingerprint, that of the data set is the hash of labels and audio. ``main_score`` is
    macro-F1, which mteb calls ``f1``; F1 of the positive class is ``f1_positive``.

    Args:
        scores: of any embedders and tasks.
        languages: by task, the primary subtag of its language.
    """
    files: dict[str, dict[str, Any]] = {}
    for score in (score for score in scores if score.status == "ok"):
        language = LANGUAGES.get(languages.get(score.task, ""))
        folder = f"{ORGANISATION}__{score.embedder}/{score.fingerprint}"
        files[f"{folder}/{score.task}.{score.mode}.json"] = _task_result(score, [language] if language else [])
        files.setdefault(f"{folder}/model_meta.json", _model_meta(score.embedder, score.fingerprint))
    return files


def _task_result(score: Score, languages: list[str]) -> dict[str, Any]:
    """A result as `mteb.TaskResult.to_disk` writes it; null for what mteb measures of itself."""
    plain = {
        name: value
        for name, value in vars(score).items()
        if isinstance(value, (int, float)) and name not in (*OOD, "f1")
    }
    return {
        "dataset_revision": score.hashes.get("data", ""),
        "task_name": f"{score.task}.{score.mode}",
        "mteb_version": None,
        "scores": {
            "test": [
                {
                    **plain,
                    "main_score": score.macro_f1,
                    "f1": score.macro_f1,
                    "f1_positive": score.f1,
                    "ood": {name: getattr(score, name) for name in OOD},
                    "hf_subset": "default",
                    "languages": languages,
                }
            ]
        },
        "evaluation_time": None,
        "kg_co2_emissions": None,
        "date": None,
    }


def _model_meta(embedder: str, fingerprint: str) -> dict[str, Any]:
    """A model as mteb describes one; null for what a score does not know."""
    unknown = (
        "loader",
        "release_date",
        "languages",
        "n_parameters",
        "memory_usage_mb",
        "max_tokens",
        "embed_dim",
        "license",
        "open_weights",
        "public_training_code",
        "public_training_data",
        "similarity_fn_name",
        "use_instructions",
        "training_datasets",
    )
    return {
        "name": f"{ORGANISATION}/{embedder}",
        "revision": fingerprint,
        **dict.fromkeys(unknown),
        "framework": [],
        "modalities": ["audio"],
    }


def _as_csv(frame: pl.DataFrame) -> bytes:
    """CSV has no lists: they are written as JSON."""
    as_text = [
        pl.Series(name, [None if v is None else json.dumps(v) for v in frame[name].to_list()], pl.String())
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.List)
    ]
    return frame.with_columns(as_text).write_csv().encode()


def _as_json(content: object) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
