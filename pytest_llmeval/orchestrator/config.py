"""What an instance is to be: the sections of `instances/<name>/config.{yaml,json}`.

An instance is a model server that is kept running under a name. Times are in seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from pytest_llmeval.inputs.mistakes import shown
from pytest_llmeval.inputs.sections import GpuLayers, Section, VariableName

Backend = Literal["cpu", "vulkan", "cuda", "metal", "rocm"]
Engine = Literal["llama-server", "embedded"]

Seconds = Annotated[float, Field(gt=0)]
Delay = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


def _port(value: Any) -> int | Literal["auto"]:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (is_number and 1 <= value <= 65535):
        return value  # type: ignore[no-any-return]  # narrowed by what it was found to be
    raise ValueError(f"expected a port from 1 to 65535, or auto, found {shown(value)}")


Port = Annotated[
    int | Literal["auto"],
    PlainValidator(_port),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"const": "auto"}]}
    ),
]


class ModelConfig(Section):
    """The weights, and how they are loaded. `context_size` is tokens per slot."""

    path: Text
    context_size: Positive = 4096
    batch_size: Positive | None = None
    ubatch_size: Positive | None = None
    threads: Positive | None = None
    embeddings: bool = False


class ServerConfig(Section):
    """The process that serves it, and where it answers.

    `timeout` is how long one request may take; `api_key_env` names the variable of the environment
    that holds the key which requests must carry. `executable` is llama-server's, by name or path.
    """

    engine: Engine = "llama-server"
    executable: Text = "llama-server"
    host: Text = "127.0.0.1"
    port: Port = "auto"
    timeout: Seconds = 3600.0
    parallel: Positive = 1
    api_key_env: VariableName | None = None


class GpuConfig(Section):
    """What it computes on. Of `layers`, None leaves the server's own default."""

    backend: Backend = "cpu"
    device_id: Annotated[int, Field(ge=0)] | None = None
    layers: GpuLayers = None


class HealthcheckConfig(Section):
    """How its health is asked for, with the words and the meaning of Docker's HEALTHCHECK.

    Failures within `start_period` of a start do not count; `retries` failures in a row after that
    make it unhealthy.
    """

    path: str = "/health"
    interval: Seconds = 10.0
    timeout: Seconds = 5.0
    retries: Positive = 3
    start_period: Delay = 120.0


class RestartConfig(Section):
    """Whether and when it is started again after it died (`servers.spec.RestartPolicy`).

    The n-th restart in a row waits min(cap, initial·multiplier^(n-1)), times a draw from
    [1 - jitter, 1 + jitter]. `reset_after` of good health ends the row; more than `max_retries`
    within `window` is the end, until it is reset.
    """

    enabled: bool = True
    max_retries: Annotated[int, Field(ge=0)] = 5
    window: Seconds = 600.0
    initial: Delay = 1.0
    multiplier: Annotated[float, Field(ge=1)] = 2.0
    cap: Delay = 60.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.5
    reset_after: Delay = 60.0


class LogConfig(Section):
    """What the server writes: stdout to `<name>.out.log`, stderr to `<name>.err.log` in `folder`.

    A file that has grown to `max_bytes` becomes `.1`, that one `.2`, and so on up to `keep`.
    """

    folder: Text | None = None
    max_bytes: Annotated[int, Field(ge=4096)] = 10 * 2**20
    keep: Annotated[int, Field(ge=0)] = 3


class InstanceConfig(Section):
    """One instance. `args` go to the server as they are, last; `env` is added to its environment.

    `aliases` are further names that requests may call its model by; `ttl` is how long the front
    door keeps it without a request (None: for ever).
    """

    model: ModelConfig
    server: ServerConfig = ServerConfig()
    gpu: GpuConfig = GpuConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    restart: RestartConfig = RestartConfig()
    log: LogConfig = LogConfig()
    args: tuple[str, ...] = Field(default=(), strict=False)
    env: dict[str, str] = Field(default_factory=dict)
    aliases: tuple[str, ...] = Field(default=(), strict=False)
    ttl: Seconds | None = None
