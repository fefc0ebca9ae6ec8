"""The scorer math and the process it works in."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_llmeval.errors import MissingExtraError, ScorerError
from pytest_llmeval.records import Answer, FinishReason, Item, Prediction, Score, ScorerSpec
from pytest_llmeval.scoring import math_process
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.math_process import MATH, MathProcess
from pytest_llmeval.scoring.scorer import make_scorer


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    MATH.close()


def judged(text: str, target: Any, finish_reason: FinishReason = "stop", **options: Any) -> Score:
    made = make_scorer(ScorerSpec("math", {"time_limit": 120, **options}))
    return made(Answer(text, finish_reason), Item("one", "one", {}, target))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("1/2", "0.5"),
        (r"\frac{1}{2}", r"$\frac12$"),
        (r"The answer is $\boxed{x^2+1}$", "1 + x^2"),
        ("x^2+1", "$x^2 + 1$"),
        ("3x+2", "2+3x"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("sqrt(8)", r"2\sqrt{2}"),
        ("pi/2", r"\frac{\pi}{2}"),
        ("5", "x=5"),
        (r"$\{1, 2\}$", r"\{2, 1\}"),
        ("The final answer is 1,234.", "1234"),
        ("50%", "0.5"),
        ("1e3", "1000"),
        (r"<think>$\boxed{4}$</think>$\boxed{5}$", "5"),
        ("$7$", ["$6$", "$7$"]),
        ("\u22123", "-3"),
        ("-3", "\u22123"),
        ("The answer is \u22123.", "-3"),
        (r"\boxed{41}, or rather \boxed{42}", "42"),
        (r"So \boxed{\frac{1}{\sqrt{4}}}.", "1/2"),
        (r"I get \boxed{42", "42"),
        ("The answer is not 42 but 43.", "43"),
        (r"It isn't $\frac{1}{2}$, it is $\frac{1}{3}$.", "1/3"),
    ],
)
def test_equal_mathematics_is_right_however_it_is_written(text: str, target: Any) -> None:
    score = judged(text, target)
    assert score.outcome == "right", score.stages


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (r"\boxed{41}, or rather \boxed{42}", "41"),
        ("1/3", "0.5"),
        (r"2\sqrt{3}", "2"),
        ("$(1,2)$", "$(1,3)$"),
        (r"$\boxed{x^2}$", "x^3"),
    ],
)
def test_other_mathematics_is_wrong(text: str, target: Any) -> None:
    assert judged(text, target).outcome == "wrong"


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("no idea at all", "stop", "refusal"),
        ("It is a prime.", "stop", "unparsed"),
        ("It is a prime.", "length", "truncated"),
        ("So far I have 12", "length", "truncated"),
        ("?", "stop", "unparsed"),
        ("The answer is not 5.", "stop", "unparsed"),
        ("The answer can't be 5", "stop", "unparsed"),
        (r"It isn't $5$!", "stop", "unparsed"),
        (r"It is not \boxed{5}.", "stop", "unparsed"),
        ("", "stop", "empty"),
    ],
)
def test_what_holds_no_mathematics_is_no_answer(
    text: str, finish_reason: FinishReason, reason: str
) -> None:
    score = judged(text, "5", finish_reason)
    assert (score.outcome, score.reason) == ("no_answer", reason)


def test_the_stages_tell_what_was_found() -> None:
    score = judged(r"<think>hm</think>So $x = \frac{2}{4}$", "1/3")
    assert score.stages == (
        "reasoning: stripped",
        "extract: math-verify",
        r"compare: x = \frac{2}{4} ≠ 1/3",
    )


def test_a_target_that_is_no_mathematics_is_the_items_fault() -> None:
    with pytest.raises(ValueError, match="item one is no mathematics that math-verify reads"):
        judged("5", "hello there world")
    with pytest.raises(ValueError, match="a target without any number or letter"):
        judged("5", "?")


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_time_limit_is_more_than_nothing(limit: float) -> None:
    with pytest.raises(ScorerError, match="time_limit must be more than 0 seconds"):
        make_scorer(ScorerSpec("math", {"time_limit": limit}))


# The process --------------------------------------------------------------------------------------


def test_what_takes_too_long_is_a_failure_and_the_next_one_is_judged() -> None:
    item = Item("one", "one", {}, r"\frac{1}{7}")
    answered = Prediction("t", Answer(r"$\frac{2}{14}$", "stop"), None)
    endless = Prediction("t", Answer("$9^{9^{9^{9}}}$", "stop"), None)
    hasty, patient = (
        make_scorer(ScorerSpec("math", {"time_limit": limit})) for limit in (0.2, 120)
    )
    (failed,) = score_prediction([hasty], endless, item)
    assert (failed.outcome, failed.value, failed.reason) == ("failure", None, "scorer")
    assert failed.stages == ("TimeoutError: math took longer than its limit of 0.2 s",)
    (right,) = score_prediction([patient], answered, item)
    assert right.outcome == "right"


def test_a_computation_that_never_returns_to_python_is_ended_too() -> None:
    """The worker is asked to count in C, where no signal handler and no thread of Python runs."""
    code = """
        import faulthandler, os
        with open(os.devnull, "wb") as nowhere:
            faulthandler.dump_traceback_later(0.2, exit=True, file=nowhere)
            sum(range(10**15))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert ended.returncode == 1


def test_a_process_that_died_while_it_had_nothing_to_do_is_replaced() -> None:
    process = MathProcess()
    try:
        assert process.compare(["1"], "1", 120)["right"]
        worker = process._process
        assert worker is not None
        worker.kill()
        assert process.compare(["1"], "2", 120) == {"found": "2", "right": False}
        assert process._process is not worker
        process._process.stdin.close()  # type: ignore[union-attr]
        process._process.wait()  # type: ignore[union-attr]
        assert process.compare(["1"], "1", 120)["right"]
    finally:
        process.close()
    assert process._process is None


def test_no_worker_outlives_its_owner(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    code = """
        from pytest_llmeval.scoring.math_process import MATH
        MATH.compare(["1"], "1", 120)
        print(MATH._process.pid, flush=True)
        import os
        os._exit(9)  # as when it is killed: nothing of Python runs any more
    """
    script.write_text(textwrap.dedent(code), encoding="utf-8", newline="\n")
    owner = subprocess.run(
        [sys.executable, str(script)], stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    worker = int(owner.stdout)
    if psutil.pid_exists(worker):
        psutil.wait_procs([psutil.Process(worker)], timeout=30)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


def test_files_of_the_current_folder_are_no_modules_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(7)\n", encoding="utf-8", newline="\n")
    monkeypatch.chdir(tmp_path)
    process = MathProcess()
    try:
        assert process.compare(["1"], "1", 120)["right"]
    finally:
        process.close()


class _Interrupted(BaseException):
    """What pytest-timeout and Ctrl-C raise in the middle of anything."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a POSIX interval timer")
def test_an_interrupted_comparison_costs_the_next_ones_nothing() -> None:
    def interrupt(*_: object) -> None:
        raise _Interrupted

    process = MathProcess()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        process.compare(["1"], "1", 120)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(_Interrupted):
            process.compare(["7"], "$9^{9^{9^{9}}}$", 120)
        assert process._process is None
        assert process.compare(["2"], "3", 120) == {"found": "3", "right": False}
        assert process.compare(["3"], "3", 120) == {"found": "3", "right": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        process.close()


def test_a_reply_to_something_else_is_never_taken() -> None:
    process = MathProcess()
    try:
        assert process.compare(["2"], "2", 120)["right"]
        assert process._process is not None
        assert process._process.stdin is not None
        stray = {"targets": ["2"], "text": "2", "limit": 120, "id": -1}
        process._process.stdin.write(json.dumps(stray).encode() + b"\n")
        with pytest.raises(RuntimeError, match="a reply to something else"):
            process.compare(["2"], "3", 120)
        assert process.compare(["2"], "3", 120) == {"found": "3", "right": False}
    finally:
        process.close()


def test_a_package_that_cannot_be_imported_is_told_in_its_own_words_and_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "math_verify"
    package.mkdir()
    code = 'raise RuntimeError("install math-verify[antlr4_13_2]")\n'
    (package / "__init__.py").write_text(code, encoding="utf-8", newline="\n")
    monkeypatch.syspath_prepend(tmp_path)
    process = MathProcess()
    words = r"cannot be started: RuntimeError: install math-verify\[antlr4_13_2\]"
    with pytest.raises(RuntimeError, match=words):
        process.compare(["1"], "1", 120)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a second process"))
    with pytest.raises(RuntimeError, match=words):
        process.compare(["1"], "1", 120)


def test_a_worker_that_ends_before_it_has_begun_did_not_take_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(math_process, "_CODE", "raise SystemExit(1)")
    with pytest.raises(RuntimeError, match=r"cannot be started: .*\(exit status 1\)"):
        MathProcess().compare(["1"], "1", 120)


@pytest.mark.parametrize("module", ["math_verify", "antlr4"])
def test_a_part_of_math_verify_that_is_missing_is_told_when_the_suite_is_read(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))  # find_spec raises here
    with pytest.raises(MissingExtraError, match="scorer math needs the package math-verify"):
        make_scorer(ScorerSpec("math"))
