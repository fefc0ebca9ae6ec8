"""Paths as files write them: with variables, `~`, and from the file's own folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "LLMEVAL_CACHE"
"""Names another folder for what is kept from run to run."""

_VARIABLE = re.compile(r"\$\$|\$\{([^}]*)\}")


def expand_variables(text: str, environment: Mapping[str, str]) -> str:
    """`${NAME}` replaced by its value, `$$` by `$`. Raises ValueError naming an undefined one."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        if name not in environment:
            raise ValueError(f"the environment variable {name!r} is not defined; write $$ for a $")
        return environment[name]

    return _VARIABLE.sub(replaced, text)


def variables_in(text: str) -> list[str]:
    """The names of the variables that `expand_variables` would replace."""
    return [match[1] for match in _VARIABLE.finditer(text) if match[1] is not None]


def located(text: str, folder: Path) -> Path:
    """A path as the config writes it: from the config's folder, `~` being the user's home."""
    return Path(os.path.normpath(folder / os.path.expanduser(text)))  # noqa: PTH111  # never raises


def located_executable(text: str, folder: Path) -> str:
    """A bare name stays for PATH to find; anything with a folder in it is a path."""
    is_path = "/" in text or "\\" in text or text.startswith("~")
    return str(located(text, folder)) if is_path else text


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where digests and answers are kept from run to run: what LLMEVAL_CACHE names, else the
    system's own place for such things.
    """
    named = environment.get(CACHE_VARIABLE)
    if named:
        return located(named, Path.cwd())  # servers' guards work in other folders
    return user_cache_path("pytest-llmeval", appauthor=False)
