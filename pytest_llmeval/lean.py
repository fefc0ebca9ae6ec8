"""The lean way to run a trial: without pytest's per-test hooks.

A trial runs lean or entirely standard, never half: calling some of pytest's per-test hooks and not
others breaks plugins. The lean path calls none of them and emits two reports; wherever somebody
needs the hooks, `run_lean` says no and pytest's own protocol runs.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from typing import Any, Literal

import pytest

from pytest_llmeval.collection import GateTest, TrialTest
from pytest_llmeval.reporting import (
    Judged,
    NotNeeded,
    attach,
    mark_broken,
    mark_unneeded,
    sayable,
    teardown_report,
)

#: Options under which every trial takes pytest's own protocol, because somebody needs its hooks.
STANDARD_OPTIONS = ("reruns", "force_reruns", "usepdb", "setuponly", "setupplan", "setupshow")

#: The same for keys of the ini file.
STANDARD_KEYS = ("reruns", "timeout_func_only")  # no hook, no rerun; no call of its own to time

#: Markers that pytest or a plugin acts upon in its per-test hooks.
STANDARD_MARKS = frozenset({"skip", "skipif", "xfail", "flaky", "usefixtures", "timeout"})

#: What ends the session and must not be caught with a test's own trouble.
INTERRUPTS = (pytest.exit.Exception, KeyboardInterrupt)

Phase = Literal["setup", "teardown"]

NEEDS_HOOKS = pytest.StashKey[bool]()


def run_lean(item: TrialTest, nextitem: pytest.Item | None) -> bool | None:
    """Run a trial without pytest's per-test hooks, or return None to have it run with them."""
    if nextitem is None or nextitem.parent is not item.parent or _needs_hooks(item):
        return None
    hook = item.config.hook
    location = item.location
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=location)
    report = _call_report(item, location)
    hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logreport(report=teardown_report(report))
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=location)
    if item.session.shouldfail or item.session.shouldstop:
        _step_over(item, None)
    return True


def pass_over(item: GateTest, nextitem: pytest.Item | None) -> bool:
    """A gate's turn in the loop: nothing is shown, its verdict comes when the loop is over.

    Unless it is marked, say with skipif: then pytest has a look at the mark.
    """
    if nextitem is None or nextitem.parent is not item.parent or item.own_markers:
        _step_over(item, nextitem)
    return True


def _needs_hooks(item: TrialTest) -> bool:
    stash = item.config.stash
    needed = stash.get(NEEDS_HOOKS, None)
    if needed is None:
        needed = stash[NEEDS_HOOKS] = _settings_need_hooks(item.config)
    if needed:
        return True
    return bool(item.own_markers) and any(m.name in STANDARD_MARKS for m in item.own_markers)


def _settings_need_hooks(config: pytest.Config) -> bool:
    if any(config.getoption(name, default=None) for name in STANDARD_OPTIONS):
        return True
    return any(_ini(config, name) for name in STANDARD_KEYS)


def _ini(config: pytest.Config, name: str) -> object:
    """A key that a plugin registers, None where that plugin is not."""
    try:
        return config.getini(name)
    except ValueError:
        return None


def _call_report(item: TrialTest, location: tuple[str, int | None, str]) -> pytest.TestReport:
    printed = io.StringIO()
    shown_at_once = item.config.getoption("capture", default="no") == "no"
    with contextlib.nullcontext() if shown_at_once else contextlib.redirect_stdout(printed):
        call = pytest.CallInfo.from_call(item.judge, when="call", reraise=INTERRUPTS)
    outcome: Any = "passed"
    longrepr: Any = None
    sections = [("Captured stdout call", sayable(printed.getvalue()))] if printed.tell() else []
    if call.excinfo is not None:
        outcome = "failed"
        if not isinstance(call.excinfo.value, NotNeeded):  # a traceback would take 40 ms
            longrepr = item.repr_failure(call.excinfo)
        report = pytest.TestReport(
            item.nodeid, location, {}, outcome, longrepr, "call", sections, call.duration
        )
        mark_unneeded(report, call)
        mark_broken(report, call)
        return report
    judged: Judged = call.result
    problem = item.problem_of(judged)
    if problem is not None:
        outcome, longrepr = "failed", str(problem)
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=location,
        keywords={},
        outcome=outcome,
        longrepr=longrepr,
        when="call",
        sections=sections,
        duration=judged.prediction.total_ms / 1000,
        user_properties=[*item.user_properties, *judged.properties()],
    )
    attach(report, item.trial.id, judged.scores, judged.outcome)
    return report


def _step_over(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Finish the fixtures of the ordinary tests before us that `nextitem` does not share.

    Pytest does this in the protocol of an item, which this one did not take.
    """
    hook = item.ihook
    _run_phase(item, "setup", functools.partial(hook.pytest_runtest_setup, item=item))
    tear_down = functools.partial(hook.pytest_runtest_teardown, item=item, nextitem=nextitem)
    _run_phase(item, "teardown", tear_down)


def _run_phase(item: pytest.Item, when: Phase, run: Callable[[], None]) -> None:
    call = pytest.CallInfo.from_call(run, when=when, reraise=INTERRUPTS)
    if call.excinfo is not None:
        report = pytest.TestReport.from_item_and_call(item, call)
        item.ihook.pytest_runtest_logreport(report=report)
