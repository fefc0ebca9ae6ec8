"""From a model of the config to what reaches it, whichever engine runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_llmeval.engines.engine import Engine
from pytest_llmeval.engines.tokens import load_tokenizer
from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.adopted import (
    adopted_backing,
    api_key_of,
    health_of,
    no_digest,
    urls_of,
)
from pytest_llmeval.run.in_process import ENGINE as IN_PROCESS
from pytest_llmeval.run.in_process import in_process_backing, what_workers_compute
from pytest_llmeval.run.managed import managed_backing
from pytest_llmeval.run.models import Backing
from pytest_llmeval.run.ollama import ollama_backing, what_ollama_computes

#: Engines whose server we start ourselves.
MANAGED = ("embedded", "llama-server")

#: Where a fake engine answers: nowhere.
FAKE_URL = "fake:"

#: Where an engine of another package answers that has no address.
NO_URL = ""


def backing_of(
    model: ModelConfig,
    config: Config,
    cache: Path,
    say: Callable[[str], None],
    *,
    shared: bool = False,
) -> Backing:
    """Everything a live model needs; nothing is started here. A `shared` server may be one that
    other runs use too. Raises ConfigError.
    """
    made = _backing_of(model, config, cache, say, shared=shared)
    if model.tokenizer is None:
        return made
    try:
        return dataclasses.replace(made, tokenizer=load_tokenizer(model.tokenizer))
    except ConfigError as error:
        line = config.model_lines.get(model.name)
        raise ConfigError(f"models: {model.name}: {error}", path=config.path, line=line) from error


def _backing_of(
    model: ModelConfig, config: Config, cache: Path, say: Callable[[str], None], *, shared: bool
) -> Backing:
    if model.engine in MANAGED and model.gguf is not None:
        return managed_backing(model, cache, say, shared=shared)
    if model.engine == IN_PROCESS:
        return in_process_backing(model, cache, say)
    if model.engine == "ollama":
        return ollama_backing(model, config, say)
    if model.engine == "fake":
        return fake_backing(model, model.script)
    adopted = adopted_backing(model, config)
    if model.engine == "fireworks":  # it loads nothing that one would wait for
        return dataclasses.replace(adopted, is_loading=None)
    return adopted


def fake_backing(model: ModelConfig, script: Path | None = None) -> Backing:
    """The same for the fake engine, which plays every model of a dry run. Raises ConfigError."""
    from pytest_llmeval.engines.fake import FakeEngine, load_script  # not for real models

    rules = load_script(script) if script else ()

    def make(_: str) -> Engine:
        return FakeEngine(rules, slots=model.slots, remember=False)

    return Backing(make_server=None, make_engine=make, url=FAKE_URL, digest=no_digest)


def in_flight(model: ModelConfig, told: int | None, *, timed: bool, dry_run: bool) -> int:
    """How many requests are under way at once, where the endpoint has told so many slots.

    One more than there are slots keeps a server busy during the client's round trip; a fake engine
    has no round trip, a worker of llama-cpp-python no queue, and an exact model gets one request at
    a time. A model whose latency decides something (`timed`) has no request waiting at its server.
    Several endpoints (`told` of all) get no more than they have: one ahead would wait at one of
    them while another has a free slot.
    """
    if model.exact:
        return 1
    slots = told or model.slots
    if asked := _slots_asked_of_others(model):
        slots = min(slots, asked)
    none_ahead = timed or dry_run or model.engine in {"fake", IN_PROCESS} or model.urls
    return slots if none_ahead else slots + 1


def fewer_slots(model: ModelConfig, told: int | None) -> str | None:
    """A warning where somebody else's server has told fewer slots than were asked for."""
    asked = _slots_asked_of_others(model)
    if told is None or asked is None or told >= asked or model.exact:
        return None
    at_a_time = "1 request" if told == 1 else f"{told} requests"
    have = f"the {len(model.urls)} servers have" if model.urls else f"the server at {model.url} has"
    them = "them" if model.urls else "it"
    fewer = "as many slots as each of them has" if model.urls else f"slots: {told}"
    return (
        f"{model.name}: {asked} slots were asked for, and {have} {told}: {at_a_time} at a time "
        f"will be answered; write {fewer}, or start {them} with -np {model.asked_slots}"
    )


def _slots_asked_of_others(model: ModelConfig) -> int | None:
    """The slots that somebody wrote for servers that are not ours, of all of them together."""
    if model.url is None or model.asked_slots is None:
        return None
    return model.asked_slots * max(1, len(model.urls))


def what_computes(model: ModelConfig) -> str:
    """One line for the header: what does the work behind a model."""
    if model.engine in _COMPUTES:
        return _COMPUTES[model.engine](model)
    if model.url is None:
        return f"{model.engine}, an engine of another package"
    return _adopted(model)


def _adopted(model: ModelConfig) -> str:
    where = ", ".join(urls_of(model))
    return f"{model.engine} at {where}, adopted: never started or stopped here"


def _fireworks(model: ModelConfig) -> str:
    return f"fireworks at {model.url}{', in batches' if model.batch else ''}: not this machine"


def _llama_server(model: ModelConfig) -> str:
    if model.url is not None:
        return _adopted(model)
    layers = model.gpu_layers
    return "llama-server" if layers is None else f"llama-server, gpu_layers: {layers}"


_COMPUTES: Mapping[str, Callable[[ModelConfig], str]] = {
    "embedded": lambda _: "embedded: CPU only; for your GPU use engine: llama-server",
    "fake": lambda _: "fake: no model at all",
    "fireworks": _fireworks,
    "llama-server": _llama_server,
    "ollama": what_ollama_computes,
    IN_PROCESS: what_workers_compute,
}


def is_healthy(config: Config, name: str, url: str) -> bool:
    """Whether the server of a model, found at `url`, says right now that it is healthy; of several
    servers, whether all do.
    """
    if url in {FAKE_URL, NO_URL}:
        return True
    model = config.models[name]
    key = api_key_of(model, config)
    return all(health_of(model, each, key).ready for each in model.urls or url.split())
