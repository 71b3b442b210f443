"""The tables that `make test` ends with: what each recipe read, and which test covers which trap.

They are made from the tests that ran, by way of their recorded properties, so they also come through pytest-xdist.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter

from pipelines.corpora._base import corpora
from tests import s3 as storage

os.environ.pop("SLAP_RAW", None)  # the tests are of the recipes, not of the cohorts that somebody has
for name in [name for name in os.environ if name.startswith("SLAP_LLM_")]:
    os.environ.pop(name)  # no test asks somebody's paid language model
os.environ.pop("SLAP_STORE", None)  # nor writes into somebody's bucket
os.environ["SLAP_EMBEDDERS"] = "slap,control,untrained,mel-statistics,random,wavlm-base"  # the last one is absent
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a network


@pytest.fixture(autouse=True)
def _record_traps(request: pytest.FixtureRequest, record_property: pytest.RecordProperty) -> None:
    for mark in request.node.iter_markers("trap"):
        for trap in mark.args:
            record_property("trap", trap)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tables",
        action="store_true",
        help="end with the tables of recipes, of the owners' own tables and of the traps",
    )


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--tables"):
        return
    recorded = list(_recorded(terminalreporter))
    counts = [value for name, value, *_ in recorded if name == "recipe"]
    terminalreporter.section("recipes, read from their miniatures")
    terminalreporter.line(f"{'corpus':24s}{'speakers':>10s}{'utterances':>12s}{'observations':>14s}{'rejects':>9s}")
    for name, *numbers in sorted(counts):
        terminalreporter.line(f"{name:24s}{numbers[0]:10d}{numbers[1]:12d}{numbers[2]:14d}{numbers[3]:9d}")
    terminalreporter.section("owners' own tables, where they are here")
    for line in sorted(value for name, value, *_ in recorded if name == "real"):
        terminalreporter.line(line)
    covered: dict[str, dict[str, str]] = {}
    for name, value, test, outcome in recorded:
        if name == "trap":
            covered.setdefault(value, {})[test.partition("[")[0]] = outcome
    terminalreporter.section("traps of the corpora, and the tests that cover them")
    for corpus in corpora().values():
        for trap, sentence in corpus.traps.items():
            tests = covered.get(f"{corpus.name}.{trap}", {})
            said = ", ".join(f"{test.rpartition('::')[2]} {outcome}" for test, outcome in sorted(tests.items()))
            terminalreporter.line(f"{corpus.name}.{trap}: {sentence}\n    {said or 'not run'}")


def _recorded(reporter: TerminalReporter) -> Iterator[tuple[str, tuple[str, int] | str, str, str]]:
    for outcome in ("passed", "failed", "error"):
        for report in reporter.stats.get(outcome, []):
            if report.when == "call" or outcome == "error":
                for name, value in report.user_properties:
                    yield name, value, report.nodeid, outcome


@pytest.fixture(scope="session")
def s3_server() -> Iterator[storage.Store]:
    """Object storage on loopback for the tests of this process."""
    with storage.served() as store:
        yield store


@pytest.fixture
def s3(s3_server: storage.Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> storage.Store:
    """Object storage with an empty bucket, told to this process and its children by the environment."""
    name = f"slap-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    storage.make_bucket(s3_server, name)
    s3_server.heal()
    s3_server.bucket = f"s3://{name}"
    told = {
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",  # nobody asks an address outside
        "SLAP_STORE_TIMEOUT": "2.5",
    }
    for variable, value in told.items():
        monkeypatch.setenv(variable, value)
    waits = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(waits, lambda *_: 0.02)  # seconds; else up to 1, 2, 4, 8
    return s3_server
