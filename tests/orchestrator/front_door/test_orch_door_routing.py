"""Which instance a request is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.orchestrator.front_door.messages import Page
from pytest_llmeval.orchestrator.front_door.routing import (
    SCAN_FROM,
    NotJsonError,
    model_of,
    names_of,
    no_model,
    unknown_model,
)
from pytest_llmeval.orchestrator.views import InstanceView

LONG = "x" * SCAN_FROM


def view(name: str, *aliases: str) -> InstanceView:
    return InstanceView(name, "down", "unknown", "", name, "cpu", None, 1, aliases)


def message(page: Page) -> str:
    text: str = json.loads(page.content)["error"]["message"]
    return text


NESTED: list[tuple[dict[str, Any], str | None]] = [
    ({"model": "a"}, "a"),
    ({"messages": [{"model": "b", "content": "c"}], "model": "a"}, "a"),
    ({"messages": [{"model": "b"}]}, None),
    ({"x": {"model": "b"}, "y": ["model", "b"]}, None),
    ({"x": "model", "y": '"model": "b"', "z": '\\"model\\":"b"\\'}, None),
    ({"x": "model", "model": "Zürich 🎈"}, "Zürich 🎈"),
    ({"model": 'a\\b"c\n{[\u0000'}, 'a\\b"c\n{[\u0000'),
    ({"model": 7}, None),
    ({"model": None}, None),
    ({"model": {"model": "b"}}, None),
    ({"": "model", "models": "b", "Model": "c"}, None),
]


@pytest.mark.parametrize("filler", ["", LONG], ids=["short", "long"])
@pytest.mark.parametrize(("content", "model"), NESTED)
def test_only_the_outermost_model_counts(
    content: dict[str, Any], model: str | None, filler: str
) -> None:
    for body in ({"filler": filler, **content}, {**content, "filler": filler}):
        for written in (json.dumps(body), json.dumps(body, ensure_ascii=False, indent=1)):
            assert model_of(written.encode()) == model


def test_a_key_may_be_written_with_escapes_and_the_last_of_two_counts() -> None:
    for filler in ("", LONG):
        twice = f'{{"model": "a", "f": "{filler}", "m\\u006fdel" : "b"}}'
        assert model_of(twice.encode()) == "b"


texts = st.text(st.sampled_from('model"\\{}[]:, ä\n')) | st.just("model")
values = st.recursive(
    texts | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_searching_finds_what_parsing_finds(
    content: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    content["filler"] = LONG
    body = json.dumps(content, ensure_ascii=ascii_only, indent=indent).encode()
    model = content.get("model")
    assert model_of(body) == (model if isinstance(model, str) else None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"model=a",
        b"[1]",
        b'"model"',
        b'{"model": "a"',
        b"\xff\xfe{",
        b"[" * 5000,
        b"[" + b'"x",' * SCAN_FROM,
        b'{"x": "' + LONG.encode(),
        b'{"model": "\\q", "filler": "' + LONG.encode() + b'"}',
    ],
)
def test_what_is_no_object_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(NotJsonError):
        model_of(body)


def test_a_name_goes_before_an_alias_and_the_first_instance_has_a_shared_one() -> None:
    views = [view("a", "b", "small"), view("b", "small", "large")]
    assert names_of(views) == {"a": "a", "b": "b", "small": "a", "large": "b"}


def test_an_unknown_model_is_told_with_those_there_are_and_the_nearest() -> None:
    page = unknown_model("qwen3-q", {"qwen3-q4": "qwen3-q4", "fast": "qwen3-q4"})
    assert page.status == 404
    assert message(page) == (
        "no model 'qwen3-q'; did you mean 'qwen3-q4'? (models: qwen3-q4, fast)"
    )
    assert "none yet; llama-orch init" in message(unknown_model("x", {}))


def test_a_missing_model_is_told_with_those_there_are() -> None:
    assert message(no_model({"a": "a", "b": "b"})) == (
        "the request names no model: set `model` to one of a, b"
    )
