"""What pytest-xdist's controller has to do besides owning the run.

It tells workers where the broker is, refuses the run when they cannot start or collect, and sees to
it that a trial whose worker crashed is run again, or named.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pytest_llmeval.crashes import Crashes
from pytest_llmeval.distribution import version
from pytest_llmeval.pulses import Patience, PulseWatch
from pytest_llmeval.run import Run
from pytest_llmeval.workers import Broker

#: How long it waits for workers that do not get on.
PATIENCE = Patience()

#: How many workers may die while they collect, before anything is run.
DEATHS = 2

#: Tests that a worker has to know of to go on: the one it is at, and the next.
LEAST = 2


class ControllerHooks:
    """Hooks of xdist. `refuse` raises pytest's usage error if the user made a mistake."""

    def __init__(self, run: Run, say: Callable[[str], None], refuse: Callable[[], None]):
        self._run = run
        self._refuse = refuse
        self._watch = PulseWatch(say, PATIENCE)
        self._broker: Broker | None = None
        self._wanted = 0
        self._configured: list[str] = []
        self._collected: set[str] = set()
        self._died: list[str] = []
        self._finished: set[str] = set()
        self.crashes = Crashes()

    @pytest.hookimpl(optionalhook=True, wrapper=True)
    def pytest_xdist_make_scheduler(self) -> Generator[None, Any, Any]:
        """See to it that what a crashed worker leaves is handed out again in every mode."""
        scheduler = yield
        if hasattr(scheduler, "workqueue"):  # loadscope, loadfile, loadgroup
            hand_out_enough(scheduler)
        return scheduler

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the broker is."""
        if self._broker is None:
            distributed = node.config.pluginmanager.get_plugin("dsession")
            self._broker = Broker(
                self._run, self._watch, lambda: str(getattr(distributed, "shouldstop", None) or "")
            )
        _outlive(node)
        self._wanted = node.workerinput["workercount"]
        self._configured.append(node.gateway.id)
        node.workerinput["llmeval"] = {
            "address": list(self._broker.address),
            "key": self._broker.key.hex(),
            "version": version(),
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        """A worker has collected, and handed over what it found: stop here if it is unusable."""
        self._collected.add(node.gateway.id)
        self._refuse()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """A worker has ended. One that could not start, or dies while it collects, ends the run:
        xdist would put another one in its place, and again.
        """
        name = node.gateway.id
        self._watch.gone(name)
        if error is None or error == "keyboard-interrupt" or name in self._collected:
            return
        if name in self._configured[: self._wanted] and not hasattr(node, "workerinfo"):
            spec = str(node.gateway.spec).removeprefix("execmodel=main_thread_only//")
            raise pytest.UsageError(f"worker {name} ({spec}) could not start: {_last_line(error)}")
        self._died.append(name)
        most = 1 if node.config.getoption("maxworkerrestart") == "0" else DEATHS
        if len(self._collected) < self._wanted and len(self._died) >= most:
            raise pytest.UsageError(
                f"{_named(self._died)} died while collecting: {_last_line(error)}\n"
                "llmeval: no test was run; -n0 collects in this process and shows where it dies"
            )

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """Have a trial's test run again: its answer is there, and nothing is asked again."""
        trial_id = self._run.tests.get(crashitem)
        if trial_id is None:
            return  # an ordinary test: xdist names it
        worker: Any = vars(report)["node"]
        words = self.crashes.note(crashitem, trial_id, worker.gateway.id)
        self._run.warn(words)
        if report.outcome != "failed":
            return  # pytest-rerunfailures has it run again
        report.outcome = "rerun"  # type: ignore[assignment] # as pytest-rerunfailures calls it
        report.longrepr = words
        vars(report)["llm_outcome"] = "crashed"
        if self._broker is not None:
            self._broker.withdrawn = self.crashes.withdrawn()
        with contextlib.suppress(NotImplementedError):  # such a scheduler does it by itself
            sched.mark_test_pending(crashitem)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test has begun."""
        self._watch.began(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test is through."""
        self._watch.ended(nodeid)
        if self._broker is not None:
            self._finished.add(nodeid)
            self.crashes.settle(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Leave tests that crashed, and were run again, out of JUnit's file: for each worker that
        a test has ended pytest has an element there, which nothing was told to.
        """
        plugins = session.config.pluginmanager.get_plugins() if self._broker is not None else ()
        for plugin in plugins:
            tests: list[Any] = getattr(plugin, "node_reporters_ordered", [])
            # One that is written already has no attributes any more.
            tests[:] = [each for each in tests if getattr(each, "attrs", True)]

    def cut_short(self) -> str:
        """Why not all tests have run although nobody stopped them; "" when they have."""
        if self._broker is None:
            return ""
        left = sum(nodeid not in self._finished for nodeid in self._run.tests)
        if not left or not self._collected:
            return ""
        tests = "1 test was" if left == 1 else f"{left} tests were"
        return f"workers crashed, and pytest-xdist gave up: {tests} not run"

    def close(self) -> None:
        """Serve nobody any more."""
        if self._broker is not None:
            self._broker.close()


def _outlive(node: Any) -> None:
    """Have xdist survive that a worker dies before its death is noticed: what is sent to it then is
    lost, and handed out again as soon as it is.
    """
    send = node.sendcommand

    def sendcommand(name: str, **kwargs: object) -> None:
        with contextlib.suppress(OSError):
            send(name, **kwargs)

    node.sendcommand = sendcommand


def hand_out_enough(scheduler: Any) -> None:
    """Have a worker that takes a crashed one's place get as much as it needs to go on.

    xdist gives it one unit: it may be done already, or hold a single test, which a worker does not
    begin before it knows what follows. And to one that still collects, it can give nothing.
    """
    give = scheduler._reschedule  # noqa: SLF001 - xdist has no other way in

    def reschedule(node: Any) -> None:
        if node not in scheduler.registered_collections:
            return  # it gets its share once it has collected
        give(node)
        while scheduler.workqueue and not node.shutting_down and has_too_little(node):
            give(node)

    def has_too_little(node: Any) -> bool:
        units = scheduler.assigned_work[node].values()
        return sum(not done for unit in units for done in unit.values()) < LEAST

    scheduler._reschedule = reschedule  # noqa: SLF001


def _last_line(error: object) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^\S*\bUsageError: ", "", lines[-1].strip())


def _named(workers: list[str]) -> str:
    return f"worker {workers[0]}" if len(workers) == 1 else f"workers {', '.join(workers)}"
