"""`llama-orch daemon`: the process that keeps the instances."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, home_of, say_json, say_notes
from pytest_llmeval.commands.saying import say
from pytest_llmeval.errors import StateError

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.daemon import DaemonStatus
    from pytest_llmeval.orchestrator.home import Home
    from pytest_llmeval.orchestrator.views import Event

LATELY = 5
"""How many events of the daemon its status tells."""

daemon_app = typer.Typer(
    name="daemon", no_args_is_help=True, help="The process that keeps the instances."
)


@daemon_app.command("start")
def start(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Start it in the background, if it does not run; back when it takes requests."""
    from pytest_llmeval.orchestrator import daemon

    home = home_of(ctx)
    _events(home)
    before = daemon.running(home)
    identity = daemon.ensure_running(home, os.environ)
    if as_json:
        say_json({"pid": identity.pid, "ran_already": identity == before, "home": home.root})
    elif identity == before:
        say(f"The daemon runs already, pid {identity.pid}.")
    else:
        say(f"The daemon has started, pid {identity.pid}; log: {daemon.log_path(home)}")


@daemon_app.command("stop")
def stop(ctx: typer.Context, as_json: AsJson = False) -> None:
    """End all servers, then the daemon. They stay down until you bring them up again."""
    from pytest_llmeval.orchestrator import daemon

    home = home_of(ctx)
    _events(home)
    identity = daemon.stop(home)
    if as_json:
        say_json({"pid": None if identity is None else identity.pid, "home": home.root})
    elif identity is None:
        say("No daemon runs: there is nothing to stop.")
    else:
        say(f"The daemon (pid {identity.pid}) and all its servers have ended.")


@daemon_app.command("status")
def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say whether it runs, since when, and what it keeps up; exit status 1 if it does not run."""
    from pytest_llmeval.orchestrator import daemon

    home = home_of(ctx)
    events = _events(home)
    report = daemon.status(home)
    if as_json:
        say_json(
            {**{each.name: getattr(report, each.name) for each in fields(report)}, "events": events}
        )
    else:
        say(_in_words(report))
        for line in _told(events):
            say(line)
    if report.pid is None:
        raise typer.Exit(1)


def _events(home: Home) -> tuple[Event, ...]:
    """What happened to the daemon lately, the newest first.

    Whoever opens a damaged database sets it aside. The user is to hear of that, so it is opened
    here, before those who do so in silence; what else is wrong with it they tell.
    """
    from pytest_llmeval.orchestrator.state import State

    if home.state.exists():
        with suppress(StateError), closing(State.open(home.state)) as state:
            say_notes(state.notes)
            return state.events_of(None, LATELY)
    return ()


def _told(events: Sequence[Event]) -> Iterator[str]:
    from pytest_llmeval.orchestrator.telling import event_lines

    if events:
        yield "Lately, the newest first"
        yield from event_lines(events)


def _in_words(report: DaemonStatus) -> str:
    if report.pid is None or report.started_at is None:
        return f"No daemon runs in {report.home}. Start it with: llama-orch daemon start"
    since = datetime.fromtimestamp(report.started_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    silent = "" if report.answers else " (it does not take requests yet)"
    down = [name for name in report.wanted if name not in report.up]
    lines = [
        f"The daemon of {report.home} runs{silent}: pid {report.pid}, since {since}",
        f"  up: {', '.join(report.up) or 'none'}",
        *([f"  wanted up, but not: {', '.join(down)}"] if down else []),
        f"  log: {report.log}",
    ]
    return "\n".join(lines)


@daemon_app.command("run")
def run(ctx: typer.Context) -> None:
    """Be the daemon, here in the foreground, until Ctrl-C or `llama-orch daemon stop`.

    That is what a service manager runs.
    """
    from pytest_llmeval.orchestrator import daemon_run

    daemon_run.run(home_of(ctx), os.environ, in_background=False)


@daemon_app.command("autostart")
def autostart(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take these out instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have instances brought up whenever the daemon starts; without names, say which are."""
    from pytest_llmeval.orchestrator.autostart import (
        add_autostart,
        read_autostart,
        remove_autostart,
    )

    home = home_of(ctx)
    if remove and not names:
        raise typer.BadParameter("name what is to be taken out")
    if not names:
        now = read_autostart(home)
    else:
        now = (remove_autostart if remove else add_autostart)(home, names)
    if as_json:
        say_json({"instances": now})
    elif now:
        say(f"Brought up when the daemon starts: {', '.join(now)}")
    else:
        say("None is brought up when the daemon starts.")
