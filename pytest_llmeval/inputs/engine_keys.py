"""Which engines a config may name, and which keys a model of each takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pytest_llmeval.inputs.mistakes import unknown


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """Which keys a model of an engine must have, and which it may have besides `COMMON_KEYS`.

    The values of those in `passed` are the `settings` of its endpoint, for the engine to read.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()


COMMON_KEYS = ("engine", "name", "role", "slots", "exact", "timeout")
"""What a model of any engine may have."""

_OWN_SERVER = ("context", "gpu_layers", "threads", "port", "args")

ENGINES: Mapping[str, EngineKeys] = {
    "embedded": EngineKeys(("gguf",), _OWN_SERVER),
    "llama-server": EngineKeys(("gguf",), (*_OWN_SERVER, "executable")),
    "openai": EngineKeys(("url",), ("api_key_env",)),
    "fake": EngineKeys((), ("script",)),
}
"""Every engine a config may name. This is the one list of them."""


def known_engine(value: str) -> str:
    """The name of an engine, as it is; raises ValueError for any other."""
    if value not in ENGINES:
        raise ValueError(unknown("engine", value, ENGINES))
    return value


def wrong_keys(engine: str, given: Collection[str]) -> dict[str, str]:
    """What is wrong with the keys given for a model, by key; a missing one under its own name."""
    keys = ENGINES[engine]
    allowed = (*COMMON_KEYS, *keys.required, *keys.optional)
    mistakes = {
        key: f"engine {engine} takes no {key!r} (allowed: {', '.join(allowed)})"
        for key in sorted(set(given) - set(allowed))
    }
    for key in keys.required:
        if key not in given:
            mistakes[key] = f"engine {engine} needs the key {key!r}"
    return mistakes
