"""Statistics for evaluations, as pure functions: numbers in, records out, offline.

Throughout: scores lie in [0, 1]; `level` is two-sided confidence; what cannot be computed is None,
never NaN and never 0; an item counts once, however often it was asked. Nothing here reads a file, a
clock or a random state of its own: a seed is an argument.

Sums are exact (`math.fsum`), so that results do not depend on the order of the rows.
"""

from pytest_llmeval.statistics.anytime import (
    anytime_interval,
    at_least_anytime,
    compare_anytime,
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
    items_for_paired_binary,
    smallest_provable_margin,
)
from pytest_llmeval.statistics.sequential import (
    anytime_p,
    betting_interval,
    e_process,
    robbins_interval,
    running_anytime_p,
)

__all__ = [
    "anytime_interval",
    "anytime_p",
    "at_least",
    "at_least_anytime",
    "benjamini_hochberg",
    "betting_interval",
    "clopper_pearson",
    "compare_all",
    "compare_anytime",
    "e_process",
    "holm",
    "items_for_gate",
    "items_for_paired_binary",
    "mcnemar_exact",
    "mcnemar_midp",
    "measure",
    "newcombe_paired",
    "paired_t_interval",
    "robbins_interval",
    "running_anytime_p",
    "scaled_wilson",
    "sign_flip_test",
    "smallest_provable_margin",
    "t_interval",
    "tango_interval",
    "wilson",
]
