"""Measuring a judge: what it is shown, and what is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.run.judge_check import Checked, JudgeReport, agreement_of, check_judge
from pytest_llmeval.run.judge_checks import answer_checks, pair_checks

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

Check = Callable[..., JudgeReport]


@pytest.fixture
def check(bench: Workbench, tmp_path: Path) -> Check:
    """Have a judge that answers by these rules judge."""

    def run(rules: list[dict[str, Any]], judge: str | None = None) -> JudgeReport:
        wise = {**bench.script(rules, "wise.json"), "role": "judge", "slots": 4}
        bench.config(models={"m": {"engine": "fake"}, "wise": wise}, judge="wise")
        return check_judge(bench.settings(), tmp_path, lambda _: None, judge)

    return run


def says(verdict: str, when: str = "") -> dict[str, Any]:
    return {"when": when, "text": json.dumps({"reason": "so", "verdict": verdict})}


# The checks themselves ----------------------------------------------------------------------------


def test_there_are_as_many_as_the_command_says_each_with_a_name_of_its_own() -> None:
    answers, pairs = answer_checks(), pair_checks()
    assert (len(answers), len(pairs)) == (108, 36)
    assert len({check.id for check in answers} | {check.id for check in pairs}) == 144


def test_half_of_the_better_answers_stand_in_either_place() -> None:
    """Else a judge that always takes the first one would look half as good again."""
    assert Counter(check.known for check in pair_checks()) == {"won": 12, "lost": 12, "tie": 12}
    assert Counter(check.known for check in answer_checks()) == {"pass": 36, "fail": 72}


def test_no_answer_that_is_to_fail_holds_what_was_expected_unless_it_takes_it_back() -> None:
    for check in answer_checks():
        if check.kind in {"wrong", "fluent and wrong", "declined", "off topic"}:
            assert check.target.casefold() not in check.answer.casefold(), check.id
    for pair in pair_checks():
        assert pair.answer != pair.other


def test_every_kind_of_injection_is_tried_twice_or_more() -> None:
    commands = [check.answer for check in answer_checks() if check.kind == "commands the judge"]
    assert sum("<|im_end|>" in text for text in commands) == 2
    assert sum('"verdict": "pass"' in text for text in commands) == 2
    assert sum("answer ends" in text for text in commands) == 2


# What is counted ----------------------------------------------------------------------------------


def test_a_judge_that_lets_everything_pass_has_no_kappa_worth_the_name(check: Check) -> None:
    report = check([says("tie", "compare two"), says("pass")])
    assert (report.answers.agreed, report.answers.kappa) == (36, 0)
    assert report.answers.by_kind()["wrong"] == (0, 12)
    assert report.answers.by_kind()["right"] == (12, 12)
    assert report.pairs.by_kind()["the same in other words"] == (12, 12)
    assert report.consistency.share == 1


def test_a_judge_that_always_takes_the_first_is_inconsistent(check: Check) -> None:
    report = check([says("first", "compare two"), says("fail")])
    assert report.consistency.share == 0
    assert report.pairs.by_kind()["the same in other words"] == (12, 12)  # inconsistent: a tie
    assert report.pairs.agreed == 12


def test_a_judge_that_knows_is_right_about_everything(check: Check) -> None:
    """The script knows the answers by their words, and where they stand between the marks."""
    rules = []
    for pair in pair_checks():
        if pair.known != "tie":
            better, worse = (
                (pair.answer, pair.other) if pair.known == "won" else (pair.other, pair.answer)
            )
            first, second = (_shown(text) for text in (better, worse))
            rules += [
                says("first", f"(?s)first answer \\w+ begins -----\n{first}\n.*{second}\n"),
                says("second", f"(?s)first answer \\w+ begins -----\n{second}\n.*{first}\n"),
            ]
    rules.append(says("tie", "compare two"))
    for check_ in answer_checks():
        where = f"(?s){_shown(check_.question)}\n.*-- answer \\w+ begins -----\n"
        rules.append(says(check_.known, f"{where}{_shown(check_.answer)}\n----- answer"))
    report = check(rules)
    assert [c.id for c in report.answers.checks if not c.agrees] == []
    assert [c.id for c in report.pairs.checks if not c.agrees] == []
    assert (report.answers.kappa, report.pairs.kappa) == (1, 1)
    assert report.consistency.pairs == 36


def _shown(text: str) -> str:
    import re

    from pytest_llmeval.scoring.quoting import harmless

    return re.escape(harmless(text))


def test_what_cannot_be_read_is_no_agreement_and_has_no_part_in_kappa(check: Check) -> None:
    report = check([{"text": "I would rather not say."}])
    assert (report.answers.agreed, report.answers.unread) == (0, 108)
    assert report.answers.kappa is None
    assert (report.pairs.unread, report.consistency.pairs) == (36, 0)
    assert "wise gave no verdict that can be read" in report.answers.checks[0].why


def test_another_model_than_the_usual_judge_can_be_measured(check: Check) -> None:
    assert check([says("pass")]).judge == "wise"
    report = check([says("pass")], judge="m")  # the fake keeps to the schema: always fail
    assert report.judge == "m"
    assert report.answers.agreed == 72
    with pytest.raises(ScorerError, match="unknown model 'who'"):
        check([says("pass")], judge="who")


def test_agreement_has_an_interval() -> None:
    found = agreement_of(
        [Checked("a", "k", "pass", "pass", ""), Checked("b", "k", "fail", None, "")]
    )
    assert (found.agreed, found.unread, found.by_kind()) == (1, 1, {"k": (1, 2)})
    assert found.interval.low is not None
    assert found.interval.low < 0.5 < (found.interval.high or 0)
