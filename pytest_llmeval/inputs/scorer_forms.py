"""The keys of a suite that say how answers are judged: scorers and tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.inputs.documents import Document, KeyPath, read_document, read_text
from pytest_llmeval.inputs.mistakes import Mistakes, shown
from pytest_llmeval.inputs.named_files import named_file
from pytest_llmeval.inputs.suite_file import ToolSection
from pytest_llmeval.records import ScorerSpec

#: Options of scorers that may be a page long, so that they may stand in a file of their own.
_PAGES = {"rubric", "prompt"}

#: The option of json_schema, whose file holds JSON or YAML.
_SCHEMA = "schema"

_SCORE_FORMS = "expected a scorer's name, {name: {option: value}}, or a list of these"


def read_scorers(document: Document, mistakes: Mistakes) -> tuple[ScorerSpec, ...]:
    """The scorers under `score`; the first is the headline. Which names exist is not asked here."""
    if "score" not in document.data:
        return ()
    value = document.data["score"]
    if isinstance(value, list):
        entries: list[tuple[KeyPath, Any]] = [
            (("score", index), entry) for index, entry in enumerate(value)
        ]
    else:
        entries = [(("score",), value)]
    if not entries:
        mistakes.add(("score",), f"score: {_SCORE_FORMS}, found an empty list")
    found: dict[str, ScorerSpec] = {}
    for keys, entry in entries:
        scorer = _scorer(entry, document.line_of(keys))
        if scorer is not None:
            scorer = replace(scorer, options=_with_files(scorer, keys, document, mistakes))
        if scorer is None:
            mistakes.add(keys, f"score: {_SCORE_FORMS}, found {shown(entry)}")
        elif scorer.name in found:
            mistakes.add(keys, f"the scorer {scorer.name!r} is given twice")
        else:
            found[scorer.name] = scorer
    return tuple(found.values())


def _scorer(entry: Any, line: int | None) -> ScorerSpec | None:
    if isinstance(entry, str) and entry:
        return ScorerSpec(entry, {}, line)
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, options),) = entry.items()
        if name == "choice" and isinstance(options, str):
            options = {"by": options}  # alone, since that is most of what there is to say
        if isinstance(name, str) and (options is None or isinstance(options, dict)):
            return ScorerSpec(name, options or {}, line)
    return None


def _with_files(
    scorer: ScorerSpec, keys: KeyPath, document: Document, mistakes: Mistakes
) -> dict[str, Any]:
    """The options, where those that need pages may be files: {file: rubric.md}."""
    options = dict(scorer.options)
    for name in {*_PAGES, _SCHEMA} & options.keys():
        value = options[name]
        if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
            try:
                path = named_file(document, value["file"], SuiteError)
                if name == _SCHEMA:
                    options[name] = read_document(path, SuiteError).data
                else:
                    text = read_text(path, SuiteError)
                    options[name] = text.replace("\r\n", "\n").strip("\n")
            except SuiteError as problem:
                words = f"the file {value['file']} of {scorer.name}: {problem.message}"
                mistakes.add((*keys, scorer.name, name), words)
                options[name] = {} if name == _SCHEMA else value["file"]
    return options


def check_tools(sections: Sequence[ToolSection], mistakes: Mistakes) -> None:
    """Refuse two tools of one name: a call could not be told apart."""
    names = [section.function.name for section in sections]
    for index, name in enumerate(names):
        if name in names[:index]:
            mistakes.add(("tools", index), f"the tool {name!r} is given twice")
