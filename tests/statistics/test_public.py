"""The procedures under one roof: all are there, and taking one from its module loads no other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_llmeval import statistics
from pytest_llmeval.statistics import public

LOADED = """
import sys
import pytest_llmeval.snapshots
print(*sorted(name for name in sys.modules if name.startswith("pytest_llmeval.statistics.")))
"""


def test_the_package_gives_every_procedure() -> None:
    for name in public.__all__:
        assert getattr(statistics, name) is getattr(public, name)


def test_what_is_none_is_refused_as_everywhere() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'wilsom'"):
        statistics.wilsom  # type: ignore[attr-defined] # noqa: B018 - that is what is tested


def test_snapshots_load_what_they_need_and_no_simulation() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    loaded = {name.removeprefix("pytest_llmeval.statistics.") for name in done.stdout.split()}
    assert "decline" in loaded
    assert not loaded & {"public", "simulation", "calibration", "anytime", "budgets", "gates"}
