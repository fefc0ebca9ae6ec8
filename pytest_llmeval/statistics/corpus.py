"""How well a model predicts a whole collection of texts: perplexity and bits per byte.

Both are ratios of sums over all texts, as if they were one, and not means over texts: a long text
counts for as much as it is. What is drawn again for their intervals is whole items, since the
tokens of one text are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmeval.records import Corpus, Interval
from pytest_llmeval.statistics.checks import check_finite
from pytest_llmeval.statistics.paired import NO_DIFFERENCE
from pytest_llmeval.statistics.resampling import bootstrap_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TextMeasure(NamedTuple):
    """One text, an item's: its log likelihood in nats, and how long it is."""

    item: str
    nats: float
    tokens: int
    bytes: int


def measure_corpus(
    suite: str,
    condition: str,
    texts: Iterable[TextMeasure],
    level: float = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Corpus:
    """Perplexity exp(-nats / tokens) and bits per byte -nats / (ln 2 bytes), each summed up.

    The intervals are percentiles of the ratios over resampled items (an item with its repeats is
    one), with one set of draws for both; of few items they are too short. No text at all has no
    figures, one item no bounds, and so have items that are all alike. The order of the texts does
    not matter. Source: Efron 1979.

    Raises:
        ValueError: a figure is not finite, or a text has no token or byte.

    """
    sums: dict[str, tuple[float, int, int]] = {}
    for text in texts:
        check_finite([text.nats])
        if text.tokens < 1 or text.bytes < 1:
            raise ValueError(f"the text of item {text.item} has no token or no byte")
        nats, tokens, size = sums.get(text.item, (0.0, 0, 0))
        sums[text.item] = nats + text.nats, tokens + text.tokens, size + text.bytes
    rows = [sums[item] for item in sorted(sums)]
    nats = math.fsum(row[0] for row in rows)
    tokens, size = sum(row[1] for row in rows), sum(row[2] for row in rows)
    by_token, by_byte = _intervals(rows, level, resamples, seed)
    return Corpus(
        suite=suite,
        condition=condition,
        items=len(rows),
        tokens=tokens,
        bytes=size,
        nats=nats,
        perplexity=math.exp(-nats / tokens) if rows else None,
        perplexity_interval=_mapped(by_token, math.exp),
        bits_per_byte=-nats / size / math.log(2) if rows else None,
        bits_per_byte_interval=_mapped(by_byte, lambda nats: nats / math.log(2)),
    )


def _intervals(
    rows: list[tuple[float, int, int]], level: float, resamples: int, seed: int
) -> tuple[Interval, Interval]:
    """Of the nats lost by the token and by the byte."""
    nothing = Interval(None, None, "bootstrap", level)
    if len(rows) < 2:
        return nothing, nothing
    columns = [[float(row[place]) for row in rows] for place in range(3)]
    means = bootstrap_means(columns, resamples=resamples, seed=seed)
    return (
        _percentiles(-means[:, 0] / means[:, 1], level),
        _percentiles(-means[:, 0] / means[:, 2], level),
    )


def _percentiles(ratios: NDArray[np.float64], level: float) -> Interval:
    import numpy as np

    if ratios.max() - ratios.min() <= NO_DIFFERENCE:
        return Interval(None, None, "bootstrap", level)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), "bootstrap", level)


def _mapped(interval: Interval, change: Callable[[float], float]) -> Interval:
    """The interval of something that rises with what the given one is of."""
    if interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=change(interval.low), high=change(interval.high))
