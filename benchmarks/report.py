"""What the end of a large run costs, beside what others need for its statistics.

    python benchmarks/report.py [--smoke]

10,000 items × 20 pairs (two suites of five conditions each), from scores to significance.json and
both reports, once with right-or-wrong scores and once with graded ones, whose test draws 10,000
sign vectors. A process of its own each, so that memory is counted above its imports.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import psutil
from lines import Line

from pytest_llmeval.records import (
    Condition,
    Item,
    Message,
    PromptVariant,
    Sampling,
    Score,
    ScorerSpec,
    Suite,
    Trial,
)
from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.markdown import markdown_report
from pytest_llmeval.results.plan import plan_of
from pytest_llmeval.results.report import RunReport
from pytest_llmeval.results.significance import write_significance
from pytest_llmeval.run.conclusion import Worth, worth_of
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.scoring.scorer import score_of

SUITES, CONDITIONS = 2, 5
PAIRS = SUITES * CONDITIONS * (CONDITIONS - 1) // 2
RESAMPLES = 10_000

Values = list[float]


def run_of(items: int) -> Iterator[Trial]:
    """The trials of a run: `SUITES` suites of `items` items under `CONDITIONS` conditions."""
    prompt = PromptVariant("", (Message("user", "{{ q }}"),), "hash")
    for number in range(SUITES):
        asked = tuple(Item(f"i{n:06}", f"i{n:06}", {"q": str(n)}, "1") for n in range(items))
        suite = Suite(f"s{number}", f"s{number}.yaml", asked, "h", (prompt,), (ScorerSpec("s"),))
        for model in range(CONDITIONS):
            condition = Condition(f"m{model}", f"m{model}", prompt, Sampling(8))
            yield from trials_of(suite, condition)


def score(trial: Trial, *, graded: bool, rng: random.Random) -> Score:
    """A score that is better by a point from model to model."""
    mean = 0.7 + 0.01 * int(trial.condition.model[1:])
    if graded:
        return score_of("s", min(1.0, max(0.0, rng.gauss(mean, 0.3))))
    return score_of("s", float(rng.random() < mean))


def write_report(folder: Path, trials: Sequence[Trial], worth: Worth) -> None:
    """Everything that follows from the statistics."""
    report = RunReport(
        id="bench",
        started=datetime.now(timezone.utc).isoformat(),
        seconds=1.0,
        folder=".",
        path="report.html",
        plan=plan_of({}, trials, {}),
        models=(),
        versions={},
        metrics=worth.metrics,
        comparisons=worth.comparisons,
    )
    write_significance(
        folder / "significance.json", report.id, worth.metrics, worth.comparisons, seed=0
    )
    (folder / "report.md").write_text(markdown_report(report), encoding="utf-8", newline="\n")
    (folder / "report.html").write_text(html_report(report), encoding="utf-8", newline="\n")


def measure_here(items: int, *, graded: bool) -> dict[str, float]:
    """Conclude a run in this process: CPU seconds, and MiB above what stood before."""
    import numpy  # noqa: F401 - imports are not what is measured
    import scipy.special  # noqa: F401

    rng, process = random.Random(7), psutil.Process()
    trials = list(run_of(items))
    scores = {trial.id: (score(trial, graded=graded, rng=rng),) for trial in trials}
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), trials[:1], worth_of(trials[:CONDITIONS], {}))  # more imports
        before, began = process.memory_info().rss, time.process_time()
        worth = worth_of(trials, scores)
        write_report(Path(folder), trials, worth)
        cpu = time.process_time() - began
    memory = process.memory_info()
    peak = getattr(memory, "peak_wset", 0) or _peak_of_this_process() or memory.rss
    assert len(worth.comparisons) == PAIRS
    return {"cpu": cpu, "memory": (peak - before) / 2**20}


def _peak_of_this_process() -> int:
    """The largest resident size so far in bytes, 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def ours(items: int, kind: str) -> list[Line]:
    """The report of a run with scores of this kind."""
    command = [sys.executable, __file__, "--child", kind, "--items", str(items)]
    output = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    used = json.loads(output)
    size = f"{items:,} items x {PAIRS} pairs, {kind}"
    cpu, memory = used["cpu"], used["memory"]
    return [
        Line(f"{size}: CPU", f"{cpu:.2f} s", "<= 2 s", cpu <= 2),
        Line(f"{size}: memory", f"{memory:.0f} MiB", "<= 400 MiB", memory <= 400),
    ]


def others(items: int) -> list[Line]:
    """What others need for the statistics alone: one pair, stretched to as many pairs."""
    rng = random.Random(7)
    first, second = ([rng.gauss(mean, 0.3) for _ in range(items)] for mean in (0.7, 0.71))
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return [
        _stretched("scipy.stats.bootstrap, BCa, batches of 200", 1, scipy_bootstrap, differences),
        _stretched("plain loop, random.choices", 100, plain_loop, differences),
        _stretched("statsmodels, exact McNemar and Holm", 1, statsmodels_mcnemar, differences),
    ]


def _stretched(
    name: str, part: int, work: Callable[[Values, int], object], differences: Values
) -> Line:
    """Time one pair with a `part`th of the resamples, which are alike, and multiply."""
    began = time.process_time()
    work(differences, RESAMPLES // part)
    seconds = (time.process_time() - began) * part * PAIRS
    how = "one pair" if part == 1 else f"one pair, 1 in {part} resamples"
    return Line(f"  {name} (from {how})", f"{seconds:.2f} s", "for scale", reached=True)


def scipy_bootstrap(differences: Values, resamples: int) -> object:
    """SciPy's interval of a mean difference."""
    import numpy as np
    from scipy import stats

    return stats.bootstrap(
        (np.asarray(differences),), np.mean, n_resamples=resamples, batch=200, method="BCa"
    )


def plain_loop(differences: Values, resamples: int) -> object:
    """The loop that many harnesses have."""
    rng, n = random.Random(1), len(differences)
    return sorted(sum(rng.choices(differences, k=n)) / n for _ in range(resamples))


def statsmodels_mcnemar(differences: Values, _: int) -> object:
    """The exact test for right-or-wrong scores, and the correction for many pairs."""
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests

    b = sum(difference > 0.5 for difference in differences)
    c = sum(difference < -0.5 for difference in differences)
    p = mcnemar([[0, b], [c, 0]], exact=True).pvalue
    return multipletests([p] * PAIRS, method="holm")


def lines(*, smoke: bool) -> Iterator[Line]:
    """All figures, ours first."""
    items = 500 if smoke else 10_000
    for kind in ("binary", "graded"):
        yield from ours(items, kind)
    yield from others(items)


def main() -> None:
    """Print every figure beside its goal, or be the process that is measured."""
    parser = argparse.ArgumentParser(description="What the end of a large run costs")
    parser.add_argument("--smoke", action="store_true", help="few items")
    parser.add_argument("--child", choices=["binary", "graded"], help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, default=10_000, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure_here(given.items, graded=given.child == "graded")))
        return
    for line in lines(smoke=given.smoke):
        line.show(judged=not given.smoke)


if __name__ == "__main__":
    main()
