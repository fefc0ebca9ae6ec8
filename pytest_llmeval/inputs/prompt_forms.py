"""The forms in which a suite writes its prompts, read into templates that know their place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.inputs.documents import Document, KeyPath, read_text
from pytest_llmeval.inputs.mistakes import Mistakes, shown, unknown
from pytest_llmeval.inputs.named_files import named_file
from pytest_llmeval.inputs.prompts import Place, check, literal, make_variant, render
from pytest_llmeval.inputs.sections import NAME, NAME_RULE
from pytest_llmeval.records import Item, Message, PromptVariant, RequestForm

Role = Literal["system", "user", "assistant"]
_ROLES = ("system", "user", "assistant")
_FORMS = "expected a text, a list such as [{system: ...}, {user: ...}], or {file: prompts/x.txt}"


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt variant as it is written: a place for each of its messages."""

    name: str
    messages: tuple[Message, ...]
    places: tuple[Place, ...]
    line: int | None

    @property
    def variant(self) -> PromptVariant:
        """The variant that trials carry."""
        return make_variant(self.name, self.messages, self.line)


def read_prompts(document: Document, mistakes: Mistakes) -> tuple[WrittenPrompt, ...]:
    """The prompts under `prompt` (one without a name) or `prompts` (named)."""
    data = document.data
    reader = _PromptReader(document, mistakes)
    if "prompt" in data and "prompts" in data:
        mistakes.add(("prompts",), "'prompt' and 'prompts' are both given; one of them is enough")
    elif "prompt" in data:
        return reader.variants({"": ("prompt",)})
    elif "prompts" not in data:
        mistakes.add((), "the key 'prompt' is missing (or 'prompts' for several with a name each)")
    elif not isinstance(data["prompts"], dict) or not data["prompts"]:
        found = shown(data["prompts"])
        mistakes.add(
            ("prompts",), f"prompts: expected a mapping of names to prompts, found {found}"
        )
    else:
        return reader.variants({name: ("prompts", name) for name in data["prompts"]})
    return ()


class _PromptReader:
    def __init__(self, document: Document, mistakes: Mistakes):
        self._document = document
        self._mistakes = mistakes

    def variants(self, places: dict[str, KeyPath]) -> tuple[WrittenPrompt, ...]:
        found = []
        for name, keys in places.items():
            if name != "" and not NAME.fullmatch(name):
                self._mistakes.add(keys, f"the prompt name {name!r} cannot be used: {NAME_RULE}")
            written = self._messages(self._document.value(keys), keys)
            messages = tuple(message for message, _ in written)
            if written and not any(message.role == "user" for message in messages):
                self._mistakes.add(keys, "a prompt needs at least one user message")
            line = self._document.line_of(keys)
            found.append(WrittenPrompt(name, messages, tuple(place for _, place in written), line))
        return tuple(found)

    def _messages(self, value: Any, keys: KeyPath) -> list[tuple[Message, Place]]:
        if not isinstance(value, list):
            return self._message("user", value, keys)
        if not value:
            self._mistakes.add(keys, f"{_FORMS}, found an empty list")
        return [
            message
            for index, entry in enumerate(value)
            for message in self._entry(entry, (*keys, index))
        ]

    def _entry(self, entry: Any, keys: KeyPath) -> list[tuple[Message, Place]]:
        if not isinstance(entry, dict) or len(entry) != 1:
            form = 'expected one role and its text, such as {user: "{{ question }}"}'
            self._mistakes.add(keys, f"{form}, found {shown(entry)}")
            return []
        ((role, value),) = entry.items()
        if role not in _ROLES:
            self._mistakes.add((*keys, role), unknown("role", str(role), _ROLES))
            return []
        return self._message(cast(Role, role), value, (*keys, role))

    def _message(self, role: Role, value: Any, keys: KeyPath) -> list[tuple[Message, Place]]:
        if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
            text, place = self._file(value["file"], keys)
        elif isinstance(value, str):
            start = self._document.literals.get(keys)
            line = start if start is not None else self._document.line_of(keys)
            text, place = value, Place(self._document.path, line, by_line=start is not None)
        else:
            found = shown(value)
            if isinstance(value, dict) and set(value) & set(_ROLES):
                found = "a mapping: put a dash before each role"
            self._mistakes.add(keys, f"{_FORMS}, found {found}")
            return []
        if not text.strip():
            self._mistakes.add(keys, "the text of a message is empty")
        return [(Message(role, text), place)]

    def _file(self, name: str, keys: KeyPath) -> tuple[str, Place]:
        path = self._document.path.parent / name
        try:
            text = read_text(named_file(self._document, name, SuiteError), SuiteError)
        except SuiteError as problem:
            self._mistakes.add(keys, f"the prompt's file {name}: {problem.message}")
            text = name
        text = text.replace("\r\n", "\n")
        # Editors end a file with a newline that nobody means as part of the prompt.
        return text.removesuffix("\n"), Place(path, 1, by_line=True)


def with_examples(
    prompt: WrittenPrompt, examples: Sequence[Item], form: RequestForm = "chat"
) -> WrittenPrompt:
    """The prompt with worked examples before its last message, which must be the user's.

    An example is that message rendered with the example's fields, and its target as the
    assistant's; in a raw completion, which has no assistant, its target stands behind it in the
    text. All items get the same ones, so that a server's prompt cache serves them. Raises
    ValueError when the last message is not the user's.
    """
    question = prompt.messages[-1]
    if question.role != "user":
        raise ValueError(
            f"few_shot needs a prompt that ends with a user message, not {question.role}"
        )
    asking = make_variant(prompt.name, [question], prompt.line)
    check(asking, examples, prompt.places[-1:])
    turns: list[Message] = []
    for item in examples:
        (asked,) = render(asking, item)
        turns += _turns(literal(asked.content), literal(_as_answer(item.target)), form)
    place = prompt.places[-1]
    return WrittenPrompt(
        prompt.name,
        (*prompt.messages[:-1], *turns, question),
        (*prompt.places[:-1], *[place] * len(turns), place),
        prompt.line,
    )


def _turns(question: str, answer: str, form: RequestForm) -> list[Message]:
    """A worked example: two turns of a chat, or a piece of a text that goes on after a blank line,
    as the examples of lm-evaluation-harness do.
    """
    if form == "chat":
        return [Message("user", question), Message("assistant", answer)]
    gap = "" if question[-1:].isspace() else " "
    return [Message("user", f"{question}{gap}{answer}\n\n")]


def _as_answer(target: Any) -> str:
    """How an assistant would write a target: the first of several, JSON for what is no text."""
    if isinstance(target, list) and target and isinstance(target[0], str):
        target = target[0]
    return target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
