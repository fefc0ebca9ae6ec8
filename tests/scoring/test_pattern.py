"""The scorer regex."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.records import Answer, Item, Prediction, Score, ScorerSpec
from pytest_llmeval.scoring import pattern
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.pattern import Regex, parts_in
from pytest_llmeval.scoring.scorer import make_scorer


def judged(text: str, target: Any, **options: Any) -> Score:
    scorer = make_scorer(ScorerSpec("regex", options))
    return scorer(Answer(text, "stop"), Item("one", "one", {}, target))


@pytest.mark.parametrize(
    ("text", "target", "options", "outcome"),
    [
        ("call 555-1234 now", r"\d{3}-\d{4}", {}, "right"),
        ("call me", r"\d{3}-\d{4}", {}, "wrong"),
        ("Rome", ["^Paris$", "^Rome$"], {}, "right"),
        ("yes!", None, {"pattern": "(?i)^YES"}, "right"),
        ("no", None, {"pattern": "(?i)^YES"}, "wrong"),
        ("no, yes", None, {"pattern": "(yes|no)"}, "right"),
        ("Answer: 42", "42", {"pattern": r"Answer:\s*(\d+)"}, "right"),
        ("Answer: 41 (42)", "42", {"pattern": r"Answer:\s*(\d+)"}, "wrong"),
        ("Answer: 42", ["41", "42"], {"pattern": r"Answer:\s*(\d+)"}, "right"),
        ("```python\nx\n```", "```python", {}, "right"),
        ("```python\nx\n```", "python", {"pattern": r"```(\w+)"}, "right"),
        ("<x>b</x><reasoning>a</reasoning>", "<reasoning>.*</reasoning>", {}, "right"),
        ("<think>yes</think>no", None, {"pattern": "yes"}, "wrong"),
    ],
)
def test_regex(text: str, target: Any, options: dict[str, Any], outcome: str) -> None:
    assert judged(text, target, **options).outcome == outcome


def test_a_group_that_takes_nothing_from_the_answer_is_unparsed() -> None:
    score = judged("forty-two", "42", pattern=r"Answer:\s*(\d+)")
    assert (score.outcome, score.reason, score.extracted) == ("no_answer", "unparsed", None)


@pytest.mark.parametrize(
    ("text", "outcome"), [("Answer: Par", "no_answer"), ("Answer: Par, ", "wrong")]
)
def test_a_group_that_ends_where_a_cut_answer_ends_is_truncated(text: str, outcome: str) -> None:
    scorer = make_scorer(ScorerSpec("regex", {"pattern": r"Answer: (\w+)"}))
    score = scorer(Answer(text, "length"), Item("one", "one", {}, "Paris"))
    assert score.outcome == outcome


def test_a_pattern_that_never_comes_back_is_a_failure_of_the_scorer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pattern, "TIME_LIMIT", 0.05)
    scorer = make_scorer(ScorerSpec("regex", {"pattern": r"^(\w|\w\w|\w+)+$"}))
    prediction = Prediction("t", Answer("a" * 5000 + "!", "stop"), None)
    (score,) = score_prediction([scorer], prediction, Item("one", "one", {}, None))
    assert (score.outcome, score.value, score.reason) == ("failure", None, "scorer")
    assert "took longer than 0.05 s on an answer of 5,001 characters" in score.stages[-1]


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        (r"\d+ (a|b){2}", 9),
        (r"[a{9}]{3}x{0,99999}\{7}", 7),
        (r".{1,100000}", 1),
        (r"(?:(?:a){500}b){500}", 250_500),
        (r")(", 1),
    ],
)
def test_the_parts_of_a_pattern_are_counted_with_its_repeats(pattern: str, parts: int) -> None:
    assert parts_in(pattern) == parts


@pytest.mark.parametrize("pattern", [r"(?:(?:a){3000}){3000}", r"a{999999999999}", "a" * 300_000])
def test_a_pattern_that_takes_for_ever_to_compile_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"too large a regular expression: .* at most 250,000 are"):
        Regex(pattern)


def test_a_broken_pattern_in_a_suite_is_an_error_in_its_line() -> None:
    with pytest.raises(ScorerError) as caught:
        make_scorer(ScorerSpec("regex", {"pattern": "(a"}, line=7), path="suite.yaml")
    assert str(caught.value).startswith("suite.yaml:7: scorer regex: '(a' is no regular expression")


def test_a_broken_pattern_as_a_target_is_the_items_fault() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        judged("a", "(a")
