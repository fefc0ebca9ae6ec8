"""Which engines a config may name, and which keys a model of each takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_llmeval.inputs.mistakes import unknown


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """Which keys a model of an engine must have, and which it may have besides `COMMON_KEYS`.

    The values of those in `passed` are the `settings` of its endpoint, for the engine to read.
    `adopted` holds instead for a model with a url, of an engine whose server is started without.
    `defaults` hold where the model says nothing, whatever the server section says.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    adopted: EngineKeys | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


COMMON_KEYS = (
    *("engine", "name", "role", "slots", "exact", "timeout", "memory", "price", "tokenizer"),
)
"""What a model of any engine may have."""

_ASKED = ("chat_template_kwargs", "stream")
_OLLAMA = ("context", "keep_alive", "think", "pull", "remote")
_OWN_SERVER = ("context", "gpu_layers", "threads", "port", "args", "lora")

ENGINES: Mapping[str, EngineKeys] = {
    "embedded": EngineKeys(("gguf",), (*_OWN_SERVER, *_ASKED), _ASKED),
    "llama-server": EngineKeys(
        ("gguf",),
        (*_OWN_SERVER, "executable", *_ASKED),
        _ASKED,
        adopted=EngineKeys(("url",), ("api_key_env", *_ASKED), _ASKED),
    ),
    "llama-cpp-python": EngineKeys(("gguf",), ("context", "gpu_layers", "threads", "instances")),
    "ollama": EngineKeys(
        (),
        (*_OLLAMA, "url", "api_key_env", "executable"),
        passed=_OLLAMA,
        # Ollama does not tell its slots and has one unless it was told otherwise; the executable of
        # the server section is llama-server's.
        defaults={"slots": 1, "executable": "ollama"},
    ),
    "openai": EngineKeys(("url",), ("api_key_env", *_ASKED), _ASKED),
    "anthropic": EngineKeys(("url",), ("api_key_env", "stream"), ("stream",)),
    "fireworks": EngineKeys(("url", "api_key_env"), ("account", "batch"), passed=("account",)),
    "fake": EngineKeys((), ("script",)),
}
"""Every engine of this package that a config may name. This is the one list of them."""

OFFERED = EngineKeys((), ("url", "api_key_env", "options"))
"""What a model has whose engine another package offers; `options` are for that engine to read."""


def known_engine(value: str, offered: Collection[str] = ()) -> str:
    """The name of an engine, as it is; raises ValueError for any other.

    `offered` are the names of those that other packages offer.
    """
    known = (*ENGINES, *sorted(set(offered) - set(ENGINES)))
    if value not in known:
        raise ValueError(unknown("engine", value, known))
    return value


def keys_of(engine: str, given: Collection[str]) -> EngineKeys:
    """The keys of a model of an engine, by those that are given for it."""
    keys = ENGINES.get(engine, OFFERED)
    return keys.adopted if keys.adopted is not None and "url" in given else keys


def wrong_keys(engine: str, given: Collection[str]) -> dict[str, str]:
    """What is wrong with the keys given for a model, by key; a missing one under its own name."""
    own, keys = ENGINES.get(engine, OFFERED), keys_of(engine, given)
    either = " or ".join(own.required) if own.adopted is not None else ""
    if either and "url" in given and set(own.required) & set(given):
        return {
            "url": f"engine {engine} takes {either}, whose server is started, or url, where "
            "one answers already; found both"
        }
    with_url = " with a url" if keys is not own else ""
    allowed = (*COMMON_KEYS, *keys.required, *keys.optional)
    mistakes = {
        key: f"engine {engine}{with_url} takes no {key!r} (allowed: {', '.join(allowed)})"
        for key in sorted(set(given) - set(allowed))
    }
    for key in keys.required:
        if key not in given:
            mistakes[key] = f"engine {engine} needs the key {key!r}"
            mistakes[key] += ", or 'url' where one answers already" if either else ""
    return mistakes
