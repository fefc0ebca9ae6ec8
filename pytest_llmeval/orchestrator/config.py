"""What an instance is to be: the sections of `instances/<name>/config.{yaml,json}`.

An instance is a model server that is kept running under a name. Times are in seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_llmeval.inputs.sections import Section

Backend = Literal["cpu", "vulkan", "cuda", "metal", "rocm"]
Engine = Literal["llama-server", "embedded"]

Seconds = Annotated[float, Field(strict=False, gt=0)]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ModelConfig(Section):
    """The weights, and how they are loaded. `context_size` is tokens per slot."""

    path: str
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
    executable: str = "llama-server"
    host: str = "127.0.0.1"
    port: Port | Literal["auto"] = "auto"
    timeout: Seconds = 3600
    parallel: Positive = 1
    api_key_env: str | None = None


class GpuConfig(Section):
    """What it computes on. Of `layers`, None leaves the server's own default."""

    backend: Backend = "cpu"
    device_id: Annotated[int, Field(ge=0)] | None = None
    layers: Annotated[int, Field(ge=0)] | Literal["all"] | None = None


class HealthcheckConfig(Section):
    """How its health is asked for, with the words and the meaning of Docker's HEALTHCHECK.

    Failures within `start_period` of a start do not count; `retries` failures in a row after that
    make it unhealthy.
    """

    path: str = "/health"
    interval: Seconds = 10
    timeout: Seconds = 5
    retries: Positive = 3
    start_period: Annotated[float, Field(strict=False, ge=0)] = 120


class RestartConfig(Section):
    """Whether and when it is started again after it died (`servers.spec.RestartPolicy`).

    The n-th restart in a row waits min(cap, initial·multiplier^(n-1)), times a draw from
    [1 - jitter, 1 + jitter]. `reset_after` of good health ends the row; more than `max_retries`
    within `window` is the end, until it is reset.
    """

    enabled: bool = True
    max_retries: Annotated[int, Field(ge=0)] = 5
    window: Seconds = 600
    initial: Annotated[float, Field(strict=False, ge=0)] = 1
    multiplier: Annotated[float, Field(strict=False, ge=1)] = 2
    cap: Annotated[float, Field(strict=False, ge=0)] = 60
    jitter: Annotated[float, Field(strict=False, ge=0, le=1)] = 0.5
    reset_after: Annotated[float, Field(strict=False, ge=0)] = 60


class LogConfig(Section):
    """What the server writes: stdout to `<name>.out.log`, stderr to `<name>.err.log` in `folder`.

    A file that has grown to `max_bytes` becomes `.1`, that one `.2`, and so on up to `keep`.
    """

    folder: str | None = None
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
