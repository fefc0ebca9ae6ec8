"""Prompts: sandboxed Jinja2 templates over the fields of an item.

A template stands alone (no include, no import), sees the item's fields and nothing else, and gives
the same text every time: what Jinja2 has that is random is taken out. `tojson` writes plain JSON,
without the escapes that HTML would need, and a boolean is written as in JSON. An undefined name is
an error, and so is what is no text: a null ("None"), a method or a generator, which Python would
show by an address in memory, another one in every run.
"""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, meta, nodes

from pytest_llmeval.errors import TemplateError
from pytest_llmeval.inputs.mistakes import did_you_mean
from pytest_llmeval.inputs.sandbox import BoundedEnvironment
from pytest_llmeval.inputs.template_bounds import spend, whole_size, within_budget
from pytest_llmeval.records import Item, Message, PromptVariant


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message's template is written. `by_line` says that its second line is the next line
    of the file, and so on; a quoted text of YAML may be folded and then is blamed as a whole.
    """

    path: Path
    line: int | None = None
    by_line: bool = False


def _as_text(value: Any) -> Any:
    """What a template inserts, on every `{{ }}`: nearly always a text, which is asked for first."""
    if value.__class__ is str:
        spend(len(value))
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if value is None:
        raise ValueError("a value is null, and None is no text; give it one with {{ x or '' }}")
    if not isinstance(value, _SHOWN_AS_WRITTEN):
        _refuse_address(value)
    if isinstance(value, list | dict | tuple):
        spend(whole_size(value))
    return value


# An undefined name can be called, and says of itself what is wrong with it.
_SHOWN_AS_WRITTEN = (str, int, float, list, dict, tuple, Undefined)


def _refuse_address(value: Any) -> None:
    if callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        raise TypeError(
            f"a value is the method or helper {name!r}, and no text; a field of that name inside "
            f"the field q is written q[{name!r}], not q.{name}"
        )
    if isinstance(value, Iterator):
        kind = type(value).__name__
        raise TypeError(f"a value is a {kind}, and no text; add |list or |join(', ') behind it")
    if " at 0x" in str(value):
        raise TypeError(f"a value is a {type(value).__name__}, and no text")


def _plain_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _environment() -> BoundedEnvironment:
    environment = BoundedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=_as_text,
    )
    del environment.filters["random"]
    del environment.globals["lipsum"]
    environment.filters["tojson"] = _plain_json
    environment.bound_filters()
    return environment


_ENVIRONMENT = _environment()


def make_variant(name: str, messages: Sequence[Message], line: int | None) -> PromptVariant:
    """A way of asking; its hash is the sha256 over roles and template texts."""
    texts = [[message.role, message.content] for message in messages]
    canonical = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    return PromptVariant(
        name, tuple(messages), hashlib.sha256(canonical.encode()).hexdigest(), line
    )


def render(variant: PromptVariant, item: Item) -> tuple[Message, ...]:
    """The messages for an item. Raises TemplateError naming the item that cannot be rendered."""
    try:
        return tuple([produce(item.fields) for produce in _compiled(variant.messages)])
    except Exception as problem:  # noqa: BLE001  # a template is the user's code, it may do anything
        raise TemplateError(_item_message(item, problem)) from None


@lru_cache(maxsize=1024)
def _compiled(
    messages: tuple[Message, ...],
) -> tuple[Callable[[Mapping[str, Any]], Message], ...]:
    return tuple(_producer(message) for message in messages)


def _producer(message: Message) -> Callable[[Mapping[str, Any]], Message]:
    if _is_literal(message.content):
        return lambda _: message
    role, template = message.role, _ENVIRONMENT.from_string(message.content)
    # Jinja2 gives each template a chain of mappings, and walks it for every rendering.
    template.globals = dict(template.globals)
    return lambda fields: Message(role, within_budget(template.render, fields))


def _is_literal(text: str) -> bool:
    return not any(mark in text for mark in ("{{", "{%", "{#"))


def literal(text: str) -> str:
    """A template that gives exactly `text`, whatever Jinja2 would read into it."""
    return _OPENING.sub("{{ '{' }}", text)


# A brace that would open something together with the sign behind it.
_OPENING = re.compile(r"\{(?=[{%#])")


def names_in(text: str) -> set[str]:
    """The names that a template without mistakes looks up."""
    return set(meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))


def check(variant: PromptVariant, items: Sequence[Item], places: Sequence[Place] = ()) -> None:
    """Make sure that every item can be rendered, without rendering more of them than needed.

    A name that no item has is a mistake wherever it stands. Where the fields of some items differ,
    or a template does more than insert fields, items are rendered and the first that fails is told.
    `places` says where each message is written. Raises TemplateError with file and line.
    """
    fields = sorted({name for names in {tuple(item.fields) for item in items} for name in names})
    for index, message in enumerate(variant.messages):
        place = places[index] if places else None
        if not _is_literal(message.content):
            _Check(message.content, place).run(items, fields)


class _Check:
    def __init__(self, text: str, place: Place | None):
        self._text = text
        self._place = place

    def run(self, items: Sequence[Item], fields: Collection[str]) -> None:
        try:
            tree = _ENVIRONMENT.parse(self._text)
            names = meta.find_undeclared_variables(tree)
            template = _ENVIRONMENT.from_string(self._text)
        except TemplateSyntaxError as problem:
            raise self._mistake(f"{problem.message}", problem.lineno) from None
        self._refuse_loading(tree)
        self._refuse_unknown(tree, names, fields)
        for item in items if not _only_inserts(tree) else _lacking(items, _names_in(tree)):
            try:
                within_budget(template.render, item.fields)
            except Exception as problem:  # noqa: BLE001  # the user's code may do anything
                raise self._mistake(_item_message(item, problem), _line_in(problem)) from None

    def _refuse_loading(self, tree: nodes.Template) -> None:
        kinds = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
        for node in tree.find_all(nodes.Stmt):
            if isinstance(node, kinds):
                word = type(node).__name__.lower().removeprefix("from")
                way_out = "a template stands alone; for a text in a file write {file: path}"
                raise self._mistake(f"{word!r} is not available: {way_out}", node.lineno)

    def _refuse_unknown(
        self, tree: nodes.Template, names: Iterable[str], fields: Collection[str]
    ) -> None:
        for name in sorted(set(names) - set(fields)):
            uses = (node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
            raise self._mistake(
                f"{name!r} is undefined: no item has such a field; "
                f"fields: {', '.join(fields)}{did_you_mean(name, fields)}",
                min(uses, default=1),
            )

    def _mistake(self, message: str, line: int | None) -> TemplateError:
        place = self._place
        if place is None:
            return TemplateError(message)
        start = place.line
        if place.by_line and start is not None and line is not None:
            start += line - 1
        return TemplateError(message, path=place.path, line=start)


def _only_inserts(tree: nodes.Template) -> bool:
    """Whether a template is text and bare names, and so cannot fail once the names have values."""
    simple = (nodes.Output, nodes.TemplateData, nodes.Name)
    return all(isinstance(node, simple) for node in tree.find_all(nodes.Node))


def _names_in(tree: nodes.Template) -> set[str]:
    """All names, those of Jinja2's own helpers too, which a field may have and else is no text."""
    return {node.name for node in tree.find_all(nodes.Name)}


def _lacking(items: Iterable[Item], names: Collection[str]) -> list[Item]:
    return [item for item in items if any(item.fields.get(name) is None for name in names)]


def _item_message(item: Item, problem: Exception) -> str:
    words = str(problem).rstrip(".") or type(problem).__name__
    fields = ", ".join(item.fields)
    return f"cannot be rendered for the item {item.id!r}: {words}; its fields: {fields}"


def _line_in(problem: Exception) -> int | None:
    """The template's line on which it failed: Jinja2 writes it into the traceback."""
    frames = traceback.extract_tb(problem.__traceback__)
    return next(
        (frame.lineno for frame in reversed(frames) if frame.filename == "<template>"), None
    )
