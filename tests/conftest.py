"""What all rooms' tests share: pytest's own fixture, the real llama.cpp, and a port of nobody."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test is about durations, and a busy machine must fail none.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Under GitHub Actions every inner session would put its report on the page of the real one.
os.environ.pop("GITHUB_STEP_SUMMARY", None)

pytest_plugins = ["pytester"]

UNPACKED = Path(__file__).resolve().parents[1] / ".llama-cpp"


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders that nobody has made yet, one after the other."""
    base = tmp_path_factory.mktemp("caches")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(scope="session", autouse=True)
def _no_users_cache(_caches: Iterator[Path]) -> Iterator[None]:
    """Fixtures of whole modules keep nothing with the user either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMEVAL_CACHE", str(next(_caches)))
        yield


@pytest.fixture(autouse=True)
def _own_cache(_caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins without answers that another one was given."""
    monkeypatch.setenv("LLMEVAL_CACHE", str(next(_caches)))


@pytest.fixture(scope="session")
def llama_cpp_folder() -> Path:
    """Where llama-cpp-python and llama.cpp's programs are unpacked: `llama_cpp/` and `bin/`.

    LLMEVAL_LLAMA_CPP names another folder than the one that tools/llama_cpp.py fills.
    """
    folder = Path(os.environ.get("LLMEVAL_LLAMA_CPP") or UNPACKED)
    if not (folder / "llama_cpp").is_dir():
        pytest.skip(
            f"no llama-cpp-python in {folder}: build it once with python tools/dev.py llama-cpp "
            "(needs a C++ compiler), or name a folder that has it with LLMEVAL_LLAMA_CPP"
        )
    return folder.absolute()


@pytest.fixture(scope="session")
def real_llama_server(llama_cpp_folder: Path) -> Path:
    """The real llama-server, an executable."""
    suffix = ".exe" if sys.platform == "win32" else ""
    server = llama_cpp_folder / "bin" / f"llama-server{suffix}"
    if not server.is_file():
        pytest.skip(f"{llama_cpp_folder} has no llama-server: python tools/dev.py llama-cpp")
    return server


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that is taken, so that nobody else can, and that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
