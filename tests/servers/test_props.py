from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.servers.props import find_fault, read_props
from pytest_llmeval.servers.spec import ServerSpec


def spec(slots: int = 4, context: int = 1000) -> ServerSpec:
    return ServerSpec("tiny", "embedded", Path("m.gguf"), slots, context, Path("log"))


def props(slots: object = 4, context: object = 1024) -> dict[str, Any]:
    return {"total_slots": slots, "default_generation_settings": {"n_ctx": context}}


@pytest.mark.parametrize("context", [1000, 1008, 1024])
def test_what_was_asked_for_is_no_fault_and_neither_is_rounding(context: int) -> None:
    assert find_fault(props(context=context), spec(), None) is None


def test_one_slot_may_have_more_context() -> None:
    assert find_fault(props(1, 8192), spec(slots=1), None) is None


def test_a_smaller_context_is_named_with_the_way_out() -> None:
    assert find_fault(props(context=512), spec(), 4096) == (
        "a context of 1,000 tokens per slot was asked for and the server gives 512: "
        "ask for a context of 512 or less"
    )


def test_a_context_cut_to_the_training_says_so() -> None:
    assert "the model was trained for 512" in str(find_fault(props(context=512), spec(), 512))


def test_slots_that_share_their_context_are_a_fault() -> None:
    assert "so its 4 slots share one" in str(find_fault(props(context=4096), spec(), None))


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_another_number_of_slots_is_a_fault(slots: int) -> None:
    fault = find_fault(props(slots=slots), spec(), None)
    assert f"4 slots were asked for and the server has {slots}" in str(fault)


@pytest.mark.parametrize("strange", [{}, props(slots="4"), props(context=None), {"total_slots": 4}])
def test_props_that_do_not_say_it_are_a_fault(strange: dict[str, Any]) -> None:
    assert "is it llama.cpp's?" in str(find_fault(strange, spec(), None))


def test_props_are_a_json_object() -> None:
    assert read_props(200, json.dumps(props()).encode()) == props()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"{}", "HTTP 404"),
        (200, b"[1]", "no JSON object"),
        (200, b"[" * 10**5, "JSON|Expecting"),
    ],
)
def test_anything_else_is_refused_with_a_reason(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_props(status, body)
