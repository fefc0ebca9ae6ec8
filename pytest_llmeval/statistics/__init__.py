"""Statistics for evaluations, as pure functions: numbers in, records out, offline.

Throughout: scores lie in [0, 1]; `level` is two-sided confidence; what cannot be computed is None,
never NaN and never 0; an item counts once, however often it was asked. Nothing here reads a file, a
clock or a random state of its own: a seed is an argument.

Sums are exact (`math.fsum`), so that results do not depend on the order of the rows.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_llmeval.statistics.public import *  # noqa: F403 - its __all__ says what
else:

    def __getattr__(name: str) -> object:
        """Load all procedures where one is asked of the package, and none where of its module."""
        public = import_module("pytest_llmeval.statistics.public")
        if name in public.__all__:
            return getattr(public, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
