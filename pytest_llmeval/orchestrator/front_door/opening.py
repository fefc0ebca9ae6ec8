"""The front door of a home, made ready to answer: key, socket, memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from platformdirs import user_cache_path

from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.orchestrator.client import Client
from pytest_llmeval.orchestrator.front_door.door import DoorListener
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.listening import listen
from pytest_llmeval.orchestrator.side_by_side import SideBySide
from pytest_llmeval.orchestrator.web.access import is_loopback
from pytest_llmeval.orchestrator.web.token_file import given_token


@dataclass(frozen=True, slots=True)
class OpenedDoor:
    """A front door that is bound and not yet run; `needs_key`: its clients must carry one."""

    listener: DoorListener
    port: int
    needs_key: bool


def open_door(
    home: Home, host: str, port: int, key: str | None, environ: Mapping[str, str]
) -> OpenedDoor:
    """Bind the front door. Whatever could be wrong is told here, before it answers anybody."""
    instances = Client.open(home, environ=environ)
    known = KnownDevices(user_cache_path("llama-orch", appauthor=False))
    fits = SideBySide(instances, environ, known)
    listening = listen(host, port, "--proxy-port")
    listener = DoorListener(instances, listening, key, fits, environ)
    return OpenedDoor(listener, listening.getsockname()[1], key is not None)


def key_for(
    host: str, variable: str | None, token: str | None, environ: Mapping[str, str]
) -> str | None:
    """What clients must carry: the key in the variable that is named; else, where other machines
    can ask, the interface's token (the variable that holds it); else nothing.
    """
    if variable is not None:
        return given_token(variable, environ, "--proxy-token-env")
    if is_loopback(host) or token is None:
        return None
    return given_token(token, environ)
