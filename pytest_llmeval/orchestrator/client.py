"""All that can be asked of a home's instances, from any process: `Instances` over the database.

It writes down what is asked and waits for the daemon to have done it; what it shows is what configs
and database say. It starts and stops no server itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_llmeval.errors import DaemonError, InstanceConfigError, OrchestratorError
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.configs import LoadedInstance, fingerprint, require_instance
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.joined import has_changed, left_over, view_of, without_config
from pytest_llmeval.orchestrator.known_configs import KnownConfigs
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome, Wish
from pytest_llmeval.orchestrator.specs import log_files, log_folder
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.orchestrator.views import InstanceDetail, InstanceView, Stream
from pytest_llmeval.orchestrator.waiting import (
    POLL_SECONDS,
    Asked,
    Daemon,
    Report,
    overtaken,
    still_asked_for,
    wait_for,
)
from pytest_llmeval.servers.identity import Identity

SHOWN = 50
"""How many entries of each history a description has."""

GUARD_SECONDS = 5.0
"""The longest that a guard takes to end a server after its daemon has died, and then some."""


def _say_nothing(name: str, line: str) -> None:
    del name, line


@dataclass(frozen=True, slots=True)
class HomeDaemon:
    """The daemon of a home."""

    home: Home
    environ: Mapping[str, str]

    @property
    def log(self) -> Path:
        """Where it says why it ended."""
        from pytest_llmeval.orchestrator.daemon import log_path

        return log_path(self.home)

    def running(self) -> Identity | None:
        """Who it is, if there is one."""
        from pytest_llmeval.orchestrator.daemon import running

        return running(self.home)

    def ensure_running(self) -> Identity:
        """Have one, started if need be."""
        from pytest_llmeval.orchestrator.daemon import ensure_running

        return ensure_running(self.home, self.environ)


class Client:
    """The instances of a home, as every face of the orchestrator uses them. Any thread may call.

    `report` is given a line a second while something is waited for. A call that is interrupted
    (Ctrl-C) takes nothing back: what it has asked for is still brought about.
    """

    def __init__(
        self,
        home: Home,
        state: State,
        daemon: Daemon,
        *,
        environ: Mapping[str, str],
        report: Report = _say_nothing,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._home = home
        self._state = state
        self._daemon = daemon
        self._configs = KnownConfigs(home, environ)
        self._report = report
        self._clock = clock
        self._sleep = sleep

    @classmethod
    def open(
        cls, home: Home, *, environ: Mapping[str, str], report: Report = _say_nothing
    ) -> Client:
        """The instances of a home, kept by its real daemon."""
        state = State.open(home.state)
        return cls(home, state, HomeDaemon(home, environ), environ=environ, report=report)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should hear: a database that was damaged, and where it is now."""
        return self._state.notes

    # Looking --------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """All instances that have a config, in the order of their names."""
        return self._configs.names()

    def overview(self) -> tuple[InstanceView, ...]:
        """All of them now, and those whose config is gone while their server is not."""
        names = self.names()
        rows = {row.name: row for row in self._state.rows()}
        watched = self._daemon.running() is not None
        views = [self._joined(name, rows.get(name), watched) for name in names]
        views += [without_config(row, watched=watched) for row in left_over(rows.values(), names)]
        return tuple(sorted(views, key=lambda view: view.name))

    def view(self, name: str) -> InstanceView:
        """One of them now."""
        row = self._state.row(name)
        watched = self._daemon.running() is not None
        if row is not None and self._is_left_over(row):
            return without_config(row, watched=watched)
        self._require(name)
        return self._joined(name, row, watched)

    def describe(self, name: str) -> InstanceDetail:
        """Everything about one of them."""
        detail = InstanceDetail(
            view=self.view(name),
            config=None,
            config_path=self._home.instances / name,
            health=self._state.health_of(name, SHOWN),
            restarts=self._state.restarts_of(name, SHOWN),
            events=self._state.events_of(name, SHOWN),
        )
        found = self._configs.find(name)
        if isinstance(found, InstanceConfigError):
            path = Path(found.path or detail.config_path)
            return replace(detail, config_path=path, config_problem=str(found))
        changed = has_changed(fingerprint(found.config), self._state.row(name))
        return replace(detail, config=found.config, config_path=found.path, config_changed=changed)

    def config(self, name: str) -> InstanceConfig:
        """What it is to be; raises InstanceConfigError."""
        return self._loaded(name).config

    def log(self, name: str, stream: Stream) -> Path:
        """The file that its server's stdout or stderr goes to, or went to last.

        The config has the word only where there was no server yet: it may have been edited since.
        """
        row = self._state.row(name)
        if not self._is_left_over(row):
            self._require(name)
        used = row and row.log_folder
        out, err = log_files(
            name, Path(used) if used else log_folder(self.config(name), self._home)
        )
        return out if stream == "out" else err

    # Asking ---------------------------------------------------------------------------------------

    def up(self, name: str) -> InstanceView:
        """Have it running; one that runs already is left alone, whatever its config says now."""
        self._loaded(name)
        if self._is_up(self._state.row(name)):
            view = self.view(name)
            if view.ready:  # else its end was written down between these two looks
                return view
        view = self._have_up(name)
        if view.wanted == "up" and view.pid is None:
            # The daemon took for running what had ended, and has noticed only now.
            view = self._have_up(name)
        return view

    def down(self, name: str) -> InstanceView:
        """Have it stopped, and back when its process is gone."""
        view = self.view(name)  # so that no name is written down that nobody knows
        # Asked even where there is no daemon: one may be starting right now.
        self._ask(name, "down", self._end_alone)
        return self.view(name) if name in self.names() else replace(view, wanted="down", pid=None)

    def restart(self, name: str) -> InstanceView:
        """End it and start it again at once, whatever the restart policy says."""
        self._loaded(name)
        self._bring_about(name, "restart")
        return self.view(name)

    def reset(self, name: str) -> InstanceView:
        """Forget its restarts: one that was given up is down then, and may be started again."""
        self._require(name)
        self._ask(name, "reset", lambda _: self._state.reset(name))
        return self.view(name)

    def check(self, name: str) -> InstanceView:
        """Ask its server for its health now, and note the answer; one without is left as it is."""
        self._require(name)
        self._ask(name, "check", lambda _: None)
        return self.view(name)

    def _have_up(self, name: str) -> InstanceView:
        self._bring_about(name, "up")
        return self.view(name)

    def _bring_about(self, name: str, wish: Wish) -> None:
        """Have a daemon do it. Should it die over it, the next one goes on; not a third one.

        It is asked before there is a daemon, so that what others ask while one starts comes after
        it: whoever brings it down then has the last word.
        """
        asked = Asked(self._state.ask(name, wish), name, wish)
        self._have_daemon(asked)
        try:
            self._wait(asked)
        except DaemonError:
            self._have_daemon(asked)
            self._wait(asked)

    def _have_daemon(self, asked: Asked) -> None:
        try:
            self._daemon.ensure_running()
        except DaemonError as error:
            raise DaemonError(
                f"{error}\n`{asked.wish} {asked.name}`: {still_asked_for(asked)}"
            ) from error

    def _ask(self, name: str, wish: Wish, alone: Callable[[Asked], None]) -> None:
        """Have the daemon do it; where there is none, `alone` is all there is to do.

        A daemon says that it is there before it reads what is wanted: either we see it, or it sees
        what we asked.
        """
        asked = Asked(self._state.ask(name, wish), name, wish)
        if self._daemon.running() is not None:
            with contextlib.suppress(DaemonError):
                self._wait(asked)
                return
        alone(asked)
        self._state.finish(asked.number, Outcome())

    def _wait(self, asked: Asked) -> None:
        wait_for(
            asked,
            self._state,
            self._daemon,
            report=self._report,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _end_alone(self, asked: Asked) -> None:
        """Take back what was to bring it up, before a daemon that starts just now may read it; and
        wait for a server whose daemon has died: its guard ends it, but not in no time.
        """
        for earlier in self._state.requests_after(0):
            if earlier.name == asked.name and earlier.number < asked.number:
                self._state.finish(earlier.number, overtaken(earlier.wish))
        row = self._state.row(asked.name)
        server = None if row is None else row.server
        until = self._clock() + GUARD_SECONDS
        while server is not None and server.lives():
            if self._clock() >= until:
                raise OrchestratorError(
                    f"{asked.name}: its daemon has died, and its server (pid {server.pid}) lives "
                    "on; `llama-orch daemon start` ends what an earlier daemon has left"
                )
            self._sleep(POLL_SECONDS)

    def _is_up(self, row: InstanceRow | None) -> bool:
        return (
            row is not None
            and row.wanted == "up"
            and row.health in {"healthy", "busy"}
            and row.server is not None
            and row.server.lives()
            and self._daemon.running() is not None
        )

    # Configs --------------------------------------------------------------------------------------

    def _joined(self, name: str, row: InstanceRow | None, watched: bool) -> InstanceView:
        found = self._configs.find(name)
        if isinstance(found, LoadedInstance):
            return view_of(name, found.config, row, watched=watched)
        view = view_of(name, None, row, watched=watched)
        mistake = str(found).partition("\n")[0]
        return replace(view, detail=f"{view.detail}; {mistake}" if view.pid else mistake)

    def _loaded(self, name: str) -> LoadedInstance:
        self._require(name)
        found = self._configs.find(name)
        if isinstance(found, InstanceConfigError):
            raise found.with_traceback(None)  # it may have been raised before
        return found

    def _is_left_over(self, row: InstanceRow | None) -> bool:
        return row is not None and bool(left_over([row], self.names()))

    def _require(self, name: str) -> None:
        require_instance(self._home, name)
