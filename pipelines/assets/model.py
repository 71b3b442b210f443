"""The manifest, and the trainings that read it: children of this process, which report back while they run."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

import slap_model
from pipelines import manifest as manifests
from pipelines import meta, same_audio
from pipelines.assets import common
from pipelines.assets.captions import training_corpora
from pipelines.corpora._base import corpora
from pipelines.resources import Slap
from pipelines.settings import Settings
from slap_model import config
from slap_model.manifest import Manifest

# Folder of checkpoints -> what it changes of the run's configuration.
TRAININGS = {
    "slap": (),
    "control": ("loss.contrastive_weight=0.0",),  # the same model and data without language
}


@dg.asset(
    deps=["text_vectors", *(f"{name}_shards" for name in corpora())],
    group_name="training",
    kinds={"json"},
)
def manifest(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """What training reads, by hash: shards, facts, captions and vectors."""
    from slap_model.text import TextTower, vectors_path

    settings = slap.settings()
    same_audio.write(settings.meta_db, settings.shards)
    tower = TextTower(config.load(settings.config, settings.overrides).text.tower)
    try:
        path, content = manifests.write(
            settings.warehouse,
            training_corpora(settings),
            vectors=vectors_path(tower, settings.captions_folder),
            tower=tower.name,
            split_hash=meta.split_hash(settings.meta_db),
        )
    except manifests.EmptyManifestError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    current(settings).write_text(path.name)
    samples = sum(shard["samples"] for shard in content["shards"])
    hours = sum(shard["seconds"] for shard in content["shards"]) / 3600
    context.log.info(f"{samples} utterances, {hours:.2f} h of {len(content['shares'])} corpora: {path.name}")
    return dg.MaterializeResult(
        metadata={
            "utterances": samples,
            "hours": round(hours, 3),
            "corpora": ", ".join(content["shares"]),
            "shards": len(content["shards"]),
            "path": dg.MetadataValue.path(str(path)),
        }
    )


def training_asset(name: str) -> dg.AssetsDefinition:
    """The training ``name`` of `TRAININGS` as an asset."""

    @dg.asset(
        name=name,
        deps=["manifest"],
        group_name="training",
        kinds={"pytorch"},
        pool="gpu",
        description={
            "slap": "SLAP: contrastive loss against the captions' vectors plus masked autoencoder.",
            "control": "The same model, data and steps without language (contrastive weight 0).",
        }[name],
    )
    def trained(
        context: dg.AssetExecutionContext, slap: Slap, pipes: dg.PipesSubprocessClient
    ) -> dg.MaterializeResult[None]:
        settings = slap.settings()
        path = settings.warehouse / "manifests" / current(settings).read_text()
        overrides = [*settings.overrides, *TRAININGS[name]]
        out = run_folder(settings, name)
        done = finished(out)
        if not done:
            command = [sys.executable, "-m", "slap_model.train", "--config", settings.config]
            command += ["--manifest", str(path), "--out", str(out)]
            command += [part for override in overrides for part in ("--set", override)]
            with observed(context, name, out / "metrics.jsonl"):
                pipes.run(command=command, context=context)
        log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        last = log[-1]
        context.log.info(
            f"step {last['step']:.0f}: loss {last['loss']:.3f}, {last['clips_per_second']:.0f} clips/s"
            + (" (unchanged)" if done else "")
        )
        return dg.MaterializeResult(
            metadata={
                **{key: round(value, 5) for key, value in last.items()},
                "loss_curve": dg.MetadataValue.md(curve(log)),
                "checkpoint": dg.MetadataValue.path(str(out)),
                "manifest": path.stem,
            }
        )

    return trained


def current(settings: Settings) -> Path:
    """The file that names the manifest of this run."""
    return settings.warehouse / "manifests" / "current"


def run_folder(settings: Settings, name: str) -> Path:
    """Where a training's checkpoints lie: named by everything that the weights depend on."""
    values = config.load(settings.config, [*settings.overrides, *TRAININGS[name]]).as_dict()
    manifest_file = settings.warehouse / "manifests" / current(settings).read_text()
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update(Manifest.load(manifest_file).hash.encode())
    for source in sorted(Path(slap_model.__path__[0]).glob("*.py")):
        digest.update(source.read_bytes())
    return settings.warehouse / "checkpoints" / f"{name}-{digest.hexdigest()[:12]}"


def finished(out: Path) -> bool:
    """Whether the newest checkpoint of a run is its last."""
    cards = sorted(out.glob("step-*/checkpoint.json"))
    if not cards:
        return False
    card = json.loads(cards[-1].read_text())
    return bool(card["step"] == card["steps"])


@contextmanager
def observed(context: dg.AssetExecutionContext, name: str, metrics: Path) -> Iterator[None]:
    """While training runs, turn each new line of its metrics into an observation: Dagster plots them as curves."""
    stop = threading.Event()

    def follow() -> None:
        seen = len(metrics.read_text().splitlines()) if metrics.is_file() else 0
        while True:
            last_look = stop.wait(2.0)
            lines = metrics.read_text().splitlines() if metrics.is_file() else []
            for line in lines[seen:]:
                context.log_event(dg.AssetObservation(name, metadata=json.loads(line)))
            seen = len(lines)
            if last_look:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def curve(log: list[dict[str, float]], points: int = 12) -> str:
    """The loss at evenly spaced steps, as a Markdown table."""
    import polars as pl

    losses = [name for name in ("loss", "contrastive", "mae", "ranked") if name in log[-1]]
    rows = log[:: max(1, len(log) // points)] + ([log[-1]] if (len(log) - 1) % max(1, len(log) // points) else [])
    frame = pl.DataFrame([{name: round(row[name], 4) for name in ("step", *losses)} for row in rows])
    return common.markdown(frame, rows=2 * points).value or ""


slap, control = (training_asset(name) for name in TRAININGS)
