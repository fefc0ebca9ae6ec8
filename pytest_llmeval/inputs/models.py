"""The models of a config: which engine runs them and how, with the server's defaults merged in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from pytest_llmeval.inputs.adapters import Adapter, Adapters
from pytest_llmeval.inputs.engine_keys import ENGINES, keys_of, known_engine, wrong_keys
from pytest_llmeval.inputs.mistakes import shown
from pytest_llmeval.inputs.prices import Price, PriceSection
from pytest_llmeval.inputs.sections import GpuLayers, Section, Size, VariableName
from pytest_llmeval.inputs.urls import Where

OFFERED_ENGINES = "offered_engines"
"""Under this name a section's context has the engines that other packages offer."""


_EFFORTS = ("low", "medium", "high", "max")
_GO_TIME = re.compile(r"-?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+")


def _keep_alive(value: Any) -> str | float | None:
    """Seconds, or a time as Go writes it; below 0 is for ever."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        value is None
        or (is_number and math.isfinite(value))
        or (isinstance(value, str) and _GO_TIME.fullmatch(value))
    ):
        return value  # type: ignore[no-any-return]  # narrowed by what it was found to be
    raise ValueError(
        f"expected seconds, or a time such as 30s, 10m or 1h30m, found {shown(value)}; "
        "-1 is for ever, 0 unloads the model after each request"
    )


def _think(value: Any) -> bool | str | None:
    if value is None or isinstance(value, bool) or value in _EFFORTS:
        return value  # type: ignore[no-any-return]  # narrowed by what it was found to be
    raise ValueError(f"expected true, false, {', '.join(_EFFORTS)}, found {shown(value)}")


def _engine(value: str, info: ValidationInfo) -> str:
    return known_engine(value, (info.context or {}).get(OFFERED_ENGINES, ()))


KeepAlive = Annotated[
    Any,
    PlainValidator(_keep_alive),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}),
]
Think = Annotated[
    Any,
    PlainValidator(_think),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": list(_EFFORTS)}, {"type": "null"}]}),
]
Executable = Annotated[str, Field(min_length=1, description="A name on PATH, or a path.")]
Slots = Annotated[int, Field(ge=1, description="Requests answered at the same time.")]
Context = Annotated[
    int,
    Field(ge=1, description="Tokens per slot; unset: 4096, or what the model was trained for."),
]
Threads = Annotated[
    int,
    Field(
        ge=1,
        description="CPU threads; unset: the server's choice, or a share beside others.",
    ),
]
Timeout = Annotated[float, Field(gt=0, description="Seconds a request may take.")]
Role = Literal["model", "judge", "embedder"]
"""What a model is for: only one of the role `model` is asked the suites."""


class ServerSection(Section):
    """Defaults for every model whose server we start."""

    executable: Executable | None = None
    slots: Slots = 4
    context: Context | None = None
    gpu_layers: GpuLayers = Field(default=None, description="Layers on the GPU: a number, or all.")
    threads: Threads | None = None
    timeout: Timeout = 300.0
    args: list[str] = Field(
        default=[], description="Further arguments of the server, before a model's own."
    )
    start_timeout: float = Field(
        default=120.0,
        gt=0,
        description="Seconds without any progress before a loading server is given up.",
    )
    shared: bool = Field(
        default=True,
        description="Use one server together with other runs that ask for the very same.",
    )


class ModelSection(Section):
    """A model: its weights or its address, and what runs it."""

    engine: Annotated[
        str, AfterValidator(_engine), WithJsonSchema({"type": "string", "enum": list(ENGINES)})
    ] = Field(description="What runs the model.")
    gguf: str | None = Field(default=None, min_length=1, description="The model file.")
    url: Where = Field(
        default=None,
        description="Where it answers already, such as http://127.0.0.1:8080/v1; or several URLs.",
    )
    name: str | None = Field(
        default=None, min_length=1, description="The model name requests carry."
    )
    role: Role = Field(
        default="model",
        description="model is asked every suite; judge and embedder only serve scorers.",
    )
    slots: Slots | None = None
    context: Context | None = None
    gpu_layers: GpuLayers = Field(default=None, description="Layers on the GPU: a number, or all.")
    threads: Threads | None = None
    instances: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Processes of llama-cpp-python, each with the model; default 1."
    )
    executable: Executable | None = None
    port: int | None = Field(
        default=None, ge=1, le=65535, description="A free one is chosen if unset."
    )
    args: list[str] = Field(default=[], description="Further arguments of the server.")
    api_key_env: VariableName | None = Field(
        default=None, description="The NAME of the environment variable that holds the key."
    )
    account: str | None = Field(
        default=None, min_length=1, description="Your account's id, which batches need."
    )
    batch: bool | None = Field(
        default=None, description="Ask each part by one batch job, not request by request."
    )
    exact: bool = Field(
        default=False, description="One slot and no prompt cache: repeats are bit-equal."
    )
    timeout: Timeout | None = None
    stream: bool | None = Field(
        default=None, description="Answers come in pieces; the first one's time is measured."
    )
    script: str | None = Field(
        default=None, min_length=1, description="Rules of the fake engine, a file."
    )
    keep_alive: KeepAlive = Field(
        default=None, description="How long Ollama keeps the model: seconds, or a time such as 10m."
    )
    think: Think = Field(
        default=None, description="Whether the model thinks before it answers, or how hard."
    )
    pull: bool | None = Field(
        default=None, description="Have Ollama pull the model when it does not have it."
    )
    remote: bool | None = Field(
        default=None, description="Allow a model that runs on another machine."
    )
    tokenizer: str | None = Field(
        default=None,
        min_length=1,
        description="Counts tokens where the endpoint does not: a file, or tiktoken:NAME.",
    )
    memory: Size | None = Field(
        default=None, description="What it takes once loaded, such as 6 GiB."
    )
    price: PriceSection | None = None
    lora: Adapters | None = Field(
        default=None, description="LoRA adapters: a file, or a list of files or {path, scale}."
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="What the chat template gets too, such as enable_thinking."
    )
    options: dict[str, Any] | None = Field(
        default=None, description="For an engine that another package offers."
    )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model, ready to be started or asked. `name` is the config's word for it, `sent_name` what
    requests carry; `context` is per slot, and None where nobody wrote one. `instances` processes
    load the model. `asked_slots` are those that somebody wrote, where there may be others: where
    instances are slots, and at a url. `urls` are those of several endpoints that share the
    requests, each with `slots`, and `url` is the first of them.
    """

    name: str
    engine: str
    sent_name: str
    slots: int
    exact: bool
    timeout: float
    start_timeout: float
    gguf: Path | None = None
    url: str | None = None
    urls: tuple[str, ...] = ()
    context: int | None = None
    gpu_layers: int | Literal["all"] | None = None
    threads: int | None = None
    executable: str | None = None
    port: int | None = None
    args: tuple[str, ...] = ()
    api_key_env: str | None = None
    account: str | None = None
    batch: bool = False
    stream: bool | None = None
    script: Path | None = None
    role: Role = "model"
    keep_alive: str | float | None = None
    think: bool | str | None = None
    pull: bool = False
    remote: bool = False
    tokenizer: str | None = None
    memory: int | None = None
    price: Price | None = None
    lora: tuple[Adapter, ...] = ()
    chat_template_kwargs: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    instances: int = 1
    asked_slots: int | None = None


def _given(section: ModelSection) -> set[str]:
    return {key for key in section.model_fields_set if getattr(section, key) is not None}


def key_mistakes(section: ModelSection) -> dict[str, str]:
    """What is wrong with the choice of keys, by key; a missing one under its own name."""
    mistakes = wrong_keys(section.engine, _given(section))
    if section.exact and (section.slots or 1) > 1:
        mistakes["slots"] = f"exact: true means one slot, found slots: {section.slots}"
    if section.exact and (section.instances or 1) > 1:
        mistakes["instances"] = f"exact: true means one slot, found instances: {section.instances}"
    if section.batch and not section.account:
        mistakes.setdefault("account", "batch: true needs the key 'account', your account's id")
    return mistakes


def model_settings(name: str, section: ModelSection, server: ServerSection) -> dict[str, Any]:
    """A model's settings with the server's defaults, paths and variables still as written.

    Keys are those of `ModelConfig`; what an engine has no use for is left out.
    """
    keys = keys_of(section.engine, _given(section))
    used = {*keys.required, *keys.optional, "slots", "timeout", "memory", "tokenizer"}
    settings: dict[str, Any] = {"engine": section.engine, "sent_name": section.name or name}
    if section.role != "model":
        settings["role"] = section.role
    for key in sorted(used):
        value = getattr(section, key)
        usual = keys.defaults.get(key, getattr(server, key, None))
        settings[key] = usual if value is None else value
    if "args" in used:
        # Those of the server section are llama-server's; the embedded launcher knows fewer.
        shared = server.args if section.engine == "llama-server" else []
        settings["args"] = [*shared, *section.args]
    if section.price is not None:
        settings["price"] = section.price.model_dump()
    if isinstance(settings.get("url"), list):
        settings["urls"] = settings["url"]
        settings["url"] = settings["urls"][0]
    if section.lora is not None:
        settings["lora"] = [adapter.model_dump() for adapter in section.lora]
    if settings.get("url") is not None:
        settings["asked_slots"] = _asked_slots(section, server)
    if "instances" in used:  # an instance is a slot, and there are no others
        instances = section.instances or 1
        settings |= {"instances": instances, "slots": instances}
        settings["asked_slots"] = _asked_slots(section, server)
    slots = 1 if section.exact else settings["slots"]
    settings |= {"slots": slots, "exact": section.exact, "start_timeout": server.start_timeout}
    return {key: value for key, value in settings.items() if value is not None}


def _asked_slots(section: ModelSection, server: ServerSection) -> int | None:
    return section.slots or (server.slots if "slots" in server.model_fields_set else None)
