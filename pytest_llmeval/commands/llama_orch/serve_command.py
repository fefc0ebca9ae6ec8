"""`llama-orch serve`: the instances over HTTP, for programs and as a page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import home_of
from pytest_llmeval.errors import MissingExtraError, OrchestratorError
from pytest_llmeval.orchestrator.home import Home

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.front_door.door import DoorListener
    from pytest_llmeval.orchestrator.listening import Listener
    from pytest_llmeval.orchestrator.web.access import Access

PORT = 9640
PROXY_PORT = 9641


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
    from pytest_llmeval.orchestrator.listening import listen

    _need_extra()
    home = home_of(ctx)
    access = _access(home, host, token_env, os.environ)
    listening = listen(host, port)
    place = Place(host, listening.getsockname()[1], None if token_env else access.token)
    web = _web(home, access, listening)
    for line in place.lines():
        typer.echo(line)
    listeners: list[Listener] = [web]
    if proxy:
        key = _proxy_key(host, proxy_token_env, access, os.environ)
        door = _front_door(home, host, proxy_port, key)
        listeners.append(door)
        whom = "with the key" if key else "of this machine"
        typer.echo(f"front door: {replace(place, port=door.port).address}v1  for clients {whom}")
    with _opened(home, place) if open_page else contextlib.nullcontext():
        run(listeners)


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
            "Ctrl-C ends this and leaves the instances as they are.",
        ]


def run(listeners: list[Listener]) -> None:
    """Answer until Ctrl-C or a signal to end, or until one of them fails."""
    from pytest_llmeval.orchestrator.listening import serve as serve_all

    # A service manager's request to end is treated like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve_all(listeners))


def _need_extra() -> None:
    try:
        import fastapi
        import uvicorn
    except ImportError as error:
        package = (error.name or "fastapi").partition(".")[0]
        raise MissingExtraError("llama-orch serve", package=package, extra="web") from error
    del fastapi, uvicorn


def _access(home: Home, host: str, token_env: str | None, environ: Mapping[str, str]) -> Access:
    from pytest_llmeval.orchestrator.web.access import access_to, is_loopback
    from pytest_llmeval.orchestrator.web.token_file import given_token, kept_token

    if token_env is None and not is_loopback(host):
        raise OrchestratorError(
            f"--host {host} opens the interface to other machines, so it needs a token that you "
            "give: put one into a variable of the environment and name it with --token-env NAME; "
            "without --host it answers this machine alone"
        )
    token = given_token(token_env, environ) if token_env else kept_token(home.token)
    return access_to(host, token, (socket.gethostname(), socket.getfqdn()))


def _web(home: Home, access: Access, listening: socket.socket) -> Listener:
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.daemon import running
    from pytest_llmeval.orchestrator.web.app import make_app
    from pytest_llmeval.orchestrator.web.server import WebServer

    instances = Client.open(home, environ=os.environ)
    app = make_app(instances, access=access, daemon=lambda: running(home) is not None)
    return WebServer(app, listening)


def _proxy_key(
    host: str, proxy_token_env: str | None, access: Access, environ: Mapping[str, str]
) -> str | None:
    """What clients of the front door must carry: what was given for it, else for other machines
    the interface's token, else nothing.
    """
    from pytest_llmeval.orchestrator.web.access import is_loopback
    from pytest_llmeval.orchestrator.web.token_file import given_token

    if proxy_token_env:
        return given_token(proxy_token_env, environ, "--proxy-token-env")
    return None if is_loopback(host) else access.token


def _front_door(home: Home, host: str, port: int, key: str | None) -> DoorListener:
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.front_door.door import DoorListener
    from pytest_llmeval.orchestrator.front_door.fitting import MachineFits
    from pytest_llmeval.orchestrator.lint_facts import this_machine
    from pytest_llmeval.orchestrator.listening import listen

    instances = Client.open(home, environ=os.environ)
    fits = MachineFits(instances, this_machine(os.environ).look, os.environ)
    return DoorListener(instances, listen(host, port, "--proxy-port"), key, fits)


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
            typer.echo("no browser could be opened: open the address above yourself", err=True)
        yield
    finally:
        way.unlink(missing_ok=True)
