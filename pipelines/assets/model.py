"""The manifest, and the trainings that read it: children of this process, which report back while they run."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

import slap_model
from pipelines import curves, meta, same_audio, shards, trainer
from pipelines import manifest as manifests
from pipelines.assets import common
from pipelines.assets.captions import training_corpora
from pipelines.corpora._base import corpora
from pipelines.resources import Slap
from pipelines.settings import Settings
from slap_model import config, store, watch
from slap_model.manifest import Manifest

# Folder of checkpoints -> what it changes of the run's configuration.
TRAININGS = {
    "slap": (),
    "control": ("loss.contrastive_weight=0.0",),  # the same model and data without language
}

# Sources of slap_model that no weight depends on: a change in them must not throw away a training of days. A file that
# is not named here counts, so that one forgotten costs a training, not a wrong result.
NO_WEIGHTS = ("__init__.py", "card.py", "hub.py", "mirror.py", "store.py", "watch.py")


@dg.asset(
    deps=["text_vectors", *(f"{name}_shards" for name in corpora())],
    group_name="training",
    kinds={"json"},
)
def manifest(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """What training reads, by hash: shards, facts, captions and vectors."""
    from slap_model.text import TextTower, vectors_path

    settings = slap.settings()
    if gone := shards.leave_out(settings.shards, corpora()):
        context.log.warning(
            f"{', '.join(gone)}: no part of this graph (a cohort whose folder is gone?): the tars stay in "
            f"{settings.shards_store} for when it is back, and nothing counts, trains on or judges by them until then; "
            "to be rid of them for good, remove the corpus' folder there and the one of its name in "
            f"{settings.shards} and {settings.tables}"
        )
    same_audio.write(settings.meta_db, settings.shards)
    tower = TextTower(config.load(settings.config, settings.overrides).text.tower)
    try:
        path, content = manifests.write(
            settings.warehouse,
            training_corpora(settings),
            vectors=vectors_path(tower, settings.captions_folder),
            tower=tower.name,
            split_hash=meta.split_hash(settings.meta_db),
            root=settings.store,
        )
    except manifests.EmptyManifestError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    store.write(current(settings), path.name.encode())
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


def current_manifest(settings: Settings) -> Path:
    """The manifest of this run."""
    return settings.manifests / store.content(current(settings)).decode()


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
    def trained(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
        settings = slap.settings()
        path = current_manifest(settings)
        model = config.load(settings.config, [*settings.overrides, *TRAININGS[name]])
        out = run_folder(settings, name)
        done = trainer.finished(out) and trainer.mirrored(settings, out)
        if not done:
            train(context, settings, name, path, out)
        shown: dict[str, Any] = {"checkpoint": dg.MetadataValue.path(str(out)), "manifest": path.stem}
        said = f"step {trainer.newest_card(out)['step']}"
        if log := watch.read(out / watch.METRICS):  # a checkpoint alone may have come from another machine
            took = curves.spent(log, model.train.batch)
            said += f": loss {log[-1]['loss']:.3f}, {took['clips_per_second']:.0f} clips/s"
            shown |= {key: float(f"{value:.5g}") for key, value in log[-1].items()} | took
            shown["curves"] = dg.MetadataValue.md(curves.picture(log, name))
            shown["loss_curve"] = common.markdown(curves.table(log))
        context.log.info(said + (" (unchanged)" if done else ""))
        return dg.MaterializeResult(metadata=shown)

    return trained


def train(context: dg.AssetExecutionContext, settings: Settings, name: str, manifest: Path, out: Path) -> None:
    """Run a training to its end as a child process, on the GPUs that are free.

    Raises:
        dg.Failure: it cannot run here, or it failed; in its own words, and not to be tried again without a change.
    """
    overrides = [*settings.overrides, *TRAININGS[name]]
    model = config.load(settings.config, overrides)
    try:
        trainer.refuse_if_hopeless(settings, TRAININGS[name])
        with (
            trainer.claimed(trainer.visible_gpus(model), settings.gpus) as gpus,
            observed(context, name, out / watch.METRICS, model.train.steps),
        ):
            run(context, trainer.command(settings, overrides, manifest, out, len(gpus)), gpus)
    except (config.ConfigError, watch.TooSlowError, trainer.NoGpuError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def run(context: dg.AssetExecutionContext, command: list[str], gpus: list[str]) -> None:
    """A child process that reports to this step; ended with it, after its checkpoint.

    Dagster's own client is not used, because it says no more of a child that failed than its status, leaves one
    that is slow to stop running, and sends a signal that one of several processes may take for the second.

    Raises:
        dg.Failure: it ended with an error.
    """
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=dg.PipesTempFileMessageReader(),
    ) as session:
        process = subprocess.Popen(
            command,
            env={**os.environ, **session.get_bootstrap_env_vars(), **trainer.environment(gpus)},
            stderr=subprocess.PIPE,
            # torchrun puts its processes into sessions of their own; Ctrl-C in a terminal then reaches it twice,
            # from there and from here, and the second one stops it from waiting for them.
            start_new_session=len(gpus) > 1,
        )
        assert process.stderr is not None
        words = trainer.LastWords(process.stderr)
        try:
            status = process.wait()
        except BaseException:  # the run is cancelled, mostly
            context.log.info("the training is asked to stop: it ends its step and writes a checkpoint")
            trainer.stop(process)
            raise
        if status:
            raise dg.Failure(words.why(status), allow_retries=False)


def current(settings: Settings) -> Path:
    """The file that names the manifest of this run."""
    return settings.manifests / "current"


def run_folder(settings: Settings, name: str) -> Path:
    """Where a training's checkpoints lie: named by everything that the weights depend on."""
    from slap_model.train import NOTES, WORK

    values = config.load(settings.config, [*settings.overrides, *TRAININGS[name]]).as_dict()
    values["train"] = {key: value for key, value in values["train"].items() if key not in (*WORK, *NOTES)}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update(Manifest.load(current_manifest(settings)).hash.encode())
    for source in weight_sources(Path(slap_model.__path__[0])):
        digest.update(source.read_bytes())
    return settings.warehouse / "checkpoints" / f"{name}-{digest.hexdigest()[:12]}"


def weight_sources(package: Path) -> list[Path]:
    """The sources that a training's weights depend on: all but `NO_WEIGHTS`, so that a new one counts at first."""
    return [source for source in sorted(package.glob("*.py")) if source.name not in NO_WEIGHTS]


@contextmanager
def observed(context: dg.AssetExecutionContext, name: str, metrics: Path, steps: int) -> Iterator[None]:
    """While training runs, turn lines of its metrics into observations, which Dagster plots as curves.

    At most `curves.MOST` of them: each is a row of Dagster's database. Lines of an earlier run that a resumed one is
    about to drop are not told: it puts a new file in the place of the old one first.
    """
    stop = threading.Event()

    def number() -> int:
        return metrics.stat().st_ino if metrics.is_file() else 0

    def follow(before: int, told: float) -> None:
        while True:
            last_look = stop.wait(2.0)
            log = watch.read(metrics) if number() not in (0, before) else []
            for line in log:
                if line["step"] >= told + steps / curves.MOST or told < line["step"] == steps:
                    context.log_event(dg.AssetObservation(name, metadata=line))
                    told = line["step"]
            if last_look:
                return

    start = trainer.newest_card(metrics.parent).get("step", 0)
    thread = threading.Thread(target=follow, args=(number(), start), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


slap, control = (training_asset(name) for name in TRAININGS)
