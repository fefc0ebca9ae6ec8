"""Whether instances fit side by side, by estimates and by what is free."""

from __future__ import annotations

import pytest

from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import Need
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate
from pytest_llmeval.orchestrator.front_door.fitting import Known, fits_after
from pytest_llmeval.orchestrator.sight import Sight

NOTHING = Memory(0, 0)


def known(ram: int, vram: int = 0) -> Known:
    backend = "cuda" if vram else "cpu"
    gpu = {"backend": backend, "layers": "all"} if vram else {}
    config = InstanceConfig.model_validate({"model": {"path": "x"}, "gpu": gpu})
    return Known(config, Estimate(Need(Memory(ram, vram), NOTHING, NOTHING), 1, 512))


@pytest.mark.parametrize(
    ("coming", "going", "free", "fits"),
    [
        ([6], [], 8, True),
        ([9], [], 8, False),
        ([9], [1], 8, True),
        ([4, 4], [], 8, True),
        ([4, 5], [], 8, False),
        ([4, 5], [1], 8, True),
    ],
)
def test_what_goes_gives_back_what_it_needs_and_those_that_come_add_up(
    coming: list[int], going: list[int], free: int, fits: bool
) -> None:
    found = fits_after(map(known, coming), map(known, going), Sight((), free))
    assert found is fits


def test_nobody_can_tell_without_seeing_the_device() -> None:
    assert fits_after([known(1, vram=4)], [], Sight((), 8)) is None
