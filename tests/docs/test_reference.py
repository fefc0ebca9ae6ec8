"""docs/reference.md has everything there is to write and to read, and nothing that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from pytest_llmeval import errors, plugin
from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.engines.fake_rules import Fault, Rule
from pytest_llmeval.inputs.documents import parse_value
from pytest_llmeval.inputs.engine_keys import COMMON_KEYS, ENGINES
from pytest_llmeval.inputs.schema import config_schema, suite_schema
from pytest_llmeval.inputs.suite_file import MarkerArguments, SuiteFile
from pytest_llmeval.probes.faults import KINDS, SELECTORS
from pytest_llmeval.records import (
    Answer,
    CheckName,
    CheckVerdict,
    DoubtKind,
    FinishReason,
    Item,
    Likelihood,
    NoAnswerReason,
    Outcome,
    ScorerSpec,
    ToolCall,
)
from pytest_llmeval.results.parts import JobStatus
from pytest_llmeval.results.rows import PREDICTION_COLUMNS, SCORE_COLUMNS
from pytest_llmeval.run.crashed import CRASHED
from pytest_llmeval.run.validity import SAME_ANSWER
from pytest_llmeval.scoring.judging import TEMPLATE_MARKERS
from pytest_llmeval.scoring.math_process import MATH
from pytest_llmeval.scoring.scorer import BUILT_IN, make_scorer

ROOT = Path(__file__).resolve().parents[2]
#: The page without its examples, whose comments would look like headings.
PAGE = re.sub(
    r"(?ms)^```.*?^```\n", "", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
)

#: Under which heading the page explains each section of the two schemas.
HEADINGS = {
    "ConfigFile": "## The config file",
    "ModelSection": "### Models",
    "PriceSection": "### Models",
    "ServerSection": "### Server",
    "ConfigSamplingSection": "### Sampling",
    "SamplingSection": "### Sampling",
    "FailuresSection": "### Failures",
    "ResumeSection": "## When something breaks",
    "CacheSection": "### Kept answers",
    "SuiteFile": "## A suite file",
    "FewShotSection": "## A suite file",
    "SplitSection": "## A suite file",
    "StopSection": "### Stopping early",
    "GateSection": "## A suite file",
    "ToolSection": "## A suite file",
    "FunctionSection": "## A suite file",
    "messages": "## A suite file",
    "DataSection": "## What is held against hostile files and answers",
}
#: Those whose keys have a table.
WITH_A_TABLE = {
    "ConfigFile",
    "ModelSection",
    "ConfigSamplingSection",
    "SamplingSection",
    "SuiteFile",
}


def section(heading: str) -> str:
    """What stands under a heading, up to the next one of its own level or above."""
    assert f"\n{heading}\n" in PAGE, f"the page has no heading {heading!r}"
    text = PAGE.split(f"\n{heading}\n", 1)[1]
    level = len(heading.split(maxsplit=1)[0])
    return re.split(rf"\n#{{1,{level}}} ", text)[0]


def code_in(text: str) -> set[str]:
    """Everything in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def words_in(text: str) -> set[str]:
    """The names in everything in backticks: `{system: ...}` holds the name system."""
    return {word for code in code_in(text) for word in re.findall(r"[\w-]+", code)}


def rows(heading: str) -> list[list[str]]:
    """The cells of all rows of all tables under a heading."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row_of(heading: str, name: str) -> list[str]:
    found = [row for row in rows(heading) if f"`{name}`" in row[0]]
    assert found, f"no table under {heading!r} has a row for `{name}`"
    return found[0]


def properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every key of a schema, with the section it belongs to."""
    top = "ConfigFile" if "models" in schema["properties"] else "SuiteFile"
    for name, its_schema in {top: schema, **schema["$defs"]}.items():
        yield from ((name, key) for key in its_schema["properties"])
    yield from (("messages", key) for key in keys_of_free_forms(schema["properties"]))


def keys_of_free_forms(schema: Any) -> Iterator[str]:
    """The keys of mappings that have no section of their own: messages, {file: ...}."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "properties":
                yield from inner
            yield from keys_of_free_forms(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from keys_of_free_forms(inner)


KEYS = sorted({*properties(config_schema()), *properties(suite_schema())})


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_every_key_of_both_files_is_explained_where_its_section_is(name: str, key: str) -> None:
    if name in WITH_A_TABLE:
        assert row_of(HEADINGS[name], key)
    else:
        assert key in words_in(section(HEADINGS[name]))


@pytest.mark.parametrize(
    "key", sorted(config_schema()["$defs"]["ConfigSamplingSection"]["properties"])
)
def test_every_sampling_key_stands_with_its_default(key: str) -> None:
    default = config_schema()["$defs"]["ConfigSamplingSection"]["properties"][key].get("default")
    if default is not None and default != []:
        assert row_of("### Sampling", key)[-1] == f"{default:g}"


@pytest.mark.parametrize("key", sorted(config_schema()["$defs"]["ServerSection"]["properties"]))
def test_every_number_of_the_server_section_stands_with_its_default(key: str) -> None:
    default = config_schema()["$defs"]["ServerSection"]["properties"][key].get("default")
    if isinstance(default, int | float):
        shown = json.dumps(default) if isinstance(default, bool) else f"{default:g}"
        assert f"`{key}` ({shown})" in " ".join(section("### Server").split())


def test_a_table_says_which_engine_takes_which_keys() -> None:
    table = {row[0].strip("`"): row for row in rows("### Models") if len(row) == 4}
    embedded = code_in(table["embedded"][3])
    told = {
        kind: (code_in(table[kind][2]), code_in(table[kind][3]) - {"script"} or set())
        for kind in ENGINES
    }
    told["llama-server"] = (told["llama-server"][0], embedded | told["llama-server"][1])
    told["fake"] = (told["fake"][0], code_in(table["fake"][3]))
    assert told == {kind: (set(k.required), set(k.optional)) for kind, k in ENGINES.items()}
    assert " and ".join(f"`{key}`" for key in COMMON_KEYS[-2:]) in section("### Models")


def test_the_keys_that_only_files_have_are_named_with_the_marker() -> None:
    only_files = SuiteFile.model_fields.keys() - MarkerArguments.model_fields.keys()
    text = section("## The marker and the fixtures").split("Paths start")[0]
    assert code_in(text) - {"@pytest.mark.llmeval(...)"} == only_files


def test_every_fixture_is_in_the_table() -> None:
    ours = {name for name in vars(plugin) if re.fullmatch(r"llm(_\w+)?", name)}
    assert ours >= {"llm", "llm_item", "llm_prediction"}
    assert {row[0].strip("`") for row in rows("## The marker and the fixtures")[1:]} - {
        "---"
    } == ours


# Scorers ------------------------------------------------------------------------------------------


def scorer_paragraph(name: str) -> str:
    found = re.search(rf"(?ms)^\*\*`{name}`\*\*: (.*?)\n\n", section("## Scorers"))
    assert found, f"no paragraph begins with **`{name}`**:"
    return " ".join(found[1].split())


def options_of(name: str) -> dict[str, Any]:
    scorer = getattr(import_module(BUILT_IN[name]), class_name(name))
    return {field.name: field.default for field in fields(scorer) if field.init}


def class_name(name: str) -> str:
    return type(make_scorer(ScorerSpec(name, {}))).__name__


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_scorer_stands_with_every_option_and_its_default(name: str) -> None:
    text = scorer_paragraph(name)
    for option, default in options_of(name).items():
        shown = "" if default is None else f" ({default_words(default)})"
        assert f"`{option}`{shown}" in text
    assert options_of(name) or "No options." in text


def default_words(default: Any) -> str:
    return f"`{default}`" if isinstance(default, str) else json.dumps(default)


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    MATH.close()


#: Scorers whose examples have likelihoods in place of an answer, in braces.
LIKELY = ("choice", "choice_per_byte", "choice_per_token", "token_likelihood", "byte_likelihood")

EXAMPLES = [row for row in rows("### What they make of answers") if row[0].startswith("`")]


def test_every_scorer_has_an_example() -> None:
    assert {row[0].strip("`") for row in EXAMPLES} == set(BUILT_IN)


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: f"{row[0]}-{row[3]}")
def test_an_example_answer_is_judged_as_the_table_says(row: Sequence[str]) -> None:
    name, options, target, answer, expected = (cell.strip("`") for cell in row)
    given = value(f"{{{options}}}")
    item = Item("x", "x", {"options": ["Rome", "Paris", "Oslo", "Bern"]}, value_or_text(target))
    score = make_scorer(ScorerSpec(name, given))(answer_of(name, answer), item)
    words = f"no answer, {score.reason}" if score.outcome == "no_answer" else score.outcome
    assert words == expected


def value(text: str) -> Any:
    return parse_value(text, errors.SuiteError, origin="an example")


def value_or_text(text: str) -> Any:
    return value(text) if text.startswith("[") else text


def answer_of(scorer: str, text: str) -> Answer:
    if scorer in LIKELY and text.startswith("{"):
        found = value(text).items()
        return Answer("", "stop", likelihoods=tuple(Likelihood(k, tuple(v)) for k, v in found))
    call = re.fullmatch(r"(\w+)\((\{.*\})\)", text)
    if scorer == "tool_call" and call:
        calls = (ToolCall(call[1], json.loads(call[2]), call[2]),)
        return Answer("", "tool_calls", tool_calls=calls)
    return Answer(text.removesuffix("…"), "length" if text.endswith("…") else "stop")


# What comes out -----------------------------------------------------------------------------------


def test_every_outcome_and_every_reason_is_in_the_tables() -> None:
    told = {row[0].strip("`") for row in rows("## Outcomes and reasons")}
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    failures = {each.reason for each in kinds if issubclass(each, errors.EngineError)}
    named = {"server", "scorer", "judge", CRASHED, TEMPLATE_MARKERS, SAME_ANSWER}
    ours = {*get_args(Outcome), *get_args(NoAnswerReason), *failures, *named}
    assert told - {"outcome", "reason", "---"} == ours


def test_every_check_and_every_doubt_is_in_its_table() -> None:
    table = [row[0] for row in rows("## Preflight and doubts")]
    told = {name for cell in table for name in code_in(cell)}
    assert told == {*get_args(CheckName), *get_args(DoubtKind)}
    assert set(get_args(CheckVerdict)) <= words_in(section("## Preflight and doubts"))


@pytest.mark.parametrize(
    "columns", [PREDICTION_COLUMNS, SCORE_COLUMNS], ids=["predictions", "scores"]
)
def test_the_columns_of_a_table_stand_in_their_order(columns: Sequence[str]) -> None:
    text = section("## A run's folder")
    file = "predictions.csv" if columns is PREDICTION_COLUMNS else "per_item_scores.csv"
    paragraph = text.split(f"\n`{file}`: ")[1].split("\n\n")[0]
    named = [code for code in re.findall(r"`(\w+)`", paragraph) if code in columns]
    assert tuple(dict.fromkeys(named)) == tuple(columns)


def test_every_job_status_is_named() -> None:
    assert set(get_args(JobStatus)) <= code_in(section("## A run's folder"))


def test_every_key_of_a_fake_rule_is_in_the_table_with_all_it_may_say() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("## The fake engine")}
    assert told.keys() - {"key", "---"} == {field.name for field in fields(Rule) if field.init}
    assert set(get_args(Fault)) <= code_in(told["fail"])
    assert set(get_args(FinishReason)) <= code_in(told["finish_reason"])


# Faults -------------------------------------------------------------------------------------------


def test_every_fault_stands_with_its_attributes_and_their_defaults() -> None:
    table = {row[0].strip("`"): row[1:] for row in rows("## Faults") if len(row) == 3}
    assert table.keys() - {"fault", "---"} == KINDS.keys()
    for name, kind in KINDS.items():
        about, attributes = table[name]
        assert about == kind.about
        found = re.findall(r"`(\w+)` \(([^;()]+);(?: [^;)]+;)? ([^)]+)\)", attributes)
        assert found == [(each.name, each.about, str(each.default)) for each in kind.attributes]
        assert {word for each in kind.attributes for word in each.words} <= code_in(attributes)


def test_everything_that_chooses_requests_stands_in_its_table() -> None:
    table = {row[0].strip("`"): row[1] for row in rows("## Faults") if len(row) == 2}
    assert {key: table[key] for key in table if key not in {"key", "---"}} == SELECTORS


# The command --------------------------------------------------------------------------------------


def commands(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with its options; a group by itself does nothing."""
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {word}")
    if not hasattr(command, "commands"):
        opts = [opt for parameter in command.params for opt in parameter.opts]
        yield name, [opt for opt in opts if opt.startswith("--") and opt != "--help"]


@pytest.mark.parametrize(
    ("name", "options"), list(commands(typer.main.get_command(app), "llmeval")), ids=str
)
def test_every_command_is_in_the_table_with_its_options(name: str, options: list[str]) -> None:
    row = next(row for row in rows("## The command llmeval") if row[0].startswith(f"`{name}"))
    assert set(options) == {word for word in words_in(row[1]) if word.startswith("--")}
