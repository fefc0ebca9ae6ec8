"""YAML 1.2 (and so JSON) as plain data that remembers where everything was written.

Only the core words carry a type: `true`, `false`, `null` and `~`, whole numbers and decimals as
JSON writes them. All else stays the text it is: `No`, `on`, `010`, `0x1F`, `12:30`, `2026-01-01`.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from pytest_llmeval.depth import DEEPEST, TOO_DEEP
from pytest_llmeval.errors import InputError
from pytest_llmeval.inputs.mistakes import did_you_mean

KeyPath = tuple[str | int, ...]
"""The way from the top of a document to a value: mapping keys and, from 0, list positions."""

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
LARGEST_DATA = 2**30
"""A file of items has at most so many bytes."""

# YAML is read at some 0.2 MB a second, so that more would look like standing still.
_LARGEST = 4 * 2**20
_LARGEST_WRITTEN_OUT = 64 * 2**20
# What a value takes beside its characters: far less than it does in memory.
_PER_VALUE = 64

_YAML_TAG = "tag:yaml.org,2002:"
_TYPED_TAGS = {_YAML_TAG + name for name in ("int", "float", "bool", "null")}
_TEXT_TAGS = {_YAML_TAG + name for name in ("str", "timestamp", "merge", "value")}
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'[^']*'")
_QUOTE_IT = 'a text with {{ }} or {% %} needs quotes, quote it: prompt: "{{ question }}"'


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data and, by path, the lines it stands on.

    `written` holds scalars that are no text as the source writes them (`1.50`), `literals` the line
    on which the text of a literal block (`|`) begins, `overrides` the options that replaced values.
    `roots` are the folders below which files lie that the document may name (`named_files`).
    """

    path: Path
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    written: Mapping[KeyPath, str] = field(default_factory=dict)
    literals: Mapping[KeyPath, int] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()

    def value(self, keys: KeyPath) -> Any:
        """The value under `keys`, which must exist."""
        found: Any = self.data
        for key in keys:
            found = found[key]
        return found

    def line_of(self, keys: KeyPath) -> int | None:
        """The line of a key or a list entry; of the nearest one around it when it has none."""
        return next((self.lines[path] for path in _outwards(keys) if path in self.lines), None)

    def place_of(self, keys: KeyPath) -> tuple[Path | str, int | None]:
        """Where a value comes from: file and line, or the option that overrode it."""
        for path in _outwards(keys):
            if path in self.overrides:
                return self.overrides[path], None
        return self.path, self.line_of(keys)


def _outwards(keys: KeyPath) -> list[KeyPath]:
    return [keys[:length] for length in range(len(keys), -1, -1)]


def read_document(path: Path, error: type[InputError]) -> Document:
    """The mapping that a YAML or JSON file holds.

    Raises `error` when the file cannot be read, is empty, or its top level is no mapping.
    """
    return parse_document(read_text(path, error), path, error)


def parse_document(text: str, path: Path, error: type[InputError]) -> Document:
    """The mapping that `text`, the content of `path`, holds; errors as `read_document`."""
    reader = _NodeReader(path, error)
    node = _compose(text, path, error)
    if node is None:
        raise error("the file is empty; a mapping such as 'key: value' is expected", path=path)
    data = reader.value(node, ())
    if not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else f"the value {data!r}"
        line = node.start_mark.line + 1
        raise error(
            f"a mapping such as 'key: value' is expected, found {found}", path=path, line=line
        )
    return Document(path, data, {(): 1, **reader.lines}, reader.written, reader.literals)


def parse_value(text: str, error: type[InputError], *, origin: str) -> Any:
    """A single value, as it would stand behind a key; errors name `origin` in place of a file."""
    try:
        node = _compose(text, Path(), error)
        return None if node is None else _NodeReader(Path(), error).value(node, ())
    except InputError as problem:
        raise error(problem.message, path=origin) from None


def read_text(path: Path, error: type[InputError], largest: int = _LARGEST) -> str:
    """The text of a UTF-8 file of at most `largest` bytes, with or without a byte order mark."""
    raw = read_bytes(path, error, largest)
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error("the file is UTF-16; save it as UTF-8", path=path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        # Counted in `raw`: the decoder's own position leaves the byte order mark out.
        start = problem.start + (len(raw) - len(problem.object))
        line = raw.count(b"\n", 0, start) + 1
        found = f"found the byte 0x{raw[start]:02X}"
        raise error(f"not UTF-8: {found}; save it as UTF-8", path=path, line=line) from None


def read_bytes(path: Path, error: type[InputError], largest: int = LARGEST_DATA) -> bytes:
    """The content of a file; `error` when there is none, with the nearest name in its folder, and
    when it holds more than `largest` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except FileNotFoundError:
        raise error(f"no such file{_sibling_hint(path)}", path=path) from None
    except OSError as problem:
        # What may not be seen is no folder to it, and does not raise once more.
        is_folder = os.path.isdir(path)  # noqa: PTH112
        reason = "it is a folder" if is_folder else problem.strerror
        raise error(f"cannot be read: {reason}", path=path) from None
    if len(content) > largest:
        raise error(f"larger than {largest >> 20:,} MiB, which is the most here", path=path)
    return content


def _sibling_hint(path: Path) -> str:
    try:
        siblings = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; the folder {path.parent} does not exist"
    return did_you_mean(path.name, siblings)


def _compose(text: str, path: Path, error: type[InputError]) -> Node | None:
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Composer = _Composer
        node: Node | None = yaml.compose(text)
    except MarkedYAMLError as problem:
        line = _blamed_line(problem)
        around = f"{problem.context}, " if problem.context else ""
        message = f"not valid YAML: {around}{problem.problem}{_hint(text, line, problem)}"
    except ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        message = f"not valid YAML: the control character U+{ord(text[problem.position]):04X}"
    else:
        return node
    raise error(message, path=path, line=line)


def _blamed_line(problem: MarkedYAMLError) -> int | None:
    """From 1. What was never closed is best looked for where it was opened."""
    unclosed = (problem.context or "").startswith(
        ("while scanning a quoted", "while parsing a flow")
    )
    mark = (problem.context_mark if unclosed else None) or problem.problem_mark
    return None if mark is None else mark.line + 1


def _hint(text: str, line: int | None, problem: MarkedYAMLError) -> str:
    if "escape character" in (problem.problem or ""):
        return "; between double quotes a backslash begins an escape: use single quotes"
    return _template_hint(text, line)


def _template_hint(text: str, line: int | None) -> str:
    lines = text.splitlines()
    if line is None or line > len(lines):
        return ""
    bare = _QUOTED.sub("", lines[line - 1])
    return f"; {_QUOTE_IT}" if "{{" in bare or "{%" in bare else ""


class _Composer(Composer):
    """Ruamel's, with a bound: it would go on until Python's stack is used up."""

    def __init__(self, loader: Any = None):
        super().__init__(loader)
        self.warn_double_anchors = False  # YAML 1.2 allows them, and the last one counts
        self._nesting = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nesting += 1
        if self._nesting > DEEPEST + 1:  # the innermost value is no list
            raise ComposerError(None, None, TOO_DEEP, self.parser.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._nesting -= 1
        return node


class _NodeReader:
    """Turns YAML nodes into plain data, noting lines and spellings on the way."""

    def __init__(self, path: Path, error: type[InputError]):
        self.lines: dict[KeyPath, int] = {}
        self.written: dict[KeyPath, str] = {}
        self.literals: dict[KeyPath, int] = {}
        self._path = path
        self._error = error
        self._open: set[int] = set()
        self._size = 0

    def value(self, node: Node, keys: KeyPath) -> Any:
        self._count(node, keys)
        if isinstance(node, ScalarNode):
            return self._scalar(node, keys)
        if id(node) in self._open:
            raise self._refusal(node, "an alias (*name) stands inside what it repeats")
        self._open.add(id(node))
        try:
            return self._collection(node, keys)
        finally:
            self._open.remove(id(node))

    def _count(self, node: Node, keys: KeyPath) -> None:
        """An alias is short where it stands, and what it repeats may repeat others."""
        if len(keys) > DEEPEST:
            raise self._refusal(node, TOO_DEEP)
        self._size += _PER_VALUE + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self._size > _LARGEST_WRITTEN_OUT:
            most = f"{_LARGEST_WRITTEN_OUT >> 20} MiB"
            raise self._refusal(
                node,
                f"with every alias (*name) written out, the values take more than {most}; "
                "items may stand in a data file",
            )

    def _collection(self, node: Node, keys: KeyPath) -> Any:
        if isinstance(node, MappingNode) and node.tag == f"{_YAML_TAG}map":
            return self._mapping(node, keys)
        if isinstance(node, SequenceNode) and node.tag == f"{_YAML_TAG}seq":
            return [self._entry(child, (*keys, index)) for index, child in enumerate(node.value)]
        raise self._unknown_tag(node)

    def _mapping(self, node: MappingNode, keys: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            path = (*keys, key)
            if key in data:
                before = f"it stands on line {self.lines[path]} already"
                raise self._refusal(key_node, f"the key {key!r} is given twice; {before}")
            self.lines[path] = key_node.start_mark.line + 1
            data[key] = self.value(value_node, path)
        return data

    def _key(self, node: Node) -> str:
        if isinstance(node, ScalarNode):
            return str(node.value)
        hint = f"; {_QUOTE_IT}" if isinstance(node, MappingNode) and node.flow_style else ""
        raise self._refusal(node, f"a key must be a text{hint}")

    def _entry(self, node: Node, keys: KeyPath) -> Any:
        self.lines[keys] = node.start_mark.line + 1
        return self.value(node, keys)

    def _scalar(self, node: ScalarNode, keys: KeyPath) -> Any:
        text: str = node.value
        if node.tag in _TYPED_TAGS:
            value = _typed(text)
            if not isinstance(value, str):
                self.written[keys] = text
            return value
        if node.tag not in _TEXT_TAGS:
            raise self._unknown_tag(node)
        if node.style == "|":
            self.literals[keys] = node.start_mark.line + 2
        return self._characters(node, text)

    def _characters(self, node: Node, text: str) -> str:
        """JSON writes characters beyond the basic plane as two escapes; here they become one."""
        if text.isascii():
            return text
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise self._refusal(
                node, "half a character: a lone \\ud800 to \\udfff escape"
            ) from None

    def _unknown_tag(self, node: Node) -> InputError:
        return self._refusal(node, f"the YAML tag {node.tag!r} is not known here; leave it out")

    def _refusal(self, node: Node, message: str) -> InputError:
        return self._error(message, path=self._path, line=node.start_mark.line + 1)


def _typed(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    # A number of hundreds of digits is an id or a mistake, and Python refuses to convert thousands.
    if len(text) > 300:
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
