"""Libraries of the extra `metrics`, loaded when a suite names a scorer that needs one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pytest_llmeval.errors import MissingExtraError


def library(module: str, *, package: str, scorer: str) -> Any:
    """The module; raises MissingExtraError, with the pip line, when it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        what = f"scorer {scorer}"
        raise MissingExtraError(what, package=package, extra="metrics") from None
