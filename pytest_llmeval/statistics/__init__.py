"""Statistics for evaluations, as pure functions: numbers in, records out, offline.

Throughout: scores lie in [0, 1]; `level` is two-sided confidence; what cannot be computed is None,
never NaN and never 0; an item counts once, however often it was asked. Nothing here reads a file, a
clock or a random state of its own: a seed is an argument.

Sums are exact (`math.fsum`), so that results do not depend on the order of the rows.
"""

from pytest_llmeval.statistics.calibration import brier, ece, log_loss
from pytest_llmeval.statistics.comparisons import compare_all
from pytest_llmeval.statistics.equivalence import tost_paired, tost_paired_binary
from pytest_llmeval.statistics.gates import at_least
from pytest_llmeval.statistics.intervals import clopper_pearson, scaled_wilson, t_interval, wilson
from pytest_llmeval.statistics.metrics import measure
from pytest_llmeval.statistics.missing import unsupported_sensitivity
from pytest_llmeval.statistics.multiplicity import benjamini_hochberg, holm
from pytest_llmeval.statistics.paired import (
    mcnemar_exact,
    mcnemar_midp,
    newcombe_paired,
    paired_t_interval,
    sign_flip_test,
    tango_interval,
)
from pytest_llmeval.statistics.pass_rates import (
    flaky_upper_bound,
    mean_pass_at_k,
    mean_pass_hat_k,
    pass_at_k,
    pass_hat_k,
)
from pytest_llmeval.statistics.power import (
    items_for_gate,
    items_for_paired_binary,
    items_general,
    items_unpaired_binary,
    minimum_detectable_difference,
    minimum_detectable_effect,
    smallest_provable_margin,
)
from pytest_llmeval.statistics.regression import not_worse_verdict
from pytest_llmeval.statistics.simulation import measured_rates

__all__ = [
    "at_least",
    "benjamini_hochberg",
    "brier",
    "clopper_pearson",
    "compare_all",
    "ece",
    "flaky_upper_bound",
    "holm",
    "items_for_gate",
    "items_for_paired_binary",
    "items_general",
    "items_unpaired_binary",
    "log_loss",
    "mcnemar_exact",
    "mcnemar_midp",
    "mean_pass_at_k",
    "mean_pass_hat_k",
    "measure",
    "measured_rates",
    "minimum_detectable_difference",
    "minimum_detectable_effect",
    "newcombe_paired",
    "not_worse_verdict",
    "paired_t_interval",
    "pass_at_k",
    "pass_hat_k",
    "scaled_wilson",
    "sign_flip_test",
    "smallest_provable_margin",
    "t_interval",
    "tango_interval",
    "tost_paired",
    "tost_paired_binary",
    "unsupported_sensitivity",
    "wilson",
]
