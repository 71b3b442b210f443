"""Follow one score back: predictions, checkpoint, manifest, shards, raw files. Each hash is checked on the way.

What changed since the score was written is said. Raw files appear by hash only: their names may hold names of people.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmark.embed import shard_hash
from benchmark.evaluate import Score, code_hash, task_hash
from benchmark.task import TaskError, load_tasks, rows
from slap_model.manifest import Manifest, ManifestError, withdrawn_on

SHOWN = 5  # hashes of raw files


class TraceError(ValueError):
    """There is nothing to follow; the message says what there is instead."""


def trace_score(warehouse: Path, name: str) -> str:
    """Everything a score was made from, as text.

    Args:
        warehouse: its folder.
        name: ``<embedder>/<task>.<mode>``, e.g. ``slap/ewa_db_parkinson.probe``.

    Raises:
        TraceError: no such score; the message names the nearest ones.
    """
    score = _find(warehouse / "scores", name)
    trace = _Trace(name)
    _number(trace, score)
    _task_and_code(trace, score)
    if score.status == "ok":
        _predictions(trace, warehouse, name, score)
    if score.hashes.get("manifest"):
        _checkpoint(trace, warehouse, score)
        _manifest(trace, warehouse, score)
    else:
        trace.head("checkpoint", "none: this embedder was not trained on a manifest")
    _audio(trace, warehouse, score)
    return trace.text()


class _Trace:
    """The lines so far, and what was found to differ."""

    def __init__(self, title: str) -> None:
        self.lines = [title]
        self.findings: list[str] = []

    def head(self, title: str, text: str) -> None:
        self.lines += ["", f"{title:<12} {text}"]

    def line(self, label: str, text: str) -> None:
        self.lines.append(f"  {label:<10} {text}")

    def check(self, label: str, text: str, problem: str) -> None:
        """A line with its verdict: ok, or the problem, which is said again at the end."""
        self.line(label, f"{text}  {'<- ' + problem if problem else 'ok'}".strip())
        if problem:
            self.findings.append(problem)

    def text(self) -> str:
        if not self.findings:
            return "\n".join([*self.lines, "", "All that was checked is as it was when the score was written."])
        return "\n".join(
            [*self.lines, "", "Not as it was when the score was written:", *(f"- {f}" for f in self.findings)]
        )


def _find(folder: Path, name: str) -> Score:
    """The score of that name; only names that were listed are ever opened."""
    files = {f"{file.parent.name}/{file.stem}": file for file in sorted(folder.glob("*/*.json"))}
    if not files:
        raise TraceError(f"no scores in {folder}: run the benchmark first (`make demo`, or `slap run`)")
    if name not in files:
        near = difflib.get_close_matches(name, files, n=3, cutoff=0.5) or list(files)[:3]
        raise TraceError(f"no score {name!r} among {len(files)}; near it: {', '.join(near)}")
    try:
        return Score(**json.loads(files[name].read_text()))
    except (TypeError, json.JSONDecodeError) as error:
        raise TraceError(f"{files[name]}: not a score ({error}); evaluate again") from error


def _number(trace: _Trace, score: Score) -> None:
    if score.status == "ok":
        value = (
            f"macro-F1 {score.macro_f1:.3f} [{score.macro_f1_low:.3f}, {score.macro_f1_high:.3f}], "
            f"F1 {score.f1:.3f}, AUROC {score.auroc:.3f}; "
            f"{score.n} units of {score.n_speakers} test speakers, prevalence {score.prevalence:.2f}"
        )
    else:
        value = f"missing: {score.reason}"
    trace.head("score", value)
    if score.synthetic:
        trace.line("voices", "synthetic: rendered by espeak-ng; the score says nothing about people")
    trace.line("embedder", f"{score.embedder}, fingerprint {score.fingerprint}")
    trace.line("key", f"{score.key} (hash of all that the score depends on)")


def _task_and_code(trace: _Trace, score: Score) -> None:
    now = next((task for task in load_tasks() if task.name == score.task), None)
    stated = score.hashes.get("task", "")
    problem = "" if now and task_hash(now, score.prompt_language) == stated else "its row in tasks.toml is not the one that was scored"
    trace.check("task", f"{score.task} on corpus {score.corpus}, {stated}", problem)
    stated = score.hashes.get("code", "")
    trace.check("code", stated, "" if stated == code_hash() else "the benchmark's code is not the one that scored")


def _predictions(trace: _Trace, warehouse: Path, name: str, score: Score) -> None:
    file = warehouse / "predictions" / f"{name}.parquet"
    trace.head("predictions", file.relative_to(warehouse).as_posix())
    stated = score.hashes.get("predictions", "")
    trace.check("sha256", stated, _problem("predictions", file, stated, "the score was written"))


def _problem(what: str, file: Path, stated: str, since: str) -> str:
    if not file.is_file():
        return f"{what} absent"
    return "" if shard_hash(file) == stated else f"{what} changed since {since}"


def _checkpoint(trace: _Trace, warehouse: Path, score: Score) -> None:
    """The checkpoint whose weights have the score's fingerprint."""
    found = _weights(warehouse / "checkpoints", score)
    if found is None:
        trace.head("checkpoint", "absent")
        trace.check("weights", score.fingerprint, "no checkpoint has these weights; it was removed or trained on")
        return
    folder, card = found
    trace.head("checkpoint", folder.relative_to(warehouse).as_posix())
    trace.check("weights", score.fingerprint, "")
    trace.line("step", f"{card['step']} of {card['steps']}, {card['samples_seen']} samples seen, seed {card['seed']}")


def _weights(checkpoints: Path, score: Score) -> tuple[Path, Mapping[str, Any]] | None:
    """Of the checkpoints trained on the score's manifest, the one with its fingerprint; the newest is tried first."""
    from safetensors import SafetensorError

    from slap_model.model import CheckpointError, Slap

    for file in sorted(checkpoints.glob("*/step-*/checkpoint.json"), key=lambda file: file.parent.name, reverse=True):
        card = json.loads(file.read_text())
        if card["manifest"] != score.hashes["manifest"]:
            continue
        try:
            if Slap.from_checkpoint(file.parent).fingerprint == score.fingerprint:
                return file.parent, card
        except (CheckpointError, SafetensorError, OSError):
            continue  # weights that do not load are not those of the score
    return None


def _manifest(trace: _Trace, warehouse: Path, score: Score) -> None:
    """What the training read: shards, facts, captions and vectors, each against the hash in the manifest."""
    stated = score.hashes["manifest"]
    file = warehouse / "manifests" / f"{stated[:12]}.json"
    trace.head("manifest", file.relative_to(warehouse).as_posix())
    try:
        manifest = Manifest.load(file)
    except ManifestError as error:
        trace.check("hash", stated, f"manifest broken: {error}" if file.is_file() else "manifest absent")
        return
    trace.check("hash", stated, "" if manifest.hash == stated else "manifest changed since training")
    trace.line("trained on", f"{', '.join(manifest.shares)}; languages {', '.join(manifest.trained_on['languages'])}")
    if day := withdrawn_on(file):
        trace.line("withdrawn", f"{day}: a speaker of its shards; the training had heard the speaker")
    content = json.loads(file.read_text())
    trace.check("shards", *_listed_shards(manifest))
    for name in ("facts", "captions", "vectors"):
        part = content[name]
        problem = _problem(name, warehouse / part["path"], part["sha256"], "training")
        trace.check(name, f"{part['path']} {part['sha256']}", problem)
    split = score.hashes.get("split", "")
    leak = "not the split of the training: someone tested may have been trained on"
    trace.check("split", split, "" if split == content["split"] else leak)


def _listed_shards(manifest: Manifest) -> tuple[str, str]:
    """How many tars the manifest lists, and how many are absent or not those of their index."""
    wrong = [
        str(shard["path"]) for shard in manifest.shards if _index_hash(manifest.root / shard["path"]) != shard["sha256"]
    ]
    samples = sum(shard["samples"] for shard in manifest.shards)
    text = f"{len(manifest.shards)} tars, {samples} utterances, hashes against their indexes"
    return text, f"{len(wrong)} absent or changed since training, first {wrong[0]}" if wrong else ""


def _index_hash(tar: Path) -> str:
    """The hash that a tar's index keeps; empty where tar or index are absent."""
    index = tar.with_suffix(".parquet")
    if not (tar.is_file() and index.is_file()):
        return ""
    return dict(pl.read_parquet_metadata(index)).get("sha256", "")


def _audio(trace: _Trace, warehouse: Path, score: Score) -> None:
    """The tars of the task's corpus that were tested, and the raw files they were made from."""
    tars = sorted((warehouse / "shards" / score.corpus).glob("test-*.tar"))
    trace.head("audio", f"shards/{score.corpus}: {len(tars)} tars of the test split")
    trace.line("data", f"{score.hashes.get('data', '')} (labels and audio when the score was written)")
    indexed = [tar for tar in tars if tar.with_suffix(".parquet").is_file()]
    wrong = [tar.name for tar in tars if _index_hash(tar) != shard_hash(tar)]
    problem = f"{len(wrong)} are not those of their index, first {wrong[0]}" if wrong else ""
    trace.check("tars", f"{len(tars)}, bytes against their indexes", problem if tars else "test shards absent")
    if not indexed:
        return
    index = pl.concat(pl.read_parquet(tar.with_suffix(".parquet"), columns=["utt_id", "raw_sha256"]) for tar in indexed)
    tested = _tested(warehouse / "meta.db", score.task)
    if tested is not None:
        index = index.filter(pl.col("utt_id").is_in(tested.implode()))
    whose = "of the task" if tested is not None else "of the corpus (meta.db cannot say which of them the task asks)"
    files = index["raw_sha256"].unique().sort()
    trace.line("raw files", f"{len(files)}, for {index.height} test utterances {whose}; sha256")
    for digest in files.head(SHOWN):
        trace.line("", digest)
    if len(files) > SHOWN:
        trace.line("", f"and {len(files) - SHOWN} more")


def _tested(meta_db: Path, task: str) -> pl.Series | None:
    """The utterances of a task's test split as the warehouse has them now; None where it cannot say."""
    known = {one.name: one for one in load_tasks()}
    if task not in known or not meta_db.is_file():
        return None
    try:
        return rows(known[task], meta_db).filter(split="test")["utt_id"]
    except (TaskError, duckdb.Error):
        return None
