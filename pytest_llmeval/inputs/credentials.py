"""No secret belongs into a file that is committed, copied into every run and printed in errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pytest_llmeval.inputs.documents import KeyPath
from pytest_llmeval.inputs.mistakes import Mistakes
from pytest_llmeval.redaction import looks_secret

_KEYS = {"apikey", "token", "accesstoken", "key", "secret", "password", "authorization", "bearer"}
_PATHS = {"gguf", "script", "executable", "lora", "path"}
_WAY_OUT = "put it into an environment variable and name the variable: api_key_env: MY_API_KEY"


def find_secrets(value: Any, mistakes: Mistakes, keys: KeyPath = ()) -> None:
    """Note every key that asks for a secret and every value that looks like one; never print it."""
    for place, key, inner in _entries(value, keys):
        if _asks_for_secret(key) and not isinstance(inner, dict | list):
            mistakes.add(place, f"{key!r} would hold a secret; {_WAY_OUT}")
        elif looks_secret(_as_command_line(inner), is_path=key in _PATHS):
            mistakes.add(place, f"the value of {key!r} looks like a secret; {_WAY_OUT}")
        else:
            find_secrets(inner, mistakes, place)


def refuse_secret(value: Any, key: str | None) -> None:
    """Raise ValueError where a variable has put a secret into a setting; `key` is the model's."""
    if isinstance(value, str) and (value == key or looks_secret(value)):
        raise ValueError(f"a variable gives it what looks like a secret, no name; {_WAY_OUT}")


def must_not_be_shown(key: str, value: str) -> bool:
    """Whether `value` is, or was perhaps meant as, the secret that `key` is about."""
    name = key.rpartition(".")[2]
    if _asks_for_secret(name.removesuffix("_env")):
        return True
    return looks_secret(value, is_path=name in _PATHS)


def _asks_for_secret(key: str) -> bool:
    return re.sub(r"[-_]", "", key.lower()) in _KEYS


def _as_command_line(value: Any) -> str:
    """Texts as one, for what is a secret only behind the argument before it: `--api-key, abc`."""
    texts = value if isinstance(value, list) else [value]
    return " ".join(text for text in texts if isinstance(text, str))


def _entries(value: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, str, Any]]:
    if isinstance(value, dict):
        yield from (((*keys, key), key, inner) for key, inner in value.items())
    elif isinstance(value, list):
        name = str(keys[-1]) if keys else ""
        yield from (((*keys, index), name, inner) for index, inner in enumerate(value))
