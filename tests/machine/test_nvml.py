"""The GPUs as NVIDIA's driver tells of them; the driver is a stand-in where there is none."""

from __future__ import annotations

import sys

import pytest

from pytest_llmeval.machine.nvml import GpuSample, free_vram, open_gpus
from tests.standins.nvml import Driver


def install(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> Driver:
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    return driver


def test_each_card_tells_what_it_can_and_none_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = install(monkeypatch, Driver())
    gpus, why_none = open_gpus()
    assert gpus is not None
    assert why_none == ""
    used, free = 4 * 2**30, 12 * 2**30
    assert gpus.sample() == (
        GpuSample(0, "First Card", used, free, 0.85, 120.0),
        GpuSample(1, "Second Card", used, free, None, None),
    )
    gpus.close()
    assert driver.open == 0


def test_what_is_free_on_all_cards_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = install(monkeypatch, Driver())
    assert free_vram() == 2 * 12 * 2**30
    assert driver.open == 0


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (None, "the package nvidia-ml-py is not installed"),
        (Driver(broken="Driver Not Loaded"), "driver does not answer (Driver Not Loaded)"),
        (Driver(cards=0), "the driver knows no GPU"),
        (Driver(lost="GPU is lost"), "driver does not name its GPUs (GPU is lost)"),
    ],
)
def test_without_package_driver_or_card_there_is_nothing_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    gpus, why_none = open_gpus()
    assert gpus is None
    assert words in why_none
    assert free_vram() is None
    assert driver is None or not driver.open


def test_a_real_card_is_read_where_there_is_one() -> None:
    gpus, why_none = open_gpus()
    if gpus is None:
        pytest.skip(f"no NVIDIA GPU here: {why_none}")
    first = gpus.sample()[0]
    gpus.close()
    assert first.name
    assert first.used is None or first.used > 0
