"""Ports of this machine: is one free, who holds it."""

from __future__ import annotations

import errno
import socket
import sys

import psutil

_OWN = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be asked, not listened at
"""Of every address, the machine's own of the same kind."""


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `port` now. Connections that only linger do not count.

    Raises OSError when nobody could listen at this host, whatever the port.
    """
    with _unbound(host) as probe:
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def free_port(host: str) -> int:
    """A port that nobody listens on, chosen by the system; somebody may still be quicker.

    Raises OSError when nobody could listen at this host.
    """
    with _unbound(host) as probe:
        probe.bind((host.strip("[]"), 0))
        return int(probe.getsockname()[1])


def listener(port: int) -> int | None:
    """The pid of the process that listens on a port; None if nobody does or we may not know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):  # macOS tells only root
        return None
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr and connection.laddr.port == port:
            return connection.pid
    return None


def describe_listener(port: int) -> str | None:
    """Who listens on a port, for instance `python3 (pid 4711)`; None if that cannot be told."""
    pid = listener(port)
    if pid is None:
        return None
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def _unbound(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    # The same word means two things: on Windows SO_REUSEADDR would take a port in use.
    if sys.platform == "win32":
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return probe


def reachable(host: str) -> str:
    """How a URL names a server of this machine that listens at `host`.

    One that listens at every address is asked at the machine's own: nothing else works on Windows.
    """
    plain = host.strip("[]")
    own = _OWN.get(plain, plain)
    return f"[{own}]" if ":" in own else own
