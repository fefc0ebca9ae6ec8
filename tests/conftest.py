"""What all rooms' tests share: pytest's own fixture for testing plugins, and llama.cpp's build."""

import os
import sys
from pathlib import Path

import pytest

# Under GitHub Actions every inner session would put its report on the page of the real one.
os.environ.pop("GITHUB_STEP_SUMMARY", None)

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def llama_cpp_folder() -> Path:
    """The folder into which the wheel with llama.cpp's own programs was unpacked."""
    named = os.environ.get("LLMEVAL_LLAMA_CPP")
    folder = Path(named) if named else Path(__file__).parents[1] / ".llama-cpp"
    if not (folder / "bin").is_dir():
        pytest.skip(f"no build of llama.cpp in {folder}: LLMEVAL_LLAMA_CPP names none")
    return folder


@pytest.fixture(scope="session")
def real_llama_server(llama_cpp_folder: Path) -> Path:
    """The real llama-server executable."""
    name = "llama-server.exe" if sys.platform == "win32" else "llama-server"
    return llama_cpp_folder / "bin" / name
