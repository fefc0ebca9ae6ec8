"""From a model of the config to what reaches it, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_llmeval.engines.engine import Engine
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.adopted import adopted_backing, api_key_of, fetch_for_health, no_digest
from pytest_llmeval.run.managed import managed_backing
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.health import check_health

#: Engines whose server we start ourselves.
MANAGED = ("embedded", "llama-server")

#: Where a fake engine answers: nowhere.
FAKE_URL = "fake:"

#: Where an engine of another package answers that has no address.
NO_URL = ""


def backing_of(
    model: ModelConfig, config: Config, cache: Path, say: Callable[[str], None]
) -> Backing:
    """Everything a live model needs; nothing is started here. Raises ConfigError."""
    if model.engine in MANAGED and model.gguf is not None:
        return managed_backing(model, cache, say)
    if model.engine == "fake":
        return fake_backing(model, model.script)
    return adopted_backing(model, config)


def fake_backing(model: ModelConfig, script: Path | None = None) -> Backing:
    """The same for the fake engine, which plays every model of a dry run. Raises ConfigError."""
    from pytest_llmeval.engines.fake import FakeEngine, load_script  # not for real models

    rules = load_script(script) if script else ()

    def make(_: str) -> Engine:
        return FakeEngine(rules, slots=model.slots, remember=False)

    return Backing(make_server=None, make_engine=make, url=FAKE_URL, digest=no_digest)


def in_flight(model: ModelConfig, slots: int, *, timed: bool, dry_run: bool) -> int:
    """How many requests are under way at once.

    One more than there are slots keeps a server busy during the client's round trip; a fake engine
    has no round trip, and an exact model gets one request at a time. A model whose latency decides
    something (`timed`) has no request waiting at its server.
    """
    if model.exact:
        return 1
    return slots if timed or dry_run or model.engine == "fake" else slots + 1


def what_computes(model: ModelConfig) -> str:
    """One line for the header: what does the work behind a model."""
    if model.engine == "embedded":
        return "embedded: CPU only; for your GPU use engine: llama-server"
    if model.engine == "llama-server" and model.url is None:
        layers = model.gpu_layers
        return "llama-server" if layers is None else f"llama-server, gpu_layers: {layers}"
    if model.engine == "fake":
        return "fake: no model at all"
    if model.url is None:
        return f"{model.engine}, an engine of another package"
    return f"{model.engine} at {model.url}, adopted: never started or stopped here"


def is_healthy(config: Config, name: str, url: str) -> bool:
    """Whether the server of a model, found at `url`, says right now that it is healthy."""
    if url in {FAKE_URL, NO_URL}:
        return True
    key = api_key_of(config.models[name], config)
    return check_health(fetch_for_health, url.removesuffix("/v1"), key).ready
