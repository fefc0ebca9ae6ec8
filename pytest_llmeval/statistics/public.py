"""All procedures under one roof: what `from pytest_llmeval.statistics import ...` gives."""

from pytest_llmeval.statistics.agreement import (
    PositionConsistency,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    position_consistency,
)
from pytest_llmeval.statistics.anytime import (
    anytime_interval,
    at_least_anytime,
    compare_anytime,
)
from pytest_llmeval.statistics.budgets import (
    failures_at_most,
    latency_at_most,
    tokens_at_most,
)
from pytest_llmeval.statistics.calibration import (
    brier,
    ece,
    log_loss,
)
from pytest_llmeval.statistics.clusters import (
    ClusteredMean,
    cluster_interval,
    cr1_interval,
)
from pytest_llmeval.statistics.comparisons import (
    compare_all,
)
from pytest_llmeval.statistics.corpus import (
    TextMeasure,
    measure_corpus,
)
from pytest_llmeval.statistics.effects import (
    OddsRatio,
    cohen_d_z,
    cohen_h,
    matched_odds_ratio,
)
from pytest_llmeval.statistics.equivalence import (
    tost_paired,
    tost_paired_binary,
)
from pytest_llmeval.statistics.gates import (
    at_least,
)
from pytest_llmeval.statistics.groups import (
    GroupMean,
    Stratum,
    macro_mean,
    micro_mean,
)
from pytest_llmeval.statistics.intervals import (
    beta_interval,
    clopper_pearson,
    scaled_wilson,
    t_interval,
    wilson,
)
from pytest_llmeval.statistics.metrics import (
    measure,
)
from pytest_llmeval.statistics.missing import (
    unsupported_sensitivity,
)
from pytest_llmeval.statistics.multiplicity import (
    benjamini_hochberg,
    benjamini_yekutieli,
    holm,
)
from pytest_llmeval.statistics.paired import (
    mcnemar_exact,
    mcnemar_midp,
    newcombe_paired,
    paired_t_interval,
    sign_flip_test,
    tango_interval,
)
from pytest_llmeval.statistics.paired_clusters import (
    cluster_sign_flip_test,
    paired_cluster_interval,
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
    items_for_margin,
    items_for_paired_binary,
    items_general,
    items_unpaired_binary,
    minimum_detectable_difference,
    minimum_detectable_effect,
    smallest_provable_margin,
)
from pytest_llmeval.statistics.quantiles import (
    quantile,
    quantile_interval,
)
from pytest_llmeval.statistics.regression import (
    not_worse,
    not_worse_verdict,
)
from pytest_llmeval.statistics.repeats import (
    FixedDifference,
    RepeatedMean,
    fixed_set_difference,
    repeats_interval,
)
from pytest_llmeval.statistics.resampling import (
    Bands,
    bca,
    bootstrap_means,
    max_t_bands,
)
from pytest_llmeval.statistics.sequential import (
    anytime_p,
    betting_interval,
    e_process,
    robbins_interval,
    running_anytime_p,
)
from pytest_llmeval.statistics.several import (
    Omnibus,
    cochran_q,
    friedman,
)
from pytest_llmeval.statistics.simulation import (
    measured_rates,
)
from pytest_llmeval.statistics.unpaired import (
    newcombe_unpaired,
    welch_interval,
    welch_test,
)

__all__ = [
    "Bands",
    "ClusteredMean",
    "FixedDifference",
    "GroupMean",
    "OddsRatio",
    "Omnibus",
    "PositionConsistency",
    "RepeatedMean",
    "Stratum",
    "TextMeasure",
    "anytime_interval",
    "anytime_p",
    "at_least",
    "at_least_anytime",
    "bca",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "beta_interval",
    "betting_interval",
    "bootstrap_means",
    "brier",
    "clopper_pearson",
    "cluster_interval",
    "cluster_sign_flip_test",
    "cochran_q",
    "cohen_d_z",
    "cohen_h",
    "cohen_kappa",
    "compare_all",
    "compare_anytime",
    "cr1_interval",
    "e_process",
    "ece",
    "failures_at_most",
    "fixed_set_difference",
    "flaky_upper_bound",
    "fleiss_kappa",
    "friedman",
    "holm",
    "items_for_gate",
    "items_for_margin",
    "items_for_paired_binary",
    "items_general",
    "items_unpaired_binary",
    "krippendorff_alpha",
    "latency_at_most",
    "log_loss",
    "macro_mean",
    "matched_odds_ratio",
    "max_t_bands",
    "mcnemar_exact",
    "mcnemar_midp",
    "mean_pass_at_k",
    "mean_pass_hat_k",
    "measure",
    "measure_corpus",
    "measured_rates",
    "micro_mean",
    "minimum_detectable_difference",
    "minimum_detectable_effect",
    "newcombe_paired",
    "newcombe_unpaired",
    "not_worse",
    "not_worse_verdict",
    "paired_cluster_interval",
    "paired_t_interval",
    "pass_at_k",
    "pass_hat_k",
    "position_consistency",
    "quantile",
    "quantile_interval",
    "repeats_interval",
    "robbins_interval",
    "running_anytime_p",
    "scaled_wilson",
    "sign_flip_test",
    "smallest_provable_margin",
    "t_interval",
    "tango_interval",
    "tokens_at_most",
    "tost_paired",
    "tost_paired_binary",
    "unsupported_sensitivity",
    "welch_interval",
    "welch_test",
    "wilson",
]
