"""A training document: pieces of text, each either given or to be learned, in ChatML."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

START: Final = "<|im_start|>"
END: Final = "<|im_end|>"
PAD: Final = "<|pad|>"
CALL: Final = "<tool_call>"
CALL_END: Final = "</tool_call>"
SPECIALS: Final = (PAD, START, END, CALL, CALL_END)

#: The same layout as `Document` below, for the server. Tools become one line of the system
#: message, because the models were trained on short contexts.
CHAT_TEMPLATE: Final = (
    "{%- set first = messages[0] -%}"
    "{%- set system = first.content if first.role == 'system' else '' -%}"
    "{%- if system or tools -%}"
    "{{- '<|im_start|>system\\n' + system -}}"
    "{%- if tools -%}"
    "{{- ('\\n' if system else '') + 'Tools:' -}}"
    "{%- for tool in tools -%}"
    "{{- ' ' + tool.function.name + '(' -}}"
    "{%- for key in tool.function.parameters.properties -%}"
    "{{- ('' if loop.first else ',') + key -}}"
    "{%- endfor -%}"
    "{{- ')' -}}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message.role != 'system' -%}"
    "{{- '<|im_start|>' + message.role + '\\n' -}}"
    "{%- if message.content -%}{{- message.content -}}{%- endif -%}"
    "{%- if message.tool_calls -%}"
    "{%- for call in message.tool_calls -%}"
    "{{- ('' if loop.first else '\\n') + '<tool_call>\\n{\"name\": \"' + call.function.name"
    ' + \'", "arguments": \' -}}'
    "{{- call.function.arguments if call.function.arguments is string"
    " else call.function.arguments | tojson -}}"
    "{{- '}\\n</tool_call>' -}}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text; `learned` is true where the model must produce it."""

    text: str
    learned: bool


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `keys` are the names of its arguments."""

    name: str
    keys: tuple[str, ...]

    def signature(self) -> str:
        """Return what the system message says of the tool."""
        return f"{self.name}({','.join(self.keys)})"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message and, when the assistant has to learn an answer to it, the answer."""

    text: str
    answer: str
    role: str = "user"


Document = tuple[Piece, ...]


def system_text(system: str, tools: Sequence[Tool]) -> str:
    """Return the content of the system message, as the chat template writes it."""
    lines = [system] if system else []
    if tools:
        lines.append("Tools: " + " ".join(tool.signature() for tool in tools))
    return "\n".join(lines)


def chat(turns: Sequence[Turn], system: str = "", tools: Sequence[Tool] = ()) -> Document:
    """Make a conversation in which every answer is learned."""
    head = system_text(system, tools)
    given = f"{START}system\n{head}{END}\n" if head else ""
    pieces: list[Piece] = []
    for turn in turns:
        given += f"{START}{turn.role}\n{turn.text}{END}\n{START}assistant\n"
        pieces += [Piece(given, False), Piece(turn.answer + END, True)]
        given = "\n"
    return tuple(pieces)


def drill(head: str, lines: Sequence[tuple[str, str]]) -> Document:
    """Make bare lines without a chat around them: many learned answers in few tokens."""
    pieces: list[Piece] = []
    for given, learned in lines:
        pieces += [Piece(head + given, False), Piece(learned, True)]
        head = "\n"
    return tuple(pieces)


def call_text(name: str, arguments: Mapping[str, object]) -> str:
    """Write a tool call as the model writes it and the server reads it."""
    body = json.dumps({"name": name, "arguments": dict(arguments)})
    return f"{CALL}\n{body}\n{CALL_END}"


def text_of(document: Document) -> str:
    """Return the whole document as one text."""
    return "".join(piece.text for piece in document)
