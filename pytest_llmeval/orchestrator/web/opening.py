"""The interface over a home's instances, made ready to answer: token, rules, socket, app."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmeval.errors import MissingExtraError, OrchestratorError
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.listening import Listener, listen
from pytest_llmeval.orchestrator.web.access import Access, access_to, is_loopback
from pytest_llmeval.orchestrator.web.token_file import given_token, kept_token

if TYPE_CHECKING:
    from pytest_llmeval.orchestrator.front_door.door import DoorListener


@dataclass(frozen=True, slots=True)
class Opened:
    """An interface that is bound and not yet run."""

    listener: Listener
    port: int


def open_interface(
    home: Home,
    host: str,
    port: int,
    access: Access,
    environ: Mapping[str, str],
    door: DoorListener | None = None,
) -> Opened:
    """Bind the interface. Whatever could be wrong is told here, before it answers anybody.

    `door` is the front door beside it, whose figures it shows.
    """
    _need_extra()
    from pytest_llmeval.orchestrator.client import Client
    from pytest_llmeval.orchestrator.daemon import running
    from pytest_llmeval.orchestrator.web.app import make_app, no_door
    from pytest_llmeval.orchestrator.web.server import WebServer

    listening = listen(host, port)
    instances = Client.open(home, environ=environ)
    app = make_app(
        instances,
        access=access,
        daemon=lambda: running(home) is not None,
        door=no_door if door is None else lambda: door.figures,
    )
    return Opened(WebServer(app, listening), listening.getsockname()[1])


def access_for(home: Home, host: str, token_env: str | None, environ: Mapping[str, str]) -> Access:
    """Who may call; for other machines only with a token that the user has given."""
    if token_env is None and not is_loopback(host):
        raise OrchestratorError(
            f"--host {host} opens the interface to other machines, so it needs a token that you "
            "give: put one into a variable of the environment and name it with --token-env NAME; "
            "without --host it answers this machine alone"
        )
    token = given_token(token_env, environ) if token_env else kept_token(home.token)
    return access_to(host, token, [socket.gethostname()])


def _need_extra() -> None:
    try:
        import fastapi
        import uvicorn
    except ImportError as error:
        package = (error.name or "fastapi").partition(".")[0]
        raise MissingExtraError("llama-orch serve", package=package, extra="web") from error
    del fastapi, uvicorn
