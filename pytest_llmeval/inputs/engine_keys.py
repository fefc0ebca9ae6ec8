"""Which engines a config may name, and which keys a model of each takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pytest_llmeval.inputs.mistakes import unknown


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """Which keys a model of an engine must have, and which it may have besides `COMMON_KEYS`.

    The values of those in `passed` are the `settings` of its endpoint, for the engine to read.
    `adopted` holds instead for a model with a url, of an engine whose server is started without.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    adopted: EngineKeys | None = None


COMMON_KEYS = ("engine", "name", "role", "slots", "exact", "timeout")
"""What a model of any engine may have."""

_TEMPLATE = ("chat_template_kwargs",)
_OWN_SERVER = ("context", "gpu_layers", "threads", "port", "args", "lora", *_TEMPLATE)

ENGINES: Mapping[str, EngineKeys] = {
    "embedded": EngineKeys(("gguf",), _OWN_SERVER, _TEMPLATE),
    "llama-server": EngineKeys(
        ("gguf",),
        (*_OWN_SERVER, "executable"),
        _TEMPLATE,
        adopted=EngineKeys(("url",), ("api_key_env", *_TEMPLATE), _TEMPLATE),
    ),
    "openai": EngineKeys(("url",), ("api_key_env", *_TEMPLATE), _TEMPLATE),
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
