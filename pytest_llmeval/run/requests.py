"""From a trial to the request that is sent, and to the line that says so in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.chat import chat_body
from pytest_llmeval.engines.completion import completion_body
from pytest_llmeval.engines.fireworks_format import request_body
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.records import Message, Request, Trial
from pytest_llmeval.running.plan import sampling_of


def request_of(trial: Trial, model: ModelConfig) -> Request:
    """The complete request of a trial; raises TemplateError when its prompt cannot be rendered."""
    messages = render(trial.condition.prompt, trial.item)
    return Request(
        messages=messages,
        sampling=sampling_of(trial),
        tools=trial.suite.tools,
        cache_prompt=not (model.exact or trial.suite.exact),
        form=trial.suite.form,
        json_schema=trial.suite.json_schema,
        grammar=trial.suite.grammar,
        top_logprobs=trial.suite.logprobs,
        continuations=_continuations(trial, messages) if trial.suite.continuations else (),
    )


def _continuations(trial: Trial, messages: Sequence[Message]) -> tuple[str, ...]:
    """The texts whose likelihood is asked, with what stands between them and the prompt."""
    suite, prompt = trial.suite, messages[-1].content
    delimiter = suite.delimiter
    if delimiter is None:
        delimiter = " " if suite.form == "completion" and not prompt[-1:].isspace() else ""
    return tuple(delimiter + text for text in suite.continuations[trial.item.id])


def request_bodies(
    trials: Sequence[Trial], models: Mapping[str, ModelConfig]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Trial id and request body, one by one, in the shape of OpenAI's batch files."""
    for trial in trials:
        model = models[trial.condition.model]
        request = request_of(trial, model)
        yield trial.id, _with_continuations(body_of(request, model), request)


def body_of(request: Request, model: ModelConfig) -> dict[str, Any]:
    """A request as it is sent to the model, in OpenAI's shape with what its engine adds."""
    if model.engine == "fireworks":
        return {"model": model.sent_name, **request_body(request)}
    llama_cpp = model.engine not in ("anthropic", "openai")
    if request.form == "completion":
        return completion_body(request, model.sent_name, llama_cpp=llama_cpp)
    return chat_body(
        request,
        model.sent_name,
        llama_cpp=llama_cpp,
        template_kwargs=model.chat_template_kwargs,
    )


def _with_continuations(body: dict[str, Any], request: Request) -> dict[str, Any]:
    """No API has a word for it; it is written down so that one can see what was asked."""
    if not request.continuations:
        return body
    return body | {"continuations": list(request.continuations)}
