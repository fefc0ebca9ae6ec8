"""llama-cpp-python behind its worker: real models, real library, no stand-in."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_llmeval.engines.engine import Endpoint, make_engine, refuse_request
from pytest_llmeval.engines.llama_cpp_python import LlamaCppPythonEngine
from pytest_llmeval.engines.llama_server import LlamaServerEngine
from pytest_llmeval.errors import (
    ContextOverflow,
    EndpointKilled,
    EndpointTimeout,
    EndpointUnreachable,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Likelihood, Message, Request, Sampling
from pytest_llmeval.servers.ports import free_port

Found = TypeVar("Found")
Ask = Callable[..., Answer]

MODELS = Path(__file__).parents[2] / "models"
CONTEXT = 512
DEADLY = "root ::= <[5]>"
"""A grammar that llama.cpp parses, and over which it ends its process when a token is chosen."""

OUTSIDE = """
import json, sys
import numpy as np
import llama_cpp
from llama_cpp import llama_cpp as c

gguf, prompt, *continuations = sys.argv[1:]
c.LLAMA_FLASH_ATTN_TYPE_ENABLED = c.LLAMA_FLASH_ATTN_TYPE_AUTO
llama = llama_cpp.Llama(gguf, n_ctx=512, logits_all=True, verbose=False, flash_attn=True)
found = []
for text in continuations:
    head = llama.tokenize(prompt.encode(), add_bos=False, special=True)
    tokens = llama.tokenize((prompt + text).encode(), add_bos=False, special=True)
    llama.reset()
    llama.eval(tokens)
    scores = llama.scores[: len(tokens)].astype(np.float64)
    logprobs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    found.append([logprobs[n - 1][tokens[n]] for n in range(len(head), len(tokens))])
print(json.dumps(found))
"""
"""The same by the library's own means: every logit of the whole text kept, one pass."""


class Worker:
    """A worker as a process of the tests' own."""

    def __init__(self, folder: Path, gguf: Path, log: Path) -> None:
        port = free_port("127.0.0.1")
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        module = "pytest_llmeval.servers.llama_cpp_worker"
        flags = ["-m", str(gguf), "--port", str(port), "-c", str(CONTEXT), "-t", "1"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *flags],
                env={**os.environ, "PYTHONPATH": python_path(folder)},
                stdout=output,
                stderr=output,
            )
        while not self.healthy():
            assert self.process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
            time.sleep(0.01)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def python_path(folder: Path) -> str:
    return os.pathsep.join([str(MODELS.parent), str(folder)])


@pytest.fixture(scope="module")
def start(
    llama_cpp_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Worker]]:
    started: list[Worker] = []

    def make() -> Worker:
        log = tmp_path_factory.mktemp("worker") / "log.txt"
        started.append(Worker(llama_cpp_folder, MODELS / "tiny-l.gguf", log))
        return started[-1]

    yield make
    for worker in started:
        worker.process.kill()
        worker.process.wait()


@pytest.fixture(scope="module")
def worker(start: Callable[[], Worker]) -> Worker:
    """One worker for all tests that leave it alive."""
    return start()


def using(
    url: str, work: Callable[[LlamaCppPythonEngine], Awaitable[Found]], **endpoint: Any
) -> Found:
    async def use() -> Found:
        engine = LlamaCppPythonEngine(Endpoint(url, **endpoint))
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(use())


def request(
    text: str, *, sampling: dict[str, Any] | None = None, system: str = "", **keys: Any
) -> Request:
    messages = [Message("system", system)] if system else []
    chosen = {"max_tokens": 16, "temperature": 0.0, "seed": 7, **(sampling or {})}
    return Request((*messages, Message("user", text)), Sampling(**chosen), **keys)


@pytest.fixture
def ask(worker: Worker) -> Ask:
    def complete(text: str, **keys: Any) -> Answer:
        return using(worker.url, lambda engine: engine.complete(request(text, **keys)))

    return complete


FRANCE = "What is the capital of France?"


# Answers ------------------------------------------------------------------------------------------


def test_a_config_finds_it_by_its_name() -> None:
    made = make_engine("llama-cpp-python", Endpoint("http://127.0.0.1:9"))
    assert type(made) is LlamaCppPythonEngine


def test_a_chat_goes_through_the_models_own_template_and_ends_where_the_model_ends(
    ask: Ask,
) -> None:
    answer = ask(FRANCE, cache_prompt=False)
    assert (answer.text, answer.finish_reason) == ("Paris", "stop")
    assert (answer.usage.prompt, answer.usage.completion) == (16, 2)  # with the end's token
    assert answer.usage.source == "server"
    assert answer.service_ms is not None
    assert answer.first_token_ms is not None
    assert 0 < answer.first_token_ms <= answer.service_ms


def test_a_raw_completion_continues_the_text_as_it_stands(ask: Ask) -> None:
    bare = ask("17 + 25 =", form="completion", cache_prompt=False)
    chat = ask("17 + 25 =", cache_prompt=False)
    assert bare.usage.prompt is not None
    assert chat.usage.prompt is not None
    assert bare.usage.prompt < chat.usage.prompt
    assert bare.text != chat.text


def test_a_system_message_reaches_the_model(ask: Ask) -> None:
    plain = ask(FRANCE, cache_prompt=False).usage.prompt
    told = ask(FRANCE, system="Answer with one word.", cache_prompt=False).usage.prompt
    assert plain is not None
    assert told is not None
    assert told > plain


def test_an_answer_that_is_cut_says_so(ask: Ask) -> None:
    answer = ask("17 + 25 =", form="completion", sampling={"max_tokens": 3})
    assert answer.finish_reason == "length"
    assert answer.usage.completion == 3


def test_a_stop_text_ends_an_answer_and_is_no_part_of_it(ask: Ask) -> None:
    whole = ask(FRANCE).text
    cut = ask(FRANCE, sampling={"stop": ("zzz", whole[2:4])})
    assert (cut.text, cut.finish_reason) == (whole[:2], "stop")


def test_the_same_seed_writes_the_same_and_others_do_not(ask: Ask) -> None:
    def write(seed: int) -> str:
        warm = {"temperature": 1.5, "min_p": 0.0, "top_k": 0, "top_p": 1.0}
        return ask("x", form="completion", cache_prompt=False, sampling={**warm, "seed": seed}).text

    assert write(1) == write(1)
    assert len({write(seed) for seed in range(2, 8)}) > 1


@pytest.mark.parametrize(
    "tight", [{"top_k": 1}, {"top_p": 1e-6, "min_p": 0.0}, {"min_p": 1.0}], ids=str
)
def test_sampling_keys_reach_the_sampler(ask: Ask, tight: dict[str, Any]) -> None:
    """Each of them leaves the likeliest token alone, however warm the sampling is."""
    greedy = ask("A b c", form="completion", cache_prompt=False).text
    warm = {"temperature": 3.0, "seed": 11, **tight}
    assert ask("A b c", form="completion", cache_prompt=False, sampling=warm).text == greedy


def test_penalties_reach_the_sampler(ask: Ask) -> None:
    plain = ask("1 1 1 1", form="completion", sampling={"max_tokens": 30}).text
    for penalty in ("repeat_penalty", "presence_penalty", "frequency_penalty"):
        strict = {"max_tokens": 30, penalty: 2.0}
        assert ask("1 1 1 1", form="completion", sampling=strict).text != plain


# Exactness ----------------------------------------------------------------------------------------


def test_without_the_prompt_cache_every_request_finds_the_model_as_the_first_one_did(
    ask: Ask,
) -> None:
    exact = {"cache_prompt": False, "top_logprobs": 3}
    first = ask(FRANCE, **exact)
    ask("Which is larger, 3 or 4?")
    again = ask(FRANCE, **exact)
    assert (again.text, again.logprobs) == (first.text, first.logprobs)
    assert again.usage.cached == 0


def test_the_prompt_cache_keeps_what_two_prompts_begin_with(ask: Ask) -> None:
    ask("What is the capital of Spain?", cache_prompt=False)
    answer = ask(FRANCE)
    assert answer.usage.cached is not None
    assert answer.usage.prompt is not None
    assert 5 < answer.usage.cached < answer.usage.prompt
    assert answer.text == "Paris"


# What answers must obey ---------------------------------------------------------------------------


def test_an_answer_obeys_its_json_schema(ask: Ask) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 8}, "size": {"type": "integer"}},
        "required": ["city", "size"],
    }
    answer = ask(FRANCE, json_schema=schema, sampling={"max_tokens": 60})
    assert set(json.loads(answer.text)) == {"city", "size"}


def test_a_schema_that_the_library_cannot_read_is_refused_and_not_loosened(ask: Ask) -> None:
    with pytest.raises(RequestRefused, match="cannot make a grammar of this JSON schema"):
        ask(FRANCE, json_schema={"type": "nonsense"})


def test_an_answer_obeys_its_grammar(ask: Ask) -> None:
    assert ask(FRANCE, grammar='root ::= "yes" | "no"').text in {"yes", "no"}


@pytest.mark.parametrize("grammar", ["root ::= (", 'x ::= "a"', 'root ::= root "a"', " "])
def test_a_grammar_that_cannot_be_parsed_is_refused_and_the_worker_lives(
    ask: Ask, worker: Worker, grammar: str
) -> None:
    with pytest.raises(RequestRefused, match="cannot parse this grammar"):
        ask(FRANCE, grammar=grammar)
    assert worker.process.poll() is None
    assert ask(FRANCE).text == "Paris"


def test_a_grammar_that_kills_the_library_is_a_failure_that_is_not_asked_again(
    start: Callable[[], Worker],
) -> None:
    victim = start()
    with pytest.raises(EndpointKilled, match="has a grammar or a JSON schema") as killed:
        using(victim.url, lambda engine: engine.complete(request(FRANCE, grammar=DEADLY)))
    assert not killed.value.retryable
    victim.process.wait()
    words = victim.log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
    assert any("empty grammar stack" in line for line in words)


def test_who_was_dead_before_was_not_killed_by_the_request(start: Callable[[], Worker]) -> None:
    victim = start()
    victim.process.kill()
    victim.process.wait()
    with pytest.raises(EndpointUnreachable) as gone:
        using(victim.url, lambda engine: engine.complete(request(FRANCE, grammar=DEADLY)))
    assert gone.value.retryable


# Likelihoods --------------------------------------------------------------------------------------


def test_logprobs_are_of_the_raw_logits_the_likeliest_first(ask: Ask) -> None:
    (written,) = ask(FRANCE, top_logprobs=3, cache_prompt=False).logprobs
    assert written.token == "Paris"
    assert written.top[0] == ("Paris", written.logprob)
    values = [logprob for _, logprob in written.top]
    assert values == sorted(values, reverse=True)
    assert 0.5 < sum(map(math.exp, values)) <= 1
    warm = ask(FRANCE, top_logprobs=0, cache_prompt=False, sampling={"temperature": 0.1})
    assert warm.logprobs[0].logprob == pytest.approx(written.logprob, abs=1e-9)
    assert warm.logprobs[0].top == ()


def test_logprobs_end_with_the_text_that_a_stop_cut(ask: Ask) -> None:
    long = {"max_tokens": 20, "stop": ("1",)}
    answer = ask("17 + 25 =", form="completion", top_logprobs=0, sampling=long)
    assert "".join(each.token for each in answer.logprobs)[: len(answer.text)] == answer.text


def test_no_logprobs_come_unasked(ask: Ask) -> None:
    assert ask(FRANCE).logprobs == ()


CONTINUATIONS = ("Paris", "London", " 17 + 25 = 42, or so it is said", "é…")


def test_likelihoods_are_those_of_full_logits(worker: Worker, llama_cpp_folder: Path) -> None:
    """Held against one pass over the whole text by the library's own means, in another process."""
    prompt = "The capital of France is "
    asked = request(prompt, form="completion", continuations=CONTINUATIONS, cache_prompt=False)
    found = using(worker.url, lambda engine: engine.likelihoods(asked))
    assert [each.continuation for each in found] == list(CONTINUATIONS)
    reference = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(MODELS / "tiny-l.gguf"), prompt, *CONTINUATIONS],
        env={**os.environ, "PYTHONPATH": python_path(llama_cpp_folder)},
        capture_output=True,
        check=True,
    )
    for each, expected in zip(found, json.loads(reference.stdout), strict=True):
        assert each.token_logprobs == pytest.approx(expected, abs=0.01)
        tokens = len(using(worker.url, lambda engine: engine.tokenize(prompt + each.continuation)))  # noqa: B023 - used at once
        assert (each.usage.prompt, each.usage.completion) == (tokens, 0)
        assert each.usage.source == "server"
        assert each.service_ms is not None


def test_an_answers_logprobs_are_its_likelihood(ask: Ask, worker: Worker) -> None:
    (written,) = ask(FRANCE, top_logprobs=0, cache_prompt=False).logprobs
    asked = request(FRANCE, continuations=("Paris", "Rome"), cache_prompt=False)
    paris, rome = using(worker.url, lambda engine: engine.likelihoods(asked))
    assert paris.total == pytest.approx(written.logprob, abs=0.005)
    assert rome.total < paris.total


def test_continuations_share_the_evaluated_prompt_whatever_their_order(worker: Worker) -> None:
    def totals(*continuations: str) -> dict[str, float]:
        asked = request(FRANCE, continuations=continuations, cache_prompt=False)
        found = using(worker.url, lambda engine: engine.likelihoods(asked))
        return {each.continuation: each.total for each in found}

    assert totals("Paris", "London", "Rome") == totals("Rome", "Paris", "London")


def test_a_token_across_the_seam_counts_for_every_continuation_from_the_same_place(
    worker: Worker, tiny_l: str
) -> None:
    """As the engine of llama.cpp's servers has it: scores of the two can be compared."""
    tails = ("is", "ma", " is")
    asked = request("The capital of France is Par", form="completion", continuations=tails)
    alone = [using(worker.url, lambda engine: engine.tokenize(tail)) for tail in tails]  # noqa: B023 - used at once

    async def of_the_server() -> tuple[Likelihood, ...]:
        engine = LlamaServerEngine(Endpoint(tiny_l))
        try:
            return await engine.likelihoods(asked)
        finally:
            await engine.close()

    ours = using(worker.url, lambda engine: engine.likelihoods(asked))
    theirs = asyncio.run(of_the_server())
    assert [len(each.token_logprobs) for each in ours] != [len(tokens) for tokens in alone]
    for our, their in zip(ours, theirs, strict=True):
        assert our.token_logprobs == pytest.approx(their.token_logprobs, abs=0.03)
        assert our.usage.prompt is not None


def test_a_continuation_without_a_token_of_its_own_is_refused(worker: Worker) -> None:
    """Its likelihood would be 1, and no other as likely."""
    asked = request("The capital of France is", form="completion", continuations=("Paris", ""))
    with pytest.raises(RequestRefused, match="the continuation '' has no token of its own"):
        using(worker.url, lambda engine: engine.likelihoods(asked))


# What it refuses ----------------------------------------------------------------------------------


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(ask: Ask) -> None:
    with pytest.raises(ContextOverflow, match=r"exceeds the available context size of 512 tokens"):
        ask("word " * 600)


def test_a_continuation_beyond_the_context_is_refused(worker: Worker) -> None:
    asked = request(FRANCE, continuations=("word " * 600,))
    with pytest.raises(ContextOverflow, match=r"prompt and continuation have .* exceeds the avail"):
        using(worker.url, lambda engine: engine.likelihoods(asked))


def test_messages_that_the_template_refuses_are_refused_in_its_words(worker: Worker) -> None:
    nobody = Request((), Sampling(max_tokens=4))
    with pytest.raises(RequestRefused, match="chat template refuses these messages: Undefined"):
        using(worker.url, lambda engine: engine.complete(nobody))


def test_an_empty_prompt_is_refused(ask: Ask) -> None:
    with pytest.raises(RequestRefused, match="the prompt is empty"):
        ask("", form="completion")


def test_half_a_letter_is_refused_and_not_sent_as_another(ask: Ask) -> None:
    with pytest.raises(RequestRefused, match="cannot be written as UTF-8"):
        ask("\ud83d")


def test_tools_are_refused_by_name_before_anything_is_sent() -> None:
    tools = ({"type": "function", "function": {"name": "add"}},)
    with pytest.raises(Unsupported, match="llama-cpp-python does not support tools"):
        refuse_request("llama-cpp-python", request(FRANCE, tools=tools))
    refuse_request("llama-cpp-python", request(FRANCE, grammar="root ::= [0-9]"))


def test_embeddings_are_refused_by_name(worker: Worker) -> None:
    with pytest.raises(Unsupported, match="llama-cpp-python gives no embeddings"):
        using(worker.url, lambda engine: engine.embed(["text"]))


# Facts --------------------------------------------------------------------------------------------


def test_it_says_what_it_is(worker: Worker) -> None:
    facts = using(worker.url, lambda engine: engine.describe(), model="tiny")
    assert (facts.slots, facts.context, facts.model_name) == (1, CONTEXT, "tiny")
    assert facts.model_path == str(MODELS / "tiny-l.gguf")
    assert (facts.build or "").startswith("llama-cpp-python 0.")
    assert len(facts.template_sha256 or "") == 64


def test_texts_have_the_models_own_tokens(worker: Worker) -> None:
    async def tokens(engine: LlamaCppPythonEngine) -> list[tuple[int, ...]]:
        return [await engine.tokenize(text) for text in ("", "Paris", "Paris, Paris")]

    none, paris, more = using(worker.url, tokens)
    assert none == ()
    assert len(paris) == 1
    assert more[:1] == paris
    assert len(more) > 2


# Many at once, and giving up ----------------------------------------------------------------------


def test_requests_at_once_wait_for_each_other(worker: Worker) -> None:
    async def many(engine: LlamaCppPythonEngine) -> list[Answer]:
        return await asyncio.gather(*[engine.complete(request(FRANCE)) for _ in range(6)])

    assert {answer.text for answer in using(worker.url, many)} == {"Paris"}


def test_several_workers_answer_side_by_side(worker: Worker, start: Callable[[], Worker]) -> None:
    async def many(engine: LlamaCppPythonEngine) -> list[Answer]:
        assert (await engine.describe()).slots == 2
        return await asyncio.gather(*[engine.complete(request(FRANCE)) for _ in range(6)])

    second = start()
    assert {a.text for a in using(f"{worker.url} {second.url}", many)} == {"Paris"}
    second.process.kill()
    second.process.wait()
    with pytest.raises(EndpointUnreachable):
        using(f"{second.url} {second.url}", many)


ENDLESS = 'root ::= [a-z]+ " " root'


def test_a_request_that_takes_too_long_is_given_up_and_the_worker_goes_on(worker: Worker) -> None:
    long = request(FRANCE, grammar=ENDLESS, sampling={"max_tokens": 480})
    with pytest.raises(EndpointTimeout, match=r"no complete answer within 0\.01 s"):
        using(worker.url, lambda engine: engine.complete(long), timeout=0.01)
    assert using(worker.url, lambda engine: engine.complete(request(FRANCE))).text == "Paris"
    assert worker.process.poll() is None


def test_a_request_that_is_cancelled_frees_its_worker(worker: Worker) -> None:
    async def give_up(engine: LlamaCppPythonEngine) -> Answer:
        long = request(FRANCE, grammar=ENDLESS, sampling={"max_tokens": 480})
        task = asyncio.ensure_future(engine.complete(long))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await engine.complete(request(FRANCE))

    assert using(worker.url, give_up).text == "Paris"
