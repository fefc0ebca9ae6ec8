"""What preflight finds out about an endpoint over the wire, and what its lacks stop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.balanced import BalancedEngine
from pytest_llmeval.engines.engine import Endpoint, make_engine
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import (
    Check,
    CheckName,
    Message,
    Request,
    Sampling,
    TokenLogprob,
)
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.run.backing import backing_of
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.preflight import (
    WAYS_OUT,
    Examine,
    Gatekeeper,
    JudgesGatekeeper,
    examiner,
    needs_of,
    subject_of,
)
from pytest_llmeval.running.preflight import ALL, ALWAYS, Examined
from tests.standins.deficient import CONTEXT, LACKS, Deficient, Lack, serving

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

#: What only llama.cpp's own way of scoring texts can do, which the stand-in has not.
LOOKED_AT = frozenset(ALL) - {"likelihoods", "adapters"}

#: Which check finds each lack, and in what words.
FOUND: dict[Lack, tuple[CheckName, str]] = {
    "model": ("model", "it has loaded /models/other.gguf, not meant.gguf"),
    "context": ("context", "a prompt longer than its 256 tokens is cut short in silence"),
    "usage": ("usage", "the endpoint counts no tokens"),
    "lying_usage": ("usage", "its count of prompt tokens does not grow with the prompt"),
    "template": ("template", "an earlier message of a conversation does not reach the model"),
    "system": ("system", "a system message does not reach the model"),
    "refusing_system": ("system", "it is refused"),
    "max_tokens": ("max_tokens", "an answer is longer than max_tokens"),
    "truncation": ("truncation", "an answer that was cut off is passed off as a finished one"),
    "stop": ("stop", "an answer goes on after a stop string"),
    "seed": ("seed", "one seed gave two answers"),
    "json_schema": ("json_schema", "an answer is not held to a JSON Schema"),
    "grammar": ("grammar", "an answer is not held to a grammar"),
    "logprobs": ("logprobs", "it is refused"),
    "nan_logprobs": ("logprobs", "it is refused"),
    "tools": ("tools", "tools do not reach the model"),
    "refusing_tools": ("tools", "it is refused"),
    "tools_in_text": ("tools", "a call of a tool is left in the text"),
    "reasoning": ("reasoning", "<think> stands in the text of an answer"),
}


def model_of(url: str = "", **keys: Any) -> ModelConfig:
    keys = {"gguf": Path("/models/meant.gguf"), "context": CONTEXT, **keys}
    return ModelConfig("m", "llama-server", "m", 4, False, 60.0, 60.0, url=url, **keys)


def examined(
    standin: Deficient,
    wanted: Collection[CheckName] = LOOKED_AT,
    kind: str = "llama-server",
    **keys: Any,
) -> Examined:
    model = model_of(standin.url)

    async def look() -> Examined:
        engine = make_engine(kind, Endpoint(standin.url))
        try:
            facts = await engine.describe()
            return await examiner(model, wanted, salt="", **keys)(engine, facts, "0f" * 32)
        finally:
            await engine.close()

    return asyncio.run(look())


def lacking(checks: Collection[Check]) -> set[CheckName]:
    return {check.name for check in checks if check.verdict == "lacking"}


def test_an_endpoint_that_can_everything_is_found_to() -> None:
    with serving() as standin:
        found = examined(standin)
    assert {check.name: check.verdict for check in found.checks} == dict.fromkeys(
        [name for name in ALL if name in LOOKED_AT], "ok"
    )
    assert found.requests == len(standin.requests)
    assert standin.complaints == []


@pytest.mark.parametrize("lack", FOUND)
def test_each_lack_is_found_by_its_check_and_by_no_other(lack: Lack) -> None:
    name, words = FOUND[lack]
    with serving(lack) as standin:
        checks = examined(standin).checks
    assert lacking(checks) == {name}
    check = next(check for check in checks if check.name == name)
    assert check.found.startswith(words)
    assert bool(check.asked and check.answered) is (name != "model")


def test_each_of_several_endpoints_is_examined_and_the_worst_holds_with_its_url() -> None:
    with serving() as whole, serving("stop", "tools") as lame:
        model = model_of(whole.url)

        async def look() -> Examined:
            members = [
                (each.url, make_engine("llama-server", Endpoint(each.url)))
                for each in (whole, lame)
            ]
            engine = BalancedEngine(members, 4)
            try:
                facts = await engine.describe()
                return await examiner(model, LOOKED_AT, salt="")(engine, facts, "0f" * 32)
            finally:
                await engine.close()

        found = asyncio.run(look())
    assert lacking(found.checks) == {"stop", "tools"}
    told = {check.name: check.found for check in found.checks}
    assert told["stop"].startswith(f"{lame.url}: an answer goes on after a stop string")
    assert "http" not in told["seed"]
    assert found.requests == len(whole.requests) + len(lame.requests)


def test_every_fault_of_the_stand_in_has_its_check() -> None:
    assert set(FOUND) == set(LACKS) - {"props"}


def test_what_an_endpoint_does_not_say_of_itself_is_unknown() -> None:
    with serving("props") as standin:
        checks = {check.name: check for check in examined(standin, kind="openai").checks}
    assert checks["context"].found == "the endpoint does not say how large its context is"
    assert checks["model"].found == "it serves /models/meant.gguf; the config names none"
    assert {checks[name].verdict for name in ("context", "model")} == {"unknown"}


def test_a_prompt_that_is_cut_short_shows_even_where_tokens_are_not_counted() -> None:
    with serving("context", "usage") as standin:
        assert lacking(examined(standin).checks) == {"context", "usage"}


def test_what_would_show_in_counts_is_unknown_where_they_lie() -> None:
    with serving("lying_usage", "system") as standin:
        verdicts = {check.name: check.verdict for check in examined(standin).checks}
    assert (verdicts["system"], verdicts["template"]) == ("unknown", "unknown")


def test_before_a_run_five_requests_are_all_where_suites_need_nothing_more() -> None:
    with serving() as standin:
        found = examined(standin, ALWAYS)
    assert [check.name for check in found.checks] == [name for name in ALL if name in ALWAYS]
    assert len(standin.requests) == 5


def test_where_a_suite_is_exact_requests_come_one_by_one_and_leave_no_cache() -> None:
    with serving() as standin:
        examined(standin, one_at_a_time=True)
    assert {request["cache_prompt"] for request in standin.requests} == {False}


def test_a_name_that_an_endpoint_does_not_serve_is_another_model() -> None:
    async def facts() -> tuple[str, ...]:
        with serving() as standin:
            engine = make_engine("openai", Endpoint(standin.url))
            told = await engine.describe()
            await engine.close()
            subject = subject_of(
                dataclasses.replace(model_of(gguf=None), sent_name="mistral"), told, None
            )
            return (subject.name or "", *subject.served)

    assert asyncio.run(facts()) == ("mistral", "/models/meant.gguf")
    told = dataclasses.replace(model_of(), sent_name="m")
    assert subject_of(told, _no_facts(), None).name is None  # the config's word means nothing


def _no_facts() -> Any:
    from pytest_llmeval.engines.engine import EndpointFacts

    return EndpointFacts()


# What suites need ---------------------------------------------------------------------------------

USER = Message("user", "Hi")
GREEDY = Sampling(8, temperature=0, seed=7)


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (Request((USER,), GREEDY), set()),
        (Request((Message("system", "Be kind."), USER), GREEDY), {"system"}),
        (Request((USER, Message("assistant", "Hi!"), USER), GREEDY), {"template"}),
        (Request((USER,), Sampling(8, temperature=0, stop=("\n",))), {"stop"}),
        (Request((USER,), Sampling(8, temperature=0.7, seed=7)), {"seed"}),
        (Request((USER,), Sampling(8, seed=7)), {"seed"}),  # the server's own may be above 0
        (Request((USER,), Sampling(8, temperature=0.7)), set()),
        (Request((USER,), GREEDY, tools=({},)), {"tools"}),
        (Request((USER,), GREEDY, json_schema={}), {"json_schema"}),
        (Request((USER,), GREEDY, grammar='root ::= "a"'), {"grammar"}),
        (Request((USER,), GREEDY, top_logprobs=0), {"logprobs"}),
        (Request((USER, USER), GREEDY, form="completion"), set()),
    ],
)
def test_a_request_needs_what_is_special_about_it(request_: Request, more: set[CheckName]) -> None:
    assert needs_of(request_) == {"model", "max_tokens", *more}


def test_likelihoods_need_no_max_tokens() -> None:
    request = Request((USER,), GREEDY, continuations=("a", "b"))
    assert needs_of(request) == {"model", "likelihoods"}


def test_every_lack_that_may_stop_a_suite_has_a_way_out() -> None:
    everything = Request(
        (Message("system", "s"), USER, USER),
        Sampling(8, seed=7, stop=("a",)),
        tools=({},),
        json_schema={},
        grammar="",
        top_logprobs=1,
    )
    scored = Request((USER,), GREEDY, continuations=("a",))
    assert set(WAYS_OUT) == {"context", *needs_of(everything), *needs_of(scored)}


def test_a_suite_is_not_asked_where_it_needs_what_is_lacking(bench: Workbench) -> None:
    plain, terse = (
        bench.suite("plain"),
        bench.suite("terse", prompt=[{"system": "The number only."}, {"user": "{{ a }} + 1 ="}]),
    )
    trials = bench.trials(bench.settings(), plain, terse)
    keeper = Gatekeeper(model_of(), trials)
    lack = Check("system", "lacking", "it is refused", "system: Hi", "HTTP 400: no system role")
    keeper.admit(trials[0], [lack], CONTEXT)
    with pytest.raises(Unsupported) as refusal:
        keeper.admit(trials[-1], [lack], CONTEXT)
    assert str(refusal.value) == (
        "suite terse needs what m lacks: system: it is refused (asked: system: Hi; came back: "
        "HTTP 400: no system role). Put the system message's words into the user's, or use another "
        "chat template"
    )
    with pytest.raises(Unsupported, match="it is refused; in full with terse::m::add-4"):
        keeper.admit(trials[-2], [lack], CONTEXT)


@pytest.mark.parametrize(("words", "refused"), [(4, False), (200, True)])
def test_an_endpoint_that_cuts_prompts_gets_no_suite_whose_prompts_may_be_too_long(
    bench: Workbench, words: int, refused: bool
) -> None:
    suite = bench.suite(
        items=[{"id": "a", "a": 1, "answer": "2"}, {"id": "b", "a": "no " * words, "answer": "2"}]
    )
    trials = bench.trials(bench.settings(), suite)
    keeper = Gatekeeper(model_of(), trials)
    cut = Check("context", "lacking", "cut short in silence")
    if not refused:
        keeper.admit(trials[0], [cut], CONTEXT)
        return
    with pytest.raises(Unsupported, match="Give the model more context"):
        keeper.admit(trials[0], [cut], CONTEXT)  # for the sake of another item


def test_a_judge_is_asked_nothing_that_may_be_longer_than_what_it_cuts(bench: Workbench) -> None:
    (trial, *_) = bench.trials(bench.settings(), bench.suite())
    keeper = JudgesGatekeeper(model_of())
    cut = Check("context", "lacking", "cut short in silence")
    short, long = (Request((Message("user", "no " * words),), GREEDY) for words in (4, 200))
    keeper.admit(trial, short, [cut], CONTEXT)
    keeper.admit(trial, long, [], CONTEXT)
    with pytest.raises(Unsupported) as refusal:
        keeper.admit(trial, long, [cut], CONTEXT)
    assert str(refusal.value) == (
        "suite sums needs of its judge what m lacks: context: cut short in silence. Give the model "
        "more context, or serve it by an engine that refuses long prompts"
    )
    with pytest.raises(Unsupported, match="Give the model more context"):
        keeper.admit(trial, short, [cut], None)


def test_what_a_judge_lacks_is_told_in_full_once(bench: Workbench) -> None:
    first, second, *_ = bench.trials(bench.settings(), bench.suite())
    keeper = JudgesGatekeeper(model_of())
    request = Request((USER,), GREEDY, json_schema={"type": "object"})
    lack = Check("json_schema", "lacking", "it is not obeyed")
    with pytest.raises(Unsupported, match="Use a server that holds answers to a schema"):
        keeper.admit(first, request, [lack], CONTEXT)
    with pytest.raises(Unsupported, match=f"not obeyed; in full with {first.id}"):
        keeper.admit(second, request, [lack], CONTEXT)


# In a run -----------------------------------------------------------------------------------------


def test_preflight_changes_no_bit_of_what_an_exact_model_says_after_it(bench: Workbench) -> None:
    bench.config(models=bench.real("tiny-s", slots=1, exact=True))
    config = bench.settings().config
    model = config.models["tiny-s"]
    sums = [Message("user", f"{a} + {a + 19} =") for a in range(20, 30)]
    asked = [Request((s,), Sampling(8, temperature=0), (), False, top_logprobs=3) for s in sums]

    async def answers(examine: Examine | None) -> list[tuple[str, tuple[TokenLogprob, ...]]]:
        backing = backing_of(model, config, bench.root / "cache", print)
        live = LiveModel("tiny-s", backing, bench.root, print, "local.yaml", examine=examine)
        try:
            await live.open()
            assert bool(live.checks) is (examine is not None)
            return [(a.text, a.logprobs) for a in [await live.ask(request) for request in asked]]
        finally:
            await live.close()

    looking = examiner(model, ALL, salt="")
    assert asyncio.run(answers(looking)) == asyncio.run(answers(None))


def test_a_run_goes_on_without_the_suite_that_cannot_be_asked(bench: Workbench) -> None:
    plain = bench.suite("plain", prompt="Say {{ a }}.")
    terse = bench.suite("terse", prompt=[{"system": "Be terse."}, {"user": "Tell {{ a }}."}])
    with serving("system") as standin:
        bench.config(models={"m": {"engine": "openai", "url": standin.url}})
        folder = bench.run(plain, terse)
    predictions = read_run(folder)
    failures = {p.failure.reason for p in predictions.values() if p.failure is not None}
    assert failures == {"unsupported"}
    assert sum(p.answer is not None for p in predictions.values()) == 4
    assert not any(question.startswith("Tell") for question in standin.questions)
    assert sum(question.startswith("Say") for question in standin.questions) == 4
    message = next(p.failure.message for p in predictions.values() if p.failure)
    assert "suite terse needs what m lacks: system: a system message does not reach" in message
    (model,) = read_manifest(folder).models
    assert lacking(model.preflight) == {"system"}
    report = (folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "> m lacks system: a system message does not reach the model" in report


def test_a_prompt_that_was_cut_in_a_run_is_a_failure_and_told(bench: Workbench) -> None:
    items = [{"id": f"i{n}", "a": "word " * n, "answer": "2"} for n in (8, 2000, 4000)]
    with serving("props", "context") as standin:
        bench.config(models={"m": {"engine": "openai", "url": standin.url}})
        folder = bench.run(bench.suite(items=items))
    failures = {p.trial_id: p.failure for p in read_run(folder).values() if p.failure}
    assert set(failures) == {"sums::m::i2000", "sums::m::i4000"}
    assert {failure.reason for failure in failures.values()} == {"prompt_truncated"}
    (doubt,) = read_manifest(folder).doubts
    assert (doubt.kind, doubt.count, doubt.of) == ("prompt_truncated", 2, 3)


def test_what_preflight_asks_is_in_no_count_of_the_run(bench: Workbench) -> None:
    with serving() as standin:
        bench.config(models={"m": {"engine": "openai", "url": standin.url}})
        folder = bench.run(bench.suite(prompt="Say {{ a }}."))
    assert len(standin.requests) == 5 + 4
    assert len(read_run(folder)) == 4
    costs = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    assert costs["conditions"][0]["prompt_tokens"] == 4 * (2 + 4)


def test_a_dry_run_and_a_fake_model_have_no_preflight(bench: Workbench) -> None:
    with serving() as standin:
        bench.config(models={"m": {"engine": "openai", "url": standin.url}})
        (dry,) = read_manifest(bench.run(bench.suite(), dry_run=True)).models
    bench.config()
    (fake,) = read_manifest(bench.run(bench.suite())).models
    assert (dry.preflight, fake.preflight, standin.requests) == ((), (), [])


def test_a_resumed_run_looks_again_only_where_something_is_left(bench: Workbench) -> None:
    suite = bench.suite(prompt="Say {{ a }}.")
    with serving() as standin:
        bench.config(models={"m": {"engine": "openai", "url": standin.url}})
        folder = bench.run(suite)
        asked = len(standin.requests)
        bench.run(suite, resume=folder.name)
        assert len(standin.requests) == asked
    assert read_manifest(folder).models[0].preflight


def test_a_judge_that_obeys_no_schema_is_not_asked_for_verdicts(bench: Workbench) -> None:
    """Its preflight knows what judging needs, though no suite asks it anything."""
    with serving("json_schema") as standin:
        judge = {"engine": "openai", "url": standin.url, "role": "judge"}
        bench.config(models={"m": {"engine": "fake"}, "wise": judge}, judge="wise")
        folder = bench.run(bench.suite(score="judge"))
    assert not any("You judge" in question for question in standin.questions)
    judged = [p for id_, p in read_run(folder).items() if id_.endswith("@judge")]
    assert [p.failure.reason for p in judged if p.failure] == ["unsupported"] * 4
    messages = [p.failure.message for p in judged if p.failure]
    full = [words for words in messages if "Use a server that holds answers to a schema" in words]
    assert len(full) == 1
    assert full[0].startswith("suite sums needs of its judge what wise lacks: json_schema: ")
