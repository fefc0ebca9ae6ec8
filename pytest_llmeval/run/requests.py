"""From a trial to the request that is sent, and to the line that says so in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.chat import chat_body
from pytest_llmeval.engines.completion import completion_body
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.records import Request, Trial
from pytest_llmeval.running.plan import sampling_of


def request_of(trial: Trial, model: ModelConfig) -> Request:
    """The complete request of a trial; raises TemplateError when its prompt cannot be rendered."""
    return Request(
        messages=render(trial.condition.prompt, trial.item),
        sampling=sampling_of(trial),
        tools=trial.suite.tools,
        cache_prompt=not (model.exact or trial.suite.exact),
        form=trial.suite.form,
        json_schema=trial.suite.json_schema,
        grammar=trial.suite.grammar,
        top_logprobs=trial.suite.logprobs,
    )


def request_bodies(
    trials: Sequence[Trial], models: Mapping[str, ModelConfig]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Trial id and request body, one by one, in the shape of OpenAI's batch files."""
    for trial in trials:
        model = models[trial.condition.model]
        yield trial.id, body_of(request_of(trial, model), model)


def body_of(request: Request, model: ModelConfig) -> dict[str, Any]:
    """The body of a request in OpenAI's shape."""
    llama_cpp = model.engine != "openai"
    if request.form == "completion":
        return completion_body(request, model.sent_name, llama_cpp=llama_cpp)
    return chat_body(
        request,
        model.sent_name,
        llama_cpp=llama_cpp,
        template_kwargs=model.chat_template_kwargs,
    )
