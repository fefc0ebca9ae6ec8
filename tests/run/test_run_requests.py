"""From a trial to what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import TemplateError
from pytest_llmeval.records import Message
from pytest_llmeval.run.requests import request_bodies, request_of

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

TOOL = {"type": "function", "function": {"name": "timer", "parameters": {"type": "object"}}}


def test_a_request_is_the_rendered_prompt_with_the_conditions_sampling(bench: Workbench) -> None:
    settings = bench.settings()
    suite = bench.suite(
        prompt=[{"system": "Be brief."}, {"user": "{{ a }} + 1 ="}],
        sampling={"max_tokens": 5},
        tools=[TOOL],
    )
    trial = bench.trials(settings, suite)[1]
    request = request_of(trial, settings.config.models["m"])
    assert request.messages == (Message("system", "Be brief."), Message("user", "2 + 1 ="))
    assert (request.sampling.max_tokens, request.sampling.seed) == (5, 7)
    assert request.tools[0]["function"]["name"] == "timer"
    assert request.cache_prompt


def test_each_repeat_has_a_seed_of_its_own(bench: Workbench) -> None:
    bench.config(repeats=3)
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())[:3]
    requests = [request_of(trial, settings.config.models["m"]) for trial in trials]
    assert [request.sampling.seed for request in requests] == [7, 8, 9]
    assert len({request.messages for request in requests}) == 1


@pytest.mark.parametrize(
    ("model", "suite"), [({"exact": True}, {}), ({}, {"exact": True})], ids=["model", "suite"]
)
def test_exact_does_without_the_prompt_cache(
    bench: Workbench, model: dict[str, Any], suite: dict[str, Any]
) -> None:
    bench.config(models={"m": {"engine": "fake", **model}})
    settings = bench.settings()
    (trial, *_) = bench.trials(settings, bench.suite(**suite))
    assert not request_of(trial, settings.config.models["m"]).cache_prompt


CHOICE = {
    "items": [{"id": "fr", "q": "Capital of France:", "options": ["Paris", "Rome"], "answer": "A"}],
    "prompt": "{{ q }}",
    "score": {"choice": "loglikelihood"},
}


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        ({}, ("Paris", "Rome")),
        ({"form": "completion"}, (" Paris", " Rome")),
        ({"form": "completion", "prompt": "{{ q }} "}, ("Paris", "Rome")),
        ({"form": "completion", "prompt": "{{ q }}\n"}, ("Paris", "Rome")),
        (
            {"score": {"choice_per_byte": {"delimiter": "> ", "options_as": "label"}}},
            ("> A", "> B"),
        ),
        (
            {"form": "completion", "score": {"choice_per_token": {"delimiter": ""}}},
            ("Paris", "Rome"),
        ),
        ({"form": "completion", "score": "token_likelihood"}, (" A",)),
    ],
    ids=["chat", "completion", "a space is there", "a line ends there", "given", "none", "target"],
)
def test_texts_stand_behind_the_prompt_as_the_form_and_the_scorer_say(
    bench: Workbench, keys: dict[str, Any], asked: tuple[str, ...]
) -> None:
    settings = bench.settings()
    (trial,) = bench.trials(settings, bench.suite(**{**CHOICE, **keys}))
    assert request_of(trial, settings.config.models["m"]).continuations == asked
    ((_, body),) = request_bodies([trial], settings.config.models)
    assert body["continuations"] == list(asked)


def test_a_suite_that_judges_answers_asks_for_no_likelihoods(bench: Workbench) -> None:
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    assert not request_of(trials[0], settings.config.models["m"]).continuations
    assert all(
        "continuations" not in body for _, body in request_bodies(trials, settings.config.models)
    )


def test_bodies_go_by_trial_and_name_the_model_as_the_endpoint_knows_it(bench: Workbench) -> None:
    bench.config(models={"m": {"engine": "fake", "name": "its-name"}})
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    bodies = dict(request_bodies(trials, settings.config.models))
    assert list(bodies) == [trial.id for trial in trials]
    assert {body["model"] for body in bodies.values()} == {"its-name"}


def test_only_llama_cpp_is_told_about_its_prompt_cache(bench: Workbench) -> None:
    adopted = {"engine": "openai", "url": "http://127.0.0.1:9/v1"}
    bench.config(models={"adopted": adopted, **bench.real("tiny-s")})
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    said = {
        trial.split("::")[1]: "cache_prompt" in body
        for trial, body in request_bodies(trials, settings.config.models)
    }
    assert said == {"adopted": False, "tiny-s": True}


def test_a_request_has_the_form_of_its_suite_and_what_answers_are_held_to(
    bench: Workbench,
) -> None:
    settings = bench.settings()
    suite = bench.suite(form="completion", json_schema={"type": "object"}, logprobs=3)
    request = request_of(bench.trials(settings, suite)[0], settings.config.models["m"])
    assert (request.form, request.json_schema, request.grammar, request.top_logprobs) == (
        "completion",
        {"type": "object"},
        None,
        3,
    )


def test_a_raw_completion_is_written_down_as_one(bench: Workbench) -> None:
    bench.config(models=bench.real("tiny-s"))
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite(form="completion", grammar='root ::= "2"'))
    (_, body), *_ = request_bodies(trials, settings.config.models)
    assert (body["prompt"], body["grammar"]) == ("1 + 1 =", 'root ::= "2"')
    assert "messages" not in body


def test_what_the_chat_template_gets_is_written_down(bench: Workbench) -> None:
    kwargs = {"enable_thinking": False}
    bench.config(models=bench.real("tiny-s", chat_template_kwargs=kwargs))
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    (_, body), *_ = request_bodies(trials, settings.config.models)
    assert body["chat_template_kwargs"] == kwargs


def test_a_prompt_that_cannot_be_rendered_is_told_when_its_suite_is_read(bench: Workbench) -> None:
    settings, broken = bench.settings(), bench.suite(prompt="{{ 1 // (a - 3) }}")
    with pytest.raises(TemplateError, match=r"sums\.yaml"):
        bench.trials(settings, broken)
