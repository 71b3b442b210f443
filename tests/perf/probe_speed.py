"""How fast the probe is, beside scikit-learn's own grid search, and how long one embedder takes on all tasks.

    python -m tests.perf.probe_speed                     # the probe and its peer
    python -m tests.perf.probe_speed --board             # all tasks, both modes, 1,000 bootstraps

The peer is what one would write: for each task `GridSearchCV` over `StandardScaler` and a balanced
`LogisticRegression`, the same C, the same folds by person, the same balanced log loss, one BLAS thread. It uses
both cores when ``--jobs`` is 2. Both take turns; of each the shortest run counts, as wall and as processor
time, for other programs on the machine slow the first more than the second.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

TASKS_OF_CORPUS = (6, 2, 3, 5, 2, 2, 7, 5, 1, 1, 1, 1, 1, 1)  # 38 in 14, as in tasks.toml
CLIPS = 8


@dataclass(frozen=True)
class Corpus:
    """Vectors [n, d] of a corpus and, for each of its tasks, labels [n]; the last fifth of the persons are the test."""

    x: np.ndarray
    labels: Sequence[np.ndarray]
    person: np.ndarray
    test: np.ndarray


def made_up(seed: int, tasks: int, speakers: int, width: int, decay: float) -> Corpus:
    """Vectors of which the k-th axis varies by k**-decay: 0 is white noise, encoders are nearer to 0.75."""
    rng = np.random.default_rng(seed)
    everyone = speakers * 5 // 4
    person = np.repeat(np.arange(everyone), CLIPS)
    own = rng.standard_normal((everyone, width))
    labels = []
    for _ in range(tasks):
        y = rng.random(everyone) < rng.choice([0.2, 0.35, 0.5])
        own[:, rng.choice(40, 5, replace=False)] += rng.uniform(0, 2.5) * (y[:, None] - 0.5)
        labels.append(y[person].astype(np.int8))
    clips = (own[person] + 0.7 * rng.standard_normal((len(person), width))) * np.arange(1, width + 1) ** -decay
    x = clips @ np.linalg.qr(rng.standard_normal((width, width)))[0]
    return Corpus(x.astype(np.float32), labels, person.astype(str), person >= speakers)


def ours(corpora: Sequence[Corpus]) -> list[tuple[np.ndarray, float]]:
    from benchmark import probe
    from benchmark.probe import Problem, probe_many

    probe._fold_of_row.cache_clear()  # the peer deals them anew, too
    found = []
    for corpus in corpora:
        train, test = np.flatnonzero(~corpus.test), np.flatnonzero(corpus.test)
        problems = [Problem(train, y[train], corpus.person[train], test) for y in corpus.labels]
        found += [(answer.decisions, answer.strength) for answer in probe_many(corpus.x, problems)]
    return found


def peer(corpora: Sequence[Corpus], jobs: int, tolerance: float = 1e-4) -> list[tuple[np.ndarray, float]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    from benchmark.probe import FOLDS, STRENGTHS

    found = []
    with threadpool_limits(limits=1):
        for corpus in corpora:
            for y in corpus.labels:
                model = LogisticRegression(class_weight="balanced", max_iter=3000, tol=tolerance)
                grid = GridSearchCV(
                    make_pipeline(StandardScaler(), model),
                    {"logisticregression__C": STRENGTHS},
                    scoring=_balanced_log_loss,
                    cv=StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0),
                    n_jobs=jobs,
                )
                grid.fit(corpus.x[~corpus.test], y[~corpus.test], groups=corpus.person[~corpus.test])
                decisions = grid.decision_function(corpus.x[corpus.test])
                found.append((decisions, grid.best_params_["logisticregression__C"]))
    return found


def _balanced_log_loss(model: object, x: np.ndarray, y: np.ndarray) -> float:
    loss = np.logaddexp(0, np.where(y == 1, -1, 1) * model.decision_function(x))  # type: ignore[attr-defined]
    return -float(np.mean([loss[y == label].mean() for label in np.unique(y)]))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall and of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(decay: float, speakers: int, width: int, corpora: int, rounds: int, jobs: int, exact: bool) -> None:
    """Print seconds of both, the ratio, and how far F1, decisions and C are apart."""
    from sklearn.metrics import f1_score

    made = [made_up(seed, n, speakers, width, decay) for seed, n in enumerate(TASKS_OF_CORPUS[:corpora])]
    n_tasks = sum(TASKS_OF_CORPUS[:corpora])
    click.echo(f"\n{n_tasks} tasks x {speakers} speakers x {CLIPS} clips x {width}, axes falling as k**-{decay}")
    ours(made[-1:])  # imports
    times = np.array([(timed(lambda: ours(made)), timed(lambda: peer(made, jobs))) for _ in range(rounds)])
    (wall, cpu), (peer_wall, peer_cpu) = times.min(axis=0)
    each = times[:, 1, 0] / times[:, 0, 0]
    click.echo(f"  ours   {wall:7.2f} s wall  {cpu:7.2f} s processor")
    click.echo(
        f"  peer   {peer_wall:7.2f} s wall  {peer_cpu:7.2f} s processor (without its {jobs} jobs' own, if above 1)"
    )
    click.echo(f"  ratio  {peer_wall / wall:7.1f}         {peer_cpu / cpu:7.1f}    each round {each.round(1).tolist()}")
    answers = ours(made)
    truth = [y[corpus.test] for corpus in made for y in corpus.labels]
    for name, tolerance in (("as shipped", 1e-4), *((("converged", 1e-7),) if exact else ())):
        others = peer(made, jobs, tolerance)
        f1 = np.array(
            [
                [f1_score(y, one[0] > 0, average="macro") for one in pair]
                for y, *pair in zip(truth, answers, others, strict=True)
            ]
        )
        apart = np.abs(f1[:, 0] - f1[:, 1])
        same = sum(one[1] == other[1] for one, other in zip(answers, others, strict=True))
        flips = sum(int(((one[0] > 0) != (other[0] > 0)).sum()) for one, other in zip(answers, others, strict=True))
        largest, mean = apart.max(), abs(f1[:, 0].mean() - f1[:, 1].mean())
        click.echo(f"  peer {name}: same C in {same}/{len(truth)}, {flips} of {sum(map(len, truth))} decisions differ,")
        click.echo(f"    macro-F1 apart by {largest:.4f} at most and {mean:.5f} in the mean over tasks")
    click.echo(f"  C chosen: {sorted({answer[1] for answer in answers})}")


class Encoder:
    """Stands for any embedder with text; its vectors are written beforehand."""

    name, fingerprint, sample_rate = "encoder", "made up for speed", 16_000
    trained_on: dict[str, list[str]] = {"corpora": [], "languages": [], "labels": []}  # noqa: RUF012 - as the protocol has it

    def __init__(self, width: int) -> None:
        self.width = width

    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        raise AssertionError("all vectors are there")

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.random.default_rng(len(texts)).standard_normal((len(texts), self.width)).astype(np.float32)


def board(speakers: int, width: int, decay: float, studies: bool) -> None:
    """Print the seconds of a whole evaluation from cached vectors, and of the same again when nothing changed."""
    import duckdb
    import polars as pl

    from benchmark.embed import embeddings_folder
    from benchmark.evaluate import evaluate
    from benchmark.files import file_hash
    from benchmark.task import Task

    encoder = Encoder(width)
    pairs = tuple((f"a low voice, said {i}", f"a high voice, said {i}") for i in range(4))
    with tempfile.TemporaryDirectory() as folder:
        root, tasks, facts, shards = Path(folder), [], [], {}
        vectors = embeddings_folder(encoder, root / "embeddings")
        vectors.mkdir(parents=True)
        for seed, n in enumerate(TASKS_OF_CORPUS):
            corpus, name = made_up(seed, n, speakers, width, decay), f"corpus{seed}"
            ids = [f"{name}-{i:05}" for i in range(len(corpus.x))]
            facts.append(
                pl.DataFrame({f"label{k}": y for k, y in enumerate(corpus.labels)}).with_columns(
                    pl.Series("utt_id", ids),
                    pl.lit(name).alias("corpus"),
                    pl.Series("person_id", [f"{name}:{one}" for one in corpus.person]),
                    pl.Series("split", np.where(corpus.test, "test", "train")),
                    pl.lit("female").alias("sex"),
                    pl.lit(40).alias("age_low"),
                    pl.lit(40).alias("age_high"),
                    pl.lit("it").alias("language"),
                )
            )
            shards[name] = [root / f"{name}-00000.tar"]
            with tarfile.open(shards[name][0], "w") as tar:
                for one in ids:
                    tar.addfile(tarfile.TarInfo(f"{one}.flac"), io.BytesIO())
            lists = pl.Series("vector", corpus.x).cast(pl.List(pl.Float32()))
            file = vectors / f"{file_hash(shards[name][0])[:16]}.parquet"
            pl.DataFrame([pl.Series("utt_id", ids), lists]).write_parquet(file)
            for k in range(n):
                condition = (f"label{k} = 1", f"label{k} = 0")
                tasks.append(Task(f"{name}_{k}", "health", "paper", name, *condition, "speaker", "any", {"en": pairs}))
        everything = pl.concat(facts, how="diagonal")  # noqa: F841 - DuckDB reads it by name
        with duckdb.connect(root / "meta.db") as con:
            con.execute("CREATE TABLE facts AS SELECT * FROM everything").fetchall()
            con.execute("CREATE TABLE speaker AS SELECT DISTINCT corpus, person_id FROM facts").fetchall()
            con.execute("CREATE TABLE person_split AS SELECT person_id, 'hash' AS source FROM speaker").fetchall()
        places = [root / part for part in ("embeddings", "predictions", "scores")]

        def run() -> None:
            scores = evaluate(
                [encoder], tasks, root / "meta.db", shards, *places, id_key=b"only for speed", studies=studies
            )
            assert [score.status for score in scores] == ["ok"] * 2 * len(tasks), "not every task was scored"

        click.echo(f"\n1 embedder x {len(tasks)} tasks x 2 modes, {speakers} training speakers x {CLIPS} x {width}")
        for what in ("from cached vectors", "again, nothing changed"):
            wall, cpu = timed(run)
            extra = ", with seeds and learning curves" if studies else ""
            click.echo(f"  {what}{extra}: {wall:.2f} s wall, {cpu:.2f} s processor")


@click.command(help=__doc__)
@click.option(
    "--speakers", default=300, show_default=True, help="Training speakers of each corpus; a quarter more test."
)
@click.option("--width", default=768, show_default=True)
@click.option("--decay", default=(0.0, 0.75), multiple=True, show_default=True, help="How unequal the axes are.")
@click.option("--corpora", default=14, show_default=True, help="The first of the 14, to be quicker.")
@click.option("--rounds", default=2, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Processes of the peer.")
@click.option("--exact", is_flag=True, help="Also compare with a peer that converged; slow.")
@click.option("--board", "whole", is_flag=True, help="Time a whole evaluation instead.")
@click.option("--studies", is_flag=True, help="With --board: also other seeds and learning curves.")
def main(
    speakers: int,
    width: int,
    decay: Sequence[float],
    corpora: int,
    rounds: int,
    jobs: int,
    exact: bool,
    whole: bool,
    studies: bool,
) -> None:
    click.echo(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for one in decay:
        if whole:
            board(speakers, width, one, studies)
        else:
            compare(one, speakers, width, corpora, rounds, jobs, exact)


if __name__ == "__main__":
    main()
