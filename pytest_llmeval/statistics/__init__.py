"""Statistics for evaluations, as pure functions: numbers in, records out, offline.

Throughout: scores lie in [0, 1]; `level` is two-sided confidence; what cannot be computed is None,
never NaN and never 0; an item counts once, however often it was asked. Nothing here reads a file, a
clock or a random state of its own: a seed is an argument.

Sums are exact (`math.fsum`), so that results do not depend on the order of the rows.
"""

from pytest_llmeval.statistics.budgets import (
    failures_at_most,
    latency_at_most,
    tokens_at_most,
)
from pytest_llmeval.statistics.comparisons import compare_all
from pytest_llmeval.statistics.gates import at_least
from pytest_llmeval.statistics.intervals import clopper_pearson, scaled_wilson, t_interval, wilson
from pytest_llmeval.statistics.metrics import measure
from pytest_llmeval.statistics.multiplicity import benjamini_hochberg, holm
from pytest_llmeval.statistics.paired import (
    mcnemar_exact,
    mcnemar_midp,
    newcombe_paired,
    paired_t_interval,
    sign_flip_test,
    tango_interval,
)
from pytest_llmeval.statistics.power import (
    items_for_gate,
    items_for_margin,
    items_for_paired_binary,
    smallest_provable_margin,
)
from pytest_llmeval.statistics.quantiles import quantile, quantile_interval
from pytest_llmeval.statistics.regression import not_worse, not_worse_verdict

__all__ = [
    "at_least",
    "benjamini_hochberg",
    "clopper_pearson",
    "compare_all",
    "failures_at_most",
    "holm",
    "items_for_gate",
    "items_for_margin",
    "items_for_paired_binary",
    "latency_at_most",
    "mcnemar_exact",
    "mcnemar_midp",
    "measure",
    "newcombe_paired",
    "not_worse",
    "not_worse_verdict",
    "paired_t_interval",
    "quantile",
    "quantile_interval",
    "scaled_wilson",
    "sign_flip_test",
    "smallest_provable_margin",
    "t_interval",
    "tango_interval",
    "tokens_at_most",
    "wilson",
]
