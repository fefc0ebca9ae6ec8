"""Rows of data files: JSONL, JSON, CSV and Parquet, each row with the line it stands on."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pytest_llmeval.depth import DEEPEST, TOO_DEEP, too_deep_at
from pytest_llmeval.errors import DatasetError, MissingExtraError
from pytest_llmeval.inputs.documents import (
    LARGEST_DATA,
    Document,
    KeyPath,
    read_bytes,
    read_text,
)
from pytest_llmeval.inputs.mistakes import shown

_NOTHING: Mapping[str, str] = {}


class Row(NamedTuple):
    """One row as it stands in its source.

    `line` is None for Parquet and for rows given in Python. `written` holds values whose spelling
    typing loses, such as `1.50`.
    """

    line: int | None
    fields: dict[str, Any]
    written: Mapping[str, str] = _NOTHING


def read_rows(path: Path, as_written: Collection[str]) -> Iterator[Row]:
    """The rows of a data file, in its order, by the ending of its name.

    `as_written` names the fields whose numbers keep their spelling. Raises DatasetError with file
    and line, MissingExtraError for Parquet without pyarrow.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        allowed = ", ".join(_READERS)
        raise DatasetError(f"unknown kind of file {path.suffix!r} (allowed: {allowed})", path=path)
    return reader(path, as_written)


def inline_rows(document: Document, keys: KeyPath) -> Iterator[Row]:
    """The rows of the list that a suite holds under `keys`."""
    for index, fields in enumerate(document.value(keys)):
        place = (*keys, index)
        line = document.line_of(place)
        if not isinstance(fields, dict):
            raise _no_object(fields, document.path, line)
        spellings = ((key, document.written.get((*place, key))) for key in fields)
        yield Row(line, fields, {key: text for key, text in spellings if text is not None})


def _jsonl(path: Path, as_written: Collection[str]) -> Iterator[Row]:
    # Only \n ends a line of JSONL; splitlines() would also cut at U+2028 inside a text.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line and not line.isspace():
            yield _json_row(line, as_written, path, number)


def _text(path: Path) -> str:
    return read_text(path, DatasetError, LARGEST_DATA)


def _json_row(text: str, as_written: Collection[str], path: Path, line: int) -> Row:
    refusal = partial(DatasetError, path=path, line=line)
    if too_deep_at(text) is not None:
        raise refusal(TOO_DEEP)
    try:
        fields = _DECODER.decode(text)
    except json.JSONDecodeError as problem:
        raise refusal(f"not valid JSON: {problem.msg} (column {problem.colno})") from None
    except ValueError as problem:
        raise refusal(f"not valid JSON: {problem}") from None
    return _typed_row(fields, text, as_written, path, line)


def _typed_row(fields: Any, text: str, as_written: Collection[str], path: Path, line: int) -> Row:
    if not isinstance(fields, dict):
        raise _no_object(fields, path, line)
    decimals = [key for key in as_written if type(fields.get(key)) is float]
    if not decimals:
        return Row(line, fields)
    spelled = _SPELLED.decode(text)
    return Row(line, fields, {key: spelled[key] for key in decimals})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in fields if times[name] > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return fields


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON; write null")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; write it as a text, in quotes")
    return int(digits)


def _decimal(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {shown(text)} is too large; write it as a text, in quotes")
    return number


# Beyond what a float holds, so that none is lost; Python itself refuses some thousands.
_MOST_DIGITS = 400

_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_whole, parse_float=_decimal
)
_SPELLED = json.JSONDecoder(parse_float=str)


def _json(path: Path, as_written: Collection[str]) -> Iterator[Row]:
    text = _text(path)
    if not text.strip():
        return
    try:
        rows = _LENIENT.decode(text)
    except json.JSONDecodeError as problem:
        message = f"not valid JSON: {problem.msg} (column {problem.colno})"
        raise DatasetError(message, path=path, line=problem.lineno) from None
    except RecursionError:
        line = text.count("\n", 0, too_deep_at(text, DEEPEST + 1)) + 1
        raise DatasetError(TOO_DEEP, path=path, line=line) from None
    if not isinstance(rows, list):
        found = f"found {shown(rows)}; one object a line is the format .jsonl"
        raise DatasetError(f"expected a list of objects, {found}", path=path, line=1)
    # Read a second time, entry by entry, to know where each one stands.
    line, counted, end = 1, 0, text.index("[") + 1
    for _ in rows:
        begin = _GAP.match(text, end).end()  # type: ignore[union-attr]  # matches the empty text
        line, counted = line + text.count("\n", counted, begin), begin
        end = _LENIENT.raw_decode(text, begin)[1]
        yield _json_row(text[begin:end], as_written, path, line)


_GAP = re.compile(r"[\s,]*")
# Numbers stay digits, so that the row with one that is too long is the one that says so.
_LENIENT = json.JSONDecoder(parse_int=str, parse_float=str)


def _csv(path: Path, as_written: Collection[str]) -> Iterator[Row]:  # noqa: ARG001  # all is text
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    records = _records(reader, path)
    line, header = records[0] if records else (1, [])
    for name in header:
        if not name or header.count(name) > 1:
            message = f"the header names {name!r} twice" if name else "a column has no name"
            raise DatasetError(f"{message}; found {', '.join(header)}", path=path, line=line)
    for line, values in records[1:]:
        if len(values) != len(header):
            message = f"{len(values)} values, but the header names {len(header)}"
            raise DatasetError(f"{message}: {', '.join(header)}", path=path, line=line)
        yield Row(line, dict(zip(header, values, strict=True)))


def _records(reader: _CsvReader, path: Path) -> list[tuple[int, list[str]]]:
    """The records that are not blank, with the line each begins on."""
    # A document of more than 128 KB in a field is fine here; the limit is the module's own state.
    limit = csv.field_size_limit(2**31 - 1)
    try:
        records, line = [], 1
        for values in reader:
            if values:
                records.append((line, values))
            line = reader.line_num + 1
    except csv.Error as problem:
        raise DatasetError(f"not valid CSV: {problem}", path=path, line=reader.line_num) from None
    finally:
        csv.field_size_limit(limit)
    return records


class _CsvReader(Protocol):
    """What `csv.reader` returns; its type has no public name."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...


def _parquet(path: Path, as_written: Collection[str]) -> Iterator[Row]:  # noqa: ARG001  # typed
    raw = read_bytes(path, DatasetError)
    try:
        import pyarrow  # optional, and 100 ms to import
        import pyarrow.parquet
    except ImportError:
        what = f"the dataset {path}"
        raise MissingExtraError(what, package="pyarrow", extra="parquet") from None
    try:
        rows = _unpacked(pyarrow.parquet.ParquetFile(pyarrow.BufferReader(raw)), path)
    except (pyarrow.ArrowException, OSError) as problem:
        raise DatasetError(f"not valid Parquet: {problem}", path=path) from None
    for number, fields in enumerate(rows, start=1):
        yield Row(None, {key: _json_value(value, path, number) for key, value in fields.items()})


def _unpacked(file: Any, path: Path) -> list[dict[str, Any]]:
    """The rows of a file that is small where it lies, and may be a bomb once it is unpacked."""
    rows: list[dict[str, Any]] = []
    size = 0
    for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
        size += batch.nbytes
        if size > LARGEST_DATA:
            message = f"more than {LARGEST_DATA >> 20:,} MiB when it is unpacked, the most here"
            raise DatasetError(message, path=path)
        rows += batch.to_pylist()
    return rows


_PARQUET_ROWS = 1000


def _json_value(value: Any, path: Path, number: int, depth: int = 1) -> Any:
    """What JSON would hold in place of a Parquet value."""
    if depth > DEEPEST:
        raise DatasetError(f"row {number}: {TOO_DEEP}", path=path)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {key: _json_value(inner, path, number, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(inner, path, number, depth + 1) for inner in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    message = f"row {number}: a value of type {type(value).__name__} has no form in JSON"
    raise DatasetError(message, path=path)


_READERS: dict[str, Callable[[Path, Collection[str]], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _no_object(found: Any, path: Path, line: int | None) -> DatasetError:
    example = '{"id": "a-1", "question": "...", "answer": "..."}'
    message = f"expected an object such as {example}, found {shown(found)}"
    return DatasetError(message, path=path, line=line)
