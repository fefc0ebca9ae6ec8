"""Sections of config and suite files: their keys as pydantic models, mistakes in our words."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from pytest_llmeval.inputs.documents import KeyPath
from pytest_llmeval.inputs.mistakes import Mistakes, shown, unknown


class Section(BaseModel):
    """A mapping with known keys. Strict: a text is no number, and `true` is no 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schema(section: type[Section], title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file whose top level is this section."""
    return {"$schema": _DIALECT, **section.model_json_schema(), "title": title}


AnySection = TypeVar("AnySection", bound=Section)

# In both cases of each letter, since it is a pattern of the JSON Schema too, which knows no flags.
_DEVICE = (
    r"([cC][oO][nN]|[pP][rR][nN]|[aA][uU][xX]|[nN][uU][lL]|([cC][oO][mM]|[lL][pP][tT])[0-9])(\.|$)"
)

NAME = re.compile(rf"(?!{_DEVICE})[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that become part of node ids: of models, named samplings and prompt variants.

Some become names of files as well, and a file named like a device, whatever its ending, cannot be
written on Windows.
"""

NAME_RULE = (
    "letters, digits, '.', '_' and '-' only, beginning with a letter or digit, "
    "and not what Windows calls its devices (con, prn, aux, nul, com1, lpt1 and so on)"
)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[
    list[str],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""A list of texts; one text stands for a list of one."""


def share(value: Any) -> float:
    """Read a fraction, or a percentage as its fraction; raises ValueError for anything else."""
    percent = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", value) if isinstance(value, str) else None
    if percent:
        # Through the text, so that 0.1% is the number that 0.001 is.
        value = float(f"{percent[1]}e-2")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(
            f"expected a fraction from 0 to 1 or a percentage such as 0.1%, found {shown(value)}"
        )
    return float(value)


Share = Annotated[
    float,
    PlainValidator(share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"},
            ]
        }
    ),
]
"""A fraction from 0 to 1, also written as a percentage."""


FEW = 5
"""So many keys of a section are listed where something else stands in its place."""

_UNITS = {
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_SIZE = r"^[0-9]+(\.[0-9]+)? ?(KiB|MiB|GiB|[kK]B|MB|GB)$"


def size_in_bytes(value: Any) -> int:
    """Read an amount of memory with its unit as bytes; raises ValueError for anything else."""
    if not isinstance(value, str) or not re.fullmatch(_SIZE, value):
        raise ValueError(
            f"expected a size with its unit (kB, MB, GB, KiB, MiB or GiB), such as 6 GiB, found "
            f"{shown(value)}"
        )
    number, unit = value.rstrip("BGKMki").strip(), value.lstrip("0123456789. ")
    return int(float(number) * _UNITS[unit])


SIZE_SCHEMA = {"type": "string", "pattern": _SIZE}

Size = Annotated[int, PlainValidator(size_in_bytes), WithJsonSchema(SIZE_SCHEMA)]
"""Bytes, written with a unit: KiB, MiB, GiB (of 1024), kB, MB, GB (of 1000)."""


def _gpu_layers(value: Any) -> int | Literal["all"] | None:
    if value is None or value == "all":
        return value  # type: ignore[no-any-return]  # narrowed by value, which mypy does not follow
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"expected a number of layers from 0, or all, found {shown(value)}")


GpuLayers = Annotated[
    Any,
    PlainValidator(_gpu_layers),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "all"}, {"type": "null"}]}
    ),
]
"""How many layers lie on the GPU; None leaves it to the server."""


def _variable(value: str) -> str:
    # Whatever is no name may be the secret itself, so it is not repeated.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("expected the name of an environment variable, such as MY_API_KEY")
    return value


VariableName = Annotated[str, AfterValidator(_variable)]
"""The name of an environment variable, such as one that holds a key."""


def read_section(
    section: type[AnySection],
    value: Any,
    keys: KeyPath,
    mistakes: Mistakes,
    context: Mapping[str, Any] | None = None,
) -> AnySection | None:
    """The section that `value`, written under `keys`, is; None after noting its mistakes.

    `context` is what validators are given beside the value.
    """
    try:
        return section.model_validate(value, context=context)
    except ValidationError as problem:
        for error in problem.errors(include_url=False):
            place = (*keys, *error["loc"])
            mistakes.add(place, _message(section, error, place))
        return None


def _message(section: type[Section], error: Mapping[str, Any], place: KeyPath) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    name = ".".join(map(str, place)) or "the file"
    if kind == "extra_forbidden":
        return unknown("key", str(place[-1]), _allowed_keys(section, error["loc"][:-1]))
    if kind == "missing":
        return f"the key {place[-1]!r} is missing"
    if kind == "value_error":
        return f"{name}: {context['error']}"
    if kind == "literal_error":
        allowed = re.findall("'([^']*)'", context["expected"])
        return f"{name}: {unknown('value', str(found), allowed)}"
    keys = _allowed_keys(section, error["loc"]) if kind == "model_type" else []
    hint = f"; its keys are {', '.join(keys)}" if 0 < len(keys) <= FEW else ""
    return f"{name}: {_expectation(kind, context) or error['msg']}, found {shown(found)}{hint}"


_EXPECTED = {
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "string_type": "expected a text",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "string_too_short": "expected a text that is not empty",
    "too_short": "expected at least one entry",
}
_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def _expectation(kind: str, context: Mapping[str, Any]) -> str | None:
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        limit = context[key]
        return (
            f"expected {words} {limit:g}"
            if isinstance(limit, float)
            else f"expected {words} {limit}"
        )
    return _EXPECTED.get(kind)


def _allowed_keys(section: type[Section], loc: tuple[str | int, ...]) -> list[str]:
    """The keys of the section that `loc` leads to."""
    inner = section
    for step in loc:
        if step in inner.model_fields:
            inner = next(_sections_in(inner.model_fields[str(step)].annotation), inner)
    return list(inner.model_fields)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections an annotation names, however deep in lists, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) in {list, dict, tuple, Union, types.UnionType, Annotated}:
        for argument in get_args(annotation):
            yield from _sections_in(argument)
