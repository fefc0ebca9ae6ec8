"""From a model of the config to what reaches it: a server spec, an engine, a digest, a size."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pytest_llmeval.engines.engine import Endpoint, Engine, make_engine
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.errors import ConfigError, EndpointUnreachable, LlmevalError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.memory import estimate
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.digest import file_digest
from pytest_llmeval.servers.gguf import GgufHeader, read_gguf
from pytest_llmeval.servers.health import check_health
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec

#: Engines whose server we start ourselves.
MANAGED = ("embedded", "llama-server")

#: Where a fake engine answers: nowhere.
FAKE_URL = "fake:"

#: Tokens of context per slot where nobody wrote a number: room for a page and its answer.
USUAL_CONTEXT = 4096

#: Seconds of loading after which the user is told, and the longest silence after that.
TELL_AFTER = 2.0
TELL_EVERY = 15.0

#: Seconds that a health check waits for an answer.
HEALTH_TIMEOUT = 5.0


def backing_of(
    model: ModelConfig, config: Config, cache: Path, say: Callable[[str], None]
) -> Backing:
    """Everything a live model needs; nothing is started here. Raises ConfigError."""
    if model.engine in MANAGED:
        gguf = model.gguf
        assert gguf is not None, "the config has seen to it"
        return Backing(
            make_server=partial(_server, model, say),
            make_engine=partial(_engine, model, None),
            url="",
            digest=lambda cancelled: file_digest(gguf, cache, cancelled=cancelled),
        )
    if model.engine == "fake":
        return fake_backing(model, model.script)
    url, key = model.url or "", _api_key(model, config)
    return Backing(
        make_server=None,
        make_engine=partial(_engine, model, key),
        url=url,
        digest=_no_digest,
        is_loading=lambda: check_health(_fetch, url.removesuffix("/v1"), key).state == "loading",
    )


def fake_backing(model: ModelConfig, script: Path | None = None) -> Backing:
    """The same for the fake engine, which plays every model of a dry run. Raises ConfigError."""
    from pytest_llmeval.engines.fake import FakeEngine, load_script  # not for real models

    rules = load_script(script) if script else ()

    def make(_: str) -> Engine:
        return FakeEngine(rules, slots=model.slots, remember=False)

    return Backing(make_server=None, make_engine=make, url=FAKE_URL, digest=_no_digest)


def in_flight(model: ModelConfig, slots: int, *, dry_run: bool) -> int:
    """How many requests are under way at once.

    One more than there are slots keeps a server busy during the client's round trip; a fake engine
    has no round trip, and an exact model gets one request at a time.
    """
    if model.exact:
        return 1
    return slots if dry_run or model.engine == "fake" else slots + 1


def memory_of(model: ModelConfig) -> int | None:
    """Bytes a model will take once loaded, None when it is not loaded by us or cannot be read."""
    if model.engine not in MANAGED or model.gguf is None:
        return None
    try:
        header = read_gguf(model.gguf)
    except LlmevalError:
        return None  # its server will say what is wrong, in its own place
    return estimate(
        header.size,
        slots=model.slots,
        context=context_of(model, header),
        kv_bytes_per_token=header.kv_bytes_per_token,
    )


def context_of(model: ModelConfig, header: GgufHeader) -> int:
    """Tokens of context per slot: as written, else the usual size or all that the model knows."""
    if model.context is not None:
        return model.context
    return min(USUAL_CONTEXT, header.context_length or USUAL_CONTEXT)


def what_computes(model: ModelConfig) -> str:
    """One line for the header: what does the work behind a model."""
    if model.engine == "embedded":
        return "embedded: CPU only; for your GPU use engine: llama-server"
    if model.engine == "llama-server":
        layers = model.gpu_layers
        return "llama-server" if layers is None else f"llama-server, gpu_layers: {layers}"
    if model.engine == "fake":
        return "fake: no model at all"
    return f"{model.engine} at {model.url}, adopted: never started or stopped here"


def is_healthy(config: Config, name: str, url: str) -> bool:
    """Whether the server of a model, found at `url`, says right now that it is healthy."""
    if url == FAKE_URL:
        return True
    key = _api_key(config.models[name], config)
    return check_health(_fetch, url.removesuffix("/v1"), key).ready


def _server(model: ModelConfig, say: Callable[[str], None], logs: Path) -> Server:
    return Server(_server_spec(model, logs), _fetch, report=_reporter(model.name, say))


def _server_spec(model: ModelConfig, logs: Path) -> ServerSpec:
    assert model.gguf is not None, "the config has seen to it"
    return ServerSpec(
        name=model.name,
        kind="embedded" if model.engine == "embedded" else "llama-server",
        gguf=model.gguf,
        slots=model.slots,
        context=context_of(model, read_gguf(model.gguf)),
        gpu_layers=model.gpu_layers,
        threads=model.threads,
        executable=model.executable,
        port=model.port,
        args=model.args,
        log_path=logs / f"{model.name}.log",
        start_timeout=model.start_timeout,
    )


def _engine(model: ModelConfig, api_key: str | None, url: str) -> Engine:
    endpoint = Endpoint(url, model=model.sent_name, api_key=api_key, timeout=model.timeout)
    return make_engine(model.engine, endpoint)


def _api_key(model: ModelConfig, config: Config) -> str | None:
    if model.api_key_env is None:
        return None
    key = os.environ.get(model.api_key_env)
    if not key:
        raise ConfigError(
            f"models: {model.name}: api_key_env names the environment variable "
            f"{model.api_key_env}, which is not set; set it to the key",
            path=config.path,
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"models: {model.name}: the environment variable {model.api_key_env} holds characters "
            "that no HTTP header can carry, such as a line break; set it to the key alone",
            path=config.path,
        )
    return key


def _reporter(name: str, say: Callable[[str], None]) -> Callable[[float, str], None]:
    """Tell of a server that takes long to load: soon at first, then less and less often."""
    next_at = TELL_AFTER

    def report(seconds: float, last_line: str) -> None:
        nonlocal next_at
        if seconds >= next_at:
            next_at = seconds + min(seconds, TELL_EVERY)
            say(f"llmeval: {name} is loading, {seconds:.0f} s: {last_line}")

    return report


def _no_digest(_cancelled: Callable[[], bool]) -> None:
    return None


def _fetch(url: str, api_key: str | None) -> tuple[int, bytes]:
    """What the servers room asks of the engines room."""
    found = fetch(url, HEALTH_TIMEOUT, api_key)
    if found.status is None:
        raise EndpointUnreachable(found.error)
    return found.status, found.body
