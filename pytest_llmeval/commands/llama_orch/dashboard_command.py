"""`llama-orch dashboard`: watch all instances in the terminal, and act on them by keys."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import sys
import time
from typing import TYPE_CHECKING

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, home_of, say_json
from pytest_llmeval.commands.saying import say

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.dashboard.screen import Progress


def dashboard(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Watch all instances, look at their logs, bring them up and down; h tells the keys.

    As JSON it prints an object each second, one a line.
    """
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.dashboard.plain import why_plain

    home = home_of(ctx)
    progress: Progress = queue.SimpleQueue()
    client = Client.open(
        home, environ=os.environ, report=lambda name, line: progress.put((name, line))
    )
    for note in client.notes:
        say(f"llama-orch: {note}", err=True)
    why = why_plain(
        # Textual draws on stderr, reads keys from stdin and asks stdout how wide it is.
        terminal=all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)),
        term=os.environ.get("TERM", ""),
        textual=importlib.util.find_spec("textual") is not None,
    )
    with contextlib.suppress(KeyboardInterrupt):  # that is how it ends
        if as_json:
            _print_json(client)
        elif why is None:
            _show(ctx, client, progress)
        else:
            _print(ctx, client, why)


def _show(ctx: typer.Context, client: Client, progress: Progress) -> None:
    from pytest_llmeval.orchestrator.dashboard.screen import Dashboard
    from pytest_llmeval.orchestrator.showing import nothing_to_show

    empty = nothing_to_show(home_of(ctx).instances)
    colours = not os.environ.get("NO_COLOR")
    Dashboard(client, empty=empty, progress=progress, colours=colours).run()


def _print(ctx: typer.Context, client: Client, why: str) -> None:
    from rich.console import Console

    from pytest_llmeval.orchestrator.dashboard.plain import show_plainly
    from pytest_llmeval.orchestrator.showing import nothing_to_show

    empty = nothing_to_show(home_of(ctx).instances)
    show_plainly(client, Console(), why, empty=empty, clock=time.time, sleep=time.sleep)


def _print_json(client: Client) -> None:
    from pytest_llmeval.orchestrator.dashboard.plain import LOOK_SECONDS

    while True:
        say_json({"at": time.time(), "instances": client.overview()}, indent=None)
        sys.stdout.flush()
        time.sleep(LOOK_SECONDS)
