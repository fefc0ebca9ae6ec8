"""What is known to be true: the chances of outcomes, and the shapes scores are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

DISCORDANCES = (0.02, 0.03, 0.05, 0.1, 0.2, 0.3)
"""On what share of the items two conditions disagree."""


def shapes() -> dict[str, tuple[float, Draw]]:
    """Graded scores as they occur: the true mean of each shape, and how to draw from it."""
    import numpy as np

    def mixed(ones: float, zeros: float) -> Draw:
        def draw(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
            which, spread = random.random(size), random.random(size)
            return np.where(which < ones, 1.0, np.where(which < ones + zeros, 0.0, spread))

        return draw

    def beta(a: float, b: float) -> Draw:
        return lambda random, size: random.beta(a, b, size)

    return {
        "92 % ones": (0.96, mixed(0.92, 0.0)),
        "60 % ones, 15 % zeros": (0.725, mixed(0.6, 0.15)),
        "U-shape": (0.75, beta(0.3, 0.1)),
        "smooth": (2 / 7, beta(2, 5)),
    }


def binomial(n: int, p: float) -> NDArray[np.float64]:
    """The chances of 0 to n successes."""
    import numpy as np
    from scipy.special import gammaln, xlogy

    k = np.arange(n + 1)
    counts = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    chances: NDArray[np.float64] = np.exp(counts + xlogy(k, p) + xlogy(n - k, 1 - p))
    return chances


def generator(*seeds: int) -> np.random.Generator:
    """Random numbers of their own for each setting, so that one does not move the others."""
    import numpy as np

    return np.random.default_rng(seeds)
