"""`llmeval faults`: a proxy before an endpoint that injects faults, and the list of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.saying import say

if TYPE_CHECKING:
    from pytest_llmeval.probes.faults import Attribute, Fault, Injected

SLICE = 0.2
"""Seconds of a wait: on Windows, one without an end cannot be interrupted."""


def faults(
    url: Annotated[
        str | None, typer.Argument(help="The endpoint, such as http://127.0.0.1:8080/v1")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME:KEY=VALUE,…", help="What to inject; repeatable."),
    ] = None,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="More faults, and a seed, in a file.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Where the random numbers start.  [default: 0]")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")
    ] = 0,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Write the injected faults here, too.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="The faults there are.")] = False,
) -> None:
    """Stand before an endpoint and break what passes, until Ctrl-C. Prints the url to use instead.

    llmeval faults http://127.0.0.1:8080 --fault latency:latency=200 --fault loading:times=3
    """
    if listing:
        say("\n".join(list_lines()))
        return
    if url is None:
        raise typer.BadParameter("name the url of an endpoint, or ask for the --list of faults")
    wanted, its_seed = _wanted(fault or [], script)
    if not wanted:
        raise typer.BadParameter("name a --fault or a --script of them; --list shows all")
    with _told(log) as tell:
        _stand_before(url, wanted, seed if seed is not None else its_seed, port, tell)


def list_lines() -> list[str]:
    """All faults with their attributes, and what may be said of each."""
    from pytest_llmeval.probes.faults import KINDS, SELECTORS

    lines = []
    for kind in KINDS.values():
        lines.append(f"{kind.name:<16} {kind.about}")
        lines += [f"    {each.name:<16} {_attribute(each)}" for each in kind.attributes]
    lines += ["", "and of each of them:"]
    return [*lines, *(f"    {name:<16} {about}" for name, about in SELECTORS.items())]


def _attribute(attribute: Attribute) -> str:
    words = f" ({', '.join(attribute.words)})" if attribute.words else ""
    return f"{attribute.about}{words}; {attribute.default} unless given"


def _wanted(given: list[str], script: Path | None) -> tuple[list[Fault], int]:
    from pytest_llmeval.errors import FaultError
    from pytest_llmeval.inputs.documents import read_text
    from pytest_llmeval.probes.faults import parse_fault, parse_script

    found = [parse_fault(each) for each in given]
    if script is None:
        return found, 0
    scripted, seed = parse_script(read_text(script, FaultError), script)
    return [*found, *scripted], seed or 0


def _stand_before(
    url: str, faults: list[Fault], seed: int, port: int, tell: Callable[[Injected], None]
) -> None:
    from pytest_llmeval.probes.faults import FaultProxy

    with FaultProxy(url, *faults, seed=seed, port=port, tell=tell) as proxy:
        names = ", ".join(fault.text for fault in faults)
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # it says its count then, too
            say(f"before {url}, seed {seed}: {names}. Ctrl-C ends it.", err=True)
            say(proxy.url)
            while True:
                time.sleep(SLICE)
        hits = len(proxy.injected)
        say(f"{proxy.requests:,} requests, {hits:,} faults injected", err=True)


@contextlib.contextmanager
def _told(log: Path | None) -> Iterator[Callable[[Injected], None]]:
    """Says what is injected on stderr, and writes it down, a JSON object a line."""
    from pytest_llmeval.errors import FaultError

    with contextlib.ExitStack() as stack:
        file = None
        if log is not None:
            try:
                file = stack.enter_context(log.open("a", encoding="utf-8", newline="\n"))
            except OSError as error:
                why = error.strerror or error
                raise FaultError(f"--log {log}: cannot be written: {why}") from error

        def tell(injected: Injected) -> None:
            place = f"request {injected.request}  {injected.method} {injected.path}"
            say(f"{injected.seconds:9.3f} s  {place}  {injected.fault}", err=True)
            if file is not None:
                file.write(json.dumps(dataclasses.asdict(injected)) + "\n")
                file.flush()

        yield tell
