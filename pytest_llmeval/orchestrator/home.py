"""Where everything about the instances of one user lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from pytest_llmeval.errors import OrchestratorError

PROGRAM = "llama-orch"

VARIABLE = "LLAMA_ORCH_HOME"
"""The variable of the environment that names another home."""


@dataclass(frozen=True, slots=True)
class Home:
    """One folder that holds instances, their state and their logs; no two homes share anything."""

    root: Path

    @property
    def instances(self) -> Path:
        """A folder for each instance, with its config file: what the user writes."""
        return self.root / "instances"

    @property
    def state(self) -> Path:
        """The database: what is wanted, what runs, what happened."""
        return self.root / "state.db"

    @property
    def logs(self) -> Path:
        """What servers write, where no config names another place, and the daemon's own log."""
        return self.root / "logs"

    @property
    def autostart(self) -> Path:
        """Which instances the daemon brings up when it starts."""
        return self.root / "autostart.json"

    @property
    def daemon_lock(self) -> Path:
        """Held by the daemon as long as it lives; there is one for a home."""
        return self.root / "daemon.lock"

    @property
    def token(self) -> Path:
        """The token that changing calls of the interface carry; only its owner may read it."""
        return self.root / "token"


def find_home(given: Path | None, environ: Mapping[str, str]) -> Home:
    """The home that was given, else the environment's, else this user's own.

    Raises OrchestratorError for one below the home of a user that there is not.
    """
    if given is None and environ.get(VARIABLE):
        given = Path(environ[VARIABLE])
    root = given if given is not None else user_data_path(PROGRAM, appauthor=False)
    try:
        return Home(root.expanduser().absolute())
    except RuntimeError as error:
        raise OrchestratorError(
            f"{root}: there is no user of this name whose home `~` could stand for; give the whole "
            f"path with --home or {VARIABLE}"
        ) from error


def cache_folder() -> Path:
    """Where this user's llama-orch keeps what can be found out again, whatever the home is."""
    return user_cache_path(PROGRAM, appauthor=False)
