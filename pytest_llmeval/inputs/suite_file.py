"""The keys of a suite file and of an llmeval marker."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from pytest_llmeval.inputs.mistakes import shown
from pytest_llmeval.inputs.sampling import Repeats, SamplingSection
from pytest_llmeval.inputs.sections import Section, Share, Texts, share

_TEXT: dict[str, Any] = {"type": "string"}
_TEXT_OR_FILE: dict[str, Any] = {
    "anyOf": [
        _TEXT,
        {
            "type": "object",
            "properties": {"file": {"type": "string", "description": "From the suite's folder."}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ]
}
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(("system", "user", "assistant"), _TEXT_OR_FILE),
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_PROMPT: dict[str, Any] = {
    "anyOf": [*_TEXT_OR_FILE["anyOf"], {"type": "array", "items": _MESSAGE, "minItems": 1}]
}
_ITEMS: dict[str, Any] = {
    "anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}, "minItems": 1}]
}
_SCORER: dict[str, Any] = {
    "anyOf": [
        _TEXT,
        {
            "type": "object",
            "properties": {"choice": {"type": ["object", "null", "string"]}},
            "additionalProperties": {"type": ["object", "null"]},
            "minProperties": 1,
            "maxProperties": 1,
        },
    ]
}
_SCORE: dict[str, Any] = {
    "anyOf": [*_SCORER["anyOf"], {"type": "array", "items": _SCORER, "minItems": 1}]
}
# These keys take several forms; `suites`, `prompt_forms` and `answer_form` read them, so that a
# mistake is told in the words of the form that was meant. Their schemas are for editors.
AnyItems = Annotated[Any, WithJsonSchema(_ITEMS)]
AnyPrompt = Annotated[Any, WithJsonSchema(_PROMPT)]
AnyPrompts = Annotated[
    Any,
    WithJsonSchema({"type": "object", "additionalProperties": _PROMPT, "minProperties": 1}),
]
AnyScore = Annotated[Any, WithJsonSchema(_SCORE)]
_MARGIN: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"},
    ]
}
Margin = Annotated[float, PlainValidator(share), WithJsonSchema(_MARGIN)]  # 0 has a message
AnyAtMost = Annotated[Any, WithJsonSchema({"type": ["number", "string"]})]
AnySchema = Annotated[Any, WithJsonSchema({"type": "object"})]
AnyGrammar = Annotated[Any, WithJsonSchema(_TEXT_OR_FILE)]
AnyTags = Annotated[
    Any, WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": {"type": "string"}}]})
]


def _tool_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError(f"expected 1 to 64 letters, digits, '_' or '-', found {shown(name)}")
    return name


class FunctionSection(Section):
    """A function that a model may call."""

    name: Annotated[str, AfterValidator(_tool_name)] = Field(description="What a call names.")
    description: str | None = Field(default=None, description="What it does, for the model.")
    parameters: dict[str, Any] = Field(default={}, description="A JSON Schema of its arguments.")
    strict: bool | None = Field(default=None, description="Passed on to the server.")


class ToolSection(Section):
    """A tool, written as OpenAI's API has it."""

    type: Literal["function"] = Field(description="There is only this type.")
    function: FunctionSection


Seed = Annotated[int, Field(ge=0, description="Of the seeded choice; the same on any machine.")]


class MarkerArguments(Section):
    """What an llmeval marker takes, and a suite file too."""

    items: AnyItems = Field(description="A data file (.jsonl, .json, .csv, .parquet), or a list.")
    id: str | None = Field(
        default=None, min_length=1, description="The field with the id; `id` when unset."
    )
    target: str | None = Field(
        default=None, min_length=1, description="The field with the expected answer."
    )
    prompt: AnyPrompt = Field(
        default=None, description="A Jinja2 template: one user message, or a list of messages."
    )
    prompts: AnyPrompts = Field(default=None, description="Several prompts with a name each.")
    sampling: SamplingSection = Field(
        default=SamplingSection(), description="Wins over the config's sampling, key by key."
    )
    score: AnyScore = Field(
        default=None, description="A scorer, {scorer: {options}}, or a list; the first is headline."
    )
    tags: AnyTags = Field(default=[], description="Words for pytest -m.")
    tools: list[ToolSection] = Field(
        default=[], description="OpenAI function tools, sent with every request."
    )
    form: Literal["chat", "completion"] = Field(
        default="chat",
        description="completion: the prompt is continued as it stands, without chat template.",
    )
    json_schema: AnySchema = Field(
        default=None, description="What answers must obey: a JSON Schema, or {file: schema.json}."
    )
    grammar: AnyGrammar = Field(
        default=None, description="What answers must obey: llama.cpp's GBNF, or {file: x.gbnf}."
    )
    logprobs: int | None = Field(
        default=None, ge=0, le=20, description="Log probabilities, with so many alternatives."
    )
    repeats: Repeats | None = None
    limit: int | None = Field(default=None, ge=1, description="A seeded sample of this many items.")
    seed: Seed = 0
    only: Texts = Field(default=[], description="The models this is for; all when unset.")


Inconclusive = Literal["skip", "fail"]


class GateSection(Section):
    """A requirement on one condition: one of at_least, not_worse_than and at_most."""

    only: str = Field(min_length=1, description="The condition, for instance tiny-l/plain.")
    metric: str = Field(
        min_length=1, description="A scorer of the suite; with at_most: latency, tokens, failures."
    )
    at_least: Share | None = Field(
        default=None, description="The scorer's lower confidence bound must reach this."
    )
    not_worse_than: Literal["baseline"] | None = Field(
        default=None, description="Compare with the outcomes that were accepted."
    )
    margin: Margin | None = Field(
        default=None, description="By so much it may be worse than the baseline."
    )
    at_most: AnyAtMost = Field(
        default=None, description="A time (2 s, 800 ms), a number of tokens, or a share of trials."
    )
    percentile: float | None = Field(
        default=None, gt=0, lt=100, description="Of the latency; 95 when unset."
    )
    inconclusive: Inconclusive | None = Field(
        default=None, description="Of this gate; the suite's when unset."
    )


class StopSection(Section):
    """Stop asking before everything is asked; items then come in a random order."""

    when: Literal["decided"] = Field(
        description="decided: every gate is, or without gates every pair of conditions."
    )
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.05, description="How often a decision may be wrong, whenever it is made."
    )


class SplitSection(Section):
    """A part of the items, chosen by seed and id."""

    part: str = Field(min_length=1, description="The part to ask.")
    of: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        min_length=2, description="All parts and their sizes, which add up to 1."
    )


class FewShotSection(Section):
    """Worked examples before the question: the same user template, then the target."""

    items: AnyItems = Field(description="Where examples come from: a data file, or a list.")
    count: int = Field(ge=1, description="How many.")
    seed: Seed = 0


class SuiteFile(MarkerArguments):
    """A suite: which items, prompts, scorers and gates."""

    score: AnyScore = Field(
        description="A scorer, {scorer: {options}}, or a list; the first is headline."
    )
    gates: list[GateSection] = Field(default=[], description="What must hold at the end of a run.")
    inconclusive: Inconclusive = Field(
        default="skip", description="Whether a gate that nothing could decide is a failing test."
    )
    stop: StopSection | None = None
    split: SplitSection | None = None
    few_shot: FewShotSection | None = None
    each_item: Literal["may_fail", "must_pass"] = Field(
        default="may_fail", description="must_pass makes a wrong answer a failing test."
    )
    exact: bool = Field(default=False, description="One slot and no prompt cache.")
