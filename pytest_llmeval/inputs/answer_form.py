"""The keys of a suite that say how it asks and what an answer must look like, beside the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.inputs.documents import Document, KeyPath, read_document, read_text
from pytest_llmeval.inputs.mistakes import Mistakes, did_you_mean, shown
from pytest_llmeval.inputs.named_files import named_file
from pytest_llmeval.inputs.prompt_forms import WrittenPrompt
from pytest_llmeval.records import RequestForm

# What llama.cpp begins with: GBNF with its root, or llguidance's own format.
_ROOT = re.compile(r"^\s*root\s*::=", re.MULTILINE)
_LLGUIDANCE = "%llguidance"

# What names no rule in GBNF: comments, texts, sets of characters, tokens (`<[5]>`) and counts.
_NO_RULE = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\])*" | \[(?:\\.|[^\]\\])*\] | <[^>\n]*> | \{[^}]*\}""",
    re.VERBOSE | re.DOTALL,
)
_RULE = re.compile(r"([\w-]+)(\s*::=)?")


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How a suite asks, what it holds answers to, and whether it wants log probabilities."""

    form: RequestForm = "chat"
    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    logprobs: int | None = None


def read_answer_form(
    document: Document, prompts: Sequence[WrittenPrompt], mistakes: Mistakes
) -> AnswerForm:
    """Read `form`, `json_schema`, `grammar` and `logprobs`; what contradicts is a mistake.

    What is wrong with the values of `form` and `logprobs` themselves, the section's check has told.
    """
    data = document.data
    schema, grammar = _schema(document, mistakes), _grammar(document, mistakes)
    if data.get("json_schema") is not None and data.get("grammar") is not None:
        mistakes.add(
            ("grammar",), "an answer can be held to a json_schema or to a grammar, not both"
        )
    for key in ("json_schema", "grammar"):
        if data.get(key) is not None and data.get("tools"):
            mistakes.add((key,), f"a {key} would forbid the calls that the tools are offered for")
    form: RequestForm = "completion" if data.get("form") == "completion" else "chat"
    if form == "completion":
        _refuse_chat(document, prompts, mistakes)
    logprobs = data.get("logprobs")
    return AnswerForm(form, schema, grammar, logprobs if isinstance(logprobs, int) else None)


def _refuse_chat(document: Document, prompts: Sequence[WrittenPrompt], mistakes: Mistakes) -> None:
    """A text that is continued as it stands has no roles, and no place for tools."""
    if document.data.get("tools"):
        mistakes.add(("tools",), "tools need form: chat; a raw completion cannot offer any")
    for prompt in prompts:
        base: KeyPath = ("prompts", prompt.name) if prompt.name else ("prompt",)
        for index, message in enumerate(prompt.messages):
            if message.role != "user":
                mistakes.add(
                    (*base, index, message.role),
                    f"form: completion continues a text and has no roles: put the {message.role}'s "
                    "text into the prompt itself, or use form: chat",
                )


def _schema(document: Document, mistakes: Mistakes) -> Mapping[str, Any] | None:
    """The JSON Schema, its keys in their order: that is the order in which they are written."""
    keys: KeyPath = ("json_schema",)
    value = document.data.get("json_schema")
    if value is None:
        return None
    if not isinstance(value, dict):
        mistakes.add(
            keys,
            "json_schema: expected a JSON Schema, or {file: schemas/answer.json}, found "
            f"{shown(value)}",
        )
        return None
    name = _file_in(value)
    if name is None:
        _check_schema(value, keys, "", mistakes)
        return value
    try:
        schema = read_document(named_file(document, name, SuiteError), SuiteError).data
    except SuiteError as problem:
        mistakes.add(keys, f"the json_schema's file {name}: {problem.message}")
        return None
    _check_schema(schema, keys, f" in the file {name}", mistakes)
    return schema


def _check_schema(schema: Mapping[str, Any], keys: KeyPath, where: str, mistakes: Mistakes) -> None:
    from jsonschema import Draft202012Validator  # takes 0.1 s to import
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem.path)
        inner = () if where else tuple(problem.path)
        message = problem.message if len(problem.message) <= 200 else f"{problem.message[:197]}..."
        mistakes.add(
            (*keys, *inner),
            f"json_schema: no JSON Schema (Draft 2020-12){where}: at ${place}: {message}",
        )


def _grammar(document: Document, mistakes: Mistakes) -> str | None:
    keys: KeyPath = ("grammar",)
    value = document.data.get("grammar")
    if value is None:
        return None
    name = _file_in(value)
    if name is not None:
        try:
            value = read_text(named_file(document, name, SuiteError), SuiteError)
        except SuiteError as problem:
            mistakes.add(keys, f"the grammar's file {name}: {problem.message}")
            return None
        value = value.replace("\r\n", "\n")
    if not isinstance(value, str):
        mistakes.add(
            keys, f"grammar: expected a text, or {{file: grammars/x.gbnf}}, found {shown(value)}"
        )
        return None
    if value.lstrip().startswith(_LLGUIDANCE):
        return value
    if not _ROOT.search(value):
        mistakes.add(
            keys,
            'grammar: a grammar in llama.cpp\'s format needs the rule root, such as root ::= "yes" '
            '| "no"',
        )
        return value
    where = f" in the file {name}" if name is not None else ""
    for rule, defined in undefined_rules(value):
        mistakes.add(
            keys,
            f"grammar: rule {rule} is not defined{where}; defined are {', '.join(defined)}"
            f"{did_you_mean(rule, defined)}",
        )
    return value


def undefined_rules(grammar: str) -> list[tuple[str, list[str]]]:
    """The rules that a GBNF grammar refers to and does not define, each with all that it defines.

    None of a grammar whose quotes or brackets do not close: what is a name in it nobody knows.
    """
    left = _NO_RULE.sub(" ", grammar)
    if any(mark in left for mark in '"[]{}<>'):
        return []
    names = [(found[1], found[2] is not None) for found in _RULE.finditer(left)]
    defined = list(dict.fromkeys(name for name, defines in names if defines))
    used = dict.fromkeys(name for name, defines in names if not defines)
    return [(name, defined) for name in used if name not in defined]


def _file_in(value: Any) -> str | None:
    """The name of the file in `{file: name}`, None for anything else."""
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
        return value["file"]
    return None
