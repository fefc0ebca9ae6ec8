"""What tokens cost, as a config says it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from pytest_llmeval.inputs.sections import Section


class PriceSection(Section):
    """What an answer costs, per million tokens, in whatever currency."""

    prompt: float = Field(ge=0, description="Per million tokens that are read.")
    completion: float = Field(ge=0, description="Per million tokens that are written.")


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, those read and those written."""

    prompt: float
    completion: float
