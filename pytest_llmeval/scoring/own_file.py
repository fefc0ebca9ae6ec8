"""Scorers of one's own in a file, where no pytest is there to import its conftest.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from pytest_llmeval.errors import ScorerError


def load_scorers(path: Path) -> None:
    """Run a Python file, so that the scorers in it register themselves.

    As under pytest, its folder is where its own imports are looked for first. Raises ScorerError
    when there is no such file, when it is no Python file, and when it cannot be run.
    """
    path = path.absolute()
    if path.suffix != ".py" or not path.is_file():
        what = "no Python file (.py)" if path.is_file() else "no such file"
        raise ScorerError(f"{what}; --scorers takes the file that registers them", path=path)
    name = f"llmeval_scorers_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look up the types of their fields
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ScorerError(f"cannot be run: {type(error).__name__}: {error}", path=path) from error
