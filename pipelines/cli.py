"""The ``slap`` command."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines import locks, trainer
from pipelines.settings import PROJECT, Mode, Settings, SettingsError, from_environment
from slap_model.config import ConfigError
from slap_model.watch import TooSlowError

if TYPE_CHECKING:
    from dagster import ExecuteInProcessResult

    from benchmark.registry import Entry
    from pipelines.corpora._base import Corpus


FAILURE = "dagster._core.definitions.events.Failure: "  # before the message of one that says what to do


@click.group()
def main() -> None:
    """From raw speech corpora to a trained SLAP and a leaderboard."""


@main.command()
def demo() -> None:
    """Run the whole graph on miniature corpora with rendered voices (no data needed, no network)."""
    _run("demo")


@main.command()
@click.argument("raw", required=False, type=click.Path(path_type=Path))
@click.option("--config", help="name in slap_model/configs, or a TOML file")
@click.option("--set", "overrides", multiple=True, metavar="section.field=value", help="change one field of it")
@click.option("--only", help="corpora to use, separated by commas")
def run(raw: Path | None, config: str | None, overrides: tuple[str, ...], only: str | None) -> None:
    """Run the whole graph on real corpora: RAW (or SLAP_RAW) holds one folder per corpus (see `slap corpora`)."""
    for name, value in (
        ("SLAP_RAW", str(raw.resolve()) if raw else None),
        ("SLAP_CONFIG", config),
        ("SLAP_SET", " ".join(overrides) or None),
        ("SLAP_ONLY", only),
    ):
        if value:
            os.environ[name] = value
    _run("real")


@main.command()
@click.option("--markdown", is_flag=True, help="as the table of the README")
def corpora(markdown: bool) -> None:
    """List the corpora that have a recipe and the cohorts in SLAP_RAW, with languages, roles and licence."""
    from pipelines.corpora import _base

    lines = corpus_table(_base.recipes().values()) if markdown else map(corpus_line, _base.corpora().values())
    for line in lines:
        click.echo(line)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Read a corpus FOLDER, yours or a known one, and say what is understood and what is wrong."""
    from pipelines import cohort
    from pipelines.corpora._base import RecipeError
    from pipelines.schema import SchemaError

    try:
        click.echo("\n".join(cohort.check(folder)))
    except (RecipeError, SchemaError) as error:
        raise click.ClickException(str(error)) from error


@main.command("new-cohort")
@click.argument("folder", type=click.Path(path_type=Path))
def new_cohort(folder: Path) -> None:
    """Write a corpus.toml to fill in into a FOLDER that holds metadata.csv (or .tsv, .xlsx, .parquet)."""
    from pipelines import cohort
    from pipelines.corpora._base import RecipeError

    try:
        path = cohort.new(folder)
    except RecipeError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{path} is written: fill it in, then `slap check {folder}`")


def corpus_line(corpus: Corpus) -> str:
    """A corpus in one line of the terminal."""
    roles, languages = ",".join(corpus.roles), ",".join(corpus.languages)
    return f"{corpus.name:22s} {languages:12s} {roles:16s} {corpus.licence.access:10s} {corpus.licence.name}"


def corpus_table(recipes: Iterable[Corpus]) -> list[str]:
    """The corpora as the lines of a Markdown table; the README's is this one."""
    yes = {True: "yes", False: "no"}
    lines = ["| Folder | Corpus | Languages | Use | Access | Licence | Redistribute |", "|---|---|---|---|---|---|---|"]
    for corpus in recipes:
        licence = corpus.licence
        title = f"[{corpus.title}]({corpus.homepage})" if corpus.homepage else corpus.title
        lines.append(
            f"| `{corpus.name}` | {title} | {', '.join(corpus.languages)} "
            f"| {', '.join(corpus.roles)} | {licence.access} | [{licence.name}]({licence.url}) "
            f"| {yes[licence.may_redistribute]} |"
        )
    return lines


CHOOSING = """\
here: loads from what is installed; slow: likewise, but a demo leaves it out; hub: its weights are downloaded first.
SLAP_EMBEDDERS=<name>,<name> chooses, mteb:<name> among them; without it, all that load from what is installed."""


@main.command()
@click.option("--markdown", is_flag=True, help="as the table of the README")
def embedders(markdown: bool) -> None:
    """List the models that the benchmark can score, with their licence and where their weights come from."""
    from benchmark.registry import ENTRIES

    entries = ENTRIES.values()
    for line in embedder_table(entries) if markdown else [*map(embedder_line, entries), "", CHOOSING]:
        click.echo(line)


def embedder_line(entry: Entry) -> str:
    """An embedder in one line of the terminal."""
    installed = "slow" if entry.slow else "here"
    here = installed if entry.offline else "hub" if entry.weights else "package absent"
    return f"{entry.name:18s} {'+'.join(entry.modes):16s} {here:14s} {entry.about}"


def embedder_table(entries: Iterable[Entry]) -> list[str]:
    """The embedders as the lines of a Markdown table; the README's is this one."""
    lines = ["| Name | What | Modes | Weights | Licence |", "|---|---|---|---|---|"]
    for entry in entries:
        weights = f"`{entry.weights}`" if entry.weights else "this run's" if entry.needs != "manifest" else "installed"
        lines.append(f"| `{entry.name}` | {entry.about} | {', '.join(entry.modes)} | {weights} | {entry.licence} |")
    return lines


@main.command()
@click.option("--estimate", is_flag=True, help="show what would be sent and what it would cost; send nothing")
@click.option("--over-budget", is_flag=True, help="whatever SLAP_LLM_BUDGET says")
def paraphrase(estimate: bool, over_budget: bool) -> None:
    """Have the language model of SLAP_LLM_MODEL write captions of the warehouse's facts, and add those that are right.

    Only sets of facts leave the machine, as attribute=value: no ids, no ages in years, no free text. What is answered
    is kept: a run that was broken off asks only for the rest.
    """
    from pipelines.assets import captions as making
    from pipelines.paraphrase.client import ModelError
    from pipelines.paraphrase.options import Options
    from pipelines.paraphrase.run import BudgetError, first_questions

    settings = _settings(None)
    if settings.paraphrase is None and not estimate:
        raise click.ClickException("set SLAP_LLM_MODEL, and SLAP_LLM_URL for an endpoint (see pipelines/settings.py)")
    if not settings.meta_db.is_file():
        raise click.ClickException(f"{settings.meta_db} is not there: run `slap run` or `slap demo` first")
    options = settings.paraphrase or Options("(no model)", url="(none)")
    if estimate:
        with tempfile.TemporaryDirectory() as scratch:  # the captions stay as they are
            making.write_templates(dataclasses.replace(settings, captions=0), Path(scratch))
            sets, _, expected = making.ahead_of_paraphrases(settings, options, Path(scratch) / "facts.parquet")
        for message in first_questions(sets[:1], settings.seed)[0].messages if sets else ():
            click.echo(f"[{message['role']}]\n{message['content']}\n")
        click.echo("\n".join(expected.lines()))
        return
    with _at_work(settings, "slap paraphrase", ("captions",)):
        making.write_templates(settings)
        try:
            making.add_paraphrases(settings, options, click.echo, over_budget=over_budget)
        except (BudgetError, ModelError) as error:
            raise click.ClickException(str(error)) from error


@main.command()
@click.argument("corpus", required=False)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="folder that holds one folder per corpus; default SLAP_RAW or warehouse/raw",
)
@click.option("--only", multiple=True, metavar="FILE", help="one file of the corpus; may be repeated")
@click.option("--accept-licence", is_flag=True, help="accept the owners' terms without being asked")
def download(corpus: str | None, to: Path | None, only: tuple[str, ...], accept_licence: bool) -> None:
    """Download CORPUS as its owners release it, or say how to get it; without CORPUS, list what there is."""
    from pipelines import download as downloads
    from pipelines.corpora._base import recipes

    try:
        if corpus is None:
            for line in downloads.listing(recipes().values()):
                click.echo(line)
            return
        if corpus not in recipes():
            raise downloads.DownloadError(f"no corpus {corpus!r}{downloads.nearest(corpus, recipes())}")
        downloads.from_terminal(recipes()[corpus], to or _settings(None).raw, only, accept_licence)
    except (downloads.DownloadError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("score", metavar="SCORE")
@click.option("--hash", "hashed", is_flag=True, help="Read all tars, from an object store, too, and hash their bytes.")
def trace(score: str, hashed: bool) -> None:
    """Follow one score back to its predictions, prompts, checkpoint, manifest, shards and raw files' hashes.

    SCORE is <embedder>/<task>.<mode>, as `slap trace slap/ewa_db_parkinson.probe`, or a transfer,
    "<embedder>/transfer/<name>/<corpus>-><corpus>" (in quotes: a shell reads the arrow as its own).
    """
    from benchmark.trace import TraceError, trace_score
    from pipelines import ingest

    settings = _settings(None)
    warehouse = settings.warehouse
    has_key = "SLAP_ID_KEY" in os.environ or (warehouse / ".id_key").is_file()
    try:
        key = ingest.id_key(warehouse) if has_key else None
        click.echo(trace_score(warehouse, score, key, settings.store, hashed))
    except TraceError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
def compare(first: str, second: str) -> None:
    """Compare two runs on the same speakers, and say what differs in where their numbers come from.

    A RUN is an embedder of this warehouse (`slap compare slap control`), another warehouse's folder (`slap compare
    slap ../old/warehouse`: the embedder of that name there), or <folder>:<embedder>. Two folders: every embedder that
    both have.
    """
    from benchmark import compare as comparing

    try:
        found = comparing.compare(first, second, _settings(None).warehouse)
    except comparing.CompareError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n\n".join(map(comparing.describe, found)))


@main.command()
@click.option("--config", help="name in slap_model/configs, or a TOML file; default SLAP_CONFIG")
@click.option("--set", "overrides", multiple=True, metavar="section.field=value", help="change one field of it")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="trainings of each arm")
@click.option("--arms", default="", help="arms to compare with the first, separated by commas; default: all")
@click.option(
    "--file", type=click.Path(path_type=Path, exists=True), help="arms of your own, as ablations.toml has them"
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="trainings at a time")
def ablate(config: str | None, overrides: tuple[str, ...], seeds: int, arms: str, file: Path | None, jobs: int) -> None:
    """Train variants of the recipe on the last run's manifest, and say which of them help on its test speakers.

    Each variant (arm) is trained with each seed into warehouse/ablations, judged zero-shot and by linear probe, and
    compared with the first arm: reports/ablations.md. What is complete is not trained again.
    """
    from benchmark import ablation
    from pipelines import ablate as ablating
    from pipelines import withdraw as withdrawing
    from pipelines.assets.benchmark import benchmark_shards, tasks
    from slap_model.config import ConfigError
    from slap_model.manifest import ManifestError

    for name, value in (("SLAP_CONFIG", config), ("SLAP_SET", " ".join(overrides) or None)):
        if value:
            os.environ[name] = value
    settings = withdrawing.of_last_run(_settings(None))
    wanted = [name.strip() for name in arms.split(",") if name.strip()]
    try:
        chosen = ablation.load_arms(file or ablation.ARMS, wanted)
        with _at_work(settings, "slap ablate", ("ablations", "manifest")):  # whose manifest it trains on
            judged = ablating.bench(settings, tasks(settings), benchmark_shards(settings))
            report, failed = ablating.ablate(settings, judged, chosen, seeds, jobs, click.echo)
    except (ablation.AblationError, ConfigError, ManifestError) as error:
        raise click.ClickException(str(error)) from error
    if report is not None:
        click.echo("\n" + report.read_text(encoding="utf-8"))
    if failed:
        raise click.ClickException(f"{failed} trainings failed (see above); the same command tries them again")


MODEL = click.option(
    "--model",
    "folder_of_model",
    type=click.Path(path_type=Path),
    help="checkpoint, run or shared folder; default: the warehouse's newest training",
)


@main.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--corpus", "corpora", multiple=True, metavar="NAME", help="a corpus of the warehouse; may be repeated")
@click.option("--all-corpora", is_flag=True, help="every corpus of the warehouse")
@click.option("--name", help="of the collection; default: the folder's")
@MODEL
def embed(
    folder: Path | None, corpora: tuple[str, ...], all_corpora: bool, name: str | None, folder_of_model: Path | None
) -> None:
    """Turn every recording below FOLDER into a vector, or those of corpora of the warehouse.

    A folder becomes warehouse/collections/<name>.parquet (path, seconds, vector, projected vector, fingerprint), for
    `slap search` or your own analysis. What is embedded already and unchanged is not embedded again. Vectors of voices
    can identify people: keep them as you keep the recordings.
    """
    from tqdm import tqdm

    from pipelines import collection

    if (folder is None) == (not corpora and not all_corpora):
        raise click.UsageError("name a FOLDER, or corpora with --corpus NAME or --all-corpora")
    settings = _settings(None)
    warehouse = settings.warehouse
    with _said():
        model = collection.load_model(warehouse, folder_of_model)
        if folder is None:
            with _at_work(settings, "slap embed", (f"slap embed {os.getpid()}",)):  # nobody may withdraw meanwhile
                tars = collection.embed_corpora(model, warehouse, corpora)
            said = f"{tars} shards are embedded"
        else:
            file = collection.collection_file(warehouse, name or folder.resolve().name)
            with tqdm(unit="file", desc="embed") as bar:

                def progress(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                done = collection.embed_folder(model, folder, file, progress=progress)
            unread = f"{done.rejects} could not be read ({done.file.with_suffix('.rejects.csv').name})"
            said = (
                f"{done.file}: {done.new} new, {done.known} known, {done.seconds / 3600:.2f} h; {unread}, "
                f"{done.others} other files were left alone"
            )
    click.echo(f"model {model.folder}, {model.slap.precision} on {model.slap.device}\n{said}")


@main.command()
@click.argument("query", metavar="DESCRIPTION")
@click.option("--in", "within", multiple=True, metavar="NAME", help="a corpus or a collection; default: all embedded")
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=1, max=200), help="hits")
@click.option("--every-utterance", is_flag=True, help="not only the best one of each person")
@click.option("--html", "page", type=click.Path(path_type=Path), help="write a page on which hits can be played")
@click.option("--own-sound", is_flag=True, help="put the sound of your own folders into the page, too")
@MODEL
def search(
    query: str,
    within: tuple[str, ...],
    top: int,
    every_utterance: bool,
    page: Path | None,
    own_sound: bool,
    folder_of_model: Path | None,
) -> None:
    """Find the voices that fit a DESCRIPTION best, as "an elderly man with a hoarse voice", in what is embedded.

    Utterances of corpora are named by their hashed ids. The page holds the sound of corpora only where their licence
    lets it be passed on.
    """
    from pipelines import collection
    from pipelines import search as searching
    from pipelines import withdraw as withdrawing

    settings = withdrawing.of_last_run(_settings(None))
    with _said():
        model = collection.load_model(settings.warehouse, folder_of_model)
        found = searching.search(settings, model, query, within=within, top=top, each=every_utterance)
        click.echo(searching.table(found))
        if page is not None:
            heard = searching.write_page(settings, found, page, own_sound=own_sound)
            click.echo(f"{page}: {heard} of {len(found.hits)} hits can be heard; it says why of the others")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--health", is_flag=True, help="ask the questions of health, too; read the warning")
@click.option("--all", "everything", is_flag=True, help="also where the model cannot be told from chance")
@click.option("--base-rate", "rates", multiple=True, metavar="NAME=SHARE", help="how common the positive side is")
@click.option("--json", "as_json", is_flag=True, help="every task, as JSON")
@MODEL
def describe(
    file: Path,
    health: bool,
    everything: bool,
    rates: tuple[str, ...],
    as_json: bool,
    folder_of_model: Path | None,
) -> None:
    """What the model hears in one recording, as probabilities with the model's errors beside them. No diagnosis."""
    import json

    from pipelines import collection
    from pipelines import describe as describing

    warehouse = _settings(None).warehouse
    with _said():
        model = collection.load_model(warehouse, folder_of_model)
        base_rates = describing.base_rates(rates)
        profile = describing.describe(warehouse, model, file, health=health, base_rates=base_rates)
    if as_json:
        click.echo(json.dumps(describing.as_json(profile), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(describing.as_text(profile, everything=everything))


@main.command("export-model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--name", default="SLAP", show_default=True, help="of the model, in its card")
@click.option("--licence", default="other", show_default=True, help="of the weights, in the hub's words (cc-by-nc-4.0)")
@click.option("--push", metavar="OWNER/MODEL", help="also upload the folder to the Hugging Face hub")
@click.option("--public", is_flag=True, help="the uploaded model may be seen by everybody")
@click.option("--owners-agree", is_flag=True, help="the owners of the corpora that it learned from were asked")
@MODEL
def export_model(
    out: Path,
    name: str,
    licence: str,
    push: str | None,
    public: bool,
    owners_agree: bool,
    folder_of_model: Path | None,
) -> None:
    """Write the model as a folder in Hugging Face's layout into OUT: weights, config.json, and a model card.

    Nothing leaves this machine without --push.
    """
    from pipelines import collection, publish
    from slap_model import hub

    warehouse = _settings(None).warehouse
    with _said():
        model = collection.load_model(warehouse, folder_of_model)
        about = publish.export(warehouse, model, out, name=name, where=push or "", licence=licence)
        click.echo(f"{out}: {', '.join(hub.FILES)} of {model.folder}, {len(about.scores)} scores in the card")
        asked = publish.needs_consent(about)
        if asked:
            click.echo(
                f"Ask before you share it: the licences of {'; '.join(asked)} do not let their audio be passed on."
            )
        if push and asked and not owners_agree:
            raise click.ClickException("not uploaded: --owners-agree says that those owners were asked")
        if push:
            click.echo(hub.push(out, push, private=not public))


@contextmanager
def _said() -> Iterator[None]:
    """What is wrong with a model or with what it is given, as one line."""
    from benchmark.embedders import EmbedderError
    from pipelines.collection import CollectionError
    from pipelines.publish import RightsError
    from pipelines.scale import EngineError
    from slap_model.model import CheckpointError, NoTextError
    from slap_model.text import TextTowerError

    try:
        yield
    except (
        CollectionError,
        RightsError,
        CheckpointError,
        NoTextError,
        TextTowerError,
        EmbedderError,
        EngineError,
        OSError,
    ) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("corpus")
@click.argument("speaker")
@click.option("--dry-run", is_flag=True, help="show what would go, and change nothing")
@click.option("--yes", is_flag=True, help="do not ask")
def withdraw(corpus: str, speaker: str, dry_run: bool, yes: bool) -> None:
    """Remove SPEAKER of CORPUS (the owner's id, or a speaker_id) from everything that runs have made, for good.

    The whole person goes, in all corpora. It is refused while a run is on. A command that was broken off is run again.
    """
    from pipelines import withdraw as withdrawing
    from pipelines.corpora._base import corpora as recipes
    from pipelines.withdrawals import WithdrawalError

    settings = withdrawing.of_last_run(_settings(None))
    known = sorted({*recipes(), *(card.parent.name for card in settings.tables.glob("*/corpus.json"))})
    if corpus not in known:
        raise click.ClickException(f"no corpus {corpus!r}; known: {', '.join(known)}")
    try:
        with nullcontext() if dry_run else _at_work(settings, "slap withdraw"):
            found = withdrawing.find(settings, corpus, speaker)
            for line in withdrawing.describe(found):
                click.echo(line)
            if dry_run:
                return
            if not yes:
                click.confirm("\nRemove all of this? It cannot be undone", abort=True)
            row = withdrawing.remove(settings, found)
    except withdrawing.UnknownSpeakerError as error:
        gone = withdrawing.row_of(settings, corpus, speaker)
        if gone is None:
            raise click.ClickException(str(error)) from error
        click.echo(f"withdrawn on {gone.finished}: nothing of the speaker is left in {settings.warehouse}")
        return
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    except (WithdrawalError, sqlite3.OperationalError, OSError) as error:
        raise click.ClickException(
            f"{error}; mend the cause (is Dagster running?) and run the command again"
        ) from error
    click.echo(f"\nRemoved on {row.finished}; listed, without a name, in {settings.warehouse / 'withdrawals.csv'}")
    click.echo("The next run makes anew what was computed with the speaker, and trains on the shards that are left.")


@contextmanager
def _at_work(settings: Settings, what: str, steps: tuple[str, ...] = ()) -> Iterator[None]:
    """Keep runs from making the same meanwhile, or say in one line that one is at work; see `pipelines.locks`."""
    from pipelines import leftovers

    with ExitStack() as stack:
        try:
            stack.enter_context(locks.held(settings.warehouse, what, steps))
            leftovers.clear(settings)
        except (locks.InUseError, OSError) as error:
            raise click.ClickException(str(error)) from error
        yield


def _settings(mode: Mode | None) -> Settings:
    try:
        return from_environment(mode or ("real" if os.environ.get("SLAP_RAW") else "demo"))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def _run(mode: Mode) -> None:
    """Run the job of a mode in this process, with Dagster's instance at the project's root."""
    settings = _settings(mode)
    try:
        locks.refuse(settings.warehouse)  # the run itself takes the lock; what it says when refused is long
        settings.claim()
        if mode == "real":
            trainer.refuse_at_once(settings)
    except (locks.InUseError, SettingsError, ConfigError, TooSlowError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"the warehouse cannot be written to: {error}") from error
    started = time.monotonic()
    click.echo(f"raw corpora: {settings.raw}\nwarehouse:   {settings.warehouse}\nmodel:       {settings.config}\n")
    result = _execute("demo" if mode == "demo" else "run")
    if not result.success:
        for step, message in _failures(result):
            click.secho(f"{step}: {message}", fg="red", err=True)
        raise click.ClickException("the run stopped; mend the cause and start again: what is complete is not redone")
    from benchmark.report import first_part

    board = settings.reports / "leaderboard.md"
    click.echo("\n" + first_part(board.read_text(encoding="utf-8")))
    click.echo(f"{time.monotonic() - started:.0f} s. The page: {board.with_suffix('.html')}; all as text: {board}")


def _execute(job: str) -> ExecuteInProcessResult:
    import dagster as dg

    for category in (dg.BetaWarning, dg.PreviewWarning):
        warnings.simplefilter("ignore", category)
    from pipelines.definitions import definitions

    os.chdir(PROJECT)  # dagster.yaml names its folders relative to the root
    (PROJECT / ".dagster").mkdir(exist_ok=True)
    os.environ.setdefault("DAGSTER_HOME", str(PROJECT))
    with dg.DagsterInstance.get() as instance:
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance, raise_on_error=False, run_config=None
        )


def _failures(result: ExecuteInProcessResult) -> list[tuple[str, str]]:
    """Step and message of each failure; of the run where it could not begin."""
    failures = []
    failed = result.get_step_failure_events() or [result.get_run_failure_event()]
    for event in failed:
        error = (event.step_failure_data if event.step_key else event.job_failure_data).error
        # below what Dagster wraps around it, and above its own causes: the sentence that was written to be read
        while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
            error = error.cause
        message = str(error.message if error else "unknown")
        failures.append((event.step_key or "run", message.removeprefix(FAILURE).strip()))
    return failures


if __name__ == "__main__":
    sys.exit(main())
