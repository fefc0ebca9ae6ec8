from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.machine.memory import OVERHEAD, Memory
from pytest_llmeval.machine.sizing import (
    CACHE_TYPES,
    MARGIN,
    Admission,
    CacheSetup,
    ModelSize,
    admit,
    bytes_of,
    need_of,
)

MODEL = ModelSize(
    input=1000, layers=(10, 20, 30), output=400, tied=False, keys=(64, 64, 32), values=(64, 64, 32)
)
CACHE = CacheSetup(tokens=100)
EACH = (100 * 2 * 128, 100 * 2 * 128, 100 * 2 * 64)


def test_on_the_cpu_all_lies_in_main_memory() -> None:
    for layers in (None, 0):
        need = need_of(MODEL, CACHE, layers)
        assert need.weights == Memory(1460, 0)
        assert need.cache == Memory(sum(EACH), 0)
        assert need.total == Memory(1460 + sum(EACH) + OVERHEAD, 0)


@pytest.mark.parametrize("layers", [4, 99, "all"])
def test_with_all_layers_on_a_device_the_input_stays_in_main_memory(layers: Any) -> None:
    need = need_of(MODEL, CACHE, layers)
    assert need.weights == Memory(1000, 460)
    assert need.cache == Memory(0, sum(EACH))
    assert need.beside == Memory(OVERHEAD, MARGIN)


def test_the_output_goes_first_and_then_layers_from_the_last() -> None:
    assert need_of(MODEL, CACHE, 1).weights == Memory(1060, 400)
    need = need_of(MODEL, CACHE, 2)
    assert need.weights == Memory(1030, 430)
    assert need.cache == Memory(EACH[0] + EACH[1], EACH[2])


def test_an_output_that_is_the_input_again_lies_in_both_places() -> None:
    tied = replace(MODEL, output=4, tied=True)
    assert need_of(tied, CACHE, "all").weights == Memory(1000, 1064)
    assert need_of(tied, CACHE, 0).weights == Memory(1064, 0)


def test_a_cache_may_stay_in_main_memory() -> None:
    need = need_of(MODEL, replace(CACHE, on_device=False), "all")
    assert need.cache == Memory(sum(EACH), 0)


def test_a_quantised_cache_takes_what_its_blocks_take() -> None:
    quantised = replace(CACHE, keys="q8_0", values="q4_0")
    assert need_of(MODEL, quantised, 0).cache.ram == 100 * (5 * 34 + 5 * 18)


def test_the_types_of_caches_have_the_sizes_that_the_formats_library_says() -> None:
    import gguf

    for name, sizes in CACHE_TYPES.items():
        kind = gguf.GGMLQuantizationType[name.upper()]
        assert gguf.GGML_QUANT_SIZES[kind] == sizes


def test_a_started_block_counts_in_whole() -> None:
    assert bytes_of(33, "q8_0") == 2 * 34


# Admission ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("need", "free", "admission"),
    [
        (Memory(10, 0), Memory(10, None), Admission("fits")),
        (Memory(10, 5), Memory(20, 5), Admission("fits")),
        (Memory(10, 0), Memory(7, None), Admission("does_not_fit", Memory(3, 0))),
        (Memory(10, 9), Memory(20, 5), Admission("does_not_fit", Memory(0, 4))),
        (Memory(10, 9), Memory(8, 5), Admission("does_not_fit", Memory(2, 4))),
    ],
)
def test_what_is_known_fits_or_is_short_of_something(
    need: Memory, free: Memory, admission: Admission
) -> None:
    assert admit(need, free) == admission


def test_a_device_that_tells_nothing_leaves_it_unknown() -> None:
    admission = admit(Memory(10, 5), Memory(20, None))
    assert admission.verdict == "unknown"
    assert admission.why == "nobody can tell how much of the device's memory is free"
    assert admit(Memory(10, None), Memory(20, 5)).verdict == "unknown"


def test_main_memory_that_is_short_is_short_whatever_the_device_has() -> None:
    admission = admit(Memory(10, 5), Memory(4, None))
    assert (admission.verdict, admission.short.ram) == ("does_not_fit", 6)
