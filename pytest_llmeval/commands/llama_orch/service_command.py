"""`llama-orch install-service`: the daemon as a service that the system starts at boot."""

from __future__ import annotations

import getpass
import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, home_of, say_json
from pytest_llmeval.commands.saying import say

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.home import Home
    from pytest_llmeval.orchestrator.services import Service

_PATIENCE = 60.0
"""Seconds that a program of the system may take to install it."""


class ServiceKind(str, Enum):
    """What a system starts services with."""

    systemd = "systemd"
    launchd = "launchd"
    task_scheduler = "task-scheduler"
    nssm = "nssm"


def install_service(
    ctx: typer.Context,
    kind: Annotated[ServiceKind | None, typer.Option(help="By default, this system's own.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the file to its place.")] = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the file there instead.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write the file, and have the system take it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what has the daemon started at boot; nothing is written or installed unless asked.

    The file goes to stdout, and what to do with it to stderr.
    """
    if install and to is not None:
        raise typer.BadParameter("--install writes the file to its own place: leave out --to")
    from pytest_llmeval.orchestrator import services
    from pytest_llmeval.servers.detached import run_to_end

    home = home_of(ctx)
    service = _plan(home, kind)
    path = None
    if install:
        services.install_service(service, home, lambda step: run_to_end(step, timeout=_PATIENCE))
        path = service.path
    elif write or to is not None:
        path = services.write_service(service, to)
    if as_json:
        _say_json(service, path, installed=install)
    else:
        _say(service, path, installed=install)


def _plan(home: Home, kind: ServiceKind | None) -> Service:
    from pytest_llmeval.errors import LlmevalError
    from pytest_llmeval.orchestrator.configs import (
        instance_names,
        load_instance,
        variables_in_paths,
    )
    from pytest_llmeval.orchestrator.services import default_kind, plan_service, service_facts

    names: list[str] = []
    for name in instance_names(home):
        try:
            names += variables_in_paths(load_instance(home, name))
        except LlmevalError as problem:
            say(f"llama-orch: {problem}", err=True)
    facts = service_facts(
        home,
        program=(sys.executable, "-m", str(__package__)),
        user=_user(),
        environment=os.environ,
        names=names,
    )
    user_home = Path.home()
    config_home = os.environ.get("XDG_CONFIG_HOME") or str(user_home / ".config")
    return plan_service(
        default_kind(sys.platform) if kind is None else kind.value,
        facts,
        home,
        user_home=user_home,
        user_id=user_home.stat().st_uid if user_home.exists() else 0,
        config_home=Path(config_home),
    )


def _user() -> str:
    """Who we are; where nobody can tell, what a shell replaces by it."""
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):
        return "$USER"
    domain = os.environ.get("USERDOMAIN") if sys.platform == "win32" else None
    return f"{domain}\\{user}" if domain else user


def _say_json(service: Service, path: Path | None, *, installed: bool) -> None:
    say_json(
        {
            "kind": service.kind,
            "path": service.path if path is None else path,
            "written": path is not None,
            "installed": installed,
            "text": service.text,
            "commands": [step.command for step in service.steps],
            "advice": service.advice,
        }
    )


def _say(service: Service, path: Path | None, *, installed: bool) -> None:
    if path is None:
        typer.echo(service.text, nl=False)  # a file as it will be written
        say(f"\nits place is {service.path}: --write puts it there", err=True)
    else:
        say(f"wrote {path}")
    if installed:
        say("installed and started")
    else:
        say("--install does that, and runs:", err=True)
        for step in service.steps:
            say(f"  {' '.join(step.command)}", err=True)
    for line in service.advice:
        say(f"- {line}", err=True)
