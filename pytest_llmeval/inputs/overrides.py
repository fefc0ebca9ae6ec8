"""The texts of `--llm-set`: dotted keys of the config, and the choice of prompts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.credentials import must_not_be_shown
from pytest_llmeval.inputs.documents import Document, parse_value

OPTION = "--llm-set"


@dataclass(frozen=True, slots=True)
class Override:
    """One replaced value of the config; `text` is how messages name it, `key` its dotted key."""

    key: str
    value: Any
    text: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """All texts given: what they replace in the config, and which prompt variants are asked.

    `prompts` is empty when all are.
    """

    config: tuple[Override, ...]
    prompts: tuple[str, ...]


def parse_overrides(texts: Sequence[str]) -> Overrides:
    """Tell `prompts=terse,plain` from dotted keys such as `server.slots=8`.

    Values are read as YAML. Raises ConfigError naming the text that is no `key=value`.
    """
    config: list[Override] = []
    prompts: list[str] = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        origin = f"{OPTION} {key}=..." if must_not_be_shown(key, value) else f"{OPTION} {text}"
        if not equals or not all(key.split(".")):
            raise ConfigError("expected key=value, for instance server.slots=8", path=origin)
        if key == "prompts":
            prompts += _names(value, origin)
        else:
            config.append(Override(key, parse_value(value, ConfigError, origin=origin), origin))
    return Overrides(tuple(config), tuple(dict.fromkeys(prompts)))


def _names(value: str, origin: str) -> list[str]:
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise ConfigError("expected prompt names, for instance prompts=plain,terse", path=origin)
    return names


def apply_overrides(document: Document, overrides: Sequence[Override]) -> Document:
    """The document with values replaced or added, which remembers by which option."""
    data = copy.deepcopy(document.data)
    origins = dict(document.overrides)
    for override in overrides:
        keys = _split(override.key, data)
        _put(data, keys, override)
        origins[keys] = override.text
    return replace(document, data=data, overrides=origins)


def _split(dotted: str, data: dict[str, Any] | None) -> tuple[str, ...]:
    """The keys a dotted text means; names with dots in them (`llama3.1`) are found among `data`."""
    keys: list[str] = []
    rest = dotted
    while rest:
        known = [key for key in data if f"{rest}.".startswith(f"{key}.")] if data else []
        key = max(known, key=len, default=rest.partition(".")[0])
        keys.append(key)
        rest = rest[len(key) + 1 :]
        inner = data.get(key) if data else None
        data = inner if isinstance(inner, dict) else None
    return tuple(keys)


def _put(data: dict[str, Any], keys: tuple[str, ...], override: Override) -> None:
    for depth, key in enumerate(keys[:-1], start=1):
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            outer = ".".join(keys[:depth])
            raise ConfigError(f"{outer!r} is no mapping, it has no keys", path=override.text)
        data = inner
    data[keys[-1]] = override.value
