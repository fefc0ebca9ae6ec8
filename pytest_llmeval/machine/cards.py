"""How many slots, with how much context each, a graphics card has room for."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmeval.machine.memory import estimate

LADDER = ((8, 8192), (4, 8192), (4, 4096), (2, 4096), (1, 4096), (1, 2048))
"""Slots and tokens of context per slot, the most useful first: beyond 8 slots a single card gains
little, and few questions with their answers need more than 8,192 tokens.
"""

KEPT_FREE = 2**30
"""Bytes that stay free on a card, for the screen and other programs: llama.cpp's own margin."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits: `slots` with `context` tokens each take `bytes` with the weights."""

    slots: int
    context: int
    bytes: int


def best_fit(
    free: int, size: int, *, kv_bytes_per_token: int | None, trained: int | None = None
) -> Fit | None:
    """The first rung of the ladder that fits into `free` bytes with a model of `size` bytes.

    `trained` is the longest context that the model knows: a rung that has more gives that much.
    None when not even the last one fits: fewer layers on the GPU, or a smaller quantisation.
    """
    for slots, rung in LADDER:
        context = min(rung, trained or rung)
        need = estimate(size, slots=slots, context=context, kv_bytes_per_token=kv_bytes_per_token)
        if need + KEPT_FREE <= free:
            return Fit(slots, context, need)
    return None
