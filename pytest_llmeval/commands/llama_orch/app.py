"""The command line `llama-orch`; each group of commands has a module beside this one.

Exit status: 0 done, 1 it could not be done (the message says why), 2 the command line is wrong,
130 interrupted.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pytest_llmeval import __version__
from pytest_llmeval.commands.llama_orch.config_commands import config_app, init
from pytest_llmeval.commands.llama_orch.daemon_commands import daemon_app
from pytest_llmeval.commands.llama_orch.dashboard_command import dashboard
from pytest_llmeval.commands.llama_orch.instance_commands import down, reset, restart, up
from pytest_llmeval.commands.llama_orch.logs_command import logs
from pytest_llmeval.commands.llama_orch.looking_commands import describe, health, ps
from pytest_llmeval.commands.llama_orch.machine_commands import devices, estimate
from pytest_llmeval.commands.llama_orch.serve_command import serve
from pytest_llmeval.commands.llama_orch.service_command import install_service
from pytest_llmeval.commands.saying import say, say_error
from pytest_llmeval.errors import LlmevalError


class _Group(TyperGroup):
    """Our own errors are messages for the user: no traceback, exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LlmevalError as error:
            say_error(f"llama-orch: {error}")
            raise typer.Exit(1) from error


app = typer.Typer(
    name="llama-orch",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"llama-orch {__version__}")
        raise typer.Exit


@app.callback()
def llama_orch(
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where instances, state and logs are; else LLAMA_ORCH_HOME, else your own.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which, and leave."),
    ] = False,
) -> None:
    """Keep local model servers running: declare instances, bring them up and down, look at them."""


for command in (init, up, down, restart, reset, ps, health, describe, logs, devices, estimate):
    app.command()(command)
app.command()(dashboard)
app.command()(serve)
app.command("install-service")(install_service)
app.add_typer(config_app, name="config")
app.add_typer(daemon_app, name="daemon")


def main() -> None:
    """Run the command; the entry point of `llama-orch` and of `python -m`."""
    multiprocessing.freeze_support()
    for stream in (sys.stdout, sys.stderr):
        # A Windows console or pipe may have an encoding that lacks what a server wrote.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # text streams here
    app()
