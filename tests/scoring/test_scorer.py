"""Scorers by name, their options, and judging predictions with them."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from pytest_llmeval.errors import MissingExtraError, ScorerError
from pytest_llmeval.records import (
    Answer,
    Failure,
    Item,
    Outcome,
    Prediction,
    Score,
    ScorerSpec,
)
from pytest_llmeval.scoring import overlap, translation
from pytest_llmeval.scoring import scorer as registry
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.own_file import load_scorers
from pytest_llmeval.scoring.scorer import (
    BUILT_IN,
    make_scorer,
    make_scorers,
    register,
    score_of,
)

ITEM = Item("one", "one", {}, "42")
ANSWERED = Prediction("t", Answer("42", "stop"), None)


@pytest.fixture(autouse=True)
def _only_built_in_scorers_stay_registered() -> Iterator[None]:
    yield
    for name in registry._registered.keys() - BUILT_IN.keys():
        del registry._registered[name]


@dataclass(frozen=True, slots=True)
class Shouts:
    name: ClassVar[str]
    version: ClassVar[str] = "3"
    least: int = 1
    mark: Literal["!", "?"] = "!"
    also: tuple[str, ...] = ()
    scale: float | None = None
    more: Mapping[str, int] | None = None

    def __call__(self, answer: Answer, item: Item) -> Score:
        return score_of(self.name, answer.text.count(self.mark) >= self.least)


def scored(outcome: Any, value: Any, *others: Any) -> Score:
    """A score whose parts need not be what they should."""
    return Score("returns", outcome, value, *others)


@dataclass(frozen=True, slots=True)
class Returns:
    name: ClassVar[str]
    version: ClassVar[str] = "1"
    what: Any = None

    def __call__(self, answer: Answer, item: Item) -> Score:
        if isinstance(self.what, BaseException):
            raise self.what
        result: Score = self.what
        return result


def error_of(name: str, **options: Any) -> str:
    with pytest.raises(ScorerError) as caught:
        make_scorer(ScorerSpec(name, options, line=12), path="suites/sums.yaml")
    return str(caught.value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_scorer_is_made_by_its_name_and_has_a_version(name: str) -> None:
    scorer = make_scorer(ScorerSpec(name))
    assert type(scorer).__module__ == BUILT_IN[name]
    assert scorer.name == name
    assert scorer.version


def test_importing_the_registry_imports_no_scorer() -> None:
    code = (
        "import sys, pytest_llmeval.scoring.scorer\n"
        "print([m for m in sys.modules if m in ('regex', 'numpy') or m.endswith('.numeric')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, encoding="utf-8"
    )
    assert run.stdout.strip() == "[]"


def test_an_unknown_name_is_an_error_with_the_nearest_and_the_list() -> None:
    message = error_of("numerc")
    assert message.startswith("suites/sums.yaml:12: no scorer is called 'numerc'.")
    assert "Did you mean numeric?" in message
    listed = message.partition("There are: ")[2].rstrip(".").split(", ")
    assert {*BUILT_IN} <= {*listed}


def test_an_unknown_option_is_an_error_with_the_nearest_and_what_it_takes() -> None:
    message = error_of("exact", ignorecase=True)
    assert message == (
        "suites/sums.yaml:12: scorer exact takes no option 'ignorecase'. Did you mean ignore_case? "
        "It takes: ignore_case (true or false), normalize (true or false)."
    )
    assert error_of("token_f1", x=1).endswith("scorer token_f1 takes no options, got 'x'.")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"least": "1"}, "option least of scorer shouts must be a whole number, got '1'."),
        ({"least": True}, "must be a whole number, got True."),
        ({"least": 1.0}, "must be a whole number, got 1.0."),
        ({"mark": "."}, "option mark of scorer shouts must be one of '!', '?', got '.'."),
        ({"also": "x"}, "option also of scorer shouts must be a list of which each is text"),
        ({"also": [1]}, "must be a list of which each is text, got [1]."),
        ({"scale": "x"}, "option scale of scorer shouts must be a number or null, got 'x'."),
        ({"more": [1]}, "option more of scorer shouts must be a mapping or null, got [1]."),
    ],
)
def test_an_option_of_the_wrong_type_is_an_error_with_what_is_allowed(
    options: dict[str, Any], words: str
) -> None:
    register("shouts")(Shouts)
    assert words in error_of("shouts", **options)


def test_options_become_fields() -> None:
    register("shouts")(Shouts)
    options = {"least": 2, "mark": "?", "also": ["a"], "scale": 1, "more": {"a": 1}}
    assert make_scorer(ScorerSpec("shouts", options)) == Shouts(2, "?", ("a",), 1, {"a": 1})


def test_a_missing_option_is_an_error() -> None:
    @register("needy")
    @dataclass(frozen=True, slots=True)
    class Needy:
        word: str
        name: ClassVar[str]
        version: ClassVar[str] = "1"

        def __call__(self, answer: Answer, item: Item) -> Score:
            return score_of(self.name, 1)

    assert error_of("needy") == "suites/sums.yaml:12: scorer needy needs the option word."


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("rouge", "rouge_score.rouge_scorer", "rouge-score"),
        ("edit_similarity", "rapidfuzz.distance", "rapidfuzz"),
        ("bleu", "sacrebleu.metrics", "sacrebleu"),
        ("chrf", "sacrebleu.metrics", "sacrebleu"),
        ("ter", "sacrebleu.metrics", "sacrebleu"),
        ("math", "math_verify", "math-verify"),
    ],
)
def test_a_package_that_is_not_installed_is_told_with_its_pip_line_when_the_suite_is_read(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for cached in (overlap._rouge, overlap._similarity, translation._metric):
        cached.cache_clear()
    with pytest.raises(MissingExtraError) as caught:
        make_scorer(ScorerSpec(name, line=12), path="suites/sums.yaml")
    assert str(caught.value) == (
        f"suites/sums.yaml:12: scorer {name} needs the package {package}, which is not installed. "
        'Install it with: pip install "pytest-llmeval-local[metrics]"'
    )


def test_a_value_that_a_scorer_refuses_is_an_error_in_its_line() -> None:
    message = error_of("numeric", tolerance=-1)
    assert message == "suites/sums.yaml:12: scorer numeric: tolerance must be 0 or more, got -1"


def test_a_scorer_of_ones_own_is_registered_and_judges() -> None:
    register("shouts")(Shouts)
    (scorer,) = make_scorers([ScorerSpec("shouts")])
    assert (scorer.name, scorer.version) == ("shouts", "3")
    assert scorer(Answer("Yes!", "stop"), ITEM) == Score("shouts", "right", 1.0)


def test_only_a_dataclass_can_be_registered() -> None:
    with pytest.raises(ScorerError, match="a scorer is a class decorated with @dataclass"):
        register("text")(str)  # type: ignore[type-var]  # the mistake under test


def test_what_cannot_judge_or_has_no_version_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Mute:
        name: ClassVar[str]
        version: ClassVar[str] = "1"

    @dataclass(frozen=True, slots=True)
    class Versionless:
        name: ClassVar[str]

        def __call__(self, answer: Answer, item: Item) -> Score:
            return score_of(self.name, 1)

    with pytest.raises(ScorerError, match=r"mute cannot be registered: .*Mute has no __call__"):
        register("mute")(Mute)  # type: ignore[type-var]  # the mistake under test
    with pytest.raises(ScorerError, match=r'needs a line version: ClassVar\[str\] = "1"'):
        register("fresh")(Versionless)  # type: ignore[type-var]  # the mistake under test


@pytest.mark.parametrize("first", ["includes", None])
def test_a_name_of_this_package_cannot_be_taken(first: str | None) -> None:
    if first is not None:
        make_scorer(ScorerSpec(first))  # its module registers exact, too
    words = r"Shouts cannot be registered as exact, a scorer of this package\. Give it another name"
    with pytest.raises(ScorerError, match=words):
        register("exact")(Shouts)
    assert type(make_scorer(ScorerSpec("exact"))).__module__ == BUILT_IN["exact"]


def test_a_name_is_given_to_one_class_and_a_class_has_one_name() -> None:
    register("shouts")(Shouts)
    register("shouts")(Shouts)  # the same again
    with pytest.raises(ScorerError, match=r"two scorers are called shouts: .*Shouts .*Returns"):
        register("shouts")(Returns)
    with pytest.raises(ScorerError, match=r"registered already, as shouts, and cannot be cries"):
        register("cries")(Shouts)


def test_a_file_that_is_run_again_registers_its_scorers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    path = tmp_path / "mine.py"
    code = """
        from dataclasses import dataclass
        from typing import ClassVar
        from pytest_llmeval.scoring.scorer import register, score_of

        @register("mine")
        @dataclass(frozen=True)
        class Mine:
            name: ClassVar[str]
            version: ClassVar[str] = "1"

            def __call__(self, answer, item):
                return score_of(self.name, 1)
    """
    path.write_text(textwrap.dedent(code), encoding="utf-8", newline="\n")
    load_scorers(path)
    first = make_scorer(ScorerSpec("mine"))
    load_scorers(path)
    assert type(make_scorer(ScorerSpec("mine"))) is not type(first)
    del sys.modules["llmeval_scorers_mine"]


class _Dist:
    def __init__(self, name: str) -> None:
        self.name = name


class _Point:
    def __init__(
        self, name: str, loaded: Any, value: str = "shouting_package:Shouts", dist: str = "shouting"
    ) -> None:
        self.name = name
        self.value = value
        self.dist = _Dist(dist)
        self._loaded = loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def test_an_unknown_name_is_looked_up_among_the_entry_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [_Point("shouts", Shouts), _Point("broken", ImportError("no shouting_package"))]

    def entry_points(*, group: str) -> list[_Point]:
        assert group == "pytest_llmeval.scorers"
        return points

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert make_scorer(ScorerSpec("shouts", {"least": 2})) == Shouts(2)
    message = error_of("broken")
    assert "cannot be loaded from shouting_package:Shouts" in message
    assert "no shouting_package" in message
    assert "broken, byte_likelihood, choice" in error_of("shots")


def test_two_packages_with_one_name_are_refused_by_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [_Point("shouts", Shouts), _Point("shouts", Shouts, "crying:Cries", "crying")]
    monkeypatch.setattr(metadata, "entry_points", lambda **_: points)
    assert (
        "two packages offer a scorer called shouts: the package shouting (shouting_package:Shouts) "
        "and the package crying (crying:Cries). Remove one."
    ) in error_of("shouts")


def test_a_package_that_offers_a_name_of_ours_is_not_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_scorer(ScorerSpec("exact"))
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [_Point("exact", Shouts)])
    registry._check_not_shadowed.cache_clear()
    assert "the package shouting offers a scorer called exact" in error_of("exact")
    assert make_scorer(ScorerSpec("includes")).name == "includes"
    registry._check_not_shadowed.cache_clear()


def test_a_scorer_listed_twice_is_an_error_in_the_second_line() -> None:
    specs = [ScorerSpec("exact", line=4), ScorerSpec("exact", {"ignore_case": True}, line=5)]
    with pytest.raises(ScorerError) as caught:
        make_scorers(specs, "suites/sums.yaml")
    assert str(caught.value).startswith("suites/sums.yaml:5: scorer exact is listed twice")


def test_a_prediction_has_one_score_for_each_scorer_in_their_order() -> None:
    scorers = make_scorers([ScorerSpec("numeric"), ScorerSpec("exact"), ScorerSpec("includes")])
    scores = score_prediction(scorers, ANSWERED, ITEM)
    assert [score.scorer for score in scores] == ["numeric", "exact", "includes"]
    assert [score.outcome for score in scores] == ["right"] * 3


def test_a_failed_prediction_fails_under_every_scorer_with_its_own_reason() -> None:
    failed = Prediction("t", None, Failure("timeout", "no answer in 60 s"))
    scorers = make_scorers([ScorerSpec("numeric"), ScorerSpec("exact")])
    assert score_prediction(scorers, failed, ITEM) == tuple(
        Score(name, "failure", None, "timeout", stages=("no answer in 60 s",))
        for name in ("numeric", "exact")
    )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (1.0, "a scorer gives a Score, got 1.0"),
        (None, "a scorer gives a Score, got None"),
        (Score("returns", "graded", math.nan), "outcome graded does not go with the value nan"),
        (Score("returns", "graded", 1.5), "does not go with the value 1.5"),
        (Score("returns", "graded", 1.0), "does not go with the value 1.0"),
        (Score("returns", "right", 0.0), "outcome right does not go with the value 0.0"),
        (Score("returns", "wrong", None), "outcome wrong does not go with the value None"),
        (Score("returns", "failure", 0.0), "outcome failure does not go with the value 0.0"),
        (Score("returns", "no_answer", None, "empty"), "does not go with the value None"),
        (Score("other", "right", 1.0), "a Score of returns is named so, got 'other'"),
        (scored("banana", 0.0), "an outcome is one of right, wrong, graded, no_answer, failure"),
        (scored("no_answer", 0.0), "the reason of no_answer is one of empty, refusal, unparsed"),
        (scored("no_answer", 0.0, "zzz"), "truncated, got 'zzz'"),
        (scored("right", 1.0, None), "the reason of a Score is text, got None"),
        (scored("right", 1.0, "", 7), "what a Score has extracted is text or None, got 7"),
        (scored("right", 1.0, "", None, "abc"), "a tuple of texts, got 'abc'"),
        (scored("right", 1.0, "", None, ("a", None)), "a tuple of texts, got ('a', None)"),
        (scored("right", "1"), "the value of a Score is a number, or None for a failure, got '1'"),
        (scored("graded", np.array([0.5])), "is a number, or None for a failure, got array"),
        (pytest.fail.Exception("too long"), "Failed: too long"),
        (pytest.skip.Exception("not here"), "Skipped: not here"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit: "),
    ],
)
def test_a_scorer_that_raises_or_gives_no_score_fails_and_the_others_go_on(
    what: Any, words: str
) -> None:
    register("returns")(Returns)
    scorers = [Returns(what), make_scorer(ScorerSpec("exact"))]
    failed, exact = score_prediction(scorers, ANSWERED, ITEM)
    assert (failed.scorer, failed.outcome, failed.value) == ("returns", "failure", None)
    assert failed.reason == "scorer"
    assert words in failed.stages[-1]
    assert exact.outcome == "right"


@pytest.mark.parametrize("limit", [30, None])
def test_what_is_meant_for_pytest_costs_a_score_and_not_the_run(limit: float | None) -> None:
    @register("quits")
    @dataclass(frozen=True)
    class Quits:
        name: ClassVar[str]
        version: ClassVar[str] = "1"
        time_limit: float | None = None

        def __call__(self, answer: Answer, item: Item) -> Score:
            pytest.fail("not good enough")

    (score,) = score_prediction([Quits(limit)], ANSWERED, ITEM)
    assert (score.outcome, score.reason) == ("failure", "scorer")
    assert score.stages == ("Failed: not good enough",)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pytest.exit.Exception("enough")])
def test_what_ends_the_run_ends_it(error: BaseException) -> None:
    register("returns")(Returns)
    with pytest.raises(type(error)):
        score_prediction([Returns(error)], ANSWERED, ITEM)


def test_an_error_without_words_is_told_by_its_name() -> None:
    class WordlessError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    register("returns")(Returns)
    (score,) = score_prediction([Returns(WordlessError())], ANSWERED, ITEM)
    assert score.stages == ("WordlessError: (its words cannot be had: its __str__ raises)",)


@pytest.mark.parametrize(
    ("outcome", "value"),
    [("graded", np.float32(0.5)), ("right", True), ("right", 1), ("wrong", np.int64(0))],
)
def test_any_number_is_stored_as_a_float(outcome: str, value: Any) -> None:
    register("returns")(Returns)
    (score,) = score_prediction([Returns(scored(outcome, value))], ANSWERED, ITEM)
    assert score == Score("returns", score.outcome, float(value))
    assert type(score.value) is float


def test_nan_from_a_scorer_is_a_failure_with_its_message() -> None:
    @register("unsteady")
    @dataclass(frozen=True, slots=True)
    class Unsteady:
        name: ClassVar[str]
        version: ClassVar[str] = "1"

        def __call__(self, answer: Answer, item: Item) -> Score:
            return score_of(self.name, math.nan)

    (score,) = score_prediction([Unsteady()], ANSWERED, ITEM)
    assert (score.outcome, score.value, score.reason) == ("failure", None, "scorer")
    assert score.stages == ("ValueError: a score lies between 0 and 1, unsteady gave nan",)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(True, "right"), (1, "right"), (0.0, "wrong"), (False, "wrong"), (0.25, "graded")],
)
def test_a_plain_value_becomes_a_score(value: float, outcome: Outcome) -> None:
    assert score_of("mine", value) == Score("mine", outcome, float(value))


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_a_value_outside_0_to_1_is_no_score(value: float) -> None:
    with pytest.raises(ValueError, match="a score lies between 0 and 1, mine gave"):
        score_of("mine", value)
