"""What all rooms' tests share: pytest's own fixture for testing plugins, and a port of nobody."""

import os
import socket
from collections.abc import Iterator

import pytest

# Under GitHub Actions every inner session would put its report on the page of the real one.
os.environ.pop("GITHUB_STEP_SUMMARY", None)

pytest_plugins = ["pytester"]


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that is taken, so that nobody else can, and that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
