"""How numbers and names are said."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.results import pairs, rounding, wording
from pytest_llmeval.results.pairs import basis_words, pair_label, pair_words, telling_pairs
from pytest_llmeval.results.plan import ScorerPlan
from pytest_llmeval.results.report import StoppedSuite
from pytest_llmeval.results.rounding import difference_words, duration, p_words, percent
from pytest_llmeval.results.wording import judged_words, method_words, scorer_words, stopped_words
from pytest_llmeval.statistics import unsupported_sensitivity


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        ("l/plain", "s/plain", "l over s, plain"),
        ("l/plain", "l/terse", "plain over terse, l"),
        ("l/plain", "s/terse", "l/plain over s/terse"),
        ("l/greedy/plain", "s/greedy/plain", "l over s, greedy/plain"),
        ("a/b", "b/b", "a over b, b"),
        ("a/b", "b/a", "a/b over b/a"),
        ("l", "s", "l over s"),
        ("l", "s/plain", "l over s/plain"),
    ],
)
def test_a_pair_is_named_by_what_differs_and_then_by_what_it_shares(
    first: str, second: str, label: str
) -> None:
    assert pair_label(first, second) == label


def test_a_difference_is_said_in_points_with_its_sign_and_interval() -> None:
    assert difference_words(0.025, Interval(-0.038, 0.091, "tango")) == "+2.5 [-3.8, +9.1]"
    assert difference_words(-0.4, Interval(None, None, "paired t")) == "-40.0"
    assert difference_words(None, Interval(None, None, "")) == "-"


def test_the_better_side_comes_first_with_its_interval_turned(samples: Any) -> None:
    words = pair_words(
        samples.comparison_of(
            "s",
            "a",
            "b",
            difference=-0.1,
            interval=Interval(-0.3, 0.05, "tango"),
            only_first=3,
            only_second=13,
        )
    )
    assert (words.label, words.difference, words.low, words.high) == ("b over a", 10.0, -5.0, 30.0)
    assert (words.only_first, words.only_second) == (13, 3)


def test_two_that_are_level_are_not_called_better(samples: Any) -> None:
    words = pair_words(samples.comparison_of("s", "a", "b", difference=0.0, p_adjusted=1.0))
    assert (words.label, words.verdict) == ("a level with b", "not shown")


def test_where_no_test_is_possible_it_says_so(samples: Any) -> None:
    words = pair_words(
        samples.comparison_of(
            "s",
            "a",
            "b",
            difference=None,
            p=None,
            p_adjusted=None,
            interval=Interval(None, None, ""),
        )
    )
    assert (words.verdict, words.difference, words.low, words.p) == (
        "no test possible",
        None,
        None,
        "p -",
    )


def test_advice_is_given_only_where_nothing_was_shown(samples: Any) -> None:
    real = pair_words(samples.comparison_of("s", "a", "b", items_needed=50))
    open_ = pair_words(samples.comparison_of("s", "a", "b", p_adjusted=0.2, items_needed=1360))
    assert (real.advice, open_.advice) == ("", "needs about 1,360 items")


def test_of_many_pairs_every_suite_shows_its_best_and_models_under_one_prompt_come_first(
    samples: Any,
) -> None:
    pair = samples.comparison_of
    prompts = pair("a", "l/plain", "l/terse", p_adjusted=0.001)
    models = pair("a", "l/plain", "s/plain", p_adjusted=0.9)
    both = pair("a", "l/plain", "s/terse", p_adjusted=0.0001)
    other = pair("b", "l/plain", "s/plain", p_adjusted=0.5)
    untested = pair("b", "l/terse", "s/terse", p_adjusted=None)
    pairs = (both, prompts, models, untested, other)
    assert telling_pairs(pairs, 2) == (models, other)
    assert telling_pairs(pairs, 3) == (prompts, models, other)
    assert telling_pairs(pairs, 9) == pairs


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (None, "p -"),
        (0.0, "p < 0.001"),
        (0.00099, "p < 0.001"),
        (0.0123, "p 0.012"),
        (0.0996, "p 0.100"),
        (0.42, "p 0.42"),
        (1.0, "p 1.00"),
    ],
)
def test_a_p_value_has_two_digits_that_mean_something(p: float | None, words: str) -> None:
    assert p_words(p) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.84, "0.8 s"),
        (41.2, "41 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_length_of_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_one_kind_of_interval_is_named_and_a_mixture_is_not() -> None:
    wilson, t = Interval(0, 1, "wilson"), Interval(0, 1, "t")
    nothing = Interval(None, None, "")
    assert method_words([wilson, wilson, nothing]) == "95 % Wilson"
    assert method_words([wilson, t]) == "95 % interval"
    assert method_words([Interval(0, 1, "t", 0.9), t]) == "interval"
    assert method_words([nothing]) == "interval"


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (None, "-"),
        (0.0, "0.0"),
        (1.0, "100.0"),
        (0.5, "50.0"),
        (2999 / 3000, "99.97"),
        (1 / 3000, "0.03"),
        (0.999, "99.9"),
        (1 - 2**-53, "100.0"),
        (2**-53, "0.0"),
    ],
)
def test_what_is_neither_none_nor_all_is_not_rounded_to_it(share: float | None, words: str) -> None:
    assert percent(share) == words


def test_a_share_without_digits_gets_some_where_it_needs_them() -> None:
    assert (percent(0.97, 0), percent(0.997, 0), percent(0.0004, 0)) == ("97", "99.7", "0.04")


def test_the_score_of_what_was_judged_comes_with_its_number(samples: Any) -> None:
    metric = samples.metric_of("s", "m", 1, 9, no_answer={"empty": 8}, complete_case=1.0)
    assert judged_words(metric) == "100.0 (1/1)"
    assert judged_words(samples.metric_of("s", "m", 0, 1, complete_case=None)) == "-"


def test_a_scorer_is_told_with_version_and_options() -> None:
    plan = ScorerPlan("numeric", {"tolerance": 0.01, "units": True, "note": "a b"}, "2")
    assert scorer_words(plan) == "numeric, version 2, tolerance 0.01, units true, note a b"
    assert scorer_words(ScorerPlan("exact", {})) == "exact"


@pytest.mark.parametrize(
    ("items", "dropped", "of", "words"),
    [
        (200, 0, 200, ""),
        (190, 10, 200, "10 of 200 items dropped"),
        (1117, 0, 1200, "1,117 of 1,200 items"),
        (117, 3, 200, "117 of 200 items, 3 of 120 items dropped"),
        (117, 0, None, ""),
    ],
)
def test_a_pair_says_on_what_it_rests_where_that_is_not_everything(
    samples: Any, items: int, dropped: int, of: int | None, words: str
) -> None:
    comparison = samples.comparison_of("s", "a", "b", items=items, dropped=dropped)
    assert basis_words(comparison, of) == words


def test_the_interval_for_these_items_is_turned_with_its_pair(samples: Any) -> None:
    fixed = Interval(-0.31, -0.05, "t of repeats")
    pair = samples.comparison_of("s", "a", "b", difference=-0.2, fixed_set=fixed)
    assert pairs.pair_words(pair).fixed_set == "+5.0 to +31.0"
    assert rounding.fixed_set_words(Interval(0.801, 0.9, "t of repeats")) == "80.1..90.0"
    assert rounding.fixed_set_words(Interval(None, None, "t of repeats")) == "no repeat differed"
    assert rounding.fixed_set_words(None) == ""


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"i": 1.0}, ""),
        (
            {**dict.fromkeys("abcdefghij", 1.0), "x": None},
            "holds whatever became of the 1 item",
        ),
        (
            {**dict.fromkeys("abcdef", 1.0), "x": None, "y": None},
            "2 of the 2 items without a",
        ),
    ],
)
def test_a_pair_says_what_the_unjudged_items_could_do(
    samples: Any, first: dict[str, float | None], words: str
) -> None:
    second = {item: score and 0.0 for item, score in first.items()}
    made = unsupported_sensitivity(first, second) if None in first.values() else None
    told = pairs.pair_words(samples.comparison_of("s", "a", "b", sensitivity=made)).sensitivity
    assert told.startswith(words)
    assert bool(told) == bool(words)


@pytest.mark.parametrize(
    ("suites", "words"),
    [
        ([], ""),
        ([(600, 0)], "not stopped early: all 600 trials were needed"),
        ([(600, 312)], "stopped early: 312 of 600 trials were not asked (52 %)"),
        (
            [(700, 300, 30), (100, 0), (100, 12, 12)],
            (
                "stopped early: 270 of 900 trials were not asked (30 %), "
                "and 42 more were asked in vain"
            ),
        ),
        ([(400, 0, 0, 380)], "s had not decided when the run was cut short"),
        (
            [(400, 100), (400, 0, 0, 40)],
            (
                "stopped early: 100 of 800 trials were not asked (12 %); s had not decided when "
                "the run was cut short"
            ),
        ),
    ],
)
def test_what_stopping_early_has_saved(suites: list[tuple[int, ...]], words: str) -> None:
    found = [StoppedSuite("s", "decided", 0.05, 0, *counts) for counts in suites]
    assert stopped_words(found) == words


def test_a_real_difference_whose_wider_interval_has_0_says_why(samples: Any) -> None:
    """Under `stop` the interval is a procedure of its own, and may be the more careful one."""

    def advice(low: float, method: str = "betting", p: float = 0.01) -> str:
        interval = Interval(low, 0.4, method)
        found = samples.comparison_of("s", "a", "b", interval=interval, p_adjusted=p)
        return pair_words(found).advice

    assert advice(-0.01) == "its interval is of a wider procedure"
    assert advice(0.01) == advice(-0.01, "tango") == advice(-0.01, p=0.2) == ""


def test_a_row_says_by_which_scorer_it_is_where_that_does_not_go_without_saying(
    samples: Any,
) -> None:
    plain = samples.metric_of("sums", "m", 3, 5)
    assert wording.scorers_note([plain]) == ""
    first = samples.metric_of("both", "m", 3, 5, scorer="token_f1", mean=0.8)
    other = samples.metric_of("both", "m", 5, 5, scorer="exact", headline=False)
    assert wording.scorers_note([plain, first, other]) == (
        "shown: both by token_f1, 1 other scorer in the report, % is the mean of graded scores"
    )
