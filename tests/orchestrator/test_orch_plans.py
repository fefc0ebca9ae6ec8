"""What is planned for an instance's start, on a machine whose cards a stand-in lists."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.plans import InstancePlans

MODEL = Path(__file__).parents[2] / "models" / "tiny-l.gguf"
CARDS = """\
Available devices:
  CUDA0: Old Card (8000 MiB, 8000 MiB free)
  CUDA1: {} (16000 MiB, {} MiB free)
"""


class Machine:
    """A home with one instance on the second of two cards."""

    def __init__(self, folder: Path) -> None:
        program = folder / "llama-server"
        self._cards = folder / "cards"
        program.write_text(f'#!/bin/sh\ncat "{self._cards}"\n', encoding="utf-8", newline="\n")
        program.chmod(0o755)
        home = Home(folder / "home")
        config = home.instances / "tiny" / "config.yaml"
        config.parent.mkdir(parents=True)
        text = (
            f"model: {{path: '{MODEL}', context_size: 256}}\n"
            f"server: {{executable: '{program}'}}\n"
            "gpu: {backend: cuda, device_id: 1, layers: all}\n"
        )
        config.write_text(text, encoding="utf-8", newline="\n")
        self.plans = InstancePlans("tiny", home, os.environ, KnownDevices(folder / "cache"))

    def has(self, card: str, free: int = 16000) -> None:
        self._cards.write_text(CARDS.format(card, free), encoding="utf-8", newline="\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if sys.platform == "win32":
        pytest.skip("a stand-in executable in one line of text needs a POSIX shell")
    return Machine(tmp_path)


def test_the_card_is_known_by_what_it_is_called_now(machine: Machine) -> None:
    machine.has("A Card")
    assert machine.plans.plan(anew=True, port=None).spec.device_name == "A Card"
    machine.has("Its Successor")
    assert machine.plans.plan(anew=False, port=None).spec.device_name == "Its Successor"


def test_a_start_without_room_on_its_card_is_refused(machine: Machine) -> None:
    machine.has("A Card", free=100)
    with pytest.raises(ServerStartError, match="tiny: it does not fit: about"):
        machine.plans.plan(anew=True, port=None)
