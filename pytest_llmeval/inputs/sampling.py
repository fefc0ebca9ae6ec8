"""The `sampling` section: how models are asked to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from pytest_llmeval.inputs.documents import KeyPath
from pytest_llmeval.inputs.mistakes import Mistakes
from pytest_llmeval.inputs.sections import NAME, NAME_RULE, Section, Texts, read_section
from pytest_llmeval.records import Sampling

Repeats = Annotated[int, Field(ge=1, description="How often every item is asked.")]


class SamplingSection(Section):
    """How a model writes. A suite's keys win over the config's, key by key."""

    max_tokens: int = Field(default=256, ge=1, description="The longest answer, in tokens.")
    temperature: float | None = Field(
        default=0.0, ge=0, description="0 is greedy; null leaves the server's own default in force."
    )
    top_p: float | None = Field(default=None, gt=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(
        default=None, ge=0, description="Only the k likeliest tokens; 0 is all."
    )
    min_p: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Only tokens with this share of the likeliest one's probability.",
    )
    repeat_penalty: float | None = Field(default=None, gt=0, description="1 is none.")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, description="0 is none.")
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, description="0 is none.")
    seed: int | None = Field(
        default=0, ge=0, lt=2**32, description="Of the random choice; null leaves it to the server."
    )
    stop: Texts = Field(default=[], description="Texts that end an answer.")


class ConfigSamplingSection(SamplingSection):
    """A sampling of the config; when it has a name, every model is asked under it."""

    repeats: Repeats | None = None


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """A sampling of the config, and how often every item is asked under it."""

    sampling: Sampling
    repeats: int


def sampling_keys(section: SamplingSection) -> dict[str, Any]:
    """The values a section sets itself, by the field names of `records.Sampling`."""
    values = {key: getattr(section, key) for key in sorted(section.model_fields_set)}
    values.pop("repeats", None)
    if "stop" in values:
        values["stop"] = tuple(values["stop"])
    return values


def read_samplings(
    value: Any, keys: KeyPath, repeats: int, mistakes: Mistakes
) -> dict[str, SamplingSettings]:
    """The samplings of a config by name; a flat section is the one with the name "".

    `repeats` is the config's own, for samplings that do not say.
    """
    sections = _named(value, keys, mistakes) if _is_named(value) else {"": (keys, value)}
    found = {}
    for name, (place, content) in sections.items():
        section = read_section(ConfigSamplingSection, content, place, mistakes)
        if section is not None:
            found[name] = _settings(section, repeats)
    return found


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(inner, Mapping) for inner in value.values()
    )


def _named(
    value: Mapping[str, Any], keys: KeyPath, mistakes: Mistakes
) -> dict[str, tuple[KeyPath, Any]]:
    sections = {}
    for name, content in value.items():
        place = (*keys, name)
        if not isinstance(content, Mapping):
            mistakes.add(
                place,
                f"sampling holds named samplings, and {name!r} is none: "
                "write it inside each of them, or give no sampling a name",
            )
        elif not NAME.fullmatch(name):
            mistakes.add(place, f"the sampling name {name!r} cannot be used: {NAME_RULE}")
        else:
            sections[name] = (place, content)
    return sections


def _settings(section: ConfigSamplingSection, repeats: int) -> SamplingSettings:
    values = section.model_dump(exclude={"repeats", "stop"})
    sampling = Sampling(**values, stop=tuple(section.stop))
    return SamplingSettings(sampling, section.repeats or repeats)
