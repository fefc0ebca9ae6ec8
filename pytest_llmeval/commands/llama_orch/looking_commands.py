"""`llama-orch ps`, `health` and `describe`: what is known of instances."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, home_of, say_json
from pytest_llmeval.commands.llama_orch.instance_commands import Everything, open_client
from pytest_llmeval.commands.saying import say

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.views import InstanceView

Name = Annotated[str, typer.Argument(metavar="NAME")]
OptionalName = Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)]


def ps(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show all instances: where they run, how they are, what they take."""
    from pytest_llmeval.orchestrator.showing import as_table, nothing_to_show, summary
    from pytest_llmeval.orchestrator.telling import plain_table, reasons

    views = open_client(ctx).overview()
    if as_json:
        say_json(views)
        return
    if not views:
        say(nothing_to_show(home_of(ctx).instances))
        return
    now = time.time()
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(as_table(views, now, console.width))
    else:
        say("\n".join(plain_table(views, now)))
    for line in (*reasons(views), summary(views)):
        say(line)


def health(
    ctx: typer.Context,
    name: OptionalName = None,
    everything: Everything = False,
    as_json: AsJson = False,
) -> None:
    """Ask servers for their health now; without NAME, all of them.

    Exit status 1 when one that is wanted up takes no requests.
    """
    from pytest_llmeval.orchestrator.showing import nothing_to_show
    from pytest_llmeval.orchestrator.telling import health_lines

    if name is not None and everything:
        raise typer.BadParameter("give a name or --all, not both")
    client = open_client(ctx)
    views = _look(client, client.overview() if name is None else (client.view(name),))
    if as_json:
        shown = ("name", "wanted", "health", "detail", "ready")
        say_json([{key: getattr(view, key) for key in shown} for view in views])
    elif views:
        for line in health_lines(views):
            say(line)
    else:
        say(nothing_to_show(home_of(ctx).instances))
    if any(view.wanted == "up" and not view.ready for view in views):
        raise typer.Exit(1)


def describe(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Tell everything about an instance: config, process, health, restarts, what happened."""
    from pytest_llmeval.orchestrator.telling import description, waits_for

    detail = open_client(ctx).describe(name)
    now = time.time()
    if as_json:
        facts = {each.name: getattr(detail, each.name) for each in fields(detail)}
        facts["config"] = detail.config and detail.config.model_dump(mode="json")
        say_json({**facts, "waits_for": waits_for(detail.view, now)})
        return
    for line in description(detail, now):
        say(line)


def _look(client: Client, views: Sequence[InstanceView]) -> list[InstanceView]:
    """The same after each server has been asked; what cannot be asked stays as it was seen."""
    from pytest_llmeval.commands.llama_orch.each import do_each

    running = [view.name for view in views if view.pid is not None]
    fresh = {each.name: each.view for each in do_each(running, client.check) if each.view}
    return [fresh.get(view.name, view) for view in views]
