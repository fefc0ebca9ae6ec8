from __future__ import annotations

import dataclasses
import itertools
from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.records import (
    GateSpec,
    Item,
    Message,
    PromptVariant,
    Sampling,
    StopSpec,
    Suite,
    Trial,
)
from pytest_llmeval.running.plan import (
    NamedSampling,
    by_model,
    check_gates,
    check_stop,
    conditions_of,
    sampling_of,
    split_into_parts,
    take_turns,
    trials_of,
)

ITEMS = tuple(Item(f"i{n}", f"i{n}", {}, "x") for n in range(3))
PLAIN = PromptVariant("plain", (Message("user", "a"),), "h1")
TERSE = PromptVariant("terse", (Message("user", "b"),), "h2")
UNNAMED = PromptVariant("", (Message("user", "c"),), "h3")
SUITE = Suite("s", "suites/s.yaml", ITEMS, "h", (PLAIN, TERSE), ())
ONE = NamedSampling("", Sampling(max_tokens=8, seed=7), 1)


def test_conditions_are_named_by_the_parts_that_have_a_name() -> None:
    two = [NamedSampling("greedy", ONE.sampling, 1), NamedSampling("warm", ONE.sampling, 2)]
    plain = dataclasses.replace(SUITE, prompts=(UNNAMED,))
    assert [c.name for c in conditions_of(SUITE, ["a", "b"], [ONE])] == [
        "a/plain",
        "a/terse",
        "b/plain",
        "b/terse",
    ]
    assert [c.name for c in conditions_of(plain, ["a"], [ONE])] == ["a"]
    assert [c.name for c in conditions_of(SUITE, ["a"], two)] == [
        "a/greedy/plain",
        "a/greedy/terse",
        "a/warm/plain",
        "a/warm/terse",
    ]


def test_a_suites_sampling_wins_over_the_configs() -> None:
    suite = dataclasses.replace(SUITE, sampling={"max_tokens": 2})
    condition = conditions_of(suite, ["a"], [ONE])[0]
    assert condition.sampling == Sampling(max_tokens=2, seed=7)


def test_an_only_that_matches_no_model_is_an_error_that_lists_them() -> None:
    suite = dataclasses.replace(SUITE, only=("c",))
    with pytest.raises(SuiteError, match=r"only: c matches no model of the config; it has a, b"):
        conditions_of(suite, ["a", "b"], [ONE])


def test_a_gate_on_no_condition_is_an_error_that_lists_them() -> None:
    suite = dataclasses.replace(SUITE, gates=(GateSpec("z/plain", "exact", 0.5, line=9),))
    with pytest.raises(SuiteError, match=r"suites/s.yaml:9: .*z/plain.*it has a/plain, a/terse"):
        check_gates(suite, conditions_of(suite, ["a"], [ONE]))


def test_repeats_stand_side_by_side_each_with_a_seed_of_its_own() -> None:
    suite = dataclasses.replace(SUITE, repeats=2)
    condition = conditions_of(suite, ["a"], [ONE])[0]
    trials = list(trials_of(suite, condition))
    assert [trial.name for trial in trials] == ["i0", "i0.2", "i1", "i1.2", "i2", "i2.2"]
    assert trials[1].id == "s::a/plain::i0.2"
    assert [sampling_of(trial).seed for trial in trials[:2]] == [7, 8]


def test_without_a_seed_repeats_have_none() -> None:
    unseeded = NamedSampling("", Sampling(max_tokens=8), 2)
    condition = conditions_of(SUITE, ["a"], [unseeded])[0]
    assert {sampling_of(trial).seed for trial in trials_of(SUITE, condition)} == {None}


def test_lanes_follow_the_configs_order_of_models_and_leave_out_idle_ones() -> None:
    conditions = {c.model: c for c in conditions_of(SUITE, ["a", "b", "c"], [ONE])}
    trials = [*trials_of(SUITE, conditions["b"]), *trials_of(SUITE, conditions["a"])]
    assert list(by_model(trials, ["a", "b", "c"])) == ["a", "b"]


@pytest.mark.parametrize(
    ("sizes", "turns"),
    [
        ({"a": 4, "b": 5}, (("a", "b"),)),
        ({"a": 6, "b": 5}, (("a",), ("b",))),
        ({"a": 6, "b": 5, "c": 5}, (("a",), ("b", "c"))),
        ({"a": 50, "b": 1}, (("a",), ("b",))),
        ({"a": 0, "b": 10, "c": 0}, (("a", "b", "c"),)),
        ({}, ()),
    ],
)
def test_models_that_do_not_fit_together_take_turns(
    sizes: dict[str, int], turns: tuple[tuple[str, ...], ...]
) -> None:
    assert take_turns({name: {"ram": size} for name, size in sizes.items()}, {"ram": 10}) == turns


def test_main_memory_and_that_of_the_gpu_are_two_things() -> None:
    needs = {"a": {"ram": 8, "vram": 0}, "b": {"ram": 1, "vram": 8}, "c": {"ram": 0, "vram": 8}}
    assert take_turns(needs, {"ram": 10, "vram": 10}) == (("a", "b"), ("c",))
    assert take_turns(needs, {"ram": 10, "vram": 16}) == (("a", "b", "c"),)
    assert take_turns(needs, {"ram": 8, "vram": 16}) == (("a",), ("b", "c"))


def test_where_nobody_knows_what_the_gpu_has_each_model_on_it_gets_a_turn() -> None:
    needs = {"a": {"vram": 1}, "b": {"ram": 1}, "c": {"vram": 1}}
    assert take_turns(needs, {"ram": 10, "vram": None}) == (("a", "b"), ("c",))


def test_a_model_too_large_for_the_gpu_has_the_machine_to_itself() -> None:
    needs = {"a": {"ram": 1}, "b": {"vram": 9}, "c": {"vram": 1}}
    assert take_turns(needs, {"ram": 10, "vram": 8}) == (("a",), ("b",), ("c",))


@given(st.integers(0, 50), st.integers(1, 12))
def test_parts_are_even_never_empty_and_lose_nothing(count: int, parts: int) -> None:
    condition = conditions_of(SUITE, ["a"], [ONE])[0]
    trials = (list(trials_of(SUITE, condition)) * 20)[:count]
    slices = split_into_parts(trials, parts)
    assert [trial for part in slices for trial in part] == trials
    assert len(slices) == min(parts, count)
    assert all(slices)
    assert not slices or max(map(len, slices)) - min(map(len, slices)) <= 1


def test_a_suite_that_may_stop_is_asked_item_by_item_in_the_places_it_has() -> None:
    stopping = dataclasses.replace(SUITE, name="t", stop=StopSpec(), repeats=2)
    plain, terse = conditions_of(stopping, ["a"], [ONE])
    before, after = conditions_of(SUITE, ["a"], [ONE])
    its = [*trials_of(stopping, plain), *trials_of(stopping, terse)]
    trials = [*trials_of(SUITE, before), *its[::-1], *trials_of(SUITE, after)]
    lane = by_model(trials, ["a"])["a"]
    assert lane[:3] == trials[:3]
    assert lane[-3:] == trials[-3:]
    assert [trial.item.id for trial in lane[3:-3]] == [*["i0"] * 4, *["i1"] * 4, *["i2"] * 4]


def test_models_that_wait_for_each_other_never_all_do() -> None:
    """However pytest was told to turn the trials round, as --ff does."""
    one = dataclasses.replace(SUITE, stop=StopSpec())
    by_key: dict[tuple[str, str], list[Trial]] = {}
    for suite in (one, dataclasses.replace(one, name="t")):
        for condition in conditions_of(suite, ["a", "b"], [ONE]):
            by_key.setdefault((suite.name, condition.model), []).extend(trials_of(suite, condition))
    order = [("s", "a"), ("t", "a"), ("t", "b"), ("s", "b")]
    lanes = by_model([trial for key in order for trial in by_key[key]], ["a", "b"])
    after = TopologicalSorter[str]()
    for lane in lanes.values():  # each is asked after the one before it in its lane,
        for before, trial in itertools.pairwise(lane):
            after.add(trial.id, before.id)
    for its in by_key.values():  # and perhaps after the earlier items of its suite
        for trial in its:
            others = [*by_key[trial.suite.name, "a"], *by_key[trial.suite.name, "b"]]
            after.add(trial.id, *(t.id for t in others if t.item.id < trial.item.id))
    after.prepare()  # no circle


def test_nothing_to_decide_is_an_error_that_says_what_would_be() -> None:
    stopping = dataclasses.replace(SUITE, prompts=(PLAIN,), stop=StopSpec(line=7))
    words = r"suites/s.yaml:7: stop: there is nothing to decide: no gate, and only one condition, "
    with pytest.raises(SuiteError, match=words + r"a/plain. Add a gate, or something to compare"):
        check_stop(stopping, conditions_of(stopping, ["a"], [ONE]))
    check_stop(stopping, conditions_of(stopping, ["a", "b"], [ONE]))
    gated = dataclasses.replace(stopping, gates=(GateSpec("a/plain", "exact", 0.5),))
    check_stop(gated, conditions_of(gated, ["a"], [ONE]))
