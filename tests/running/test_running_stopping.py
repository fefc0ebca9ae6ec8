"""Which trials are needed: a matter of answers and their order, never of time."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    Message,
    Prediction,
    PromptVariant,
    Sampling,
    Score,
    Scored,
    Settled,
    StopSpec,
    Suite,
    Trial,
    Unneeded,
)
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.running.stopping import Question, Stopping, SuiteWatch, Values, Wish

PROMPT = PromptVariant("", (Message("user", "?"),), "hash")
ITEMS = 6


def trials(*names: str, repeats: int = 1, count: int = ITEMS) -> list[Trial]:
    """Six items, or another count, under some conditions."""
    items = tuple(Item(f"i{n}", f"i{n}", {}, None) for n in range(count))
    suite = Suite("s", "suites/s.yaml", items, "h", (PROMPT,), (), stop=StopSpec())
    conditions = [Condition(name, name, PROMPT, Sampling(8), repeats=repeats) for name in names]
    return [trial for condition in conditions for trial in trials_of(suite, condition)]


def enough(least: float) -> Question:
    """Decided when condition a's values add up to this."""
    seen: list[float] = []

    def add(values: Sequence[Values]) -> bool:
        seen.extend(value or 0.0 for value in values[0])
        return sum(seen) >= least

    return Question(("a",), "exact", add)


def differ(first: str, second: str, least: int) -> Question:
    """Decided when two conditions have differed so often."""
    seen: list[bool] = []

    def add(values: Sequence[Values]) -> bool:
        seen.append(values[0] != values[1])
        return sum(seen) >= least

    return Question((first, second), "exact", add)


def stopping(its: Sequence[Trial], wishes: Mapping[str, Wish]) -> Stopping:
    """Answers are their own value; "-" is a failure."""

    def score(_: Trial, prediction: Prediction) -> tuple[Score, ...]:
        if prediction.text == "-":
            return (Score("exact", "failure", None, "timeout"),)
        value = float(prediction.text)
        return (Score("other", "wrong", 0.0), Score("exact", "graded", value))

    return Stopping([SuiteWatch(its, wishes)], score)


def answered(trial_id: str, text: str = "1") -> Prediction:
    return Prediction(trial_id, Answer(text, "stop"), None)


def told(settled: Sequence[Settled]) -> list[str]:
    """The trials, those that are not needed in brackets."""
    return [f"({s.trial_id[-2:]})" if isinstance(s, Unneeded) else s.trial_id[-2:] for s in settled]


def test_an_answer_waits_for_those_before_it() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(3),))})
    assert told(follow.take(answered(its[1].id))) == []
    assert told(follow.take(answered(its[0].id))) == ["i0", "i1"]


def test_with_the_item_that_decides_the_others_are_not_needed() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(2),))})
    follow.take(answered(its[0].id))
    assert told(follow.take(answered(its[1].id))) == ["i1", "(i2)", "(i3)", "(i4)", "(i5)"]
    assert follow.unneeded == {trial.id for trial in its[2:]}
    assert set(follow.scores) == {its[0].id, its[1].id}


def test_what_came_in_beyond_the_deciding_item_counts_nowhere() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(2),))})
    follow.take(answered(its[4].id))
    follow.take(answered(its[1].id))
    assert told(follow.take(answered(its[0].id))) == ["i0", "i1", "(i2)", "(i3)", "(i4)", "(i5)"]
    assert told(follow.take(answered(its[2].id))) == []
    assert set(follow.scores) == {its[0].id, its[1].id}


def test_repeats_make_an_item_complete_together() -> None:
    its = trials("a", repeats=2)
    follow = stopping(its, {"a": Wish((enough(2),))})
    assert told(follow.take(answered(its[0].id))) == ["i0"]
    assert follow.unneeded == frozenset()
    follow.take(answered(its[1].id))
    assert follow.unneeded == {trial.id for trial in its[2:]}


def test_a_failure_completes_an_item_and_has_no_value() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(2),))})
    for place, text in enumerate(["1", "-", "1"]):
        follow.take(answered(its[place].id, text))
    assert len(follow.unneeded) == 3


def test_what_the_asked_for_scorer_did_not_score_has_no_value_either() -> None:
    its, taken = trials("a"), list[Values]()

    def add(values: Sequence[Values]) -> bool:
        taken.append(values[0])
        return False

    question = Question(("a",), "third", add)
    follow = stopping(its, {"a": Wish((question,))})
    follow.take(answered(its[0].id))
    assert taken == [[None]]


def test_a_condition_with_two_questions_is_asked_until_both_are_decided() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(1), enough(4)))})
    for trial in its[:4]:
        follow.take(answered(trial.id))
    assert len(follow.unneeded) == 2


def test_what_cannot_be_decided_early_needs_everything() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(1), Question(("a",), "exact", None)))})
    assert told(follow.take(answered(its[5].id))) == ["i5"]
    for trial in its[:5]:
        follow.take(answered(trial.id))
    assert follow.unneeded == frozenset()


def test_a_pair_is_decided_on_the_items_that_both_have_and_ends_both() -> None:
    its = trials("a", "b")
    pair = differ("a", "b", 2)
    follow = stopping(its, {name: Wish((pair,)) for name in "ab"})
    for trial in its[:5]:
        follow.take(answered(trial.id))
    assert follow.unneeded == frozenset()
    follow.take(answered(its[6].id, "0"))
    settled = told(follow.take(answered(its[7].id, "0")))
    assert settled == ["i1", *(f"(i{n})" for n in range(2, 6)), *(f"(i{n})" for n in range(2, 6))]


def test_who_is_asked_in_full_does_not_wait_for_the_others() -> None:
    """The first model of a rotation: the second is not even loaded when it answers."""
    its = trials("a", "b")
    pair = differ("a", "b", 2)
    follow = stopping(its, {"a": Wish((pair,), fully=True), "b": Wish((pair,))})
    assert told(follow.take(answered(its[5].id))) == ["i5"]
    for trial in its[:5]:
        assert told(follow.take(answered(trial.id))) == [trial.name]
    follow.take(answered(its[6].id, "0"))
    follow.take(answered(its[7].id, "0"))
    assert follow.unneeded == {trial.id for trial in its[8:]}


def test_nothing_is_followed_without_a_suite_that_may_stop() -> None:
    assert not Stopping().follows("s::a::i0")
    assert Stopping().unneeded == frozenset()
    assert Stopping().suites == frozenset()


@given(st.data())
def test_in_whatever_order_answers_come_the_same_are_needed(data: st.DataObject) -> None:
    """All are sent at once, so that nothing but the order of answers differs."""
    its = trials("a", "b", "c", repeats=2)
    texts = {trial.id: data.draw(st.sampled_from(["0", "1", "-"]), label=trial.id) for trial in its}
    order = data.draw(st.permutations(its))

    def outcome(arrivals: Sequence[Trial]) -> tuple[object, ...]:
        pairs = [differ("a", "b", 3), differ("a", "c", 2), differ("b", "c", 4)]
        wishes = {
            name: Wish(tuple(q for q in pairs if name in q.conditions), fully=name == "c")
            for name in "abc"
        }
        follow = stopping(its, wishes)
        settled = [
            s for trial in arrivals for s in follow.take(answered(trial.id, texts[trial.id]))
        ]
        assert len(settled) == len({s.trial_id for s in settled}) == len(its)
        return follow.unneeded, follow.scores, sorted(told(settled))

    assert outcome(order) == outcome(its)


@pytest.mark.parametrize("arrivals", [1, 3])
def test_the_fate_of_a_trial_is_open_until_those_before_it_are_in(arrivals: int) -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(5),))})
    settled = [s for trial in its[:arrivals] for s in follow.take(answered(trial.id))]
    assert told(settled) == [trial.name for trial in its[:arrivals]]


def test_what_is_settled_carries_the_scores_that_decide() -> None:
    its = trials("a")
    follow = stopping(its, {"a": Wish((enough(2),))})
    (settled,) = follow.take(answered(its[0].id))
    assert isinstance(settled, Scored)
    assert settled.prediction == answered(its[0].id)
    assert settled.scores == follow.scores[its[0].id]


def test_the_lead_is_counted_from_the_last_of_those_asked_side_by_side() -> None:
    its = trials("a", "b", repeats=2)
    follow = stopping(its, {name: Wish((differ("a", "b", 3),)) for name in "ab"})
    third = its[4]
    assert follow.lead(third, {"a", "b"}) == 4
    for trial in its[:4]:
        follow.take(answered(trial.id))
    assert follow.lead(third, {"a", "b"}) == 4  # b has answered nothing yet
    assert follow.lead(third, {"a"}) == 0
    for trial in its[12:14]:  # an item of b that failed is behind it all the same
        follow.take(answered(trial.id, "-"))
    assert follow.lead(third, {"a", "b"}) == 2
    assert follow.lead(its[14], {"a", "b"}) == 0


def test_what_is_needed_anyway_is_ahead_of_nothing() -> None:
    its = trials("a", "b")
    pair = differ("a", "b", 2)
    follow = stopping(its, {"a": Wish((pair,), fully=True), "b": Wish((pair,))})
    assert follow.lead(its[5], {"a", "b"}) == 0
    assert follow.lead(its[11], {"a", "b"}) == 5


def test_a_question_that_is_decided_holds_nobody_up() -> None:
    its = trials("a", "b")
    wishes = {"a": Wish((enough(1), differ("a", "b", 9))), "b": Wish((enough(1),))}
    follow = stopping(its, wishes)
    assert follow.lead(its[9], {"a", "b"}) == 3
    follow.take(answered(its[0].id))
    assert follow.unneeded == {trial.id for trial in its[7:]}


def test_the_work_for_an_answer_does_not_grow_with_the_number_of_items() -> None:
    """Also while one condition has all it needs and another goes on."""

    def calls(count: int) -> int:
        its = trials("a", "b", count=count)
        never = Question(("b",), "exact", lambda _: False)
        follow = stopping(its, {"a": Wish((enough(1),)), "b": Wish((never,))})
        follow.take(answered(its[0].id))
        found = 0

        def count_call(*_: object) -> None:
            nonlocal found
            found += 1

        sys.setprofile(count_call)
        try:
            for trial in its[count:]:
                follow.take(answered(trial.id))
        finally:
            sys.setprofile(None)
        return found

    assert calls(400) < 2.5 * calls(200)
