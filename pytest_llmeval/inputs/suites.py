"""Suites: files of `suites/` and llmeval markers, read into the one record that both mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import DatasetError, SuiteError
from pytest_llmeval.inputs.answer_form import AnswerForm, read_answer_form
from pytest_llmeval.inputs.datasets import (
    ID_FIELD,
    TAGS_FIELD,
    checked_tags,
    dataset_hash,
    items_of,
    load_items,
)
from pytest_llmeval.inputs.documents import Document, KeyPath, read_document
from pytest_llmeval.inputs.gate_forms import read_gates
from pytest_llmeval.inputs.mistakes import Mistakes, shown, unknown
from pytest_llmeval.inputs.named_files import named_file
from pytest_llmeval.inputs.prompt_forms import WrittenPrompt, read_prompts, with_examples
from pytest_llmeval.inputs.prompts import check
from pytest_llmeval.inputs.rows import inline_rows
from pytest_llmeval.inputs.sampling import sampling_keys
from pytest_llmeval.inputs.scorer_forms import check_tools, read_scorers
from pytest_llmeval.inputs.sections import read_section
from pytest_llmeval.inputs.selection import sample, shuffled, split, unasked
from pytest_llmeval.inputs.suite_file import MarkerArguments, SplitSection, SuiteFile
from pytest_llmeval.records import GateSpec, Item, ScorerSpec, StopSpec, Suite


def load_suite(
    path: Path, origin: str, *, limit: int | None = None, roots: Sequence[Path] = ()
) -> Suite:
    """The suite that a file describes, its items read and its prompts checked.

    `origin` is the file as pytest shows it. `limit` (--llm-limit) and the suite's own limit both
    hold. Paths in the file start at its folder, and lead below one of `roots`; of a suite that lies
    outside of them, below its own folder.

    Raises SuiteError with all mistakes of the file, then DatasetError for items and TemplateError
    for prompts.
    """
    document = replace(read_document(path, SuiteError), roots=_absolute(roots))
    return _build(document, SuiteFile, name=path.stem, origin=origin, limit=limit)


def suite_from_marker(
    arguments: Mapping[str, Any],
    *,
    path: Path,
    origin: str,
    positional: Sequence[Any] = (),
    line: int | None = None,
    limit: int | None = None,
    roots: Sequence[Path] = (),
) -> Suite:
    """The suite that `@pytest.mark.llmeval(...)` on a function describes.

    `arguments` and `positional` are the marker's, `path` and `line` where it stands, `origin` the
    function as pytest shows it (`tests/test_x.py::test_y`), whose last part names the suite. Paths
    start at the folder of `path`. Errors and the rest as `load_suite`; without `score` the function
    is the only judge.
    """
    if positional:
        message = f"llmeval takes keyword arguments only, found {shown(positional[0])}"
        raise SuiteError(message, path=path, line=line)
    lines: dict[KeyPath, int] = {} if line is None else {(): line}
    document = Document(path, _plain(arguments), lines, roots=_absolute(roots))
    name = origin.rpartition("::")[2]
    return _build(document, MarkerArguments, name=name, origin=origin, limit=limit)


def _absolute(roots: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(root.absolute() for root in roots)


def _plain(value: Any) -> Any:
    """Python's values as a file would hold them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a suite says itself, before any file it names is read."""

    file: SuiteFile
    prompts: tuple[WrittenPrompt, ...]
    scorers: tuple[ScorerSpec, ...]
    gates: tuple[GateSpec, ...]
    tags: tuple[str, ...]
    tools: tuple[Mapping[str, Any], ...]
    answers: AnswerForm


def _build(
    document: Document,
    keys: type[MarkerArguments],
    *,
    name: str,
    origin: str,
    limit: int | None,
) -> Suite:
    parts = _read_parts(document, keys)
    file = parts.file
    whole = _part_to_ask(document, file, _read_items(document, ("items",), file))
    written = _with_examples(document, parts, whole)
    for prompt in written:
        check(prompt.variant, whole, prompt.places)
    limits = [n for n in (limit, file.limit) if n is not None]
    items = sample(whole, min(limits), file.seed) if limits else whole
    return Suite(
        name=name,
        origin=origin,
        items=shuffled(items, file.seed) if file.stop else items,
        dataset_hash=_hash(document, items),
        prompts=tuple(prompt.variant for prompt in written),
        scorers=parts.scorers,
        sampling=sampling_keys(file.sampling),
        repeats=file.repeats,
        gates=parts.gates,
        tools=parts.tools,
        tags=parts.tags,
        only=tuple(file.only),
        each_item=file.each_item,
        exact=file.exact,
        is_function=keys is MarkerArguments,
        seeds=_seeds(file, limits),
        stop=_stop(document, file),
        form=parts.answers.form,
        json_schema=parts.answers.json_schema,
        grammar=parts.answers.grammar,
        logprobs=parts.answers.logprobs,
    )


def _seeds(file: SuiteFile, limits: Sequence[int]) -> dict[str, int]:
    """The seeds that have chosen something, by what they chose."""
    seeds = {"items": file.seed} if limits or file.split else {}
    seeds |= {"order": file.seed} if file.stop else {}
    return seeds | ({"few_shot": file.few_shot.seed} if file.few_shot else {})


def _stop(document: Document, file: SuiteFile) -> StopSpec | None:
    if file.stop is None:
        return None
    return StopSpec(file.stop.alpha, file.stop.when, document.line_of(("stop",)))


def _read_parts(document: Document, keys: type[MarkerArguments]) -> _Parts:
    """Raises SuiteError with every mistake of the suite itself."""
    mistakes = Mistakes(document, SuiteError)
    section = read_section(keys, document.data, (), mistakes)
    prompts = read_prompts(document, mistakes)
    answers = read_answer_form(document, prompts, mistakes)
    scorers = read_scorers(document, mistakes)
    tags = _read_tags(document, mistakes)
    # A marker is a suite without the keys it does not take.
    file = SuiteFile.model_construct(section.model_fields_set, **dict(section)) if section else None
    gates = read_gates(file, scorers, mistakes, document) if file else ()
    if file:
        check_tools(file.tools, mistakes)
        _check_split(file.split, mistakes)
    mistakes.raise_if_any()
    assert file is not None
    tools = tuple(document.data.get("tools", ()))
    return _Parts(file, prompts, scorers, gates, tags, tools, answers)


def _read_tags(document: Document, mistakes: Mistakes) -> tuple[str, ...]:
    try:
        return checked_tags(document.data.get("tags") or [])
    except ValueError as problem:
        mistakes.add(("tags",), str(problem))
        return ()


def _check_split(section: SplitSection | None, mistakes: Mistakes) -> None:
    if section is None:
        return
    if section.part not in section.of:
        mistakes.add(("split", "part"), unknown("part", section.part, section.of))
    if not math.isclose(total := sum(section.of.values()), 1):
        mistakes.add(("split", "of"), f"the parts must add up to 1, found {total:g}")


def _read_items(document: Document, keys: KeyPath, file: SuiteFile) -> tuple[Item, ...]:
    """The items that the value under `keys` names or holds."""
    value = document.value(keys)
    if isinstance(value, list):
        rows = inline_rows(document, keys)
        return items_of(rows, document.path, id_field=file.id, target_field=file.target)
    if isinstance(value, str) and value:
        try:
            path = named_file(document, value, SuiteError)
        except SuiteError as problem:
            raise _error(document, keys, f"{'.'.join(map(str, keys))}: {problem.message}") from None
        return load_items(path, id_field=file.id, target_field=file.target)
    name = ".".join(map(str, keys))
    raise _error(document, keys, f"{name}: expected a data file or a list, found {shown(value)}")


def _part_to_ask(document: Document, file: SuiteFile, items: tuple[Item, ...]) -> tuple[Item, ...]:
    if file.split is None:
        return items
    part = split(items, file.split.of, file.split.part, file.seed)
    if not part:
        raise _error(document, ("split",), f"no item falls into the part {file.split.part!r}")
    return part


def _with_examples(
    document: Document, parts: _Parts, asked: tuple[Item, ...]
) -> tuple[WrittenPrompt, ...]:
    """The prompts with worked examples, none of which any item of the suite asks.

    Chosen before any limit, so that a limit does not change what the remaining items are asked.
    """
    file, prompts = parts.file, parts.prompts
    section = file.few_shot
    if section is None:
        return prompts
    if file.target is None:
        raise _error(document, ("few_shot",), "few_shot needs the key 'target' for its answers")
    everything = _read_items(document, ("few_shot", "items"), file)
    pool = unasked(everything, asked, {file.id or ID_FIELD, TAGS_FIELD})
    if len(pool) < section.count:
        raise _error(
            document,
            ("few_shot", "count"),
            f"few_shot asks for {section.count} examples, but only {len(pool)} of "
            f"{len(everything)} are not asked by the suite itself; use another file, or a split",
        )
    examples = sample(pool, section.count, section.seed)
    try:
        form = parts.answers.form
        return tuple(with_examples(prompt, examples, form) for prompt in prompts)
    except ValueError as problem:
        raise _error(document, ("few_shot",), str(problem)) from None


def _hash(document: Document, items: tuple[Item, ...]) -> str:
    try:
        return dataset_hash(items)
    except DatasetError as problem:
        value = document.data["items"]
        path = document.path.parent / value if isinstance(value, str) else document.path
        raise DatasetError(problem.message, path=path) from None


def _error(document: Document, keys: KeyPath, message: str) -> SuiteError:
    path, line = document.place_of(keys)
    return SuiteError(message, path=path, line=line)
