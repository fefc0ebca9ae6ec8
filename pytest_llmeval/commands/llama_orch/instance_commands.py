"""`llama-orch up`, `down`, `restart` and `reset`: what changes instances."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, home_of, say_json, say_notes
from pytest_llmeval.commands.saying import say, say_error

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.views import InstanceView

    Act = Callable[[str], InstanceView]

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="All instances that there are.")]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the signal's number."""

STILL_ASKED = (
    "llama-orch: interrupted. What was asked for is still brought about: `llama-orch ps` shows how "
    "far it is, `llama-orch down NAME` takes it back"
)


def up(
    ctx: typer.Context, names: Names = None, everything: Everything = False, as_json: AsJson = False
) -> None:
    """Bring instances up, and be back once requests may be sent.

    What is up already stays as it is. The daemon that keeps them up is started if need be.
    """
    client = open_client(ctx)

    def told(view: InstanceView) -> str:
        text = f"{view.name} is up{_where(view)}"
        if client.describe(view.name).config_changed:
            text += (
                "; its config has changed since it was started: "
                f"`llama-orch restart {view.name}` goes by the new one"
            )
        return text

    _do(ctx, client.names, client.up, told, names, everything=everything, as_json=as_json)


def down(
    ctx: typer.Context, names: Names = None, everything: Everything = False, as_json: AsJson = False
) -> None:
    """Bring instances down, and be back once their processes are gone."""
    client = open_client(ctx)

    def all_names() -> tuple[str, ...]:
        """What is left of one whose config is gone is brought down, too."""
        return tuple(view.name for view in client.overview())

    def told(view: InstanceView) -> str:
        return f"{view.name} is down"

    _do(ctx, all_names, client.down, told, names, everything=everything, as_json=as_json)


def restart(
    ctx: typer.Context, names: Names = None, everything: Everything = False, as_json: AsJson = False
) -> None:
    """End instances and start them again at once, with their configs as they are now."""
    client = open_client(ctx)

    def told(view: InstanceView) -> str:
        return f"{view.name} is up again{_where(view)}"

    _do(ctx, client.names, client.restart, told, names, everything=everything, as_json=as_json)


def reset(
    ctx: typer.Context, names: Names = None, everything: Everything = False, as_json: AsJson = False
) -> None:
    """Forget the restarts of instances; one that was given up is down then, and may be started."""
    client = open_client(ctx)

    def told(view: InstanceView) -> str:
        way_on = "" if view.wanted == "up" else f"; `llama-orch up {view.name}` starts it"
        return f"{view.name}: its restarts are forgotten{way_on}"

    _do(ctx, client.names, client.reset, told, names, everything=everything, as_json=as_json)


def open_client(ctx: typer.Context) -> Client:
    """The instances of the home that a call is about; what the user should hear is said."""
    from pytest_llmeval.orchestrator.client import Client

    client = Client.open(home_of(ctx), environ=os.environ, report=_report)
    say_notes(client.notes)
    return client


def _report(name: str, line: str) -> None:
    """Say how far it is, beside what the command prints."""
    from pytest_llmeval.servers.logs import clean_line

    say(f"{name}: {clean_line(line)}", err=True)


def _where(view: InstanceView) -> str:
    facts = [fact for fact in (view.url, view.pid and f"pid {view.pid}") if fact]
    return f": {', '.join(facts)}" if facts else ""


def _do(
    ctx: typer.Context,
    all_names: Callable[[], tuple[str, ...]],
    act: Act,
    told: Callable[[InstanceView], str],
    names: list[str] | None,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """Do it to each instance, tell how it went, and leave with status 1 if any of them failed."""
    from pytest_llmeval.commands.llama_orch.each import Ended, as_object, chosen, do_each
    from pytest_llmeval.orchestrator.showing import nothing_to_show

    selected = chosen(names or [], all_names, everything=everything)
    if not selected and not as_json:
        say(nothing_to_show(home_of(ctx).instances))
    ended: list[Ended] = []
    try:
        for each in do_each(selected, act):
            ended.append(each)
            if each.error is not None:
                words = str(each.error).removeprefix(f"{each.name}: ")
                say_error(f"llama-orch: {ctx.info_name} {each.name}: {words}")
            elif each.view is not None and not as_json:
                say(told(each.view))
    except KeyboardInterrupt:
        say(STILL_ASKED, err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        say_json([as_object(each) for each in sorted(ended, key=lambda each: each.name)])
    if any(each.error is not None for each in ended):
        raise typer.Exit(1)
