"""What the commands of `llama-orch` share: where the home is, and how things are said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pytest_llmeval.atomic import plain
from pytest_llmeval.commands.saying import say
from pytest_llmeval.orchestrator.home import Home, find_home
from pytest_llmeval.visible import visible_json

AsJson = Annotated[bool, typer.Option("--json", help="The same as JSON.")]


def home_of(ctx: typer.Context) -> Home:
    """The home that this call is about (`--home`, LLAMA_ORCH_HOME, or the user's own)."""
    given: Any = ctx.find_root().params.get("home")
    return find_home(given, os.environ)


def say_notes(notes: Iterable[str]) -> None:
    """Say what the user should hear beside what was asked for."""
    for note in notes:
        say(f"llama-orch: {note}", err=True)


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """Print dataclasses, mappings and lists as JSON with the keys in their order.

    An `indent` of None prints it in one line.
    """
    found = json.dumps(_texts(plain(value)), indent=indent, ensure_ascii=False, allow_nan=False)
    typer.echo(visible_json(found))


def _texts(value: Any) -> Any:
    """The same with paths as texts."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _texts(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_texts(entry) for entry in value]
    return value
