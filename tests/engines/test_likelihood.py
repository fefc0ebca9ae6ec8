"""How likely a given text is, asked of llama.cpp's own server, and of ones that reply nonsense."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.engine import Endpoint, refuse_request
from pytest_llmeval.engines.likelihood import LikelihoodAsker
from pytest_llmeval.engines.llama_server import LlamaServerEngine
from pytest_llmeval.errors import BadAnswer, BadLogprobs, RequestRefused, Unsupported
from pytest_llmeval.records import Likelihood, Message, Request, Sampling, Usage

if TYPE_CHECKING:
    from tests.engines.conftest import RealServer

MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny-l.gguf"
CAPITAL = "What is the capital of Japan?"


def ask(
    url: str, *requests: Request, one_by_one: bool = False, **endpoint: Any
) -> list[tuple[Likelihood, ...]]:
    """Ask one engine some requests, one after the other."""

    async def main() -> list[tuple[Likelihood, ...]]:
        engine = LlamaServerEngine(Endpoint(url, **endpoint))
        engine.likelihood_asker.knows_token_grammar = not one_by_one
        try:
            return [await engine.likelihoods(request) for request in requests]
        finally:
            await engine.close()

    return asyncio.run(main())


def chat(*continuations: str, question: str = CAPITAL, cache_prompt: bool = True) -> Request:
    return Request(
        (Message("user", question),),
        Sampling(1),
        cache_prompt=cache_prompt,
        continuations=continuations,
    )


def text(prompt: str, *continuations: str) -> Request:
    return Request(
        (Message("user", prompt),), Sampling(1), form="completion", continuations=continuations
    )


def post(url: str, path: str, body: Any) -> Any:
    """Post JSON, behind the engine's back."""
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read())


# True ---------------------------------------------------------------------------------------------


def test_each_token_has_its_place_in_the_models_own_distribution(tiny_l: str) -> None:
    """All probabilities of a place add up to 1, and the one that is told is among them."""
    option = "the city of Zürich"
    ((found,),) = ask(tiny_l, chat(option))
    prompt = post(tiny_l, "/apply-template", {"messages": [{"role": "user", "content": CAPITAL}]})
    body = {"content": prompt["prompt"], "add_special": True, "parse_special": True}
    context = post(tiny_l, "/tokenize", body)["tokens"]
    wanted = post(tiny_l, "/tokenize", body | {"content": prompt["prompt"] + option})["tokens"]
    assert wanted[: len(context)] == context
    assert len(found.token_logprobs) == len(wanted) - len(context) > 5
    for token, logprob in zip(wanted[len(context) :], found.token_logprobs, strict=True):
        reply = post(
            tiny_l,
            "/completion",
            {"prompt": context, "n_predict": 1, "n_probs": 9999, "logit_bias": [[70, 1000]]},
        )
        everything = reply["completion_probabilities"][0]["top_logprobs"]
        assert math.fsum(math.exp(each["logprob"]) for each in everything) == pytest.approx(1, 1e-4)
        (told,) = (each["logprob"] for each in everything if each["id"] == token)
        assert logprob == pytest.approx(told, abs=0.02)
        context.append(token)


def test_what_a_model_knows_is_likely_and_other_options_are_not(tiny_l: str) -> None:
    (found,) = ask(tiny_l, chat("Tokyo", "Lima", "Oslo", "Rome"))
    totals = {each.continuation: each.total for each in found}
    assert list(totals) == ["Tokyo", "Lima", "Oslo", "Rome"]
    assert totals["Tokyo"] > -0.1
    assert max(totals[city] for city in ("Lima", "Oslo", "Rome")) < -5


def test_one_request_and_token_by_token_say_the_same(tiny_l: str) -> None:
    requests = (
        chat("the capital of Japan is Tokyo", "new york city", "Zürich 🎈 日本", " "),
        text("The cake was very", " good and plain.", " bad"),
    )
    at_once, one_by_one = ask(tiny_l, *requests), ask(tiny_l, *requests, one_by_one=True)
    for first, second in zip(at_once, one_by_one, strict=True):
        for each, other in zip(first, second, strict=True):
            assert each.continuation == other.continuation
            assert each.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-3)


def test_a_token_that_is_a_part_of_a_character_has_a_likelihood_too(tiny_l: str) -> None:
    ((found,),) = ask(tiny_l, chat("🎈"))
    assert len(found.token_logprobs) == 4
    assert all(-60 < logprob < 0 for logprob in found.token_logprobs)


def test_a_special_token_has_a_likelihood_too(tiny_l: str) -> None:
    ((short, whole),) = ask(tiny_l, chat("Tokyo", "Tokyo<|im_end|>"))
    assert len(whole.token_logprobs) == len(short.token_logprobs) + 1
    assert whole.token_logprobs[-1] > -0.1


def test_a_chat_is_asked_as_its_completion_would_be(tiny_l: str) -> None:
    """A message of the assistant at the end is what the text continues."""
    begun = (Message("user", CAPITAL), Message("assistant", "It is "))
    request = Request(begun, Sampling(1), continuations=("Tokyo",))
    prompt = "<|im_start|>user\nWhat is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n"
    ((chatted,), (continued,)) = ask(tiny_l, request, text(f"{prompt}It is ", "Tokyo"))
    assert chatted.token_logprobs == pytest.approx(continued.token_logprobs, abs=1e-3)


def test_a_model_of_random_weights_with_a_key_is_asked_the_same_way(
    llama_server: RealServer,
) -> None:
    ((found,),) = ask(llama_server.url, chat("abc", question="x"), api_key=llama_server.api_key)
    assert len(found.token_logprobs) == 3
    assert all(-9 < logprob < -1 for logprob in found.token_logprobs)


# The boundary -------------------------------------------------------------------------------------


def test_a_token_across_the_boundary_counts_for_the_continuation(tiny_l: str) -> None:
    """`Answer: ` and `the` are the token ` the`, as lm-eval has it with the space moved over."""
    ((across,), (moved,)) = ask(
        tiny_l, text("Answer: ", "the capital"), text("Answer:", " the capital")
    )
    assert len(across.token_logprobs) == len(moved.token_logprobs) == 2
    assert across.token_logprobs == pytest.approx(moved.token_logprobs, abs=1e-3)


def test_all_options_count_from_the_same_place(tiny_l: str) -> None:
    """Only ` the` reaches across; of the digits, the space alone before them counts too."""
    ((_, digits),) = ask(tiny_l, text("Answer: ", "the", "7"))
    ((alone,),) = ask(tiny_l, text("Answer: ", "7"))
    assert len(digits.token_logprobs) == len(alone.token_logprobs) + 1
    assert digits.token_logprobs[-1] == pytest.approx(alone.token_logprobs[-1], abs=1e-3)


# What is refused ----------------------------------------------------------------------------------


def test_an_empty_continuation_is_refused(tiny_l: str) -> None:
    with pytest.raises(Unsupported, match="The continuation '' has no token of its own"):
        ask(tiny_l, chat("Tokyo", ""))


def test_a_first_token_without_anything_before_it_is_refused(tiny_l: str) -> None:
    with pytest.raises(Unsupported, match="Nothing stands before the first token"):
        ask(tiny_l, text("", "Tokyo"))


def test_what_does_not_fit_into_the_context_is_refused_in_the_servers_words(tiny_l: str) -> None:
    long = chat("Tokyo", question="x y " * 300)
    with pytest.raises(RequestRefused, match=r"exceeds the available context size \(512 tokens\)"):
        ask(tiny_l, long)


def test_a_continuation_that_runs_out_of_context_is_refused_too(tiny_l: str) -> None:
    fits, too_long = text("a b c", " d" * 60), text("a b c", " d" * 600)
    ((found,),) = ask(tiny_l, fits)
    assert len(found.token_logprobs) >= 60
    with pytest.raises(RequestRefused, match="exceeds the available context size"):
        ask(tiny_l, too_long)


def test_an_engine_that_cannot_says_so_before_anything_is_sent() -> None:
    with pytest.raises(Unsupported) as told:
        refuse_request("openai", chat("Tokyo"))
    assert str(told.value) == (
        "The engine openai cannot say how likely a given text is; the engines embedded, "
        "llama-server and llama-cpp-python can."
    )
    for kind in ("embedded", "llama-server", "fake"):
        refuse_request(kind, chat("Tokyo"))
    refuse_request("openai", chat())


# Cache, tokens and time ---------------------------------------------------------------------------


def test_options_of_one_prompt_share_it_in_the_servers_cache(tiny_l: str) -> None:
    question = "Which of these is a city of Japan, Tokyo or Lima or Oslo or Rome?"
    (found,) = ask(tiny_l, chat("Tokyo", "Lima", "Oslo", "Rome", question=question))
    first, *others = (each.usage for each in found)
    assert first.cached is not None
    assert first.prompt is not None
    for usage in others:
        assert usage.cached == (usage.prompt or 0) - 2  # the prompt but for its last token
    assert {usage.completion for usage in (first, *others)} == {0}
    assert {usage.source for usage in (first, *others)} == {"server"}


def test_exact_asks_without_the_cache_and_gives_the_same_bits_again(tiny_l: str) -> None:
    request = chat("Tokyo", "the city of Lima", "Zürich", cache_prompt=False)
    first, second = ask(tiny_l, request, request)
    assert [each.token_logprobs for each in first] == [each.token_logprobs for each in second]
    assert {each.usage.cached for each in first} == {0}


def test_the_servers_own_time_is_told(tiny_l: str) -> None:
    ((found,),) = ask(tiny_l, chat("Tokyo"))
    assert found.service_ms is not None
    assert found.service_ms > 0


# A server that may lie, or know less --------------------------------------------------------------


class Letters:
    """A server whose tokens are letters, and which says of each what it is told to.

    It checks that it is asked as llama.cpp's server may be. `logprobs` go by letter; `after` is
    what it says of a letter while another one is forced, where that differs.
    """

    def __init__(self, logprobs: dict[str, Any], after: dict[str, Any] | None = None):
        self.logprobs = logprobs
        self.after = after if after is not None else logprobs
        self.knows_grammar = True
        self.writes_instead: dict[str, str] = {}
        self.timings: Any = {
            "prompt_n": 1,
            "cache_n": 2,
            "predicted_n": 1,
            "prompt_ms": 0.5,
            "predicted_ms": 0.25,
        }
        self.asked: list[dict[str, Any]] = []

    async def post(self, path: str, body: Any) -> bytes:
        if path == "/tokenize":
            assert set(body) == {"content", "add_special", "parse_special", "with_pieces"}
            pieces = [{"id": ord(each), "piece": each} for each in body["content"]]
            return json.dumps({"tokens": pieces}).encode()
        assert path == "/completion"
        assert body["temperature"] == 0
        assert body["post_sampling_probs"] is False
        assert all(type(token) is int for token in body["prompt"])
        self.asked.append(dict(body))
        return json.dumps(self._complete(body)).encode()

    def _complete(self, body: Any) -> dict[str, Any]:
        if "grammar" in body:
            assert body["grammar"].startswith("root ::= <[")
            if not self.knows_grammar:
                raise RequestRefused("HTTP 400: Failed to parse grammar", status=400)
            ids = [int(each.strip("<[]>")) for each in body["grammar"].split()[2:]]
        else:
            ((forced, bias),) = body["logit_bias"]
            assert bias >= 100
            ids = [forced]
        assert body["n_predict"] == len(ids)
        return {
            "completion_probabilities": [self._place(each, body["n_probs"]) for each in ids],
            "timings": self.timings,
        }

    def _place(self, token: int, many: int) -> dict[str, Any]:
        letter = self.writes_instead.get(chr(token), chr(token))
        is_other = chr(token) not in self.logprobs
        said = self.after if is_other else self.logprobs
        # NaN has no form in JSON; llama.cpp's server writes null for it.
        numbers = [each for each in said.items() if type(each[1]) is float]
        ranked = sorted(numbers, key=lambda each: -each[1])
        top = [{"id": ord(each), "logprob": logprob} for each, logprob in ranked[:many]]
        return {"id": ord(letter), "logprob": said.get(letter, -9.0), "top_logprobs": top}


def by_letters(letters: Letters, *texts: str) -> tuple[Likelihood, ...]:
    return asyncio.run(LikelihoodAsker(letters.post).likelihoods(text("?", *texts)))


def test_a_server_that_knows_no_grammar_of_tokens_is_asked_token_by_token() -> None:
    letters = Letters({"x": -1.0, "y": -2.0})
    letters.knows_grammar = False
    asker = LikelihoodAsker(letters.post)
    for count in (3, 2):  # the grammar is tried once
        (found,) = asyncio.run(asker.likelihoods(text("?", "xy")))
        assert found.token_logprobs == (-1.0, -2.0)
        assert len(letters.asked) == count
        letters.asked.clear()


def test_a_token_is_asked_behind_all_that_stand_before_it() -> None:
    letters = Letters({"x": -1.0, "y": -2.0})
    letters.knows_grammar = False
    by_letters(letters, "xy")
    assert [body["prompt"] for body in letters.asked] == [[63], [63], [63, 120]]


def test_a_server_that_writes_something_else_is_asked_again_and_then_not_believed() -> None:
    letters = Letters({"x": -1.0, "y": -2.0})
    letters.writes_instead = {"y": "z"}
    with pytest.raises(BadAnswer, match="made to write the token 121 and wrote 122"):
        by_letters(letters, "xy")
    assert ["grammar" in body for body in letters.asked] == [True, False, False]


@pytest.mark.parametrize(
    ("logprob", "shown"),
    [
        (None, "null"),
        (0.5, "0.5"),
        (-3.4028234663852886e38, "-3.4028234663852886e+38"),
        ("-1", '"-1"'),
        (True, "true"),
    ],
)
def test_what_is_no_likelihood_is_refused(logprob: Any, shown: str) -> None:
    with pytest.raises(BadLogprobs) as told:
        by_letters(Letters({"x": logprob}), "x")
    assert str(told.value) == (
        f"The server says that the log probability of the token 120 is {shown}, which is no "
        f"likelihood that could be used."
    )


def test_figures_after_forcing_are_refused() -> None:
    """By them every token that is forced is certain, and every option as good as any other."""
    with pytest.raises(
        BadAnswer, match=r"the token 120 is certain \(log probability 0\), and not so"
    ):
        by_letters(Letters({"x": 0.0, "y": 0.0}, after={"a": 0.0}), "x", "y")


def test_a_model_that_is_certain_is_believed_once_it_was_seen_to_be() -> None:
    letters = Letters({"x": 0.0, "y": -2.0})
    asker = LikelihoodAsker(letters.post)
    for count in (2, 1):  # the second time nobody asks again
        (found,) = asyncio.run(asker.likelihoods(text("?", "x")))
        assert found.token_logprobs == (0.0,)
        assert len(letters.asked) == count
        letters.asked.clear()


@pytest.mark.parametrize(
    ("path", "reply", "words"),
    [
        ("/tokenize", b"<html>", "The answer cannot be used: it is not JSON. It begins: <html>"),
        ("/tokenize", b'{"tokens": [1, 2]}', "no list of tokens with their pieces"),
        ("/completion", b'{"completion_probabilities": 7}', "no list of probabilities"),
        (
            "/completion",
            b'{"completion_probabilities": [{"id": "x"}]}',
            "a probability of no token",
        ),
        ("/completion", b"{}", "says of no place how likely the token 120 is"),
    ],
)
def test_replies_of_another_shape_are_refused(path: str, reply: bytes, words: str) -> None:
    letters = Letters({"x": -1.0})

    async def post(asked: str, body: Any) -> bytes:
        return reply if asked == path else await letters.post(asked, body)

    with pytest.raises(BadAnswer, match=words):
        asyncio.run(LikelihoodAsker(post).likelihoods(text("?", "x")))


def test_a_key_is_taken_out_of_a_reply_that_is_quoted() -> None:
    async def post(asked: str, body: Any) -> bytes:
        return b"who is sk-secret?"

    with pytest.raises(BadAnswer) as told:
        asyncio.run(LikelihoodAsker(post, secret="sk-secret").likelihoods(text("?", "x")))
    assert str(told.value).endswith("It begins: who is [redacted]?")


def test_a_server_that_tells_no_times_has_unknown_tokens() -> None:
    letters = Letters({"x": -1.0})
    letters.timings = None
    (found,) = by_letters(letters, "x")
    assert found.usage == Usage()
    assert found.service_ms is None


def test_forced_tokens_count_as_read() -> None:
    (found,) = by_letters(Letters({"x": -1.0}), "x")
    assert found.usage == Usage(prompt=4, completion=0, cached=2, source="server")
    assert found.service_ms == 0.75


def test_the_model_is_named_and_the_templates_arguments_are_passed_on() -> None:
    letters, asked = Letters({"x": -1.0}), {}

    async def post(path: str, body: Any) -> bytes:
        asked[path] = body
        if path == "/apply-template":
            return b'{"prompt": "?"}'
        return await letters.post(path, {k: v for k, v in body.items() if k != "model"})

    asker = LikelihoodAsker(post, "m", {"enable_thinking": False})
    asyncio.run(asker.likelihoods(chat("x", question="?")))
    assert {body["model"] for body in asked.values()} == {"m"}
    assert asked["/apply-template"]["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked["/apply-template"]["messages"] == [{"role": "user", "content": "?"}]
