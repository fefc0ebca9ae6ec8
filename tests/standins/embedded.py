"""No stand-in but the real thing: llama.cpp's server with one of the shipped models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"


def embedded(model: str, folder: Path, port: int = 0) -> Iterator[str]:
    """The url of a server with two slots, for a fixture to yield from; its log goes to a folder."""
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    command = [sys.executable, "-m", "pytest_llmeval.servers.embedded", "--lifeline"]
    command += ["-m", str(MODELS / f"{model}.gguf"), "--port", str(port)]
    command += ["-np", "2", "-c", "1024", "-t", "1"]
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
        )
    assert child.stdout is not None
    assert child.stdin is not None
    told = next(line for line in child.stdout if line.startswith("embedded: listening on "))
    yield told.split()[-1]
    child.stdin.close()
    child.wait()
    child.stdout.close()
