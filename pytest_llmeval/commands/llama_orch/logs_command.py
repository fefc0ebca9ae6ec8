"""`llama-orch logs`: what an instance's server writes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, say_json
from pytest_llmeval.commands.llama_orch.instance_commands import open_client
from pytest_llmeval.commands.llama_orch.looking_commands import Name
from pytest_llmeval.commands.saying import say

TAIL = 50


def logs(
    ctx: typer.Context,
    name: Name,
    tail: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many of the last lines.")
    ] = TAIL,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it writes, until Ctrl-C.")
    ] = False,
    stderr: Annotated[
        bool, typer.Option("--stderr", help="What it writes there; llama-server: nearly all.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an instance's server has written, over its restarts and rotated files."""
    from pytest_llmeval.servers.logs import is_title, read_lines

    path = open_client(ctx).log(name, "err" if stderr else "out")
    if all(map(is_title, read_lines(path, TAIL))):
        # llama-server writes nearly all to stderr: who looks here first is told so.
        other = "" if stderr else f"; `llama-orch logs {name} --stderr` shows what is on stderr"
        say(f"llama-orch: the server has written nothing to {path}{other}", err=True)
    if follow:
        _follow(path, tail, as_json=as_json)
        return
    lines = read_lines(path, tail)
    if as_json:
        say_json({"path": path, "lines": lines})
        return
    for line in lines:
        say(line)


def _follow(path: Path, tail: int, *, as_json: bool) -> None:
    """Print lines as they come; as JSON, an object a line. Ctrl-C is how it ends."""
    from pytest_llmeval.servers.logs import follow

    with contextlib.suppress(KeyboardInterrupt):
        for line in follow(path, tail):
            if as_json:
                say_json({"line": line}, indent=None)
            else:
                say(line)
            sys.stdout.flush()
