"""Follow one score back: predictions, checkpoint, manifest, shards, raw files. Each hash is checked on the way.

A transfer is followed likewise, on both of its corpora. What changed since the number was written is said. Raw files
appear by hash only: their names may hold names of people.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmark import confounds, units
from benchmark import transfer as transfers
from benchmark.evaluate import code_hash, task_hash
from benchmark.files import file_hash, tars_of
from benchmark.score import Score, read_scores
from benchmark.task import TaskError, Transfer, load_tasks, load_transfers, rows, transfer_tasks
from slap_model import store
from slap_model.manifest import Manifest, ManifestError, withdrawn_on

SHOWN = 5  # hashes of raw files
TRANSFER = "transfer"  # stands between embedder and name of a transfer


class TraceError(ValueError):
    """There is nothing to follow; the message says what there is instead."""


def trace_score(
    warehouse: Path, name: str, id_key: bytes | None = None, large: Path | None = None, hashed: bool = False
) -> str:
    """Everything a score was made from, as text.

    Args:
        warehouse: its folder.
        name: ``<embedder>/<task>.<mode>``, e.g. ``slap/ewa_db_parkinson.probe``, or
            ``<embedder>/transfer/<transfer>/<corpus learned from>-><corpus judged>``.
        id_key: secret of the hashes of persons; without it, the hash of labels and audio cannot be checked.
        large: where shards and manifests lie; None: in the warehouse.
        hashed: whether to read all tars, those of the training and those on an object store, too. Without, the former
            are told by their indexes and the latter by their sizes: other bytes of the same size are not seen.

    Raises:
        TraceError: no such score; the message names the nearest ones.
    """
    large = large or warehouse
    if name.split("/")[1:2] == [TRANSFER]:
        return _trace_transfer(warehouse, name, id_key, large, hashed)
    score = _find(warehouse / "scores", name)
    trace = _Trace(name, hashed)
    _number(trace, score)
    _task_and_code(trace, score)
    _prompts(trace, score)
    if score.status == "ok":
        _predictions(trace, warehouse, name, score)
    _training(trace, warehouse, score, large)
    folds = score.protocol == "folds"
    _audio(trace, warehouse, score.corpus, score.task, "*" if folds else "test-*", large)
    _data(trace, warehouse, score, id_key, large)
    return trace.text()


def _training(trace: _Trace, warehouse: Path, score: Score, large: Path) -> None:
    """Checkpoint and manifest of an embedder, where it has them."""
    if score.hashes.get("manifest"):
        _checkpoint(trace, warehouse, score)
        _manifest(trace, large, score)
    elif score.embedder in confounds.NAMES:
        trace.head(
            "checkpoint", f"none: a confound, which is told {confounds.WHAT[score.embedder]} and hears no speech"
        )
    else:
        trace.head("checkpoint", "none: this embedder was not trained on a manifest")


class _Trace:
    """The lines so far, and what was found to differ; ``hashed``: whether all tars are read."""

    def __init__(self, title: str, hashed: bool) -> None:
        self.lines, self.hashed = [title], hashed
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
    if score.status == "ok" and score.protocol == "folds":
        trace.line("protocol", _folds(score))
    if score.chance_p is not None:
        trace.line("by chance", f"p = {score.chance_p:.2g} that scores which know nothing of the label do as well")
    for property_, auroc in (score.told_by or {}).items():
        trace.line("told by", f"{property_}, AUROC {auroc:.2f} alone")
    trace.line("embedder", f"{score.embedder}, fingerprint {score.fingerprint}")
    trace.line("key", f"{score.key} (hash of all that the score depends on)")


def _folds(score: Score) -> str:
    """In words, how a task without a split of its own judged all its persons."""
    if score.mode == "zero-shot":
        return "folds: every person judged; zero-shot learns from nobody"
    times = "once" if score.repeats == 1 else f"{score.repeats} times"
    return f"folds, {times}: every person judged by a probe that never heard the person"


def _task_and_code(trace: _Trace, score: Score) -> None:
    now = next((task for task in load_tasks() if task.name == score.task), None)
    stated = score.hashes.get("task", "")
    problem = (
        ""
        if now and task_hash(now, score.prompt_language) == stated
        else "its row in tasks.toml is not the one that was scored"
    )
    trace.check("task", f"{score.task} on corpus {score.corpus}, {stated}", problem)
    stated = score.hashes.get("code", "")
    trace.check("code", stated, "" if stated == code_hash() else "the benchmark's code is not the one that scored")


def _prompts(trace: _Trace, score: Score) -> None:
    """The sentences that zero-shot asked with, as they are now; `_task_and_code` says whether they changed."""
    task = next((task for task in load_tasks() if task.name == score.task), None)
    if score.prompt_language is None or task is None:
        return
    chosen_on = "training split" if score.protocol == "split" else "other folds, most often"
    trace.head("prompts", f"{score.n_prompts or 'no'} pairs, language {score.prompt_language}: no / yes")
    for number, (no, yes) in enumerate(task.prompts.get(score.prompt_language, ())):
        best = f"  (best on the {chosen_on})" if number == score.best_prompt else ""
        trace.line(str(number), f"{no} / {yes}{best}")


def _predictions(trace: _Trace, warehouse: Path, name: str, score: Score) -> None:
    file = warehouse / "predictions" / f"{name}.parquet"
    trace.head("predictions", file.relative_to(warehouse).as_posix())
    stated = score.hashes.get("predictions", "")
    trace.check("sha256", stated, _problem("predictions", file, stated, "the score was written"))


def _problem(what: str, file: Path, stated: str, since: str) -> str:
    if not store.exists(file):
        return f"{what} absent"
    return "" if file_hash(file) == stated else f"{what} changed since {since}"


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
            if score.fingerprint in Slap.from_checkpoint(file.parent).fingerprints.values():
                return file.parent, card
        except (CheckpointError, SafetensorError, OSError):
            continue  # weights that do not load are not those of the score
    return None


def _manifest(trace: _Trace, large: Path, score: Score) -> None:
    """What the training read: shards, facts, captions and vectors, each against the hash in the manifest."""
    stated = score.hashes["manifest"]
    file = large / "manifests" / f"{stated[:12]}.json"
    trace.head("manifest", file.relative_to(large).as_posix())
    try:
        manifest = Manifest.load(file)
    except ManifestError as error:
        trace.check("hash", stated, f"manifest broken: {error}" if store.exists(file) else "manifest absent")
        return
    trace.check("hash", stated, "" if manifest.hash == stated else "manifest changed since training")
    trace.line("trained on", f"{', '.join(manifest.shares)}; languages {', '.join(manifest.trained_on['languages'])}")
    if day := withdrawn_on(file):
        trace.line("withdrawn", f"{day}: a speaker of its shards; the training had heard the speaker")
    content = json.loads(store.content(file))
    trace.check("shards", *_listed_shards(manifest, trace.hashed))
    for name in ("facts", "captions", "vectors"):
        part = content[name]
        problem = _problem(name, large / part["path"], part["sha256"], "training")
        trace.check(name, f"{part['path']} {part['sha256']}", problem)
    split = score.hashes.get("split", "")
    leak = "not the split of the training: someone tested may have been trained on"
    trace.check("split", split, "" if split == content["split"] else leak)


def _listed_shards(manifest: Manifest, hashed: bool) -> tuple[str, str]:
    """How many tars the manifest lists, and how many are absent or others, by their bytes or by their index."""
    tars = [manifest.root / shard["path"] for shard in manifest.shards]
    kept = store.at_once(_sha256 if hashed else lambda tar: _kept(tar).get("sha256"), tars)
    wrong = [shard["path"] for shard, sha256 in zip(manifest.shards, kept, strict=True) if sha256 != shard["sha256"]]
    samples = sum(shard["samples"] for shard in manifest.shards)
    how = "bytes against the manifest" if hashed else "hashes against their indexes"
    text = f"{len(manifest.shards)} tars, {samples} utterances, {how}"
    return text, f"{len(wrong)} absent or changed since training, first {wrong[0]}" if wrong else ""


def _kept(tar: Path) -> dict[str, str]:
    """What a tar's index keeps of it, hash and size; empty where tar or index are absent."""
    index = tar.with_suffix(".parquet")
    if not (store.exists(tar) and store.exists(index)):
        return {}
    return dict(pl.read_parquet_metadata(store.source(index)))


def _as_indexed(tar: Path, hashed: bool) -> bool:
    """Whether a tar is that of its index: by its bytes, on an object store by its size where it shall not be read."""
    kept = _kept(tar)
    if not (hashed or store.is_local(tar)):
        return kept.get("size") == str(store.size(tar))
    return kept.get("sha256") == _sha256(tar)


def _sha256(tar: Path) -> str | None:
    """Of the bytes that are there now; None where there are none."""
    if not store.exists(tar):
        return None
    return file_hash(tar) if store.is_local(tar) else store.sha256(tar)


def _audio(trace: _Trace, warehouse: Path, corpus: str, task: str, which: str, large: Path) -> None:
    """The tars of a corpus that were judged, and the raw files they were made from.

    Args:
        trace: the lines so far.
        warehouse: its folder.
        corpus: whose tars.
        task: of tasks.toml, which says what utterances are asked; "" for all.
        which: the beginning of the tars' names: of a split, or ``*``.
        large: where the shards lie.
    """
    split = "" if which == "*" else which.partition("-")[0]
    tars = [tar for tar in _tars(warehouse, large, [corpus])[corpus] if fnmatch(tar.stem, which)]
    trace.head("audio", f"shards/{corpus}: {len(tars)} tars of {f'the {split} split' if split else 'all splits'}")
    there = set(store.listing(large / "shards" / corpus, f"{which}.parquet"))
    indexes = [tar.with_suffix(".parquet") for tar in tars if tar.with_suffix(".parquet") in there]
    right = store.at_once(lambda tar: _as_indexed(tar, trace.hashed), tars)
    wrong = [tar.name for tar, is_right in zip(tars, right, strict=True) if not is_right]
    problem = f"{len(wrong)} are not those of their index, first {wrong[0]}" if wrong else ""
    absent = f"{split} shards absent" if split else "shards absent"
    what = "bytes" if trace.hashed or store.is_local(large) else "sizes"
    trace.check("tars", f"{len(tars)}, {what} against their indexes", problem if tars else absent)
    if not indexes:
        return
    columns = ["utt_id", "raw_sha256"]
    index = pl.concat(store.at_once(lambda file: pl.read_parquet(store.source(file), columns=columns), indexes))
    asked = _asked(warehouse / "meta.db", task, split) if task else None
    if asked is not None:
        index = index.filter(pl.col("utt_id").is_in(asked.implode()))
    if asked is not None:
        whose = "of the task"
    else:
        whose = "of the corpus" + (" (meta.db cannot say which of them the task asks)" if task else "")
    files = index["raw_sha256"].unique().sort()
    trace.line("raw files", f"{len(files)}, for {index.height} {split or 'judged'} utterances {whose}; sha256")
    for digest in files.head(SHOWN):
        trace.line("", digest)
    if len(files) > SHOWN:
        trace.line("", f"and {len(files) - SHOWN} more")


def _asked(meta_db: Path, task: str, split: str) -> pl.Series | None:
    """The utterances of a task in a split ("": in all) as the warehouse has them now; None where it cannot say."""
    known = {one.name: one for one in load_tasks()}
    if task not in known or not meta_db.is_file():
        return None
    try:
        found = rows(known[task], meta_db)
    except (TaskError, duckdb.Error):
        return None
    return found.filter(pl.col("split") == split)["utt_id"] if split else found["utt_id"]


def _data(trace: _Trace, warehouse: Path, score: Score, id_key: bytes | None, large: Path) -> None:
    """The hash of labels and audio, against what the warehouse has now."""
    stated = score.hashes.get("data", "")
    task = next((task for task in load_tasks() if task.name == score.task), None)
    trace.head("labels", f"and audio of {score.task}")
    if id_key is None or task is None or not (warehouse / "meta.db").is_file():
        trace.line("data", f"{stated} (not checked: it takes the id key, meta.db and the task)")
        return
    try:
        (now,) = units.load([task], warehouse / "meta.db", _tars(warehouse, large, [task.corpus]), id_key, ())
        problem = "" if now.hash == stated else "labels or audio are not those that were scored"
    except (TaskError, duckdb.Error, units.LeakError) as error:
        problem = f"labels cannot be read: {error}"
    trace.check("data", stated, problem)


def _tars(warehouse: Path, large: Path, corpora: Iterable[str]) -> dict[str, list[Path]]:
    return {corpus: tars_of(corpus, warehouse / "shards", large / "shards") for corpus in corpora}


# --- transfer -----------------------------------------------------------------------------------------------


def _trace_transfer(warehouse: Path, name: str, id_key: bytes | None, large: Path, hashed: bool) -> str:
    """A probe that learned on one corpus and was judged on another, followed back to both."""
    held = transfers.read_transfers(warehouse / "scores")
    said = [f"{e}/{TRANSFER}/{n}/{a}->{b}" for e, n, a, b in held.select("embedder", "name", *_PAIR).rows()]
    if not said:
        raise TraceError(
            f"no transfers in {warehouse / 'scores'}: run the benchmark first (`make demo`, or `slap run`)"
        )
    if name not in said:
        near = difflib.get_close_matches(name, said, n=3, cutoff=0.5) or said[:3]
        raise TraceError(f"no transfer {name!r} among {len(said)}; near it: {', '.join(near)}")
    row = held.row(said.index(name), named=True)
    score = next((one for one in read_scores(warehouse / "scores") if one.embedder == row["embedder"]), None)
    trace = _Trace(name, hashed)
    if row["status"] == "ok":
        trace.head(
            "transfer",
            f"{row['label']}: macro-F1 {row['macro_f1']:.3f} [{row['macro_f1_low']:.3f}, {row['macro_f1_high']:.3f}], "
            f"F1 {row['f1']:.3f}, AUROC {row['auroc']:.3f}; learned from {row['n_train_speakers']} speakers of "
            f"{row['train_corpus']}, judged on {row['n_speakers']} of {row['test_corpus']}, prevalence "
            f"{row['prevalence']:.2f}",
        )
    else:
        trace.head("transfer", f"{row['label']}: missing: {row['reason']}")
    if row["n_left_out"]:
        trace.line("left out", f"{row['n_left_out']} persons of both corpora, whom the probe did not learn from")
    if score is not None and score.synthetic:
        trace.line("voices", "synthetic: rendered by espeak-ng; the number says nothing about people")
    asked = next((one for one in load_transfers() if one.name == row["name"]), None)
    if asked is not None:
        trace.line("yes", asked.positive)
        trace.line("no", asked.negative)
    fingerprint = "" if score is None else score.fingerprint
    trace.line("embedder", f"{row['embedder']}, fingerprint {fingerprint or 'unknown: it has no score'}")
    problem = _transfer_problem(warehouse, row, asked, fingerprint, id_key, large)
    if problem is None:
        trace.line("key", f"{row['key']} (not checked: it takes the id key and meta.db)")
    else:
        trace.check("key", f"{row['key']} (weights, labels, audio, definition, code)", problem)
    if score is not None:
        _training(trace, warehouse, score, large)
    for corpus in dict.fromkeys((row["train_corpus"], row["test_corpus"])):
        _audio(trace, warehouse, corpus, "", "*", large)
    return trace.text()


_PAIR = ("train_corpus", "test_corpus")


def _transfer_problem(
    warehouse: Path,
    row: Mapping[str, Any],
    asked: Transfer | None,
    fingerprint: str,
    id_key: bytes | None,
    large: Path,
) -> str | None:
    """Whether the key of a transfer comes out again from what is there now; None where that cannot be told.

    Who of the run was trained on which corpus decides what is free to be judged as a whole. It is not kept, so each
    possibility is tried.
    """
    if asked is None:
        return "the transfer is no longer in tasks.toml"
    if id_key is None or not (warehouse / "meta.db").is_file():
        return None
    pair = [row[name] for name in _PAIR]
    tasks = {corpus: task for corpus, task in transfer_tasks(asked).items() if corpus in pair}
    tars = _tars(warehouse, large, tasks)
    for heard in ((), pair[:1], pair[1:], pair):
        try:
            found = units.load(list(tasks.values()), warehouse / "meta.db", tars, id_key, heard)
        except (TaskError, duckdb.Error, units.LeakError) as error:
            return f"labels cannot be read: {error}"
        data = dict(zip(tasks, found, strict=True))
        if transfers.key_of(fingerprint, asked, data[pair[0]], data[pair[1]]) == row["key"]:
            return ""
    return "weights, labels, audio, definition or code are not those of the number"
