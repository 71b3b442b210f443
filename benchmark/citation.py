"""Whom to cite for a report: the paper, this software, and every corpus that has a score."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

TITLE = "SLAP: from raw speech corpora to a trained model and a benchmark with intervals over speakers"
PAPER = "SLAP: Learning Speaker and Health-Related Representations from Natural Language Supervision"
AUTHORS = ("Andò", "Crabeil", "Lesage", "Riad", "Spinat")
ARXIV = "2510.01860"
YEAR = 2025


@dataclass(frozen=True)
class Source:
    """What a corpus asks to be cited as, in the words of its recipe; texts may be empty."""

    title: str
    citation: str
    homepage: str = ""


def bibtex(sources: Mapping[str, Source]) -> str:
    """The paper, the software and the corpora as BibTeX.

    Args:
        sources: by corpus, of those that have a score.
    """
    entries = [
        _entry(
            "misc",
            "slap2025",
            {
                "author": " and ".join(AUTHORS),
                "title": f"{{{PAPER}}}",
                "year": str(YEAR),
                "eprint": ARXIV,
                "archivePrefix": "arXiv",
                "url": f"https://arxiv.org/abs/{ARXIV}",
            },
        ),
        _entry("software", "slap-benchmark", {"title": f"{{{TITLE}}}", "version": software_version()}),
    ]
    for corpus, source in sorted(sources.items()):
        said = {"title": f"{{{_latex(source.title)}}}", "note": _latex(source.citation)}
        where = {"year": _year(source.citation), "url": source.homepage}
        entries.append(_entry("misc", f"corpus-{corpus}", {**said, **where}))
    return "\n".join(entries)


def cff(sources: Mapping[str, Source]) -> str:
    """A CITATION.cff (1.2.0) of a report: the software, with the paper and the corpora as references.

    Args:
        sources: by corpus, of those that have a score.
    """
    lines = [
        "cff-version: 1.2.0",
        "message: This report rests on the paper, the software and the corpora below; cite those you use.",
        f"title: {_text(TITLE)}",
        "type: software",
        f"version: {_text(software_version())}",
        "license: Apache-2.0",
        "authors:",
        "  - name: The authors of the slap repository",
        "references:",
        "  - type: article",
        f"    title: {_text(PAPER)}",
        f"    year: {YEAR}",
        f"    url: https://arxiv.org/abs/{ARXIV}",
        "    authors:",
        *(f"      - family-names: {_text(name)}" for name in AUTHORS),
        "    identifiers:",
        "      - type: other",
        f"        value: {_text(f'arXiv:{ARXIV}')}",
    ]
    for corpus, source in sorted(sources.items()):
        lines += [
            "  - type: data",
            f"    title: {_text(source.title)}",
            f"    abbreviation: {_text(corpus)}",
            "    authors:",
            f"      - name: {_text(f'The owners of {source.title}')}",
        ]
        lines += [f"    notes: {_text(source.citation)}"] if source.citation else []
        lines += [f"    url: {_text(source.homepage)}"] if source.homepage else []
    return "\n".join(lines) + "\n"


def software_version() -> str:
    """Of the installed package; 0 where it runs from a folder that was never installed."""
    try:
        return version("slap")
    except PackageNotFoundError:
        return "0"


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    said = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *said, "}"]) + "\n"


def _latex(text: str) -> str:
    """Text with LaTeX's own characters escaped."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def _year(citation: str) -> str:
    """The last year that a citation names."""
    years: Sequence[str] = re.findall(r"\b(?:19|20)\d\d\b", citation)
    return years[-1] if years else ""


def _text(text: str) -> str:
    """A text as YAML: every JSON string is one."""
    return json.dumps(text, ensure_ascii=False)
