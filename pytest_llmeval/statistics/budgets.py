"""Gates on what answers cost: latency, tokens, failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pytest_llmeval.records import Evidence, GateVerdict, Interval
from pytest_llmeval.statistics.gates import Decision
from pytest_llmeval.statistics.intervals import scaled_wilson, t_interval
from pytest_llmeval.statistics.metrics import mean_of_items
from pytest_llmeval.statistics.quantiles import quantile, quantile_interval, values_for_upper_bound
from pytest_llmeval.statistics.tipping import Extreme, taken_back, trials_words

Costs = Mapping[str, Sequence[float | None]]
"""For every item what each of its trials cost; None for a trial without an answer."""

_Groups = Mapping[str, Sequence[float]]


def latency_at_most(costs: Costs, limit: float, percentile: float) -> Decision:
    """Decide whether a percentile of the answers' milliseconds is at most `limit`.

    By the percentile's 95 % interval between order statistics: pass when its upper bound is at most
    the limit, fail when its lower bound is above, else inconclusive. Repeats of an item are no
    further answers to the interval. Trials without an answer are then all counted slow, and all
    fast: unless both leave the verdict, it is inconclusive. Nothing answered is inconclusive.
    """
    q = percentile / 100

    def interval_of(groups: _Groups) -> Interval:
        return quantile_interval(_pooled(groups), q, independent=len(groups))

    answered = _answered(costs)
    values = _pooled(answered)
    value, interval = quantile(values, q), interval_of(answered)
    limit_words = f"{limit:g} ms" if limit < 1000 else f"{limit / 1000:g} s"
    head = f"latency at most {limit_words} at the {_ordinal(percentile)} percentile"
    words = "fast", "slow"
    verdict, note = _decide(costs, limit, interval_of, (0.0, math.inf), words, widens=False)
    if value is None:
        return Decision("inconclusive", f"{head}: {_nothing(costs)}")
    why = f"{_time(value)} {_bounds(interval, _time)} over {_counted(len(values), 'answer')}"
    if verdict == "inconclusive" and interval.high is None:
        needed = values_for_upper_bound(q)
        why += f"; an upper bound needs at least {_counted(needed, 'item')}"
    evidence = Evidence(value, interval, len(values))
    return Decision(verdict, f"{head}: {why}{note}", evidence)


def tokens_at_most(costs: Costs, limit: float, most: float) -> Decision:
    """Decide whether an answer has at most `limit` tokens in the mean over items.

    By the 95 % t interval of the items' means, as `latency_at_most`; where all means are equal, t
    has no width and the scaled Wilson interval, stretched to [0, most], takes its place. An answer
    has at most `most` tokens, and so counts a trial without any when the worst is assumed. Fewer
    than two items with a count are inconclusive.
    """

    def interval_of(groups: _Groups) -> Interval:
        means = [math.fsum(values) / len(values) for values in groups.values()]
        if len(means) > 1 and max(means) == min(means) <= most:
            scaled = scaled_wilson([mean / most for mean in means])
            assert scaled.low is not None
            assert scaled.high is not None
            return Interval(most * scaled.low, most * scaled.high, scaled.method)
        return t_interval(means)

    answered = _answered(costs)
    mean = mean_of_items(answered.values())
    head = f"tokens at most {limit:g} an answer"
    if mean is None:
        return Decision("inconclusive", f"{head}: {_nothing(costs)}")
    interval = interval_of(answered)
    words = "empty", "full"
    verdict, note = _decide(costs, limit, interval_of, (0.0, most), words, widens=True)
    why = f"{mean:.1f} {_bounds(interval, '{:.1f}'.format)} over {_counted(len(answered), 'item')}"
    if len(answered) < 2:
        why += ", too few to tell: at least two are needed"
    return Decision(verdict, f"{head}: {why}{note}", Evidence(mean, interval, len(answered)))


def failures_at_most(reasons: Mapping[str, int], asked: int, limit: float) -> Decision:
    """Decide whether at most a share `limit` of the trials asked have failed.

    A plain count of this run, not an estimate: pass or fail. Nothing asked is inconclusive.
    `reasons` counts the failed trials by why they failed.
    """
    failed = sum(reasons.values())
    head = f"failures at most {100 * limit:g} %"
    if not asked:
        return Decision("inconclusive", f"{head}: nothing was asked")
    share = failed / asked
    told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    why = f"{failed:,} of {trials_words(asked)} failed" + (f" ({told})" if told else "")
    evidence = Evidence(share, Interval(None, None, "count"), asked)
    return Decision("pass" if share <= limit else "fail", f"{head}: {why}", evidence)


# The verdict --------------------------------------------------------------------------------------


def _decide(
    costs: Costs,
    limit: float,
    interval_of: Callable[[_Groups], Interval],
    extremes: tuple[float, float],
    words: tuple[str, str],
    *,
    widens: bool,
) -> tuple[GateVerdict, str]:
    """The verdict, and what to say of the trials without an answer.

    `extremes` are the least and the most that such a trial can have cost, `words` their names.
    `widens` says that any outlier widens the interval, that on the verdict's side too.
    """
    verdict = _verdict(interval_of(_answered(costs)), limit)
    slots = [item for item, values in costs.items() for value in values if value is None]

    def is_undone(value: float, opposite: float, count: int) -> bool:
        filled = {item: list(values) for item, values in _answered(costs).items()}
        for place, item in enumerate(slots):
            filled.setdefault(item, []).append(value if place < count else opposite)
        return _verdict(interval_of(filled), limit) != verdict

    least, most = extremes
    low = Extreme(words[0], partial(is_undone, least, most))
    high = Extreme(words[1], partial(is_undone, most, least))
    without = f"{trials_words(len(slots))} of {sum(map(len, costs.values())):,} without an answer"
    both = [low, high] if verdict == "fail" else [high, low]
    return taken_back(verdict, without, len(slots), both if widens else both[:1])


def _verdict(interval: Interval, limit: float) -> GateVerdict:
    if interval.high is not None and interval.high <= limit:
        return "pass"
    if interval.low is not None and interval.low > limit:
        return "fail"
    return "inconclusive"


def _answered(costs: Costs) -> dict[str, list[float]]:
    """The items that have an answer, without the trials that have none."""
    known = {item: [v for v in values if v is not None] for item, values in costs.items()}
    return {item: values for item, values in known.items() if values}


def _pooled(groups: _Groups) -> list[float]:
    return [value for values in groups.values() for value in values]


# Words --------------------------------------------------------------------------------------------


def _nothing(costs: Costs) -> str:
    asked = sum(map(len, costs.values()))
    return f"nothing to measure in {trials_words(asked)}" if asked else "nothing was asked"


def _bounds(interval: Interval, words: Callable[[float], str]) -> str:
    low, high = (
        "none" if bound is None else words(bound) for bound in (interval.low, interval.high)
    )
    return f"[{low}, {high}]"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def _time(milliseconds: float) -> str:
    """`840 ms`, `1.31 s`: three digits that mean something."""
    if milliseconds < 999.5:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.3g} s"


def _ordinal(percentile: float) -> str:
    """`95th`, `99.9th`, `1st`."""
    text = f"{percentile:g}"
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")
    return text + ("th" if "." in text or text[-2:-1] == "1" else ending)
