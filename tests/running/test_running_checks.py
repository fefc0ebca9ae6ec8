"""What replies to probes show, and what they do not: a weak model is no broken endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmeval.errors import (
    BadAnswer,
    EndpointBusy,
    EndpointTimeout,
    EngineError,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Check, Likelihood, TokenLogprob, ToolCall, Usage
from pytest_llmeval.running import checks, probes
from pytest_llmeval.running.checks import Reply, Subject

COUNTED = Check("usage", "ok", "")


def said(
    text: str = "Paris",
    finish: Any = "stop",
    *,
    prompt: int | None = 16,
    completion: int | None = 2,
    asked: Any = None,
    **more: Any,
) -> Reply:
    usage = Usage(prompt, completion, None, "none" if prompt is None else "server")
    request = asked if asked is not None else probes.plain()
    return Reply(request, Answer(text, finish, usage=usage, **more))


def raised(error: EngineError) -> Reply:
    return Reply(probes.plain(), error=error)


LATE = Reply(probes.plain(), late=2.0)


@pytest.mark.parametrize(
    ("reply", "verdict", "found"),
    [
        (said(), "ok", "it answers"),
        (raised(EndpointBusy("503")), "unknown", "no answer: busy"),
        (raised(EndpointTimeout("late")), "unknown", "no answer: timeout"),
        (LATE, "unknown", "no answer within 2 s"),
        (raised(RequestRefused("HTTP 401: no")), "lacking", "it is refused"),
        (raised(BadAnswer("it is HTML")), "lacking", "it is refused"),
    ],
)
def test_a_refusal_shows_a_lack_and_other_trouble_shows_nothing(
    reply: Reply, verdict: str, found: str
) -> None:
    check = checks.alive(reply)
    assert (check.verdict, check.found) == (verdict, found)


@pytest.mark.parametrize(
    ("subject", "verdict"),
    [
        (Subject(weights="/a/tiny.gguf", loaded="/b/tiny.gguf"), "ok"),
        (Subject(weights="C:\\m\\tiny.gguf", loaded="/b/tiny.gguf"), "ok"),
        (Subject(weights="/a/tiny.gguf", loaded="/a/other.gguf"), "lacking"),
        (Subject(weights="/a/tiny.gguf"), "unknown"),
        (Subject(name="mistral", served=("models/Mistral-7B-Q4_K_M.gguf",)), "ok"),
        (Subject(name="org/Qwen3-8B", served=("other", "qwen3-8b")), "ok"),
        (Subject(name="mistral", served=("qwen3", "llama")), "lacking"),
        (Subject(served=("qwen3",)), "unknown"),
        (Subject(), "unknown"),
    ],
)
def test_the_model_is_told_by_its_file_or_by_its_name(subject: Subject, verdict: str) -> None:
    assert checks.model(subject).verdict == verdict


@pytest.mark.parametrize(
    ("subject", "reply", "verdict"),
    [
        (Subject(), None, "unknown"),
        (Subject(context=256, context_asked=512), None, "lacking"),
        (Subject(context=10**6), None, "unknown"),
        (Subject(context=256), raised(RequestRefused("too long", status=400)), "ok"),
        (Subject(context=256), raised(EndpointBusy("503")), "unknown"),
        (Subject(context=256), LATE, "unknown"),
        (Subject(context=256), said(prompt=256), "lacking"),
        (Subject(context=256), said(prompt=None), "lacking"),
        (Subject(context=256), said(prompt=521), "ok"),  # it has more room than it says
    ],
)
def test_what_is_longer_than_the_context_has_to_be_refused(
    subject: Subject, reply: Reply | None, verdict: str
) -> None:
    assert checks.context(subject, reply).verdict == verdict


@pytest.mark.parametrize(
    ("plain", "longer", "verdict"),
    [
        (said(), said(prompt=40), "ok"),
        (said(prompt=1), said(prompt=40), "ok"),  # it leaves out what its cache held
        (said(prompt=None), said(prompt=40), "lacking"),
        (said(completion=None), said(prompt=40), "lacking"),
        (said(completion=0), said(prompt=40), "lacking"),
        (said(prompt=0), said(prompt=40), "lacking"),
        (said(), said(prompt=16), "lacking"),
        (said(), LATE, "unknown"),
    ],
)
def test_counts_of_tokens_have_to_be_there_and_to_grow(
    plain: Reply, longer: Reply, verdict: str
) -> None:
    assert checks.usage(Subject(), plain, longer).verdict == verdict


def test_counts_that_leave_out_what_a_cache_held_show_nothing_by_not_growing() -> None:
    subject = Subject(leaves_out_cached=True)
    assert checks.usage(subject, said(), said(prompt=17)).verdict == "unknown"
    assert checks.usage(subject, said(), said(prompt=40)).verdict == "ok"
    for check in (checks.system, checks.template):
        assert check(subject, said(), said(prompt=17), COUNTED).verdict == "unknown"
        assert check(subject, said(), said(prompt=40), COUNTED).verdict == "ok"


def test_tokens_that_somebody_else_has_counted_are_not_the_endpoints() -> None:
    answer = Answer("Paris", "stop", usage=Usage(16, 2, None, "none"))
    assert checks.usage(Subject(), Reply(probes.plain(), answer), said()).verdict == "lacking"


@pytest.mark.parametrize(
    ("asked", "counts", "verdict"),
    [
        (said(prompt=40), COUNTED, "ok"),
        (said(prompt=18), COUNTED, "lacking"),
        (said(prompt=16), COUNTED, "lacking"),
        (said(prompt=16), Check("usage", "lacking", ""), "unknown"),
        (raised(RequestRefused("System role not supported")), COUNTED, "lacking"),
        (LATE, COUNTED, "unknown"),
    ],
)
def test_a_system_message_shows_in_the_count_of_the_prompt(
    asked: Reply, counts: Check, verdict: str
) -> None:
    assert checks.system(Subject(), said(), asked, counts).verdict == verdict
    assert checks.template(Subject(), said(), asked, counts).verdict == verdict


@pytest.mark.parametrize(
    ("cut", "verdict"),
    [
        (said(completion=1), "ok"),
        (said(completion=2), "ok"),  # the token that ends it was counted too
        (said(completion=16), "lacking"),
        (said("one two three four five six seven eight nine", prompt=None), "lacking"),
        (said(prompt=None, completion=None), "unknown"),
        (said(completion=80, reasoning="Hm."), "unknown"),
        (raised(RequestRefused("max_tokens must be at least 16")), "unknown"),
        (LATE, "unknown"),
    ],
)
def test_an_answer_may_be_no_longer_than_max_tokens(cut: Reply, verdict: str) -> None:
    assert checks.max_tokens(cut).verdict == verdict


@pytest.mark.parametrize(
    ("cut", "verdict"),
    [
        (said("Par", "length"), "ok"),
        (said("Par", "stop"), "lacking"),
        (said("Paris", "stop"), "unknown"),
        (said("London", "stop"), "unknown"),
        (LATE, "unknown"),
    ],
)
def test_an_answer_that_was_cut_off_has_to_say_so(cut: Reply, verdict: str) -> None:
    assert checks.truncation(said(), cut).verdict == verdict


def test_tags_of_reasoning_are_looked_for_in_all_answers() -> None:
    def tag_in(text: str) -> str:
        return "<think>" if "<think>" in text else ""

    found = checks.reasoning([said(), said("<think> Hm.")], tag_in)
    assert (found.verdict, found.found) == ("lacking", "<think> stands in the text of an answer")
    assert checks.reasoning([said(), LATE], tag_in).verdict == "ok"
    assert checks.reasoning([said(""), LATE], tag_in).verdict == "unknown"


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("Paris", "ris"),
        ("The capital of France is Paris.", "Fra"),
        ("42", "2"),
        ("a b", "b"),
        ("7", ""),
        ("", ""),
        ("aaaa", ""),  # its beginning stands everywhere
    ],
)
def test_an_answer_is_stopped_in_its_middle(text: str, piece: str) -> None:
    assert probes.stop_within(text) == piece


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("Pa", "ok"), ("", "ok"), ("Paris", "lacking"), ("London", "unknown")],
)
def test_a_stop_string_ends_an_answer(text: str, verdict: str) -> None:
    assert checks.stop(said(), said(text, asked=probes.with_stop("ris"))).verdict == verdict


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        (("a", "b", "c", "a", "b"), "ok"),
        (("a", "b", "b", "a", "b"), "ok"),
        (("a", "a", "a", "a", "a"), "unknown"),
        (("a", "b", "c", "d", "b"), "lacking"),
        (("a", "b", "c", "a", "d"), "lacking"),
    ],
)
def test_a_seed_decides_what_is_written(texts: tuple[str, ...], verdict: str) -> None:
    seeds = (11, 12, 13, 11, 12)
    replies = [
        said(text, asked=probes.with_seed(seed)) for seed, text in zip(seeds, texts, strict=True)
    ]
    assert checks.seed(replies).verdict == verdict


def test_an_engine_that_takes_no_seed_lacks_it() -> None:
    assert checks.seed([raised(Unsupported("Messages have no seed"))]).verdict == "lacking"


@pytest.mark.parametrize(
    ("text", "finish", "verdict"),
    [
        ('{"checked": "lighthouse"}', "stop", "ok"),
        ('{"checked":\n "lighthouse"}', "stop", "ok"),
        ('{"checked":\n\n\n', "length", "unknown"),  # white space without end is a model's weakness
        ('{"checked":', "stop", "lacking"),
        ("Paris", "length", "lacking"),
        ('```json\n{"checked": "lighthouse"}\n```', "stop", "lacking"),
    ],
)
def test_an_answer_is_held_to_the_only_object_there_is(
    text: str, finish: str, verdict: str
) -> None:
    assert checks.json_schema(said(text, finish)).verdict == verdict


@pytest.mark.parametrize(
    ("tokens", "verdict"),
    [
        ((TokenLogprob("Paris", -0.1, (("Paris", -0.1), ("Rome", -3.0))),), "ok"),
        ((), "lacking"),
        ((TokenLogprob("Paris", float("nan"), (("Paris", -0.1),)),), "lacking"),
        ((TokenLogprob("Paris", -0.1, (("Paris", float("nan")),)),), "lacking"),
        ((TokenLogprob("Paris", 0.9, (("Paris", 0.9),)),), "lacking"),  # a probability
        ((TokenLogprob("Paris", -0.1),), "lacking"),
    ],
)
def test_log_probabilities_are_numbers_up_to_0(tokens: Any, verdict: str) -> None:
    assert checks.logprobs(said(logprobs=tokens)).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (((-1.0,), (-9.0, -2.0)), "ok"),
        (((-1.0,), (-1.0,)), "lacking"),
        (((-1.0,), (float("nan"),)), "lacking"),
        (((-1.0,),), "lacking"),
    ],
)
def test_two_texts_are_not_equally_likely(values: Any, verdict: str) -> None:
    request = probes.with_continuations()
    pairs = zip(request.continuations, values, strict=False)
    found = tuple(Likelihood(text, each) for text, each in pairs)
    assert checks.likelihoods(Reply(request, likelihoods=found)).verdict == verdict


CALL = ToolCall("weather", {"city": "Oslo"}, '{"city": "Oslo"}')


@pytest.mark.parametrize(
    ("asked", "without", "verdict"),
    [
        (said("", "tool_calls", tool_calls=(CALL,)), None, "ok"),
        (said("", "tool_calls", tool_calls=(ToolCall("weather", None, "{"),)), None, "lacking"),
        (said("", "length", tool_calls=(ToolCall("weather", None, "{"),)), None, "unknown"),
        (said("", "tool_calls"), None, "lacking"),
        (said('<tool_call>{"name": "weather"'), None, "lacking"),
        (said("It rains.", prompt=27), said(prompt=16), "unknown"),  # the model did not want it
        (said("It rains.", prompt=16), said(prompt=16), "lacking"),
        (said("It rains.", prompt=None), said(prompt=None), "unknown"),
        (raised(RequestRefused("tools param requires --jinja flag")), None, "lacking"),
        (LATE, None, "unknown"),
    ],
)
def test_a_model_that_calls_nothing_shows_nothing_unless_tools_did_not_reach_it(
    asked: Reply, without: Reply | None, verdict: str
) -> None:
    assert checks.tools(asked, without).verdict == verdict


def test_what_was_asked_and_what_came_back_are_shortened() -> None:
    request = probes.overlong(4096, "")
    assert request is not None
    error = RequestRefused("HTTP 400: " + "too long " * 40)
    check = checks.context(Subject(context=4096), Reply(request, error=error))
    assert check.asked.startswith("user: 0 1 2 3")
    assert "(8,193 characters)" in check.asked
    assert check.asked.endswith(", max_tokens 16")
    assert len(check.asked) < 160 > len(check.answered)


def test_a_prompt_longer_than_the_context_has_more_words_than_it_has_tokens() -> None:
    request = probes.overlong(100, "now")
    assert request is not None
    assert len(request.messages[0].content.split()) == 102
    assert probes.overlong(10**6, "") is None
