"""What a server is to be, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ServerKind = Literal["embedded", "llama-server", "llama-cpp-python", "ollama"]

Backend = Literal["cpu", "vulkan", "cuda", "metal", "rocm"]
"""What llama.cpp computes with."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait before a restart, and when to give a server up; times in seconds.

    The n-th restart in a row waits min(cap, initial·multiplier^(n-1))·U(jitter), so that servers
    that fell together do not all come back at the same moment. `reset_after` of good health ends
    the row; more than `max_retries` within `window` is the end. One that is not `enabled` allows
    none.
    """

    enabled: bool = True
    initial: float = 1.0
    multiplier: float = 2.0
    cap: float = 60.0
    jitter: tuple[float, float] = (0.5, 1.5)
    max_retries: int = 5
    window: float = 600.0
    reset_after: float = 60.0


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA adapter, a GGUF of its own, and how strongly it is applied."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Output:
    """Where a server's output goes: to `out`, and its error output to `err` if that is a file too.

    A file that has grown to `max_bytes` (None: however big) becomes `.1`, that one `.2`, and so on
    up to `keep`; what goes beyond is let go.
    """

    out: Path
    err: Path | None = None
    max_bytes: int | None = None
    keep: int = 0


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server to start: which weights, how many slots, on what.

    `log_path` is the file that its last words are read from: all it writes goes there, unless
    `output` says otherwise, and then it is the file of its errors, or of both.
    `context` is tokens per slot. `gpu_layers` and `threads` of None leave the server's default;
    so does a `port` of None, which means a free one. `args` go to the server as they are, last.
    `start_timeout` is how many seconds a starting server may show no sign of progress.
    `embeddings` makes it give embeddings; `pooling` is how the vectors of a text's tokens become
    one, where the model does not say so itself. Ollama has a store of its own instead of a `gguf`;
    `variables` are added to its environment.

    A `backend` of None leaves it to the server what it computes on; else it is held to it. `device`
    is the card's number, of those that this backend sees; None: all of them. `device_name` is what
    that card is called, if somebody knows. `aliases` are further names of the model. `batch` and
    `ubatch` are tokens, `timeout` the seconds that a request may take to be read or answered.
    `api_key` is what requests must carry. `metrics` opens /metrics. `health_path` is where alone it
    is asked for its health; None: wherever its kind is.
    """

    name: str
    kind: ServerKind
    gguf: Path | None
    slots: int
    context: int
    log_path: Path
    gpu_layers: int | Literal["all"] | None = None
    threads: int | None = None
    executable: str | None = None
    port: int | None = None
    args: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    start_timeout: float = 120
    host: str = "127.0.0.1"
    restart: RestartPolicy = RestartPolicy()
    lora: tuple[LoraAdapter, ...] = ()
    embeddings: bool = False
    pooling: Literal["mean"] | None = None
    aliases: tuple[str, ...] = ()
    batch: int | None = None
    ubatch: int | None = None
    timeout: float | None = None
    backend: Backend | None = None
    device: int | None = None
    device_name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    metrics: bool = False
    health_path: str | None = None
    output: Output | None = None

    @property
    def log_paths(self) -> tuple[Path, ...]:
        """Every file that its output goes to."""
        output = self.output
        if output is None:
            return (self.log_path,)
        return (output.out,) if output.err is None else (output.out, output.err)
