"""Which slots and context a graphics card has room for."""

from __future__ import annotations

import pytest

from pytest_llmeval.machine.cards import KEPT_FREE, LADDER, best_fit
from pytest_llmeval.machine.memory import estimate

GIB = 2**30
EIGHT_B = 5_030_000_000  # an 8B model in Q4_K_M
ITS_CACHE = 147_456  # bytes a token: 36 layers, 8 KV heads of 128, f16


@pytest.mark.parametrize(("card", "slots", "context"), [(8, 2, 4096), (16, 8, 8192), (24, 8, 8192)])
def test_an_8b_model_on_the_usual_cards(card: int, slots: int, context: int) -> None:
    fit = best_fit(card * GIB, EIGHT_B, kv_bytes_per_token=ITS_CACHE)
    assert fit is not None
    assert (fit.slots, fit.context) == (slots, context)


def test_what_is_advised_fits_and_the_rung_above_does_not() -> None:
    for free in range(2 * GIB, 24 * GIB, GIB // 4):
        fit = best_fit(free, EIGHT_B, kv_bytes_per_token=ITS_CACHE)
        needs = [
            estimate(EIGHT_B, slots=slots, context=context, kv_bytes_per_token=ITS_CACHE)
            for slots, context in LADDER
        ]
        fitting = [
            rung for rung, need in zip(LADDER, needs, strict=True) if need + KEPT_FREE <= free
        ]
        assert ((fit.slots, fit.context) if fit else None) == next(iter(fitting), None)


def test_no_more_context_is_advised_than_the_model_was_trained_for() -> None:
    fit = best_fit(24 * GIB, EIGHT_B, kv_bytes_per_token=ITS_CACHE, trained=2048)
    assert fit is not None
    assert (fit.slots, fit.context) == (8, 2048)


def test_a_card_that_is_too_small_gets_no_advice() -> None:
    assert best_fit(5 * GIB, EIGHT_B, kv_bytes_per_token=ITS_CACHE) is None
