"""The page's files: each is served, and goes into the wheel with the package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_llmeval.orchestrator.web.access import ASSETS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "pytest_llmeval" / "orchestrator" / "page"


def test_every_file_of_the_page_is_served_and_none_else() -> None:
    assert {f"/{path.name}" for path in PAGE.iterdir()} == ASSETS - {"/"} | {"/index.html"}


def test_the_wheel_takes_the_whole_package() -> None:
    """Hatch takes everything in a package that nothing excludes and git does not ignore."""
    tomllib = pytest.importorskip("tomllib", reason="came with Python 3.11")
    with (ROOT / "pyproject.toml").open("rb") as file:
        build = tomllib.load(file)["tool"]["hatch"]["build"]
    assert build["targets"].pop("wheel") == {"packages": ["pytest_llmeval"]}
    assert set(build) == {"targets"}  # nothing that counts for all targets


def test_git_ignores_no_file_of_the_page() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a clone: nothing says what is ignored")
    names = [str(path.relative_to(ROOT)) for path in sorted(PAGE.iterdir())]
    # --no-index: hatch reads the patterns and does not know what is tracked in spite of them.
    asked = [git, "check-ignore", "--no-index", "--verbose", *names]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (1, "")
