from __future__ import annotations

import psutil

from pytest_llmeval.machine.memory import OVERHEAD, estimate, free_memory


def test_free_memory_is_some_and_not_more_than_there_is() -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_weights_cache_and_overhead_add_up() -> None:
    # An 8B model with 8 KV heads of 128 in 36 layers: 147,456 bytes a token.
    need = estimate(5 * 10**9, slots=4, context=8192, kv_bytes_per_token=147_456)
    assert need == 5 * 10**9 + 4 * 8192 * 147_456 + OVERHEAD


def test_a_header_that_does_not_say_its_cache_counts_none() -> None:
    assert estimate(1000, slots=4, context=8192, kv_bytes_per_token=None) == 1000 + OVERHEAD
