"""Whether a run may be continued, and if not, why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_llmeval.records import PromptVariant, StopSpec
from pytest_llmeval.results.manifest import AdapterFacts, Manifest, ModelFacts, weights_digest
from pytest_llmeval.results.plan import RunPlan, plan_hash, plan_of
from pytest_llmeval.results.resume import check_resumable

CONFIG = {"models": {"m": {"engine": "embedded"}}, "sampling": {"max_tokens": 64, "seed": 7}}


def manifest_of(plan: RunPlan) -> Manifest:
    models = (ModelFacts("m", "embedded", "aa"), ModelFacts("adopted", "openai"))
    return Manifest("id", "2026-11-23T03:12:00+00:00", plan, plan_hash(plan), {}, (), models)


def plan(samples: Any, ids: Sequence[str] = ("a", "b"), **changes: Any) -> RunPlan:
    suite = samples.suite_of("arithmetic", ids)
    suite = dataclasses.replace(suite, **changes.pop("suite", {}))
    return plan_of(
        changes.pop("config", CONFIG),
        samples.trials_of(suite, changes.pop("models", ("m",)), **changes),
        {"sampling": 7},
    )


def test_the_same_plan_on_the_same_weights_goes_on(samples: Any) -> None:
    digests = {"m": "aa", "adopted": None}
    assert check_resumable(manifest_of(plan(samples)), plan(samples), digests) == []


def test_weights_that_nobody_knew_are_no_difference(samples: Any) -> None:
    digests = {"m": None, "adopted": "bb"}
    assert check_resumable(manifest_of(plan(samples)), plan(samples), digests) == []


def test_other_weights_are_named(samples: Any) -> None:
    differences = check_resumable(manifest_of(plan(samples)), plan(samples), {"m": "bb"})
    assert differences == ["model m: sha256 of the weights was aa, is bb"]


def test_another_adapter_on_the_same_weights_is_a_difference(samples: Any) -> None:
    style = AdapterFacts("style.gguf", "cc", 0.5)
    facts = ModelFacts("m", "embedded", "aa", adapters=(style,))
    before = dataclasses.replace(manifest_of(plan(samples)), models=(facts,))
    other = weights_digest("aa", [dataclasses.replace(style, digest="dd")])
    weaker = weights_digest("aa", [dataclasses.replace(style, scale=0.25)])
    for now in ("aa", other, weaker):
        (difference,) = check_resumable(before, plan(samples), {"m": now})
        assert difference.startswith("model m: sha256 of the weights and their adapters was ")
        assert difference.endswith(f", is {now}")
    assert check_resumable(before, plan(samples), {"m": weights_digest("aa", [style])}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"form": "completion"}, 'form was "chat", is "completion"'),
        ({"json_schema": {"type": "object"}}, "its json_schema has changed"),
        ({"grammar": 'root ::= "a"'}, "its grammar has changed"),
        ({"logprobs": 0}, "logprobs was null, is 0"),
    ],
    ids=["form", "schema", "grammar", "logprobs"],
)
def test_what_answers_are_held_to_is_part_of_the_question(
    samples: Any, changes: dict[str, Any], words: str
) -> None:
    now = plan(samples, suite=changes)
    assert check_resumable(manifest_of(plan(samples)), now, {}) == [
        f"condition m/plain in suite arithmetic: {words}"
    ]


def test_the_order_of_a_schemas_keys_is_part_of_the_question(samples: Any) -> None:
    one, other = (
        plan(samples, suite={"json_schema": {"properties": {key: {} for key in keys}}})
        for keys in ("ab", "ba")
    )
    assert check_resumable(manifest_of(one), other, {}) == [
        "condition m/plain in suite arithmetic: its json_schema has changed"
    ]


def test_a_changed_config_is_told_by_its_keys(samples: Any) -> None:
    config = {
        "models": {"m": {"engine": "embedded", "slots": 2}},
        "sampling": {"max_tokens": 128},
    }
    now = plan(samples, config=config)
    assert check_resumable(manifest_of(plan(samples)), now, {}) == [
        "config: models.m.slots is new: 2",
        "config: sampling.max_tokens was 64, is 128",
        "config: sampling.seed is gone, it was 7",
    ]


def test_a_changed_dataset_is_told_by_its_suite(samples: Any) -> None:
    now = plan(samples, suite={"dataset_hash": "other"})
    assert check_resumable(manifest_of(plan(samples)), now, {}) == [
        "suite arithmetic: its dataset has changed"
    ]


def test_other_items_of_the_same_dataset_are_a_difference(samples: Any) -> None:
    differences = check_resumable(manifest_of(plan(samples)), plan(samples, ["a"]), {})
    assert differences == [
        "suite arithmetic: other items, 2 then, 1 now",
        "condition m/plain in suite arithmetic: 2 trials then, 1 now",
    ]


def test_a_changed_prompt_is_told_by_its_condition(samples: Any) -> None:
    prompts = (PromptVariant("plain", (), "another hash"),)
    now = plan(samples, suite={"prompts": prompts})
    assert check_resumable(manifest_of(plan(samples)), now, {}) == [
        "condition m/plain in suite arithmetic: its prompt has changed"
    ]


def test_a_condition_that_comes_or_goes_is_a_difference(samples: Any) -> None:
    one, two = plan(samples), plan(samples, models=("m", "n"))
    assert check_resumable(manifest_of(one), two, {}) == [
        "condition n/plain in suite arithmetic is new"
    ]
    assert check_resumable(manifest_of(two), one, {}) == [
        "condition n/plain in suite arithmetic is gone"
    ]


def test_other_scorers_are_none_for_scoring_comes_after(samples: Any) -> None:
    now = plan(samples, suite={"scorers": ()})
    assert plan_hash(now) != plan_hash(plan(samples))
    assert check_resumable(manifest_of(plan(samples)), now, {}) == []


@pytest.mark.parametrize("long", ["x" * 200])
def test_a_long_value_is_shown_by_its_beginning(samples: Any, long: str) -> None:
    (difference,) = check_resumable(
        manifest_of(plan(samples)), plan(samples, config=CONFIG | {"note": long}), {}
    )
    assert difference.startswith('config: note is new: "xxx')
    assert len(difference) < 100


TOOL = {"type": "function", "function": {"name": "weather", "description": "old"}}


def test_changed_tools_are_a_difference_for_every_request_carries_them(samples: Any) -> None:
    tool = {"type": "function", "function": {"name": "weather", "description": "new"}}
    before, now = plan(samples, suite={"tools": (TOOL,)}), plan(samples, suite={"tools": (tool,)})
    assert plan_hash(before) != plan_hash(now)
    told = ["condition m/plain in suite arithmetic: its tools have changed"]
    assert check_resumable(manifest_of(before), now, {}) == told
    assert check_resumable(manifest_of(before), plan(samples), {}) == told
    assert check_resumable(manifest_of(before), before, {}) == []


def test_the_order_in_a_tool_is_what_the_model_is_shown(samples: Any) -> None:
    turned = {"function": TOOL["function"], "type": TOOL["type"]}
    before, now = plan(samples, suite={"tools": (TOOL,)}), plan(samples, suite={"tools": (turned,)})
    assert check_resumable(manifest_of(before), now, {}) != []


def test_exact_is_a_difference_for_it_turns_the_prompt_cache_off(samples: Any) -> None:
    now = plan(samples, suite={"exact": True})
    assert plan_hash(now) != plan_hash(plan(samples))
    assert check_resumable(manifest_of(plan(samples)), now, {}) == [
        "condition m/plain in suite arithmetic: exact was false, is true"
    ]


def test_a_stop_that_is_changed_once_answers_were_seen_is_a_difference(samples: Any) -> None:
    before = plan(samples, suite={"stop": StopSpec(0.05, line=3)})
    same, other = (plan(samples, suite={"stop": StopSpec(alpha)}) for alpha in (0.05, 0.1))
    assert check_resumable(manifest_of(before), same, {}) == []
    was = 'suite arithmetic: stop was {"when": "decided", "alpha": 0.05}'
    assert check_resumable(manifest_of(before), other, {}) == [
        f'{was}, is {{"when": "decided", "alpha": 0.1}}'
    ]
    assert check_resumable(manifest_of(before), plan(samples), {}) == [f"{was}, is null"]


def test_as_many_other_trials_of_the_same_items_are_a_difference(samples: Any) -> None:
    """As -k selects them: the suites are the same, and so is the count."""
    suite = samples.suite_of("arithmetic", ["a", "b"])
    one, other = (
        plan_of(CONFIG, [trial], {"sampling": 7}) for trial in samples.trials_of(suite, ("m",))
    )
    (difference,) = check_resumable(manifest_of(one), other, {})
    assert difference == (
        "condition m/plain in suite arithmetic: as many trials are selected as then (1), "
        "but not the same"
    )
    asked = tuple(dataclasses.replace(each, chosen_hash="") for each in one.asked)
    old = dataclasses.replace(one, asked=asked)  # of a version that did not write it down
    assert check_resumable(manifest_of(old), other, {}) == []
