"""How numbers and names are said."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.results.wording import (
    duration,
    method_words,
    p_words,
    pair_label,
    pair_words,
    telling_pairs,
    visible,
)


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


def test_text_for_a_terminal_keeps_letters_and_lines_and_shows_the_rest() -> None:
    assert visible("é 模型 👩‍👧\n\tx") == "é 模型 👩‍👧\n\tx"
    assert visible("\x1b[2J\r\u202e\ud800\x9b") == "\\x1b[2J\\r\\u202e\\ud800\\x9b"
