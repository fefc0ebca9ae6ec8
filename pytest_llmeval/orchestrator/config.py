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

    path: Text = Field(description="The GGUF; of a split model the first file.")
    context_size: Positive = Field(
        default=4096,
        description="Tokens of context for each request (each slot); by default at most what the "
        "model was trained for.",
    )
    batch_size: Positive | None = Field(
        default=None, description="Tokens of prompts that are taken in at once (`-b`)."
    )
    ubatch_size: Positive | None = Field(
        default=None, description="The part of a batch that is computed at once (`-ub`)."
    )
    threads: Positive | None = Field(
        default=None, description="Threads of the CPU; unset: the server's own choice."
    )
    embeddings: bool = Field(default=False, description="It gives embeddings instead of texts.")

    def context(self, trained: int | None) -> int:
        """Tokens of context for each slot: by default no more than the model was `trained` for.

        What the config itself says is taken at its word; a model that has less is told of.
        """
        if trained is None or "context_size" in self.model_fields_set:
            return self.context_size
        return min(self.context_size, trained)


class ServerConfig(Section):
    """The process that serves it, and where it answers.

    `timeout` is how long one request may take; `api_key_env` names the variable of the environment
    that holds the key which requests must carry. `executable` is llama-server's, by name or path.
    """

    engine: Engine = Field(
        default="llama-server",
        description="llama-server, an executable; or embedded, a package (CPU only).",
    )
    executable: Text = Field(
        default="llama-server", description="llama-server: a name on PATH, or a path."
    )
    host: Text = Field(
        default="127.0.0.1",
        description="Where it listens; any but this machine's own needs api_key_env.",
    )
    port: Port = Field(
        default="auto", description="auto: a free one, the same again where possible."
    )
    timeout: Seconds = Field(default=3600.0, description="Seconds that one request may take.")
    parallel: Positive = Field(
        default=1, description="Requests that are answered at the same time (slots)."
    )
    api_key_env: VariableName | None = Field(
        default=None,
        description="The NAME of the variable that holds the key which requests must carry.",
    )


class GpuConfig(Section):
    """What it computes on. Of `layers`, None leaves the server's own default."""

    backend: Backend = Field(default="cpu", description="What computes.")
    device_id: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Which GPU, counted from 0 as `llama-orch devices` does."
    )
    layers: GpuLayers = Field(
        default=None,
        description="Layers on the GPU: a number, or all; unset: the server's own choice.",
    )


class HealthcheckConfig(Section):
    """How its health is asked for, with the words and the meaning of Docker's HEALTHCHECK.

    Failures within `start_period` of a start do not count; `retries` failures in a row after that
    make it unhealthy.
    """

    path: str = Field(default="/health", description="What is asked.")
    interval: Seconds = Field(default=10.0, description="Seconds from one check to the next.")
    timeout: Seconds = Field(default=5.0, description="Seconds that an answer may take.")
    retries: Positive = Field(default=3, description="Failures in a row that make it unhealthy.")
    start_period: Delay = Field(
        default=120.0, description="Seconds after a start in which failures do not count."
    )


class RestartConfig(Section):
    """Whether and when it is started again after it died (`servers.spec.RestartPolicy`).

    The n-th restart in a row waits min(cap, initial·multiplier^(n-1)), times a draw from
    [1 - jitter, 1 + jitter]. `reset_after` of good health ends the row; more than `max_retries`
    within `window` is the end, until it is reset.
    """

    enabled: bool = Field(default=True, description="Start it again when it died.")
    max_retries: Annotated[int, Field(ge=0)] = Field(
        default=5, description="Restarts within the window before it is given up."
    )
    window: Seconds = Field(default=600.0, description="Seconds in which restarts are counted.")
    initial: Delay = Field(default=1.0, description="Seconds before the first restart in a row.")
    multiplier: Annotated[float, Field(ge=1)] = Field(
        default=2.0, description="How much longer the next one waits."
    )
    cap: Delay = Field(default=60.0, description="Seconds that none waits longer than.")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Share of the delay that chance adds or takes."
    )
    reset_after: Delay = Field(
        default=60.0, description="Seconds of good health that end a row of restarts."
    )


class LogConfig(Section):
    """What the server writes: stdout to `<name>.out.log`, stderr to `<name>.err.log` in `folder`.

    A file that has grown to `max_bytes` becomes `.1`, that one `.2`, and so on up to `keep`.
    """

    folder: Text | None = Field(
        default=None, description="Where its logs go; unset: `logs` in the home."
    )
    max_bytes: Annotated[int, Field(ge=4096)] = Field(
        default=10 * 2**20, description="Size at which a log is set aside and a new one begun."
    )
    keep: Annotated[int, Field(ge=0)] = Field(
        default=3, description="Logs that are kept beside the one being written."
    )


class InstanceConfig(Section):
    """One instance. `args` go to the server as they are, last; `env` is added to its environment.

    `aliases` are further names that requests may call its model by; `ttl` is how long the front
    door keeps it without a request (None: for ever).
    """

    model: ModelConfig = Field(description="The weights, and how they are loaded.")
    server: ServerConfig = Field(
        default=ServerConfig(), description="The process that serves them, and where it answers."
    )
    gpu: GpuConfig = Field(default=GpuConfig(), description="What it computes on.")
    healthcheck: HealthcheckConfig = Field(
        default=HealthcheckConfig(), description="How its health is asked for."
    )
    restart: RestartConfig = Field(
        default=RestartConfig(), description="Whether and when it is started again."
    )
    log: LogConfig = Field(default=LogConfig(), description="Where its output goes.")
    args: tuple[str, ...] = Field(
        default=(), strict=False, description="Further arguments of the server, last."
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="Variables added to the server's environment; no secrets."
    )
    aliases: tuple[str, ...] = Field(
        default=(), strict=False, description="Further names that requests may call the model by."
    )
    ttl: Seconds | None = Field(
        default=None,
        description="Seconds without a request until the front door unloads it; unset: never.",
    )
