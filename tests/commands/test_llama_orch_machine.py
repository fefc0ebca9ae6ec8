"""`llama-orch devices` and `estimate`, on this machine and before a llama-server that has cards."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llama_orch.app import app

MODEL = Path(__file__).parents[2] / "models" / "tiny-l.gguf"

LISTED = """\
Available devices:
  CUDA0: NVIDIA GeForce RTX 3080 Ti (11909 MiB, 11650 MiB free)
  Vulkan0: AMD Radeon Graphics (RADV RENOIR) (16368 MiB, 16100 MiB free)
  SYCL0: Intel(R) Arc(TM) A770 Graphics (15473 MiB, 15473 MiB free)
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; what it keeps of devices lies below tmp_path, and no driver is asked."""
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    monkeypatch.setitem(sys.modules, "pynvml", None)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


@pytest.fixture
def with_cards(tmp_path: Path) -> str:
    """A llama-server that lists three."""
    if sys.platform == "win32":
        pytest.skip("a stand-in executable in one line of text needs a POSIX shell")
    path = tmp_path / "llama-server"
    path.write_text(f"#!/bin/sh\nprintf '%s' '{LISTED}'\n", encoding="utf-8", newline="\n")
    path.chmod(0o755)
    return str(path)


# Devices ------------------------------------------------------------------------------------------


def test_devices_are_told_with_what_is_free_and_what_a_config_says(
    run: Run, with_cards: str
) -> None:
    result = run("devices", "--executable", with_cards)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:-2] == [
        "CUDA0: NVIDIA GeForce RTX 3080 Ti  <- the most room",
        "    11.4 GiB of 11.6 GiB free",
        "    gpu: {backend: cuda, device_id: 0}",
        "Vulkan0: AMD Radeon Graphics (RADV RENOIR)",
        "    15.7 GiB of 16.0 GiB free, part of main memory",
        "    gpu: {backend: vulkan, device_id: 0}",
        "SYCL0: Intel(R) Arc(TM) A770 Graphics",
        "    15.1 GiB of 15.1 GiB free",
        "    of a backend that llama-orch does not know",
    ]
    assert lines[-2].startswith("CPU: ")
    assert lines[-1] == "    gpu: {backend: cpu}"


def test_devices_are_told_as_json(run: Run, with_cards: str) -> None:
    said = json.loads(run("devices", "--executable", with_cards, "--json").stdout)
    assert said["devices"][0] == {
        "name": "CUDA0",
        "description": "NVIDIA GeForce RTX 3080 Ti",
        "backend": "cuda",
        "device_id": 0,
        "total": 11909 * 2**20,
        "free": 11650 * 2**20,
        "integrated": False,
    }
    assert said["suggested"] == "CUDA0"
    assert said["ram_free"] > 0


def test_without_a_card_that_is_said_in_a_friendly_line(run: Run, real_llama_server: Path) -> None:
    result = run("devices", "--executable", str(real_llama_server))
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "No GPU: llama.cpp lists none, so that models are computed on the CPU.\n"
    )
    said = json.loads(run("devices", "--executable", str(real_llama_server), "--json").stdout)
    assert (said["devices"], said["suggested"]) == ([], None)


def test_a_llama_server_that_is_not_there_is_told_with_the_ways_out(run: Run) -> None:
    result = run("devices", "--executable", "no-such-server")
    assert result.exit_code == 1
    assert "no executable 'no-such-server' to ask for devices" in result.stderr
    assert "--executable PATH" in result.stderr
    assert "engine: embedded" in result.stderr


# Estimates ----------------------------------------------------------------------------------------


def test_an_estimate_tells_weights_cache_and_whether_it_fits(run: Run) -> None:
    arguments = ("--slots", "2", "--context", "500", "--executable", "no-such-server")
    result = run("estimate", str(MODEL), *arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "tiny-l.gguf: 2 slots with 512 tokens of context each",
        "             main memory      device",
        "weights            1 MiB           -",
        "cache              2 MiB           -",
        "beside           256 MiB           -",
        "together         260 MiB           -",
        "It fits: about 260 MiB of main memory",
        "Note: devices are not known: there is no executable 'no-such-server' to ask for devices",
    ]


def test_where_there_is_a_device_all_layers_are_taken_to_lie_on_it(
    run: Run, with_cards: str
) -> None:
    lines = run("estimate", str(MODEL), "--executable", with_cards).stdout.splitlines()
    assert "together         256 MiB     1.0 GiB" in lines
    assert lines[6].startswith("It fits: about 256 MiB of main memory and 1.0 GiB of the device's")
    assert lines[6].endswith(" (on CUDA0, NVIDIA GeForce RTX 3080 Ti)")
    assert lines[7] == "Note: the model was trained for 1,024 tokens of context only"


def test_cards_of_one_backend_share_what_is_too_large_for_one(
    run: Run, tmp_path: Path, with_cards: str
) -> None:
    text = Path(with_cards).read_text(encoding="utf-8")
    second = "  CUDA1: NVIDIA RTX A4000 (16000 MiB, 15000 MiB free)\n"
    program = tmp_path / "with-two"
    program.write_text(text.replace("  Vulkan0", f"{second}  Vulkan0"), "utf-8", newline="\n")
    program.chmod(0o755)
    arguments = ("--slots", "4", "--context", "2000000", "--executable", str(program))
    last = run("estimate", str(MODEL), *arguments).stdout.splitlines()[6]
    assert last.startswith("It fits: about 256 MiB of main memory and ")
    assert last.endswith("(on CUDA0, NVIDIA GeForce RTX 3080 Ti and CUDA1, NVIDIA RTX A4000)")


def test_without_a_device_it_is_unknown_whether_layers_fit_on_one(run: Run) -> None:
    arguments = ("--gpu-layers", "all", "--executable", "no-such-server", "--json")
    said = json.loads(run("estimate", str(MODEL), *arguments).stdout)
    assert (said["verdict"], said["why"]) == ("unknown", "llama.cpp lists no such device")
    assert said["gpu_layers"] == "all"
    assert said["together"]["device"] > 2**30


def test_what_does_not_fit_is_told_with_what_is_short(run: Run) -> None:
    result = run("estimate", str(MODEL), "--context", "2000000000", "--executable", "nothing")
    assert "It does not fit: about" in result.stdout
    assert "of main memory too little is free. Bring others down" in result.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        (b"", "is empty"),
        (b"<html>", "is no GGUF: it is a web page"),
        (MODEL.read_bytes()[:5000], "is truncated or damaged"),
    ],
)
def test_a_model_that_is_none_is_told(
    run: Run, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    result = run("estimate", str(path))
    assert result.exit_code == 1
    assert f"m.gguf: {words}" in result.stderr


def test_layers_that_are_no_number_are_a_mistake_of_the_command_line(run: Run) -> None:
    result = run("estimate", str(MODEL), "--gpu-layers", "some")
    assert result.exit_code == 2
    assert "expected a number of layers" in result.stderr
