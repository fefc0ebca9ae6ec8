"""`llama-orch serve`: the instances over HTTP, for programs and as a page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import home_of
from pytest_llmeval.commands.saying import say
from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.home import Home

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.front_door.opening import OpenedDoor

PORT = 9640
PROXY_PORT = 9641
LAST_LINE = "Ctrl-C ends this and leaves the instances as they are."


def serve(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option(help="Where to listen; any other needs --token-env.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT,
    token_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The variable that holds the token; else one is kept."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Also open the front door for OpenAI's clients.")
    ] = False,
    proxy_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the front door listens.")
    ] = PROXY_PORT,
    proxy_token_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The variable with the key that its clients need."),
    ] = None,
) -> None:
    """Show and steer the instances over HTTP: a web page, an interface for programs, metrics."""
    from pytest_llmeval.orchestrator.listening import Listener
    from pytest_llmeval.orchestrator.listening import serve as serve_all
    from pytest_llmeval.orchestrator.web.opening import access_for, open_interface

    if proxy and port == proxy_port != 0:
        raise OrchestratorError(f"--port and --proxy-port are both {port}: give each its own")
    home = home_of(ctx)
    access = access_for(home, host, token_env, os.environ)
    door = _door(home, host, proxy_port, proxy_token_env, token_env) if proxy else None
    web = open_interface(home, host, port, access, os.environ, door.listener if door else None)
    place = Place(host, web.port, None if token_env else access.token)
    listeners: list[Listener] = [web.listener, *([door.listener] if door else [])]
    with _until_interrupted():
        for line in (*place.lines(), *(_door_lines(place, door) if door else ()), LAST_LINE):
            say(line)
        with _opened(home, place) if open_page else contextlib.nullcontext():
            asyncio.run(serve_all(listeners))


def _door(
    home: Home, host: str, port: int, variable: str | None, token_env: str | None
) -> OpenedDoor:
    from pytest_llmeval.orchestrator.front_door.opening import key_for, open_door

    return open_door(home, host, port, key_for(host, variable, token_env, os.environ), os.environ)


def _door_lines(place: Place, door: OpenedDoor) -> Iterator[str]:
    whom = "with the key" if door.needs_key else "of this machine"
    yield f"front door: {replace(place, port=door.port).address}v1   (clients {whom})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the interface answers. A `token` of our own is shown as a part of the address: what
    stands behind # is sent to no server, and so stands in no log of one.
    """

    host: str
    port: int
    token: str | None

    @property
    def address(self) -> str:
        """What a browser of this machine opens."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 # told
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def page(self) -> str:
        """The same with the token, where it is one of ours."""
        return self.address + (f"#token={self.token}" if self.token else "")

    def lines(self) -> list[str]:
        """What is said at the start."""
        about = "whoever has this address may start and stop instances"
        asked = "it asks for the token that you gave"
        return [
            f"page:       {self.page}",
            f"            ({about if self.token else asked})",
            f"interface:  {self.address}instances   (described in {self.address}openapi.json)",
            f"metrics:    {self.address}metrics",
        ]


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C is how this ends, and a service manager's request to end is the same."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        yield


@contextlib.contextmanager
def _opened(home: Home, place: Place) -> Iterator[None]:
    """Show the page in a browser.

    Its address is not given to the browser's command line, which every user of the machine can
    read, but by a file that only this user can.
    """
    import webbrowser

    from pytest_llmeval.orchestrator.web.token_file import write_private

    way = home.root / "open-page.html"
    target = escape(place.page)
    write_private(way, f'<!doctype html><meta http-equiv="refresh" content="0; url={target}">\n')
    try:
        if not webbrowser.open(way.as_uri()):
            say("no browser could be opened: open the address above yourself", err=True)
        yield
    finally:
        way.unlink(missing_ok=True)
