"""Libraries of the extra `metrics`, loaded when a suite names a scorer that needs one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pytest_llmeval.errors import MissingExtraError


def check_installed(*modules: str, package: str, scorer: str) -> None:
    """Raise MissingExtraError, with the pip line, when a module is not there; load nothing."""
    if not all(map(_is_there, modules)):
        raise _missing(package, scorer)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is not there, or a stand-in without a spec
        return False


def library(module: str, *, package: str, scorer: str) -> Any:
    """The module; raises MissingExtraError, with the pip line, when it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise _missing(package, scorer) from None


def _missing(package: str, scorer: str) -> MissingExtraError:
    return MissingExtraError(f"scorer {scorer}", package=package, extra="metrics")
