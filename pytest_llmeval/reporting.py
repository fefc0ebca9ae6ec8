"""How a trial, and a gate, is shown to pytest: reports, letters, words.

A wrong answer is not a broken test: it is shown as `w` and does not fail the session. A broken
request is never a wrong answer: it is an error, `E`, with the server's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.records import GateResult, Prediction, Score, Trial
from pytest_llmeval.redaction import Redactor
from pytest_llmeval.run import FailureCount
from pytest_llmeval.visible import visible

#: How an outcome is shown: category of pytest's last line, letter, word under -v with its markup.
SHOWN: dict[str, tuple[str, str, str | tuple[str, Mapping[str, bool]]]] = {
    "right": ("passed", ".", "PASSED"),
    "graded": ("graded", "g", ("GRADED", {"yellow": True})),
    "wrong": ("wrong", "w", ("WRONG", {"yellow": True})),
    "no_answer": ("no answer", "n", ("NO ANSWER", {"yellow": True})),
    "answered": ("answered", "a", ("ANSWERED", {"cyan": True})),  # and waiting for a judge
    "crashed": ("crashed", "C", ("CRASHED", {"yellow": True})),  # its worker, and it is run again
    "not_needed": ("not needed", "-", ("NOT NEEDED", {})),
    "failure": ("error", "E", "ERROR"),  # bare: pytest 8.2 prints a markup in the short summary
}

#: What we call by our own names of tests that have not passed, by pytest's outcome.
NOT_PASSED = {"failed": "failure", "skipped": "not_needed", "rerun": "crashed"}

#: A failure that the config's `failures: at_most` allows, until the end of the run counts them all.
TOLERATED = ("tolerated", "E", ("ERROR", {"yellow": True}))

#: What stands for the config's limit on failures where a test's name is wanted.
FAILURES_NODE = "llmeval::failures.at_most"

#: The same for answers that no judge could judge.
JUDGES_NODE = "llmeval::judges"
RUN_NODE = "llmeval::run"

#: Longest text of an answer that a report carries; the whole is in the run's folder.
ANSWER_SHOWN = 500


class MachineryFailure(Exception):
    """A trial has no answer because something broke; never shown with a traceback."""


class MustPass(Exception):
    """A wrong answer in a suite that says `each_item: must_pass`."""


class EndedWorkers(pytest.fail.Exception):  # type: ignore[misc, name-defined] # an attribute
    """A test that has ended two of xdist's workers, and is not run again."""

    __module__ = "builtins"  # as pytest's own: reports say it shortly


class NotNeeded(pytest.skip.Exception):  # type: ignore[misc, name-defined] # an attribute
    """A trial that its suite has decided without. To pytest and its plugins it was skipped."""


class NotJudged(NotNeeded):
    """A test whose answer is not waited for any more, since the session ends. It was skipped."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A trial's prediction with the scores it got so far; those of judges come when all is over."""

    trial: Trial
    prediction: Prediction
    scores: tuple[Score, ...]

    @property
    def headline(self) -> Score | None:
        """The score that decides how the trial is shown; None while it has to come from a judge."""
        first = self.trial.suite.scorers[0].name
        return next((score for score in self.scores if score.scorer == first), None)

    @property
    def outcome(self) -> str:
        """What is shown."""
        return self.headline.outcome if self.headline is not None else "answered"

    @property
    def text(self) -> str:
        """The answer's text as a report shows it, cut to a readable length."""
        text = self.prediction.text
        return text if len(text) <= ANSWER_SHOWN else text[:ANSWER_SHOWN] + " …"

    def problem(self, *, must_be_right: bool, tolerate_failures: bool) -> Exception | None:
        """What makes this trial an error or a failing test, None when nothing does.

        A failure is never tolerated where the answer must be right: it is not known to be.
        """
        headline = self.headline
        if headline is None:
            return None
        if headline.outcome == "failure":
            if tolerate_failures and not must_be_right:
                return None
            return MachineryFailure(visible(self._why_failed(headline)))
        if must_be_right and headline.outcome != "right":
            return MustPass(visible(self._why_not_right(headline)))
        return None

    def _why_failed(self, score: Score) -> str:
        failure = self.prediction.failure
        if failure is not None:
            return f"failure ({failure.reason}): {failure.message}"
        return f"failure ({score.reason}) of {score.scorer}: {''.join(score.stages[-1:])}"

    def _why_not_right(self, score: Score) -> str:
        found = f", extracted {score.extracted!r}" if score.extracted is not None else ""
        word = score.reason or score.outcome
        return (
            f"{word}: expected {self.trial.item.target!r}, got {self.text!r}{found} "
            f"(each_item: must_pass)"
        )

    def properties(self) -> list[tuple[str, object]]:
        """What JUnit and other report writers get to know."""
        score = self.headline
        known: list[tuple[str, object]] = [("llm_outcome", self.outcome)]
        if score is not None and score.reason:
            known.append(("llm_reason", visible(score.reason)))
        if self.outcome != "right":
            expected = visible(str(self.trial.item.target))
            known += [("llm_expected", expected), ("llm_answer", visible(self.text))]
        return known


def sayable(text: str) -> str:
    """A text as UTF-8 can carry it: half of a surrogate pair, which JSON may hold, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def attach(report: pytest.TestReport, trial_id: str, scores: Iterable[Score], outcome: str) -> None:
    """Give a report what the process that owns the run has to know of a trial, and how it is shown.

    Plain tuples only: reports of xdist's workers travel as JSON-like data.
    """
    rows = [_plain(score) for score in scores]
    vars(report).update(llm_trial=trial_id, llm_scores=rows, llm_outcome=outcome)


def _plain(score: Score) -> tuple[Any, ...]:
    """A score whose scorer may be the user's own: numpy's numbers and odd texts do not travel."""
    return (
        sayable(score.scorer),
        score.outcome,
        None if score.value is None else float(score.value),
        sayable(score.reason),
        None if score.extracted is None else sayable(str(score.extracted)),
        tuple(sayable(stage) for stage in score.stages),
    )


def mark_broken(report: pytest.TestReport, call: pytest.CallInfo[Any]) -> None:
    """Show a trial that never got its prediction as an error: the run has broken off."""
    if call.excinfo is not None and isinstance(call.excinfo.value, LlmevalError):
        vars(report)["llm_outcome"] = "failure"


def mark_unneeded(report: pytest.TestReport, call: pytest.CallInfo[Any]) -> None:
    """Show a trial that nobody needed as that."""
    if call.excinfo is None or not isinstance(call.excinfo.value, NotNeeded):
        return
    path, line, _ = report.location
    report.outcome = "skipped"
    if isinstance(call.excinfo.value, NotJudged):
        report.longrepr = (path, (line or 0) + 1, str(call.excinfo.value))
        return
    report.longrepr = (path, (line or 0) + 1, "not needed: the suite has decided without it")
    report.user_properties.append(("llm_outcome", "not_needed"))
    vars(report)["llm_outcome"] = "not_needed"


def attached(report: pytest.TestReport) -> tuple[str, tuple[Score, ...]] | None:
    """The trial id and the scores that a report carries, None for a report of another test."""
    trial_id = vars(report).get("llm_trial")
    if trial_id is None:
        return None
    return trial_id, tuple(
        Score(scorer, outcome, value, reason, extracted, tuple(stages))
        for scorer, outcome, value, reason, extracted, stages in vars(report)["llm_scores"]
    )


def status(report: pytest.TestReport) -> tuple[str, str, Any] | None:
    """Pytest's category, letter and word for a report of ours, None for others.

    None also for what is not ours to name: a trial that is run again, or that is marked with xfail.
    """
    if vars(report).get("llm_silent"):
        return ("failed" if report.failed else ""), "", ""
    outcome = vars(report).get("llm_outcome")
    if outcome is None or hasattr(report, "wasxfail"):
        return None
    if report.when != "call" and outcome != "crashed":
        return None
    if report.outcome == "passed":
        return TOLERATED if outcome == "failure" else SHOWN[outcome]
    return SHOWN[outcome] if outcome == NOT_PASSED.get(report.outcome) else None


def gate_reports(
    nodeid: str, location: tuple[str, int | None, str], result: GateResult
) -> Iterator[pytest.TestReport]:
    """The reports of a gate: pass and no_change passed, fail failed, inconclusive skipped.

    Unless the suite says `inconclusive: fail`.
    """
    text = visible(f"gate {result.verdict}: {result.gate.subject} {result.message}")
    outcome: str = "passed"
    longrepr: Any = None
    if result.fails:
        outcome, longrepr = "failed", text
    elif result.verdict == "inconclusive":
        on_a_line = "; ".join(text.splitlines())  # where pytest shows reasons it has one line each
        outcome, longrepr = "skipped", (location[0], result.gate.line or 1, on_a_line)
    yield from _both_reports(nodeid, location, outcome, longrepr, _gate_properties(result))


def _gate_properties(result: GateResult) -> list[tuple[str, object]]:
    """What JUnit and other report writers get to know of a gate, also of one that has passed."""
    known: list[tuple[str, object]] = [
        ("llm_verdict", result.verdict),
        ("llm_reason", visible(result.message)),
    ]
    if result.evidence is not None and result.evidence.smallest_margin is not None:
        known.append(("llm_smallest_margin", result.evidence.smallest_margin))
    return known


def failure_reports(count: FailureCount) -> Iterator[pytest.TestReport]:
    """The reports of the config's `failures: at_most`: failed when there were more.

    They belong to no test that pytest has collected, so they have no letter while they are logged:
    it would count in the progress. Afterwards they are shown as what they are.
    """
    location = ("llmeval", None, "llmeval failures: at_most")
    outcome, longrepr = ("failed", str(count)) if count.too_many else ("passed", None)
    yield from _silent_reports(FAILURES_NODE, location, outcome, longrepr)


def crash_reports(nodeid: str, words: str) -> Iterator[pytest.TestReport]:
    """The reports of a test that ended its worker, and that no worker was left to run again."""
    location = (nodeid.partition("::")[0], None, nodeid)
    yield from _silent_reports(nodeid, location, "failed", words)


def judge_failure_reports(words: str) -> Iterator[pytest.TestReport]:
    """The reports of answers that no judge could judge: failed, for the machinery broke."""
    location = ("llmeval", None, "llmeval judges")
    yield from _silent_reports(JUDGES_NODE, location, "failed", visible(words))


def trouble_reports(words: Sequence[str]) -> Iterator[pytest.TestReport]:
    """The reports of a run that is not whole, although every test may have passed."""
    told = visible("\n".join(words))
    yield from _silent_reports(RUN_NODE, ("llmeval", None, "llmeval run"), "failed", told)


def _silent_reports(
    nodeid: str, location: tuple[str, int | None, str], outcome: Any, longrepr: Any
) -> Iterator[pytest.TestReport]:
    for report in _both_reports(nodeid, location, outcome, longrepr):
        vars(report)["llm_silent"] = True
        yield report
        del vars(report)["llm_silent"]


def _both_reports(
    nodeid: str,
    location: tuple[str, int | None, str],
    outcome: Any,
    longrepr: Any,
    properties: Sequence[tuple[str, object]] = (),
) -> Iterator[pytest.TestReport]:
    report = pytest.TestReport(
        nodeid, location, {}, outcome, longrepr, "call", user_properties=properties
    )
    yield report
    yield teardown_report(report)


def teardown_report(call: pytest.TestReport) -> pytest.TestReport:
    """The passed teardown that follows a call's report where pytest's own protocol did not run.

    JUnit's and HTML's writers wait for it; JUnit's takes the properties from it.
    """
    return pytest.TestReport(
        nodeid=call.nodeid,
        location=call.location,
        keywords={},
        outcome="passed",
        longrepr=None,
        when="teardown",
        user_properties=call.user_properties,
    )


_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def spell_out(report: pytest.CollectReport | pytest.TestReport, *, colours: bool) -> None:
    """Have a report's traceback spell out what would act on a terminal: it may quote an answer.

    Pytest puts `colours` into the words of an assertion where the terminal has them; they stay.
    What was printed meanwhile is left alone: whoever prints knows what.
    """
    if not report.longrepr:
        return
    if isinstance(report.longrepr, tuple):  # of a test that was skipped
        path, line, reason = report.longrepr
        report.longrepr = path, line, visible(reason)
        return

    def spelt_out(words: str) -> str:
        parts = _COLOUR.split(words) if colours else [words]
        return "".join(part if at % 2 else visible(part) for at, part in enumerate(parts))

    report.longrepr = _changed(report.longrepr, spelt_out)


def redact_report(report: pytest.CollectReport | pytest.TestReport, redactor: Redactor) -> None:
    """Take secrets out of a report's traceback, with the values of variables that `-l` shows, out
    of what was printed and logged meanwhile, and out of the properties that JUnit gets.
    """
    if report.longrepr:
        if isinstance(report.longrepr, tuple):  # of a test that was skipped
            path, line, reason = report.longrepr
            report.longrepr = path, line, redactor.text(reason)
        else:
            report.longrepr = _changed(report.longrepr, redactor.text)
    report.sections = [(name, redactor.text(content)) for name, content in report.sections]
    if isinstance(report, pytest.TestReport):  # what is ours is clean, or a model's own words
        report.user_properties = [
            (name, value if name.startswith("llm_") else redactor.data(value))
            for name, value in report.user_properties
        ]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A traceback as plain text, which has no colours, and can leave no lines out. `reprcrash` says
    in which line the test ended and by what: the short summary and JUnit quote it.
    """

    words: str
    reprcrash: Any

    def __str__(self) -> str:
        return self.words

    def toterminal(self, writer: Any) -> None:
        """Write it as pytest writes its own, which is also how it knows that it can be sent on."""
        writer.line(self.words)


def _changed(longrepr: Any, change: Callable[[str], str]) -> Any:
    """A traceback with its words changed; the same object where there is nothing to change."""
    words = str(longrepr)
    clean = change(words)
    crash = getattr(longrepr, "reprcrash", None)
    if clean == words:
        return longrepr
    if crash is None:
        return clean
    return _Plain(clean, replace(crash, message=change(crash.message)))
