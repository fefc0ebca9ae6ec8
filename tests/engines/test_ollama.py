"""Ollama's own API, against a stand-in that refuses whatever Ollama would ignore."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, make_engine, refuse_request
from pytest_llmeval.engines.ollama import OllamaEngine
from pytest_llmeval.errors import (
    BadAnswer,
    ConfigError,
    ContextOverflow,
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    Unsupported,
    WrongKey,
)
from pytest_llmeval.records import (
    Answer,
    Likelihood,
    Message,
    Request,
    Sampling,
    TokenLogprob,
    ToolCall,
    Usage,
)
from tests.standins.ollama import Ollama, Says

ASKED = Request((Message("user", "17 + 25 ="),), Sampling(8, temperature=0.0, seed=7))
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
Result = TypeVar("Result")


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    """A stand-in with one model; nothing that Ollama does not know may have been said to it."""
    with Ollama() as it:
        yield it
    assert it.complaints == []


def within(
    ollama: Ollama, work: Callable[[OllamaEngine], Awaitable[Result]], **settings: Any
) -> Result:
    """Do something with an engine in a loop of its own."""

    async def main() -> Result:
        endpoint = Endpoint(ollama.url, settings.pop("model", "tiny"), settings=settings)
        engine = OllamaEngine(endpoint, tell=TOLD.append)
        try:
            return await work(engine)
        finally:
            await engine.close()

    TOLD.clear()
    return asyncio.run(main())


TOLD: list[str] = []


def complete(ollama: Ollama, request: Request = ASKED, **settings: Any) -> Answer:
    return within(ollama, lambda engine: engine.complete(request), **settings)


def describe(ollama: Ollama, **settings: Any) -> EndpointFacts:
    return within(ollama, lambda engine: engine.describe(), **settings)


def asking(text: str, **changes: Any) -> Request:
    return dataclasses.replace(ASKED, messages=(Message("user", text),), **changes)


# Asking -------------------------------------------------------------------------------------------


def test_an_answer_has_text_end_tokens_and_times(ollama: Ollama) -> None:
    answer = complete(ollama)
    assert answer == Answer(
        "42",
        "stop",
        usage=Usage(prompt=4, completion=1, cached=None, source="server"),
        first_token_ms=6.0,
        service_ms=8.0,
    )


def test_a_request_says_all_that_would_else_be_decided_in_silence(ollama: Ollama) -> None:
    complete(ollama)
    assert ollama.asked("/api/chat") == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "17 + 25 ="}],
            "stream": False,
            "truncate": False,
            "shift": False,
            "options": {"num_ctx": 4096, "num_predict": 8, "temperature": 0.0, "seed": 7},
        }
    ]


def test_every_sampling_key_has_its_option(ollama: Ollama) -> None:
    sampling = Sampling(
        max_tokens=5,
        temperature=0.7,
        top_p=0.9,
        top_k=0,
        min_p=0.05,
        repeat_penalty=1.1,
        presence_penalty=-0.5,
        frequency_penalty=0.25,
        seed=3,
        stop=("\n", "###"),
    )
    assert len(dataclasses.fields(Sampling)) == 10  # a new one needs an option, or a refusal
    complete(ollama, dataclasses.replace(ASKED, sampling=sampling), context=2048)
    assert ollama.asked("/api/chat")[0]["options"] == {
        "num_ctx": 2048,
        "num_predict": 5,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 0,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.25,
        "seed": 3,
        "stop": ["\n", "###"],
    }


def test_what_nobody_has_asked_for_is_left_to_the_server(ollama: Ollama) -> None:
    complete(ollama, dataclasses.replace(ASKED, sampling=Sampling(8)))
    assert ollama.asked("/api/chat")[0]["options"] == {"num_ctx": 4096, "num_predict": 8}


def test_stop_texts_are_added_to_those_that_the_model_brings(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].stops = ("<|im_end|>", 'a "\t" of its own')
    with_stop = dataclasses.replace(ASKED, sampling=Sampling(8, stop=("\n",)))
    complete(ollama, with_stop)
    complete(ollama)
    first, second = ollama.asked("/api/chat")
    assert first["options"]["stop"] == ["\n", "<|im_end|>", 'a "\t" of its own']
    assert "stop" not in second["options"]  # the model's own hold by themselves


def test_an_answer_ends_at_a_stop_text_and_at_its_longest(ollama: Ollama) -> None:
    ollama.says["count"] = Says("one two three four")
    stopped = complete(ollama, asking("count", sampling=Sampling(8, stop=(" three",))))
    cut = complete(ollama, asking("count", sampling=Sampling(3)))
    assert (stopped.text, stopped.finish_reason) == ("one two", "stop")
    assert (cut.text, cut.finish_reason, cut.usage.completion) == ("one two three", "length", 3)


def test_keep_alive_and_thinking_go_with_every_request(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].capabilities = ("completion", "thinking")
    complete(ollama, keep_alive="10m", think="low")
    body = ollama.asked("/api/chat")[0]
    assert (body["keep_alive"], body["think"]) == ("10m", "low")


def test_what_the_model_thinks_is_no_part_of_its_answer(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].capabilities = ("completion", "thinking")
    ollama.says["hm"] = Says("Yes.", thinking="Is it? It is.")
    answer = complete(ollama, asking("hm"))
    assert (answer.text, answer.reasoning) == ("Yes.", "Is it? It is.")
    assert "think" not in ollama.asked("/api/chat")[0]
    assert complete(ollama, asking("hm"), think=False).reasoning is None


def test_a_completion_continues_the_texts_as_they_stand(ollama: Ollama) -> None:
    messages = (Message("user", "1 + 1 = 2\n"), Message("user", "17 + 25 ="))
    ollama.says["1 + 1 = 2\n17 + 25 ="] = Says(" 42\n")
    answer = complete(ollama, dataclasses.replace(ASKED, messages=messages, form="completion"))
    assert answer.text == " 42\n"
    body = ollama.asked("/api/generate")[0]
    assert (body["prompt"], body["raw"], body["think"]) == ("1 + 1 = 2\n17 + 25 =", True, False)
    assert "messages" not in body


def test_a_schema_is_the_format(ollama: Ollama) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    complete(ollama, dataclasses.replace(ASKED, json_schema=schema))
    assert ollama.asked("/api/chat")[0]["format"] == schema


def test_tool_calls_come_with_their_arguments_as_an_object(ollama: Ollama) -> None:
    ollama.says["Oslo?"] = Says("", calls=(("weather", {"city": "Oslo"}), ("weather", {})))
    answer = complete(ollama, asking("Oslo?", tools=(WEATHER,)))
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (
        ToolCall("weather", {"city": "Oslo"}, '{"city":"Oslo"}'),
        ToolCall("weather", {}, "{}"),
    )


def test_a_tool_without_parameters_says_that_it_has_none(ollama: Ollama) -> None:
    now = {"type": "function", "function": {"name": "now"}}
    complete(ollama, dataclasses.replace(ASKED, tools=(now, WEATHER)))
    tools = ollama.asked("/api/chat")[0]["tools"]
    assert tools[0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert tools[1] == WEATHER


def test_log_probabilities_come_for_every_token(ollama: Ollama) -> None:
    answer = complete(ollama, asking("17 + 25 =", top_logprobs=2))
    assert answer.logprobs == (TokenLogprob("42", -0.25, (("42", -0.25), (" or", -2.5))),)
    bare = complete(ollama, asking("17 + 25 =", top_logprobs=0))
    assert bare.logprobs == (TokenLogprob("42", -0.25),)
    assert complete(ollama).logprobs == ()


def test_vectors_come_in_the_order_of_their_texts_and_are_never_of_a_cut_text(
    ollama: Ollama,
) -> None:
    vectors = within(ollama, lambda engine: engine.embed(["a", "long"]))
    assert vectors == ((1.0, 1.0, -0.5), (4.0, 1.0, -0.5))
    assert ollama.asked("/api/embed")[0] == {
        "model": "tiny",
        "input": ["a", "long"],
        "truncate": False,
        "options": {"num_ctx": 4096},
    }
    with pytest.raises(RequestRefused, match="give the model a larger context"):
        within(ollama, lambda engine: engine.embed(["a b c d"]), context=3)


def test_a_key_for_a_proxy_in_front_goes_with_every_request_and_shows_nowhere(
    ollama: Ollama,
) -> None:
    ollama.key = "s3cret"

    async def ask(key: str | None) -> Answer:
        engine = OllamaEngine(Endpoint(ollama.url, "tiny", api_key=key))
        try:
            await engine.describe()
            return await engine.complete(ASKED)
        finally:
            await engine.close()

    assert asyncio.run(ask("s3cret")).text == "42"
    with pytest.raises(RequestRefused, match="who are you") as refusal:
        asyncio.run(ask("wr0ng"))
    assert "wr0ng" not in str(refusal.value)


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/api"])
def test_the_url_may_be_that_of_either_interface(ollama: Ollama, tail: str) -> None:
    engine = make_engine("ollama", Endpoint(ollama.url + tail, "tiny"))

    async def main() -> Answer:
        try:
            return await engine.complete(ASKED)
        finally:
            await engine.close()

    assert asyncio.run(main()).text == "42"


def test_without_a_name_there_is_no_engine() -> None:
    with pytest.raises(ConfigError, match=r"needs the name of a model, such as llama3\.1:8b"):
        make_engine("ollama", Endpoint("http://127.0.0.1:1"))


# What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grammar": 'root ::= "a"'}, "no way of obeying a grammar"),
        ({"cache_prompt": False}, r"turning the prompt cache off \(exact: true\)"),
        ({"form": "completion", "tools": (WEATHER,)}, "offering tools for a raw completion"),
        ({"top_logprobs": 21}, "at most 20 tokens at each place, not of 21"),
        ({"continuations": ("a",) * 21}, "Asked were 21 at once"),
        ({"continuations": ("a", "")}, "One of those asked is empty"),
    ],
)
def test_what_its_api_cannot_say_is_refused_before_anything_is_sent(
    ollama: Ollama, changes: dict[str, Any], words: str
) -> None:
    request = dataclasses.replace(ASKED, **changes)
    with pytest.raises(Unsupported, match=words):
        refuse_request("ollama", request)
    with pytest.raises(Unsupported, match=words):
        complete(ollama, request)
    assert ollama.seen == []


def test_it_has_no_tokenizer(ollama: Ollama) -> None:
    with pytest.raises(Unsupported, match="engine ollama has no tokenizer"):
        within(ollama, lambda engine: engine.tokenize("text"))


# Likelihoods --------------------------------------------------------------------------------------

LETTERS = ((" B", -0.1), (" A", -2.5), (" C", -4.0))


def likelihoods(ollama: Ollama, *texts: str, **settings: Any) -> tuple[Likelihood, ...]:
    request = asking("Which?", continuations=texts, sampling=Sampling(64, stop=("\n",)))
    return within(ollama, lambda engine: engine.likelihoods(request), **settings)


def test_texts_of_one_token_each_are_weighed_by_one_answer_of_one_token(ollama: Ollama) -> None:
    ollama.says["Which?"] = Says(" B it is", first=LETTERS)
    found = likelihoods(ollama, " A", " B")
    assert found == (Likelihood(" A", (-2.5,)), Likelihood(" B", (-0.1,)))
    (body,) = ollama.asked("/api/chat")
    assert body["options"] == {"num_ctx": 4096, "num_predict": 1, "temperature": 0.0}
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)


def test_a_text_that_is_no_likely_first_token_is_refused_by_name(ollama: Ollama) -> None:
    ollama.says["Which?"] = Says(" B it is", first=LETTERS)
    with pytest.raises(Unsupported) as refusal:
        likelihoods(ollama, " A", " B or so")
    assert "one of the 20 likeliest first tokens" in str(refusal.value)
    assert "embedded, llama-server and llama-cpp-python can for any text" in str(refusal.value)
    assert "' B or so' is not among them" in str(refusal.value)


def test_a_model_that_would_rather_end_weighs_nothing(ollama: Ollama) -> None:
    ollama.says["Which?"] = Says("")
    with pytest.raises(Unsupported, match="its likeliest is to end"):
        likelihoods(ollama, " A")


def test_the_first_token_of_a_thought_is_none_of_the_answer(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].capabilities = ("completion", "thinking")
    ollama.says["Which?"] = Says(" B", first=LETTERS)
    with pytest.raises(Unsupported, match="write `think: false`"):
        likelihoods(ollama, " A")
    assert likelihoods(ollama, " A", think=False)[0].total == -2.5
    raw = asking("Which?", continuations=(" A",), form="completion")
    assert within(ollama, lambda engine: engine.likelihoods(raw))[0].total == -2.5


# What comes back wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("busy", EndpointBusy, "maximum pending requests exceeded"),
        ("runner lost", EndpointBusy, "runner has unexpectedly stopped"),
        ("mid-answer", RequestRefused, "HTTP 500: an error was encountered while running"),
        ("error with 200", BadAnswer, "it is an error: an error was encountered while running"),
        ("no memory", RequestRefused, "requires more system memory"),
        ("signed out", WrongKey, "HTTP 401: unauthorized"),
        ("html", BadAnswer, "it is not JSON. It begins: <!doctype html>"),
        ("cut", EndpointUnreachable, "in the middle of an answer"),
        ("not done", BadAnswer, "it is not done: it was cut off before its end"),
        ("load", BadAnswer, "done_reason is load: Ollama took the request for one to load"),
        ("odd reason", BadAnswer, 'done_reason is "tired", not one of stop, length'),
        ("nan", BadAnswer, "it holds NaN, which is not JSON"),
        ("remote", Unsupported, r"runs on another machine \(https://elsewhere.example:443\)"),
    ],
)
def test_what_is_no_answer_is_a_failure_by_its_name(
    ollama: Ollama, fault: str, kind: type[EngineError], words: str
) -> None:
    ollama.faults = [fault]
    with pytest.raises(kind, match=words) as failure:
        complete(ollama)
    assert type(failure.value) is kind
    assert complete(ollama).text == "42"  # the next request is a new one


def test_an_answer_of_another_machine_is_taken_where_the_config_allows_it(ollama: Ollama) -> None:
    ollama.faults = ["remote"]
    assert complete(ollama, remote=True).text == "42"


def test_an_answer_given_up_in_a_loop_is_one_that_had_no_end(ollama: Ollama) -> None:
    """Ollama stops a model that repeats a token 30 times, and gives neither end nor figures."""
    ollama.faults = ["loop"]
    answer = complete(ollama)
    assert answer.text.endswith("no no no ")
    assert (answer.finish_reason, answer.usage) == ("length", Usage())


def test_figures_that_were_not_told_are_not_known(ollama: Ollama) -> None:
    ollama.faults = ["no times"]
    answer = complete(ollama)
    assert (answer.text, answer.usage) == ("42", Usage())
    assert (answer.first_token_ms, answer.service_ms) == (None, None)


def test_log_probabilities_that_do_not_come_are_no_empty_ones(ollama: Ollama) -> None:
    ollama.faults = ["no logprobs"]
    with pytest.raises(Unsupported, match=r"from version 0\.12\.11 on\. Update it"):
        complete(ollama, asking("17 + 25 =", top_logprobs=2))


@pytest.mark.parametrize(
    ("capabilities", "settings", "changes", "words"),
    [
        (("embedding",), {}, {}, '"tiny" does not support chat'),
        (("embedding",), {}, {"form": "completion"}, '"tiny" does not support generate'),
        (("completion",), {}, {"tools": (WEATHER,)}, "does not support tools"),
        (("completion",), {"think": True}, {}, '"tiny" does not support thinking'),
    ],
)
def test_what_a_model_cannot_is_unsupported(
    ollama: Ollama,
    capabilities: tuple[str, ...],
    settings: dict[str, Any],
    changes: dict[str, Any],
    words: str,
) -> None:
    ollama.models["tiny:latest"].capabilities = capabilities
    with pytest.raises(Unsupported, match=f"The model tiny cannot do that: .*{words}"):
        complete(ollama, dataclasses.replace(ASKED, **changes), **settings)


@pytest.mark.parametrize("form", ["chat", "completion"])
def test_a_prompt_beyond_the_context_is_refused_and_never_cut(ollama: Ollama, form: Any) -> None:
    with pytest.raises(ContextOverflow) as refusal:
        complete(ollama, asking("word" + " word" * 49, form=form), context=40)
    words = str(refusal.value)
    assert words.startswith(
        "HTTP 400: request (50 tokens) exceeds the available context size (40 tokens), try "
        "increasing it (give the model a larger context, `context` in the config"
    )


# What it is ---------------------------------------------------------------------------------------


def test_a_model_is_described_by_its_weights_and_what_it_has(ollama: Ollama) -> None:
    facts = describe(ollama)
    assert facts.digest == "a" * 64  # the sha256 of the GGUF, as for a server of ours
    assert (facts.build, facts.model_name) == ("ollama 0.14.2", "tiny")
    assert (facts.slots, facts.context) == (None, 4096)
    assert facts.template_sha256 is not None


def test_loading_belongs_to_describing_and_happens_once(ollama: Ollama) -> None:
    async def story(engine: OllamaEngine) -> None:
        await engine.describe()
        assert ollama.loads == ["tiny:latest"]
        await engine.complete(ASKED)
        await engine.complete(asking("1 + 1 =", form="completion"))

    within(ollama, story, keep_alive="5m", context=2048)
    assert ollama.loads == ["tiny:latest"]
    assert ollama.running == {"tiny:latest": (2048, False)}


def test_a_model_that_does_not_stay_loaded_is_not_loaded_ahead(ollama: Ollama) -> None:
    """With keep_alive 0, a request to load is one to unload."""
    ollama.running["tiny:latest"] = (512, True)  # for somebody else, and otherwise
    assert describe(ollama, keep_alive=0).context == 4096
    assert ollama.asked("/api/generate") == []


def test_loading_that_takes_long_is_told(ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(ollama)
    assert TOLD == []
    monkeypatch.setattr("pytest_llmeval.engines.ollama.TELL_AFTER", 0)
    describe(ollama)
    assert TOLD == ["Ollama is loading tiny"]


def test_a_model_of_vectors_is_loaded_by_a_request_without_texts(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].capabilities = ("embedding",)
    assert describe(ollama).context == 4096
    assert [body["input"] for body in ollama.asked("/api/embed")] == [[]]


def test_the_context_is_no_more_than_the_model_was_trained_for(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].trained = 1024
    assert describe(ollama).context == 1024
    assert complete(ollama).text == "42"
    assert ollama.asked("/api/chat")[0]["options"]["num_ctx"] == 1024
    with pytest.raises(Unsupported, match="trained for 1,024: write `context: 1024` or less"):
        describe(ollama, context=2048)


def test_a_loaded_model_with_less_context_than_asked_for_is_refused(ollama: Ollama) -> None:
    shown = ollama.models["tiny:latest"].shown()
    ollama.models["tiny:latest"].trained = 512
    ollama.models["tiny:latest"].shown = lambda: shown  # type: ignore[method-assign]  # it tells another
    with pytest.raises(Unsupported, match="4,096 tokens was asked for and Ollama gives 512"):
        describe(ollama)


def test_with_an_adapter_the_weights_are_told_by_the_manifest(ollama: Ollama) -> None:
    model = ollama.models["tiny:latest"]
    model.adapter = "b" * 64
    assert describe(ollama).digest == model.digest


def test_what_stands_around_the_messages_is_in_the_templates_digest(ollama: Ollama) -> None:
    plain = describe(ollama).template_sha256
    ollama.models["tiny:latest"].system = "Answer as a pirate."
    assert describe(ollama).template_sha256 != plain


def test_a_missing_model_is_refused_with_the_command_that_gets_it(ollama: Ollama) -> None:
    with pytest.raises(RequestRefused) as refusal:
        describe(ollama, model="qwen3:8b")
    assert "Ollama has no model 'qwen3:8b'" in str(refusal.value)
    assert "`ollama pull qwen3:8b`" in str(refusal.value)
    assert "`pull: true`" in str(refusal.value)


def test_where_nothing_answers_it_says_how_to_start_it(dead_port: int) -> None:
    async def main() -> None:
        engine = OllamaEngine(Endpoint(f"http://127.0.0.1:{dead_port}", "tiny"))
        with pytest.raises(EndpointUnreachable, match="Start it with `ollama serve`"):
            await engine.describe()
        await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("version", ["0.1.48", "0.9.6", "0.12.5"])
def test_a_version_that_cuts_prompts_in_silence_is_refused(ollama: Ollama, version: str) -> None:
    ollama.version = version
    with pytest.raises(Unsupported, match=rf"Ollama {version}, which cuts .* from 0\.12\.6 on"):
        describe(ollama)


@pytest.mark.parametrize("version", ["0.12.6", "0.13.0-rc1", "1.0.0", "0.0.0", "custom"])
def test_any_other_version_is_taken(ollama: Ollama, version: str) -> None:
    ollama.version = version
    assert describe(ollama).build == f"ollama {version}"


def test_a_model_on_another_machine_is_refused_unless_it_is_asked_for(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].remote_host = "https://elsewhere.example:443"
    with pytest.raises(Unsupported, match="Nothing leaves this machine unless you say so"):
        describe(ollama)
    assert not ollama.asked("/api/chat")
    assert describe(ollama, remote=True).build == "ollama 0.14.2"
    assert ollama.loads == []  # there is nothing to load here


def test_a_model_on_another_machine_is_not_asked_to_unload(ollama: Ollama) -> None:
    ollama.models["tiny:latest"].remote_host = "https://elsewhere.example:443"

    async def story(engine: OllamaEngine) -> None:
        await engine.describe()
        await engine.unload()

    within(ollama, story, remote=True)
    assert not ollama.asked("/api/generate")


def test_unloading_takes_the_model_out_of_memory(ollama: Ollama) -> None:
    async def story(engine: OllamaEngine) -> None:
        await engine.describe()
        assert ollama.running
        await engine.unload()
        assert not ollama.running

    within(ollama, story)
