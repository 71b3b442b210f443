"""Which language model writes, how fast, and for how much: read from the environment."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = {"localhost", "127.0.0.1", "::1"}


class OptionsError(ValueError):
    """Options that cannot be worked with; the message says which variable and what it should be."""


@dataclass(frozen=True)
class Options:
    """How paraphrases are made. The key of an endpoint is never held: it is read when a request is sent."""

    model: str  # the endpoint's name of it; without a URL: a folder, or a name on the Hugging Face hub
    url: str = ""  # of /chat/completions; empty: a local model
    alone: bool = False  # paraphrases instead of templates, not beside them
    parallel: int = 4  # requests under way at a time; with a local model, prompts in a batch
    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf
    timeout: float = 120.0  # seconds for one answer
    price_in: float | None = None  # money for a million tokens
    price_out: float | None = None
    budget: float | None = None  # money for one run

    @property
    def source(self) -> str:
        """The model's name, without the folders of this machine."""
        return Path(self.model).resolve().name if not self.url and Path(self.model).is_dir() else self.model

    @property
    def identity(self) -> str:
        """Under which answers are kept: the name, and of a folder what its weights begin with."""
        if self.source == self.model:
            return self.model
        digest = hashlib.sha256()
        for file in sorted(Path(self.model).glob("*.safetensors")) + sorted(Path(self.model).glob("*.json")):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
            with file.open("rb") as opened:
                digest.update(opened.read(1 << 20))
        return f"{self.source} {digest.hexdigest()[:16]}"

    def cost(self, tokens_in: int, tokens_out: int) -> float | None:
        """What so many tokens cost; None where no prices were given."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


def from_environment(environment: Mapping[str, str]) -> Options | None:
    """Options from ``SLAP_LLM_*`` (see `pipelines.settings`); None where no model is named.

    Raises:
        OptionsError: a URL without a model, a value that does not parse, a budget without prices, or a key that would
            travel in the clear.
    """

    def given(name: str) -> str:
        return (environment.get(f"SLAP_LLM_{name}") or "").strip()

    def number(name: str, default: float, least: float = 0.0) -> float:
        try:
            value = float(given(name) or default)
        except ValueError as error:
            raise OptionsError(f"SLAP_LLM_{name}={given(name)!r} is no number") from error
        if not value >= least:
            raise OptionsError(f"SLAP_LLM_{name}={given(name)!r} is below {least:g}")
        return value

    if not given("MODEL"):
        if given("URL"):
            raise OptionsError("SLAP_LLM_URL is set but SLAP_LLM_MODEL is not: name the model that the endpoint serves")
        return None
    price_in, price_out = _prices(given("PRICES"))
    budget = number("BUDGET", 0.0) if given("BUDGET") else None
    if budget is not None and given("URL") and price_in is None:
        raise OptionsError("SLAP_LLM_BUDGET needs SLAP_LLM_PRICES=<in>,<out>: money for a million tokens in and out")
    url = _address(given("URL"))
    if environment.get("SLAP_LLM_KEY") and url.startswith("http:") and urlsplit(url).hostname not in HERE:
        raise OptionsError("SLAP_LLM_URL is http: the key would travel in the clear; use https, or unset SLAP_LLM_KEY")
    parallel = number("PARALLEL", 4, least=1)
    if not parallel.is_integer():
        raise OptionsError(f"SLAP_LLM_PARALLEL={given('PARALLEL')!r} is no whole number")
    if given("ALONE") not in ("", "0", "1"):
        raise OptionsError(f"SLAP_LLM_ALONE={given('ALONE')!r} is neither 0 nor 1")
    return Options(
        model=given("MODEL"),
        url=url,
        alone=given("ALONE") == "1",
        parallel=int(parallel),
        requests_per_minute=number("RPM", math.inf, least=1),
        tokens_per_minute=number("TPM", math.inf, least=1),
        timeout=number("TIMEOUT", 120.0, least=0.1),
        price_in=price_in,
        price_out=price_out,
        budget=budget,
    )


def _prices(text: str) -> tuple[float | None, float | None]:
    if not text:
        return None, None
    try:
        price_in, price_out = map(float, text.split(","))
    except ValueError as error:
        raise OptionsError(
            f"SLAP_LLM_PRICES={text!r} is not two numbers with a comma: for a million tokens in, out"
        ) from error
    if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
        raise OptionsError(f"SLAP_LLM_PRICES={text!r} is no price")
    return price_in, price_out


def _address(url: str) -> str:
    """The address of the chat endpoint, from it, from ``.../v1`` or from the server alone."""
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionsError("SLAP_LLM_URL is no http(s) address; it should look like https://<server>/v1")
    if parts.username or parts.password or parts.query:
        raise OptionsError("SLAP_LLM_URL holds a user, a password or a query: a key belongs into SLAP_LLM_KEY")
    url = url.rstrip("/")
    if url.endswith("/chat/completions"):
        return url
    return f"{url}/chat/completions" if url.rsplit("/", 1)[-1].startswith("v") else f"{url}/v1/chat/completions"
