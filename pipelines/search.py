"""Voices that fit a description, over embedded corpora and folders: ``slap search``.

Corpora are shown by the warehouse's hashed utterance ids and a keyed hash of the person, never by their owners' names;
files of a user's own folder by their path in it. The page holds the sound of a hit only where the corpus' licence lets
it be passed on, or where the user asks for it of folders of their own.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmark.files import corpora_with_tars, tars_of
from pipelines import audio, ingest, meta
from pipelines.collection import CollectionError, Model, root_of
from pipelines.corpora._base import Corpus
from pipelines.settings import Settings
from pipelines.shards import tar_sha256
from slap_model import store

if TYPE_CHECKING:
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

MOST_SOUND_S = 30.0  # of a user's own file in a page; longer ones are cut
CAUTION = (
    "The score is the cosine between voice and description. It ranks voices; it says nothing about the person who "
    "speaks, and every search finds somebody, also where nobody fits. Not for diagnosis, selection or surveillance of "
    "people."
)
RENDERED = "The voices of {corpora} are rendered by a speech synthesiser: they show that the search works, no more."


@dataclass(frozen=True)
class Hit:
    """One utterance that was found.

    Attributes:
        score: cosine with the description.
        id: the hashed utterance id, or the path in a user's folder.
        corpus: a corpus, or ``own:<collection>``.
        split: train, dev or test; "" in a folder.
        person: keyed hash of who speaks; "" where it is not known.
        seconds: how long it is.
    """

    score: float
    id: str
    corpus: str
    split: str
    person: str
    seconds: float


@dataclass(frozen=True)
class Found:
    """The best hits, and what was searched.

    Attributes:
        query: the description.
        hits: best first.
        searched: utterances by corpus or collection.
        left_out: collections whose vectors are another model's.
    """

    query: str
    hits: Sequence[Hit]
    searched: dict[str, int]
    left_out: Sequence[str]


def search(
    settings: Settings,
    model: Model,
    query: str,
    *,
    within: Sequence[str] = (),
    top: int = 10,
    each: bool = False,
) -> Found:
    """The utterances whose voice fits a description best.

    Args:
        settings: names the warehouse.
        model: from `collection.load_model`; only vectors that it made are searched.
        query: a description, as "an elderly man with a hoarse voice".
        within: names of corpora and collections; empty: all.
        top: how many hits at most.
        each: every utterance by itself; else the best one of each person.

    Raises:
        CollectionError: nothing is embedded by this model, or a name has no vectors.
        NoTextError: the model was trained without language.
    """
    if not query.strip():
        raise CollectionError("say what to search for, as in: slap search 'a young woman with a breathy voice'")
    towards = model.slap.embed_text([query])[0]
    parts, left_out = [], []
    for corpus, split, frame in _of_corpora(settings, model, within):
        joint = model.slap.project(_matrix(frame["vector"]))
        parts.append(_scored(frame, joint @ towards, corpus, split))
    for file in sorted((settings.warehouse / "collections").glob("*.parquet")):
        if within and file.stem not in within:
            continue
        frame = pl.read_parquet(file).filter(pl.col("fingerprint").is_in(list(model.slap.fingerprints.values())))
        if not frame.height:
            left_out.append(file.stem)
            continue
        named = frame.select(pl.col("path").alias("utt_id"), "seconds")
        parts.append(_scored(named, _matrix(frame["projected"]) @ towards, f"own:{file.stem}", ""))
    searched = {part["corpus"][0]: 0 for part in parts}
    for part in parts:
        searched[part["corpus"][0]] += part.height
    _refuse(settings.warehouse, model, within, searched, left_out)
    rows = _with_persons(settings, pl.concat(parts)).sort("score", "id", descending=[True, False])
    if not each:
        rows = rows.unique("who", keep="first", maintain_order=True)
    hits = [Hit(**row) for row in rows.drop("who").head(top).to_dicts()]
    return Found(query, hits, searched, left_out)


def table(found: Found) -> str:
    """The hits as lines for a terminal."""
    wide = max(len(hit.corpus) for hit in found.hits)
    lines = [f"{'score':>6s}  {'corpus':{wide}s}  {'split':5s}  {'person':20s}  {'seconds':>7s}  id"]
    lines += [
        f"{hit.score:6.3f}  {hit.corpus:{wide}s}  {hit.split:5s}  {hit.person:20s}  {hit.seconds:7.1f}  {plain(hit.id)}"
        for hit in found.hits
    ]
    total = sum(found.searched.values())
    lines += ["", f"of {total} utterances in {', '.join(f'{name} ({n})' for name, n in found.searched.items())}"]
    if found.left_out:
        lines.append(f"left out, embedded by another model (slap embed does them anew): {', '.join(found.left_out)}")
    return "\n".join(lines)


# --- what is searched ---------------------------------------------------------------------------------------


def _of_corpora(settings: Settings, model: Model, within: Sequence[str]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Corpus, split, and utt_id, vector and seconds of the utterances of each tar that is embedded."""
    name = model.embedder.name
    folders = [settings.embeddings / f"{name}-{one[:12]}" for one in model.slap.fingerprints.values()]
    there = {file for folder in folders for file in store.listing(folder, "*.parquet")}
    names = [corpus for corpus in corpora_with_tars(settings.shards) if not within or corpus in within]
    tars = [tar for corpus in names for tar in tars_of(corpus, settings.shards, settings.shards_store)]
    for tar, sha256 in zip(tars, store.at_once(tar_sha256, tars), strict=True):
        files = [folder / f"{sha256[:16]}.parquet" for folder in folders]
        for file in [one for one in files if one in there][:1]:
            index = pl.read_parquet(store.source(tar.with_suffix(".parquet")), columns=["utt_id", "seconds"])
            frame = pl.read_parquet(store.source(file)).join(index, on="utt_id", how="left", maintain_order="left")
            if frame.height:
                yield tar.parent.name, tar.stem.rsplit("-", 1)[0], frame


def _refuse(
    warehouse: Path, model: Model, within: Sequence[str], searched: dict[str, int], left_out: Sequence[str]
) -> None:
    there = {name.removeprefix("own:") for name in searched}
    absent = [name for name in within if name not in there]
    if absent:
        raise CollectionError(
            f"{', '.join(absent)}: no vectors of this model ({model.slap.fingerprint[:12]}); "
            f"`slap embed --corpus {absent[0]}` makes those of a corpus, `slap embed FOLDER` those of a folder"
        )
    if not searched:
        others = f"; {', '.join(left_out)}: embedded by another model" if left_out else ""
        raise CollectionError(
            f"nothing in {warehouse} is embedded by this model ({model.slap.fingerprint[:12]}){others}: "
            "`slap embed FOLDER` or `slap embed --corpus NAME` first"
        )


def _matrix(vectors: pl.Series) -> Vectors:
    return vectors.list.to_array(len(vectors[0])).to_numpy()


def _scored(frame: pl.DataFrame, scores: Vectors, corpus: str, split: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"score": scores.astype(np.float64), "id": frame["utt_id"], "seconds": frame["seconds"]},
        schema={"score": pl.Float64, "id": pl.String, "seconds": pl.Float64},
    ).with_columns(pl.lit(corpus).alias("corpus"), pl.lit(split).alias("split"))


def _with_persons(settings: Settings, rows: pl.DataFrame) -> pl.DataFrame:
    """Add the keyed hash of the person, and ``who``: the person, or the utterance itself where nobody is known."""
    known = pl.DataFrame(schema={"id": pl.String, "person": pl.String})
    if settings.meta_db.is_file():
        from benchmark.units import keyed_hash

        key = ingest.id_key(settings.warehouse)
        query = "SELECT utt_id AS id, person_id FROM utterance JOIN speaker USING (speaker_id)"
        persons = meta.ask(settings.meta_db, query).join(rows.select("id"), on="id", how="semi")
        of = {person: keyed_hash(person, key) for person in persons["person_id"].unique()}
        hashed = pl.col("person_id").replace_strict(of, return_dtype=pl.String).alias("person")
        known = persons.select("id", hashed) if of else known
    own = pl.col("corpus").str.starts_with("own:")
    return (
        rows.join(known, on="id", how="left", maintain_order="left")
        .with_columns(pl.when(own).then(pl.lit("")).otherwise(pl.col("person").fill_null("")).alias("person"))
        .with_columns(
            pl.when(pl.col("person") == "")
            .then(pl.concat_str("corpus", "id", separator=" "))
            .otherwise("person")
            .alias("who")
        )
        .select("score", "id", "corpus", "split", "person", "seconds", "who")
    )


# --- the page -----------------------------------------------------------------------------------------------


def write_page(settings: Settings, found: Found, target: Path, *, own_sound: bool = False) -> int:
    """Write the hits as one page that needs nothing else; returns how many can be heard.

    Args:
        settings: names warehouse and corpora.
        found: from `search`.
        target: the page.
        own_sound: put the sound of the user's own files into it.
    """
    heard, rows = 0, []
    for rank, hit in enumerate(found.hits, 1):
        sound = _sound(settings, hit, own_sound)
        heard += isinstance(sound, bytes)
        rows.append(_row(rank, hit, sound))
    synthetic = set(meta.synthetic_corpora(settings.meta_db)) if settings.meta_db.is_file() else set()
    rendered = sorted(synthetic & {hit.corpus for hit in found.hits})
    notes = [CAUTION, *([RENDERED.format(corpora=", ".join(rendered))] if rendered else [])]
    page = PAGE.format(
        query=html.escape(found.query),
        notes="".join(f"<p>{html.escape(note)}</p>" for note in notes),
        total=sum(found.searched.values()),
        rows="\n".join(rows),
        day=date.today().isoformat(),
    )
    store.write(target, page.encode())
    return heard


def _row(rank: int, hit: Hit, sound: bytes | str) -> str:
    if isinstance(sound, bytes):
        label = html.escape(f"Hit {rank} of {hit.corpus}")
        data = base64.b64encode(sound).decode()
        cell = f'<audio controls preload="none" aria-label="{label}" src="data:audio/flac;base64,{data}"></audio>'
    else:
        cell = f'<span class="silent">{html.escape(sound)}</span>'
    fields = (hit.corpus, hit.split, hit.person, f"{hit.seconds:.1f}", plain(hit.id))
    cells = "".join(f"<td>{html.escape(field)}</td>" for field in fields)
    return f'<tr><th scope="row">{rank}</th><td>{hit.score:.3f}</td>{cells}<td>{cell}</td></tr>'


def _sound(settings: Settings, hit: Hit, own_sound: bool) -> bytes | str:
    """A FLAC, or why there is none."""
    if hit.corpus.startswith("own:"):
        return _own_sound(settings, hit) if own_sound else "your own file: --own-sound puts it here"
    corpus = settings.corpora.get(hit.corpus)
    if corpus is None:
        return "no sound: the corpus has no recipe here, so its licence is not known"
    return _why_silent(corpus) or _from_shard(settings, hit)


def _why_silent(corpus: Corpus) -> str:
    licence = corpus.licence
    if not licence.may_redistribute:
        return f"no sound: the licence of {corpus.name} ({licence.name}) does not let it be passed on"
    if licence.expires is not None and date.today() > licence.expires:
        return f"no sound: the licence of {corpus.name} expired on {licence.expires.isoformat()}"
    return ""


def _from_shard(settings: Settings, hit: Hit) -> bytes | str:
    index = settings.shards / hit.corpus / "index.parquet"  # of all tars, here: no request to a store for each of them
    if index.is_file():
        found = pl.scan_parquet(index).filter(utt_id=hit.id).select("shard", "offset", "size").collect()
        for shard, offset, size in found.iter_rows():
            return store.read(settings.shards_store / hit.corpus / shard, offset, size)
    return "no sound: it is in no shard any more"


def _own_sound(settings: Settings, hit: Hit) -> bytes | str:
    root = root_of(settings.warehouse / "collections" / f"{hit.corpus.removeprefix('own:')}.parquet")
    if root is None or not (root / hit.id).resolve().is_relative_to(root):
        return "no sound: the folder is not known"
    try:
        wave = audio.load(root / hit.id)
        return audio.encode_flac(wave[: math.ceil(MOST_SOUND_S * 16_000)], 16_000)
    except audio.AudioError as error:
        return f"no sound: {error}"


def plain(name: str) -> str:
    """A name without what would move a terminal's cursor."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in name)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; media-src data:; style-src 'unsafe-inline'">
<title>{query} - SLAP search</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
caption {{ text-align: left; }}
th, td {{ border-bottom: 1px solid #8888; padding: .4rem .6rem; text-align: left; vertical-align: middle; }}
td:nth-child(2), td:nth-child(6) {{ font-variant-numeric: tabular-nums; text-align: right; }}
td:nth-child(5), td:nth-child(7) {{ font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere; }}
.note {{ border-left: 4px solid #b60; padding: .1rem 1rem; }}
.silent {{ font-size: .9em; }}
</style>
</head>
<body>
<main>
<h1>{query}</h1>
<div class="note" role="note">{notes}</div>
<div class="wide" role="region" aria-label="Hits" tabindex="0">
<table>
<caption>The best of {total} utterances, {day}</caption>
<thead><tr><th scope="col">Rank</th><th scope="col">Cosine</th><th scope="col">Corpus</th><th scope="col">Split</th>
<th scope="col">Person</th><th scope="col">Seconds</th><th scope="col">Utterance</th><th scope="col">Sound</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
</main>
</body>
</html>
"""
