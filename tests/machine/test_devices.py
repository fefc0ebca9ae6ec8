"""What a llama-server lists as its devices: by a stand-in that prints what real ones print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_llmeval.machine.devices import (
    Device,
    Listing,
    ask_devices,
    read_listing,
    suggest,
    suggest_several,
)
from pytest_llmeval.machine.known_devices import FILE, KnownDevices
from pytest_llmeval.servers.identity import identity_of
from tools.real_runs import becomes_true

GIB = 2**30
MIB = 2**20

Make = Callable[[str], str]


@pytest.fixture
def program(tmp_path: Path) -> Make:
    """Make an executable of a shell command."""
    if sys.platform == "win32":
        pytest.skip("a stand-in executable in one line of text needs a POSIX shell")

    def make(command: str) -> str:
        path = tmp_path / "llama-server"
        path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8", newline="\n")
        path.chmod(0o755)
        return str(path)

    return make


LISTED = """\
Available devices:
  CUDA0: NVIDIA GeForce RTX 3080 Ti (11909 MiB, 11650 MiB free)
  Vulkan1: AMD Radeon RX 6900 XT (RADV NAVI21) (16368 MiB, 16100 MiB free)
  SYCL0: Intel(R) Arc(TM) A770 Graphics (15473 MiB, 15473 MiB free)
"""


# Asking -------------------------------------------------------------------------------------------


def test_devices_are_read_whatever_their_backend_is_called() -> None:
    assert read_listing(LISTED) == (
        Device("CUDA0", "NVIDIA GeForce RTX 3080 Ti", 11909 * MIB, 11650 * MIB),
        Device("Vulkan1", "AMD Radeon RX 6900 XT (RADV NAVI21)", 16368 * MIB, 16100 * MIB),
        Device("SYCL0", "Intel(R) Arc(TM) A770 Graphics", 15473 * MIB, 15473 * MIB),
    )


@pytest.mark.parametrize("text", ["Available devices:\n", "Available devices:\n  (none)\n", ""])
def test_a_machine_without_one_has_none(text: str) -> None:
    assert read_listing(text) == ()


def test_lines_of_windows_are_read_too() -> None:
    assert len(read_listing(LISTED.replace("\n", "\r\n"))) == 3


def test_the_chatter_of_backends_is_not_taken_for_devices(program: Make) -> None:
    chatter = "  Vulkan0: a lie (1 MiB, 1 MiB free)"
    asked = ask_devices(program(f'echo "{chatter}" >&2; printf "%s" "{LISTED}"'), {})
    assert [device.name for device in asked.devices] == ["CUDA0", "Vulkan1", "SYCL0"]
    assert asked.trouble == ""


def test_it_is_asked_in_the_environment_that_the_server_would_have(program: Make) -> None:
    line = '"  CUDA0: card $CUDA_VISIBLE_DEVICES (1 MiB, 1 MiB free)"'
    asked = ask_devices(
        program(f'[ "$1" = --list-devices ] && echo {line}'), {"CUDA_VISIBLE_DEVICES": "3"}
    )
    assert asked.devices == (Device("CUDA0", "card 3", MIB, MIB),)


def test_the_real_llama_server_lists_none_without_a_card(real_llama_server: Path) -> None:
    """Its build for tests has the CPU's backend only."""
    assert ask_devices(str(real_llama_server), os.environ) == Listing()


def test_one_that_does_not_end_is_killed_with_its_children(program: Make, tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = f'sleep 600 & echo $! > "{started}"; sleep 600'
    asked = ask_devices(program(command), {"PATH": os.defpath}, seconds=1)
    assert asked.devices == ()
    child = int(started.read_text(encoding="ascii"))
    assert becomes_true(lambda: identity_of(child) is None)
    assert asked.trouble.endswith("--list-devices did not end within 1 s")


def test_one_that_does_not_know_the_question_is_told_with_its_age(program: Make) -> None:
    trouble = ask_devices(program("exit 1"), {}).trouble
    assert trouble.endswith(
        "--list-devices ended with exit code 1: builds before December 2024 do not know it"
    )


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    trouble = ask_devices(str(tmp_path / "llama-server"), {}).trouble
    assert "llama-server cannot be run: " in trouble


# Keeping ------------------------------------------------------------------------------------------


class Counted:
    """Asks nobody, and counts how often."""

    def __init__(self, *listings: Listing) -> None:
        self.count = 0
        self._listings = list(listings)

    def __call__(self, executable: str, environ: Mapping[str, str]) -> Listing:
        self.count += 1
        return self._listings[min(self.count, len(self._listings)) - 1]


CARD = Device("CUDA0", "a card", 8 * GIB, 6 * GIB)
FOUND = Listing((CARD,))


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    path = tmp_path / "llama-server"
    path.write_bytes(b"one build")
    return path


def test_devices_are_asked_for_once_in_one_process_and_in_the_next(
    executable: Path, tmp_path: Path
) -> None:
    ask, again = Counted(FOUND), Counted(FOUND)
    known = KnownDevices(tmp_path / "cache", ask)
    assert known.of(str(executable), {}) == known.of(str(executable), {}) == FOUND
    assert ask.count == 1
    assert KnownDevices(tmp_path / "cache", again).of(str(executable), {}) == FOUND
    assert again.count == 0


def test_another_build_or_other_variables_are_asked_again(executable: Path, tmp_path: Path) -> None:
    ask = Counted(FOUND)
    known = KnownDevices(tmp_path / "cache", ask)
    known.of(str(executable), {})
    known.of(str(executable), {"HOME": "elsewhere"})
    assert ask.count == 1
    known.of(str(executable), {"CUDA_VISIBLE_DEVICES": "1"})
    assert ask.count == 2
    executable.write_bytes(b"another build")
    known.of(str(executable), {})
    assert ask.count == 3


@pytest.mark.parametrize("nothing", [Listing(), Listing(trouble="it did not end")])
def test_nothing_is_never_kept(executable: Path, tmp_path: Path, nothing: Listing) -> None:
    """A driver may be asleep or broken, and be back the next time."""
    known = KnownDevices(tmp_path / "cache", Counted(nothing, FOUND))
    assert known.of(str(executable), {}) == nothing
    assert known.of(str(executable), {}) == FOUND


def test_what_is_asked_for_now_replaces_what_was_known(executable: Path, tmp_path: Path) -> None:
    other = Listing((Device("CUDA0", "another card", 8 * GIB, 6 * GIB),))
    known = KnownDevices(tmp_path / "cache", Counted(FOUND, other))
    known.of(str(executable), {})
    assert known.ask_now(str(executable), {}) == other
    assert known.of(str(executable), {}) == other


@pytest.mark.parametrize("text", ["", "[1", "[]", '{"a": 1}', '{"a": [{"name": "x"}]}'])
def test_a_file_that_is_not_ours_is_replaced(executable: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8", newline="\n")
    assert KnownDevices(tmp_path, Counted(FOUND)).of(str(executable), {}) == FOUND
    assert len(json.loads((tmp_path / FILE).read_text(encoding="utf-8"))) == 1


def test_a_folder_that_cannot_be_written_is_no_trouble(executable: Path, tmp_path: Path) -> None:
    known = KnownDevices(executable, Counted(FOUND))  # a file where the folder should be
    assert known.of(str(executable), {}) == FOUND


def test_an_executable_that_is_not_there_is_told_by_asking(tmp_path: Path) -> None:
    trouble = KnownDevices(tmp_path).of(str(tmp_path / "llama-server"), {}).trouble
    assert "llama-server cannot be run: " in trouble


# Choosing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "description",
    [
        "Intel(R) UHD Graphics 770",
        "Intel(R) Iris(R) Xe Graphics",
        "Intel(R) Arc(tm) Graphics (MTL)",
        "AMD Radeon Graphics (RADV RENOIR)",
        "AMD Radeon(TM) Graphics",
        "AMD Radeon 780M Graphics (RADV PHOENIX)",
        "AMD Radeon 8060S Graphics (RADV GFX1151)",
        "Apple M2 Max",
        "Qualcomm(R) Adreno(TM) X1-85 GPU",
        "NVIDIA GB10",
    ],
)
def test_cards_that_share_main_memory_are_known_by_their_names(description: str) -> None:
    assert Device("Vulkan0", description, GIB, GIB).integrated


@pytest.mark.parametrize(
    "description",
    [
        "NVIDIA GeForce RTX 3080 Ti",
        "AMD Radeon RX 6900 XT (RADV NAVI21)",
        "AMD Radeon RX 7900M",
        "AMD Radeon PRO W7900 (RADV NAVI31)",
        "Intel(R) Arc(tm) A770 Graphics (DG2)",
        "Quadro P2000",
    ],
)
def test_cards_with_memory_of_their_own_are_not(description: str) -> None:
    assert not Device("Vulkan0", description, GIB, GIB).integrated


SHARED = Device("Vulkan0", "AMD Radeon Graphics (RADV RENOIR)", 24 * GIB, 20 * GIB)
SMALL = Device("Vulkan1", "NVIDIA GeForce RTX 3060", 12 * GIB, 6 * GIB)
LARGE = Device("Vulkan2", "NVIDIA GeForce RTX 3080 Ti", 12 * GIB, 11 * GIB)


def test_the_card_with_the_most_free_is_suggested_and_a_real_one_first() -> None:
    assert suggest([SHARED, SMALL, LARGE], 5 * GIB) == LARGE
    assert suggest([SHARED, SMALL], 5 * GIB) == SMALL


def test_one_that_shares_main_memory_is_suggested_where_nothing_else_fits() -> None:
    assert suggest([SHARED, SMALL, LARGE], 15 * GIB) == SHARED


def test_several_of_one_backend_share_what_fits_on_none_of_them() -> None:
    cards = [SHARED, SMALL, LARGE, replace(LARGE, name="CUDA0")]
    assert suggest_several(cards, 5 * GIB) == (LARGE,)
    assert suggest_several(cards, 30 * GIB) == (SMALL, LARGE)
    assert suggest_several([SHARED], 30 * GIB) == (SHARED,)
    assert suggest_several([], 1) == ()


def test_nothing_is_suggested_where_it_fits_nowhere() -> None:
    assert suggest([SHARED, SMALL], 30 * GIB) is None
    assert suggest([], 0) is None
