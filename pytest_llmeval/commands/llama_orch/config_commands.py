"""`llama-orch config validate`, `config lint` and `init`: configs are checked, and begun."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, home_of, say_json, say_notes
from pytest_llmeval.commands.saying import say
from pytest_llmeval.visible import visible

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.findings import Finding

config_app = typer.Typer(no_args_is_help=True, help="Check the configs of instances.")


class ProfileName(str, Enum):
    """What a new instance computes on."""

    cpu = "cpu"
    vulkan = "vulkan"
    cuda = "cuda"
    metal = "metal"


@config_app.command()
def validate(
    path: Annotated[Path, typer.Argument(help="A config, an instance's folder, or one of such.")],
    as_json: AsJson = False,
) -> None:
    """Tell every mistake in a config file, or in all configs of a folder.

    Only the files are read: whether model, program and port are there, `config lint` tells.
    Exit status 1 when there is a mistake.
    """
    from pytest_llmeval.orchestrator.lint import validate as mistakes_in

    count, found = mistakes_in(path, os.environ)
    _tell(f"{count} config{'s' * (count != 1)}", count, found, as_json=as_json)


@config_app.command()
def lint(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Hold the configs of all instances against this machine, and against each other.

    Models, programs, ports, folders, memory: nothing is started or changed. Exit status 1 when
    there is an error; warnings and notes do not count.
    """
    from pytest_llmeval.orchestrator.configs import instance_names
    from pytest_llmeval.orchestrator.lint import lint as look
    from pytest_llmeval.orchestrator.state import State

    home = home_of(ctx)
    names = instance_names(home)
    rows = {}
    if home.state.exists():
        with closing(State.open(home.state)) as state:
            say_notes(state.notes)
            rows = {row.name: row for row in state.rows()}
    found = look(home, os.environ, rows)
    if not names and not found and not as_json:
        say(f"no instances yet in {home.instances}")
        say("make one: llama-orch init --profile cpu --name NAME")
        return
    what = f"{len(names)} instance{'s' * (len(names) != 1)}"
    _tell(what, len(names), found, as_json=as_json)


def init(
    ctx: typer.Context,
    profile: Annotated[ProfileName, typer.Option(help="What the model computes on.")],
    name: Annotated[str, typer.Option(help="The instance's name.")] = "default",
    model: Annotated[
        str | None, typer.Option(metavar="GGUF", help="The model file; it can be told later.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Begin a new instance: write its config, with comments. Nothing is ever overwritten."""
    from pytest_llmeval.orchestrator.profiles import begin_instance, engine_here

    engine = engine_here(profile.value, os.environ)
    begun = begin_instance(home_of(ctx), name, profile.value, model, engine=engine)
    if as_json:
        say_json(begun)
        return
    say(f"wrote {begun.path}")
    say("next:")
    for step in begun.next_steps:
        say(f"  {step}")


def _tell(what: str, count: int, found: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was found, and leave with 1 when an error is among it."""
    from pytest_llmeval.orchestrator.findings import summary

    is_fine = all(finding.severity != "error" for finding in found)
    if as_json:
        say_json({"ok": is_fine, "checked": count, "findings": found})
    else:
        _print(found)
        say(f"{what}: {summary(found)}")
    if not is_fine:
        raise typer.Exit(1)


_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _print(found: Sequence[Finding]) -> None:
    """A table in a terminal; elsewhere a line each, as compilers write them."""
    from rich.console import Console

    console = Console()
    if not found:
        return
    if not console.is_terminal:
        for finding in found:
            whose = f"{finding.instance}: " if finding.instance else ""
            say(f"{finding.place}: {finding.severity}: {whose}{finding.text}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("", "instance", "what, and where"):
        table.add_column(title, overflow="fold")
    for finding in found:
        severity = Text(finding.severity, style=_COLOURS[finding.severity])
        words = Text.assemble(visible(finding.text), "\n", (visible(finding.place), "dim"))
        table.add_row(severity, Text(visible(finding.instance or "-")), words)
    console.print(table)
