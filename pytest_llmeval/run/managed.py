"""Models whose llama.cpp server we start: their server's spec, their size, their digest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.memory import estimate
from pytest_llmeval.results.manifest import AdapterFacts
from pytest_llmeval.run.adopted import engine_of, fetch_for_health, post_to_server
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.digest import file_digest
from pytest_llmeval.servers.gguf import GgufHeader, read_gguf
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import LoraAdapter, ServerSpec

#: Tokens of context per slot where nobody wrote a number: room for a page and its answer.
USUAL_CONTEXT = 4096

#: Seconds of loading after which the user is told, and the longest silence after that.
TELL_AFTER = 2.0
TELL_EVERY = 15.0


def managed_backing(model: ModelConfig, cache: Path, say: Callable[[str], None]) -> Backing:
    """How a model is reached whose server we start from its `gguf`."""
    gguf = model.gguf
    assert gguf is not None, "the config has seen to it"
    return Backing(
        make_server=partial(_server, model, say),
        make_engine=partial(engine_of, model, None),
        url="",
        digest=lambda cancelled: file_digest(gguf, cache, cancelled=cancelled),
        adapters=lambda cancelled: _adapter_facts(model, cache, cancelled),
    )


def _adapter_facts(
    model: ModelConfig, cache: Path, cancelled: Callable[[], bool]
) -> tuple[AdapterFacts, ...]:
    return tuple(
        AdapterFacts(
            adapter.path.name,
            file_digest(adapter.path, cache, cancelled=cancelled),
            adapter.scale,
        )
        for adapter in model.lora
    )


def memory_of(model: ModelConfig) -> int | None:
    """Bytes a model will take once loaded, None when we do not load it or it cannot be read."""
    if model.gguf is None:
        return None
    try:
        header = read_gguf(model.gguf)
        adapters = sum(read_gguf(adapter.path).size for adapter in model.lora)
    except LlmevalError:
        return None  # its server will say what is wrong, in its own place
    return estimate(
        header.size + adapters,
        slots=model.slots,
        context=context_of(model, header),
        kv_bytes_per_token=header.kv_bytes_per_token,
    )


def context_of(model: ModelConfig, header: GgufHeader) -> int:
    """Tokens of context per slot: as written, else the usual size or all that the model knows."""
    if model.context is not None:
        return model.context
    return min(USUAL_CONTEXT, header.context_length or USUAL_CONTEXT)


def _server(model: ModelConfig, say: Callable[[str], None], logs: Path) -> Server:
    return Server(
        _server_spec(model, logs),
        fetch_for_health,
        post=post_to_server,
        report=_reporter(model.name, say),
    )


def _server_spec(model: ModelConfig, logs: Path) -> ServerSpec:
    assert model.gguf is not None, "the config has seen to it"
    header = read_gguf(model.gguf)
    return ServerSpec(
        name=model.name,
        kind="embedded" if model.engine == "embedded" else "llama-server",
        gguf=model.gguf,
        slots=model.slots,
        context=context_of(model, header),
        gpu_layers=model.gpu_layers,
        threads=model.threads,
        executable=model.executable,
        port=model.port,
        args=model.args,
        log_path=logs / f"{model.name}.log",
        start_timeout=model.start_timeout,
        lora=tuple(LoraAdapter(adapter.path, adapter.scale) for adapter in model.lora),
        embeddings=model.role == "embedder",
        pooling=None if header.pools else "mean",
    )


def _reporter(name: str, say: Callable[[str], None]) -> Callable[[float, str], None]:
    """Tell of a server that takes long to load: soon at first, then less and less often."""
    next_at = TELL_AFTER

    def report(seconds: float, last_line: str) -> None:
        nonlocal next_at
        if seconds >= next_at:
            next_at = seconds + min(seconds, TELL_EVERY)
            say(f"llmeval: {name} is loading, {seconds:.0f} s: {last_line}")

    return report
