"""The stages before a scorer sees the answer, and the rule for answers that were cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, FinishReason, Item, ScorerSpec, ToolCall
from pytest_llmeval.scoring.extraction import brief, read, targets_of, text_of
from pytest_llmeval.scoring.scorer import make_scorer

EXACT = make_scorer(ScorerSpec("exact"))


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("<think>hm</think>42", "42"),
        ("<think>\nhm\n</think>\n\n42\n", "42"),
        ("<Thinking>hm</Thinking> 42", "42"),
        ("<thought>hm</thought>42", "42"),
        ("<reasoning depth='2'>hm</reasoning>42", "42"),
        ("<think>a</think>4<think>b</think>2", "42"),
        ("<think>a</think><analysis>b</analysis>42", "42"),
        ("So <analysis>4</analysis>", "So <analysis>4</analysis>"),
        ("4</reasoning>2", "4</reasoning>2"),
        ("<think>a <think>b</think> c</think>42", "42"),
        ("<think>hm</thinking>42", "42"),
        ("hm, 41?</think>42", "42"),  # the template opened it: only the closing tag is in the text
        ("42 <think>let me check", "42"),
        ("[THINK]hm[/THINK]42", "42"),
        ("◁think▷hm◁/think▷42", "42"),
        ("<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>42<|return|>", "42"),
        ("x < 5 and y > 3", "x < 5 and y > 3"),
        ("<b>42</b>", "<b>42</b>"),
    ],
)
def test_reasoning_is_stripped_closed_unclosed_or_with_its_closing_tag_only(
    text: str, rest: str
) -> None:
    assert read(Answer(text, "stop")).text == rest


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("```\n42\n```", "42"),
        ("```python\nprint(1)\nprint(2)\n```\n", "print(1)\nprint(2)"),
        ("~~~\n42\n~~~", "42"),
        ("So:\n```\n42\n```\nDone.", "So:\n42\nDone."),
        ("```json\n{", "{"),
        ("<answer> 42 </answer>", "42"),
        ("42<|im_end|>", "42"),
        ("42</s>", "42"),
        ("42 </s>\n<|im_end|> </s>\n", "42"),
        ("42</s> 43", "42</s> 43"),
        ("````\na\n```\nb\n````", "a\n```\nb"),
        ("```\n```", ""),
        ("a `b` c", "a `b` c"),
    ],
)
def test_fences_and_wrapping_tags_are_removed(text: str, rest: str) -> None:
    assert read(Answer(text, "stop")).text == rest


def test_each_stage_that_changed_something_is_written_down() -> None:
    reading = read(Answer("<think>hm</think>```\n42\n```", "stop"))
    assert reading.stages == (
        "reasoning: stripped",
        "markup: fences or wrapping tags removed",
    )
    assert read(Answer("42", "stop")).stages == ()


CALL = ToolCall("weather", {}, "{}")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("", "stop"), "empty"),
        (Answer(" \n", "stop"), "empty"),
        (Answer("", "length"), "empty"),
        (Answer("", "length", reasoning="let me"), "truncated"),
        (Answer("", "stop", reasoning="all of it"), "empty"),
        (Answer("", "tool_calls", (CALL,)), "unparsed"),
        (Answer("<think>all of it</think>", "stop"), "empty"),
        (Answer("<think>all of it</think>", "length"), "truncated"),
        (Answer("<think>let me", "length"), "truncated"),
        (Answer("<think>let me", "stop"), "unparsed"),
    ],
)
def test_nothing_to_judge_is_no_answer_with_its_reason(answer: Answer, reason: str) -> None:
    score = EXACT(answer, Item("one", "one", {}, "42"))
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, reason)
    assert score.stages


@pytest.mark.parametrize(
    ("text", "finish_reason", "outcome"),
    [
        ("42", "stop", "right"),
        ("42", "length", "right"),
        ("4", "length", "no_answer"),
        ("41", "stop", "wrong"),
        ("42", "content_filter", "right"),
        ("4", "content_filter", "no_answer"),
    ],
)
def test_a_right_answer_stays_right_when_cut_and_another_may_have_become_right(
    text: str, finish_reason: FinishReason, outcome: str
) -> None:
    score = EXACT(Answer(text, finish_reason), Item("one", "one", {}, "42"))
    assert score.outcome == outcome
    reason = "refusal" if finish_reason == "content_filter" else "truncated"
    assert score.reason == (reason if outcome == "no_answer" else "")


FILTERED = ["exact", "includes", "numeric", "choice", "json_valid", "json_fields", "token_f1"]


@pytest.mark.parametrize("scorer", [*FILTERED, "tool_call"])
@pytest.mark.parametrize("text", ["", " \n", "<think>hm", "<think>hm</think>"])
def test_what_the_content_filter_left_nothing_of_is_a_refusal(scorer: str, text: str) -> None:
    targets = {"json_fields": {"a": 1}, "tool_call": []}
    item = Item("one", "one", {"options": ["4", "42"]}, targets.get(scorer, "42"))
    score = make_scorer(ScorerSpec(scorer))(Answer(text, "content_filter"), item)
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, "refusal")


def test_what_the_content_filter_ended_is_judged_as_far_as_it_goes() -> None:
    numeric, graded = make_scorer(ScorerSpec("numeric")), make_scorer(ScorerSpec("token_f1"))
    item = Item("one", "one", {}, "42 apples")
    cut = numeric(Answer("The answer is 4", "content_filter"), Item("one", "one", {}, "42"))
    assert (cut.outcome, cut.reason) == ("no_answer", "refusal")
    assert graded(Answer("42 pears", "content_filter"), item).outcome == "graded"
    assert graded(Answer("pears", "content_filter"), item).reason == "refusal"


def test_a_tag_repeated_thousands_of_times_is_read_in_one_pass() -> None:
    assert read(Answer("<think>" * 20_000, "length")).missing == "truncated"
    assert read(Answer("</think>" * 20_000 + "42", "stop")).text == "42"


@pytest.mark.parametrize(
    "text",
    [
        "</s>" * 20_000 + "x",
        "x" + "</s> " * 20_000,
        "<|im_end|>\n" * 20_000 + "x",
        "```\n" + "\n" * 40_000 + "x```y",
        "\n" * 40_000 + "```x\ny",
        "`" * 40_000 + "x\ny",
    ],
)
def test_degenerate_texts_are_read_in_one_pass(text: str) -> None:
    """Tried again from every place, these would take minutes."""
    for _ in range(10):
        assert read(Answer(text, "stop")).missing is None


def test_an_item_without_a_target_cannot_be_compared() -> None:
    for target in (None, [], [None]):
        with pytest.raises(ValueError, match="item one has no target"):
            targets_of(Item("one", "one", {}, target))


def test_targets_are_compared_as_text() -> None:
    assert [text_of(target) for target in ("a", 1, 1.5, True, False)] == [
        "a",
        "1",
        "1.5",
        "true",
        "false",
    ]


def test_long_texts_are_shortened_in_stages() -> None:
    assert brief("a\nb") == "a b"
    assert len(brief("x" * 100)) == 60


@given(st.text(max_size=300), st.sampled_from(["<think>", "</think>", "```", "\n", "<answer>"]))
def test_reading_is_total_and_reading_again_changes_nothing(text: str, part: str) -> None:
    first = read(Answer(text.replace("a", part), "stop"))
    if first.missing is None and "`" not in first.text and "~" not in first.text:
        again = read(Answer(first.text, "stop"))
        assert again.text.strip() == first.text.strip() or "<" in first.text
