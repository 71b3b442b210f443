"""A trained model as a folder that can be shared: ``slap export-model``.

What the card says is gathered here: the corpora from the manifest and their licences, the scores of exactly these
weights, and every hash. Whether weights may be shared is not for a program to say; what it can see is forbidden, it
refuses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import slap_model
from benchmark.files import file_hash
from benchmark.score import Score, read_scores
from pipelines.collection import Model
from pipelines.corpora._base import Licence
from pipelines.settings import store_of
from slap_model import hub, store
from slap_model.card import About, Heard, Judged, unknown
from slap_model.manifest import withdrawn_on
from slap_model.model import WEIGHTS


class RightsError(ValueError):
    """The model may not be shared, as far as a program can see; the message names the corpus and the reason."""


def export(warehouse: Path, model: Model, out: Path, *, name: str, where: str = "", licence: str = "other") -> About:
    """Write the folder: ``model.safetensors``, ``config.json`` and the model card ``README.md``.

    Args:
        warehouse: with the manifest, the corpora's cards and the scores, as far as they are there.
        model: from `collection.load_model`.
        out: a folder that holds nothing else.
        name: of the model, for people.
        where: its name on the hub, for the example; "" is the folder.
        licence: of the weights, in the hub's words.

    Raises:
        RightsError: a licence forbids training or is past its date, or somebody whose voice was heard withdrew.
        FileExistsError: the folder holds something else.
    """
    corpora = {one: corpus_card(warehouse, one) for one in model.slap.trained_on["corpora"]}
    refuse(warehouse, model, corpora, date.today())
    about = About.of(
        model.slap,
        name=name,
        where=where or out.name,
        corpora=list(_heard(corpora, _manifest(warehouse, model))),
        scores=judged(read_scores(warehouse / "scores"), model),
        hashes=_hashes(warehouse, model),
        licence=licence,
    )
    hub.write(model.slap, out, about)
    return about


def refuse(warehouse: Path, model: Model, corpora: Mapping[str, Mapping[str, Any]], today: date) -> None:
    """Raise `RightsError` where a training corpus may not be used, or a speaker of its shards withdrew."""
    for name, card in corpora.items():
        why = _licence(card).refusal(today) if card else None
        if why:
            raise RightsError(
                f"{name}: {why}, and the weights learned from it. Train without it (SLAP_ONLY), or renew the licence"
            )
    manifest = _manifest_file(warehouse, model)
    if day := withdrawn_on(manifest):
        raise RightsError(
            f"{manifest.name}: a speaker whom this model heard withdrew on {day}. Train on the new manifest first"
        )


def needs_consent(about: About) -> list[str]:
    """The corpora whose owners have to be asked before the weights go anywhere."""
    return [corpus.title for corpus in about.corpora if corpus.may_redistribute is not True]


def judged(scores: Iterable[Score], model: Model) -> list[Judged]:
    """The scores of exactly these weights, in either precision."""
    ours = set(model.slap.fingerprints.values())
    return [
        Judged(
            task=score.task,
            corpus=score.corpus,
            mode=score.mode,
            split="all, by folds" if score.protocol == "folds" else "test",
            macro_f1=score.macro_f1,
            low=score.macro_f1_low,
            high=score.macro_f1_high,
            auroc=score.auroc,
            chance=score.prior_random_macro_f1,
            n_speakers=score.n_speakers,
            prevalence=score.prevalence,
            unheard_corpus=score.ood_corpus,
        )
        for score in scores
        if score.fingerprint in ours and score.macro_f1 is not None
    ]


def corpus_card(warehouse: Path, name: str) -> Mapping[str, Any]:
    """What the run noted of a corpus, its licence too; empty where the tables are gone."""
    file = warehouse / "tables" / name / "corpus.json"
    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def _licence(card: Mapping[str, Any]) -> Licence:
    values = dict(card["licence"])
    expires = date.fromisoformat(values["expires"]) if values["expires"] else None
    return Licence(**{**values, "expires": expires})


def _heard(corpora: Mapping[str, Mapping[str, Any]], manifest: Mapping[str, Any]) -> Iterable[Heard]:
    shards: Sequence[Mapping[str, Any]] = manifest.get("shards", ())
    for name, card in corpora.items():
        if not card:
            yield unknown(name)
            continue
        licence, of_it = _licence(card), [shard for shard in shards if shard["corpus"] == name]
        yield Heard(
            name=name,
            title=card["title"],
            homepage=card["homepage"],
            languages=card["languages"],
            licence=licence.name,
            licence_url=licence.url,
            access=licence.access,
            may_redistribute=licence.may_redistribute,
            synthetic=bool(card["synthetic"]),
            samples=sum(shard["samples"] for shard in of_it) if of_it else None,
            hours=sum(shard["seconds"] for shard in of_it) / 3600 if of_it else None,
            share=manifest.get("shares", {}).get(name),
        )


def _manifest_file(warehouse: Path, model: Model) -> Path:
    return store_of(warehouse) / "manifests" / f"{model.slap.card.get('manifest', 'none')[:12]}.json"


def _manifest(warehouse: Path, model: Model) -> Mapping[str, Any]:
    file = _manifest_file(warehouse, model)
    found: Mapping[str, Any] = json.loads(store.content(file)) if store.exists(file) else {}
    return found


def _hashes(warehouse: Path, model: Model) -> dict[str, str]:
    code = hashlib.sha256()
    for source in sorted(Path(slap_model.__path__[0]).glob("*.py")):
        code.update(source.read_bytes())
    return {
        "weights (SHA-256 of model.safetensors as trained)": file_hash(model.folder / WEIGHTS),
        "fingerprint (of embeddings)": model.slap.fingerprint,
        "manifest (what training read)": str(model.slap.card.get("manifest", "")),
        "split (who is in which)": str(_manifest(warehouse, model).get("split", "")),
        "code (slap_model, when this was exported)": code.hexdigest(),
    }
