"""The key `lora` of a model: which adapters are put on its weights, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from pytest_llmeval.inputs.sections import Section


class AdapterSection(Section):
    """A LoRA adapter."""

    path: str = Field(min_length=1, description="The adapter's file, a GGUF.")
    scale: float = Field(default=1.0, description="How strongly it is applied.")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter, ready to be loaded."""

    path: Path
    scale: float = 1.0


def _as_sections(value: Any) -> Any:
    """One adapter stands for a list of one, and a path for an adapter with nothing more to say."""
    entries = value if isinstance(value, list) else [value]
    return [{"path": entry} if isinstance(entry, str) else entry for entry in entries]


def _checked(adapters: list[AdapterSection]) -> list[AdapterSection]:
    paths = [adapter.path for adapter in adapters]
    for adapter in adapters:
        if paths.count(adapter.path) > 1:
            raise ValueError(f"the adapter {adapter.path} is given twice")
        if adapter.scale == 0:
            raise ValueError(
                f"the adapter {adapter.path} would do nothing at scale 0; leave it out"
            )
    return adapters


_ADAPTER: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1, "description": "The adapter's file, a GGUF."},
        {
            "type": "object",
            "properties": {
                "path": {"type": "string", "minLength": 1},
                "scale": {"type": "number", "description": "How strongly it is applied."},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    ]
}

Adapters = Annotated[
    list[AdapterSection],
    BeforeValidator(_as_sections),
    AfterValidator(_checked),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [*_ADAPTER["anyOf"], {"type": "array", "items": _ADAPTER, "minItems": 1}]}
    ),
]
"""LoRA adapters: a path, an adapter, or a list of these."""
