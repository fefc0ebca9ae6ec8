"""Arrays of numpy are taken like lists of numbers, and give the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from pytest_llmeval import statistics

SCORES = [0.0, 1.0, 0.5, 1.0, 0.25, 0.0, 1.0, 1.0, 0.5, 0.75, 1.0, 0.0]
OTHERS = [1.0, 1.0, 0.0, 1.0, 0.5, 0.0, 0.0, 1.0, 1.0, 0.75, 0.5, 1.0]
CLUSTERS = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
TABLE = [[1, 0, 1], [0, 0, 1], [1, 1, 1], [1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (statistics.scaled_wilson, (SCORES,)),
        (statistics.t_interval, (SCORES,)),
        (statistics.bca, (SCORES,)),
        (statistics.max_t_bands, ([SCORES, OTHERS],)),
        (statistics.cluster_interval, (SCORES, CLUSTERS)),
        (statistics.cr1_interval, (SCORES, CLUSTERS)),
        (statistics.repeats_interval, (TABLE,)),
        (statistics.fixed_set_difference, (TABLE, TABLE[::-1])),
        (statistics.paired_cluster_interval, (SCORES, CLUSTERS)),
        (statistics.cluster_sign_flip_test, (SCORES, CLUSTERS)),
        (statistics.sign_flip_test, (SCORES,)),
        (statistics.paired_t_interval, (SCORES,)),
        (statistics.cochran_q, (TABLE,)),
        (statistics.friedman, (TABLE,)),
        (statistics.holm, (SCORES,)),
        (statistics.benjamini_yekutieli, (SCORES,)),
        (partial(statistics.tost_paired, margin=0.1), (SCORES,)),
        (partial(statistics.quantile, q=0.3), (SCORES,)),
        (partial(statistics.quantile_interval, q=0.3), (SCORES,)),
        (statistics.brier, (SCORES, TABLE[0] * 4)),
        (statistics.welch_interval, (SCORES, OTHERS)),
        (statistics.welch_test, (SCORES, OTHERS)),
        (statistics.cohen_d_z, (SCORES,)),
        (partial(statistics.cohen_kappa, weights="linear"), (CLUSTERS, CLUSTERS[::-1])),
        (statistics.fleiss_kappa, (TABLE,)),
        (partial(statistics.krippendorff_alpha, scale="ordinal"), (TABLE,)),
        (statistics.position_consistency, (CLUSTERS, CLUSTERS[::-1])),
    ],
)
def test_arrays_are_taken_like_lists(
    function: Callable[..., object], arguments: tuple[list[object], ...]
) -> None:
    assert function(*map(np.array, arguments)) == function(*arguments)


def test_resamples_of_an_array_are_those_of_a_list() -> None:
    array: Any = np.array([SCORES, OTHERS])
    of_array = statistics.bootstrap_means(array, resamples=50)
    assert (of_array == statistics.bootstrap_means([SCORES, OTHERS], resamples=50)).all()
