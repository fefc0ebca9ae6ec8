"""What the scores are worth: metrics, comparisons, gates with their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_llmeval.records.asked import GateSpec

GateVerdict = Literal["pass", "fail", "inconclusive", "no_change"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval and the name of its method; the bounds are None when it has none."""

    low: float | None
    high: float | None
    method: str
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Metric:
    """A mean score of one scorer over one suite under one condition, and everything it rests on.

    `trials` were planned and `answered` had an outcome other than failure; `items` is the number
    of distinct items behind `answered` and the n of the interval. `mean` counts no answer as 0;
    `complete_case` leaves it out. Both are None when nothing was answered.

    `interval` speaks of items like these. Where items were asked repeatedly, `fixed_set` speaks of
    these very items, asked again. Of few binary scores, or all alike, `exact` is the careful
    interval beside it.
    """

    suite: str
    condition: str
    scorer: str
    headline: bool
    trials: int
    answered: int
    items: int
    right: int
    mean: float | None
    interval: Interval
    complete_case: float | None
    no_answer: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    fixed_set: Interval | None = None
    exact: Interval | None = None

    @property
    def incomplete(self) -> bool:
        """Some trials have no outcome but a failure, or were never asked."""
        return self.answered < self.trials


@dataclass(frozen=True, slots=True)
class Effect:
    """How large a difference is, beside its points. What is undefined or infinite is None.

    Of binary scores `cohen_h`, and `odds_ratio` of the discordant items (first over second) with
    its interval; of graded ones `d_z`, the mean difference over its standard deviation.
    """

    cohen_h: float | None = None
    odds_ratio: float | None = None
    odds_ratio_interval: Interval | None = None
    d_z: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A pair's verdict under one assumption about the missing; undefined figures are None.

    `sign` is 1 when the first side is ahead, -1 when the second is, 0 when they are level; `p` is
    uncorrected, and `significant` when below the level that is left after the pair's correction.
    """

    items: int
    difference: float | None
    interval: Interval
    test: str
    p: float | None
    significant: bool
    sign: int | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Four readings of one comparison, and how many missing items its verdict hangs on.

    `missing` items lack a score on some side, `missing_first` on the first, `missing_second` on the
    second. `tipping_count` is None when no values of the missing could undo the verdict.
    """

    complete_case: Reading
    missing_is_zero: Reading
    worst_for_first: Reading
    best_for_first: Reading
    missing: int
    missing_first: int
    missing_second: int
    tipping_count: int | None

    @property
    def conclusion_robust(self) -> bool:
        """All four readings agree in sign and in significance."""
        readings = (
            self.complete_case,
            self.missing_is_zero,
            self.worst_for_first,
            self.best_for_first,
        )
        found = {(reading.sign, reading.significant) for reading in readings}
        return len(found) == 1 and self.complete_case.sign is not None


@dataclass(frozen=True, slots=True)
class Corpus:
    """How likely the texts of a suite are under one condition, all taken together.

    `nats` is the log likelihood of all `tokens` and `bytes`, of so many `items`. A perplexity is by
    the token, so that only models of one tokeniser can be compared by it; bits per byte compare
    any. Both are None where nothing was answered.
    """

    suite: str
    condition: str
    items: int
    tokens: int
    bytes: int
    nats: float
    perplexity: float | None
    perplexity_interval: Interval
    bits_per_byte: float | None
    bits_per_byte_interval: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two conditions on the items that both answered, paired by item.

    `difference` is first minus second, in [-1, 1]. `only_first` and `only_second` count discordant
    items (binary scores without repeats), else they are None. `dropped` items were answered by one
    side only. `p` and `p_adjusted` are None when no test is defined. `p_exact` is McNemar's
    exact p beside the mid-p. `fixed_set` is the interval for these very items, asked again, where
    both sides were asked repeatedly. `sensitivity` is None where every trial was judged.
    """

    suite: str
    scorer: str
    first: str
    second: str
    items: int
    dropped: int
    difference: float | None
    interval: Interval
    test: str
    p: float | None
    p_adjusted: float | None
    correction: str
    family: int
    only_first: int | None = None
    only_second: int | None = None
    items_needed: int | None = None
    p_exact: float | None = None
    effect: Effect = Effect()
    fixed_set: Interval | None = None
    sensitivity: Sensitivity | None = None
    alpha: float = 0.05

    @property
    def real(self) -> bool:
        """The difference survives its correction at `alpha`."""
        return self.p_adjusted is not None and self.p_adjusted < self.alpha

    @property
    def alpha_alone(self) -> float:
        """The p, uncorrected, below which this pair would be real, its family being what it is."""
        if not self.p or self.p_adjusted is None or self.p_adjusted >= 1:
            return self.alpha / max(1, self.family)
        return self.alpha / min(max(1.0, self.p_adjusted / self.p), self.family)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The numbers behind a gate's verdict, in the unit of its limit.

    `value` is a mean or a share in [0, 1], a difference to the baseline in [-1, 1], milliseconds,
    or tokens; `n` is the number of items behind it, of answers for a latency, of trials for
    failures. `smallest_margin` is the smallest one for which as many items could prove "not worse".
    """

    value: float | None
    interval: Interval
    n: int
    smallest_margin: float | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """What became of a gate, with the sentence that says why; no evidence where none was read."""

    suite: str
    gate: GateSpec
    verdict: GateVerdict
    message: str
    evidence: Evidence | None = None

    @property
    def fails(self) -> bool:
        """Whether it fails the session: also when nothing was decided and the suite forbids it."""
        if self.verdict == "inconclusive":
            return self.gate.inconclusive == "fail"
        return self.verdict == "fail"
