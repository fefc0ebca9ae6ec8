"""reports/report.md: the run as text that reads well raw, in a pull request and in a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_llmeval.records import GateVerdict, Metric
from pytest_llmeval.results import pairs, rounding, wording
from pytest_llmeval.results.judges import JUDGES_ERR, judge_head, judge_rows, judge_trials_words
from pytest_llmeval.results.part_words import part_lines, shows_parts, telling_lines
from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.report import Example, RunReport
from pytest_llmeval.results.trust import preflight_words
from pytest_llmeval.visible import visible

_VERDICTS: dict[GateVerdict, str] = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "no_change": "NO CHANGE",
}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&$])")
# What begins a list, or is a rule, where a text begins a block; a lone `-` and `-1.5` stay.
_BLOCK = re.compile(r"^(?:([-+])(?= )|(\d{1,9})(?=[.)](?: |$))|(-)(?=(?: ?-){2,}$))")
# What GitHub and others make links of without being asked: addresses, people, issues. It takes an
# escape for the sign itself where it looks for people and issues, so that these are broken up.
_ADDRESS = re.compile(r"(?=://)|(?<=www)(?=\.)", re.IGNORECASE)
_MENTION = re.compile(r"@(?=\w)|(?:\\#|\bGH-)(?=\d)", re.IGNORECASE)
_NOTHING = "&#8203;"

WENT_WRONG = "what went wrong"


def markdown_report(report: RunReport) -> str:
    """Render the report. Pure: the same report gives the same text."""
    blocks = [
        f"# Run {inline(report.id)}",
        _overview(report),
        *(f"> {inline(warning)}" for warning in report.warnings),
        *_scores(report),
        *_corpora(report),
        *_pairs(report),
        *_judges(report),
        *_gates(report),
        *_parts(report),
        *_examples(report),
        *_provenance(report),
    ]
    return "\n\n".join(blocks) + "\n"


def markdown_summary(report: RunReport) -> str:
    """The report in short, without examples and provenance: what a reviewer needs to decide."""
    blocks = [
        f"## llmeval: run {inline(report.id)}",
        _overview(report),
        *(f"> {inline(warning)}" for warning in report.warnings),
        *_gates(report),
        *_scores(report),
        *_corpora(report),
        *_pairs(report),
        *_judges(report),
        *_bullets(telling_lines(report.parts)),
    ]
    return "\n\n".join(blocks) + "\n"


def inline(text: str) -> str:
    """Text inside a line: nothing in it is markup, HTML or a link, and it stays on its line."""
    plain = _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()))
    plain = _BLOCK.sub(_escaped_block, _ADDRESS.sub(r"\\", plain))
    return _MENTION.sub(rf"\g<0>{_NOTHING}", plain)


def _escaped_block(found: re.Match[str]) -> str:
    # Of a number the sign behind it is escaped.
    return f"{found[0]}\\" if found[2] else f"\\{found[0]}"


def fenced(text: str) -> str:
    """Text as a block of its own, in a fence longer than any it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1) -> str:
    """A table; the first `names` columns are texts, the others numbers. Cells are escaped."""
    lines = [head, [":--" if column < names else "--:" for column in range(len(head))]]
    lines += [[inline(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _overview(report: RunReport) -> str:
    facts = [
        rounding.counted(report.plan.trials, "trial"),
        *judge_trials_words(report.plan),
        rounding.counted(len(report.plan.models), "model"),
        rounding.counted(len(report.plan.suites), "suite"),
        f"{report.wrong:,} wrong",
        f"{report.no_answer:,} no answer",
        f"{report.failed:,} failed",
        rounding.counted(report.tokens, "token"),
        rounding.duration(report.seconds),
        *([wording.kept_words(report.kept, report.answers)] if report.kept else []),
    ]
    saved = wording.stopped_words(report.stopped)
    told = f"{', '.join(facts)}; started {report.began}."
    return f"{told}\n\n{inline(saved[0].upper() + saved[1:])}." if saved else told


def _scores(report: RunReport) -> Iterator[str]:
    if not report.metrics:
        return
    yield "## Scores"
    interval = wording.method_words(metric.interval for metric in report.metrics)
    items = wording.shows_items(report.metrics)
    repeated = wording.shows_fixed_set(report.metrics)
    head = ["suite", "condition", "scorer", "right", *(["items"] if items else []), "%", interval]
    head += [*([wording.FIXED_SET] if repeated else []), "of judged, %", "no answer", "failed"]
    named = wording.several_methods(report.metrics)
    rows = [
        _score_row(report, metric, items=items, named=named, repeated=repeated)
        for metric in report.metrics
    ]
    yield table([*head, "tok/s"], rows, names=3)
    note = wording.incomplete_note(wording.headline(report.metrics))
    if note:
        yield f"\\* {inline(note)}"


def _corpora(report: RunReport) -> Iterator[str]:
    if report.corpora:
        yield "## All texts together"
        yield "Perplexity is by the model's own tokens, and compares models of one tokeniser only."
        rows = [[c.suite, c.condition, *wording.corpus_words(c)] for c in report.corpora]
        yield table(["suite", "condition", *wording.CORPUS_HEAD], rows, names=2)


def _score_row(
    report: RunReport, metric: Metric, *, items: bool, named: bool, repeated: bool
) -> list[str]:
    figures = report.figures_of(metric.suite, metric.condition)
    return [
        metric.suite,
        metric.condition,
        metric.scorer,
        wording.right_words(metric),
        *([rounding.whole(metric.items)] if items else []),
        rounding.percent(metric.mean) + ("*" if metric.incomplete else ""),
        wording.interval_words(metric.interval, named=named),
        *([rounding.fixed_set_words(metric.fixed_set)] if repeated else []),
        wording.judged_words(metric),
        _with_reasons(metric.no_answer.values(), wording.reasons(metric.no_answer)),
        _with_reasons(metric.failures.values(), wording.reasons(metric.failures)),
        rounding.whole(figures.tokens_per_second if figures else None),
    ]


def _with_reasons(counts: Iterable[int], reasons: str) -> str:
    return f"{sum(counts):,} ({reasons})" if reasons else "0"


def _pairs(report: RunReport) -> Iterator[str]:
    if not report.comparisons:
        return
    yield "## Is it real?"
    how = inline(", ".join(wording.procedures(report.comparisons)))
    yield f"Compared on the same items: {how}. Differences in points, the better side first."
    repeated = any(comparison.fixed_set for comparison in report.comparisons)
    rows = []
    for comparison in report.comparisons:
        pair = pairs.pair_words(comparison)
        difference = "-" if pair.difference is None else f"{pair.difference:+.1f}"
        limits = "-"
        if pair.low is not None and pair.high is not None:
            limits = f"{pair.low:+.1f} to {pair.high:+.1f}"
        verdict = "; ".join(filter(None, (pair.verdict, pair.advice, pair.sensitivity)))
        rows.append(
            [
                pair.suite,
                pair.label,
                comparison.scorer,
                verdict,
                difference,
                limits,
                *([pair.fixed_set] if repeated else []),
                pair.p.removeprefix("p "),
                wording.procedure(comparison.test),
                f"{comparison.items:,}",
                f"{comparison.dropped:,}",
            ]
        )
    head = ["suite", "pair", "scorer", "verdict", "points", "interval"]
    head += [*([wording.FIXED_SET] if repeated else []), "p", "test", "items", "dropped"]
    yield table(head, rows, names=4)


def _judges(report: RunReport) -> Iterator[str]:
    if report.judges:
        yield "## Judges"
        yield inline(f"{JUDGES_ERR[0].upper()}{JUDGES_ERR[1:]}.")
        yield table(judge_head(), judge_rows(report), names=5)


def _gates(report: RunReport) -> Iterator[str]:
    if report.gates:
        yield "## Gates"
        yield "\n".join(
            f"- **{_VERDICTS[gate.verdict]}** {inline(wording.gate_words(gate))}"
            for gate in report.gates
        )


def _parts(report: RunReport) -> Iterator[str]:
    if shows_parts(report.parts):
        yield "## Parts"
        yield from _bullets(part_lines(report.parts))


def _bullets(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "\n".join(f"- {inline(line)}" for line in lines)


def _examples(report: RunReport) -> Iterator[str]:
    if report.examples:
        yield "## What was not right"
    for example in report.examples:
        yield from _example(example)


def _example(example: Example) -> Iterator[str]:
    outcome = example.outcome.replace("_", " ")
    because = f", {example.reason}" if example.reason else ""
    place = f"{example.suite} {example.condition} {example.name}"
    yield f"### {inline(place)}: {inline(outcome + because)}"
    for message in example.prompt:
        yield f"{inline(message.role)}:\n\n{fenced(message.content)}"
    if example.likelihoods:
        lines = rounding.likelihood_lines(example.likelihoods)
        told = "log likelihoods", "\n".join(lines)
    else:
        said = WENT_WRONG if example.without_answer else "answer"
        told = said, example.answer or "(nothing)"
    yield f"{told[0]}:\n\n{fenced(told[1])}"
    if example.unscored:
        yield f"{WENT_WRONG}:\n\n{fenced(example.unscored)}"
    yield f"target:\n\n{fenced(example.target or '(none)')}"


def _provenance(report: RunReport) -> Iterator[str]:
    yield "## Where the numbers come from"
    models = [
        [
            model.name,
            ", ".join(part for part in (model.engine, model.computes) if part),
            ", with ".join([model.digest or "unknown", *map(str, model.adapters)]),
            model.server or "unknown",
            model.template_digest or "unknown",
            _number(model.slots),
            _number(model.context),
        ]
        for model in report.models
    ]
    head = ["model", "engine", "weights, sha256", "server", "chat template, sha256"]
    yield table([*head, "slots", "context"], models, names=5)
    looked_at = [
        f"- Preflight of {inline(model.name)}: {inline(preflight_words(model.preflight))}"
        for model in report.models
        if model.preflight
    ]
    if looked_at:
        yield "\n".join(looked_at)
    suites = [
        [
            suite.origin,
            suite.dataset_hash,
            "; ".join(map(wording.scorer_words, suite.scorers)),
            str(suite.items),
        ]
        for suite in report.plan.suites
    ]
    yield table(["suite", "dataset", "scored by", "items"], suites, names=3)
    asked = [
        [a.suite, a.condition, a.prompt_hash, _sampling(a.sampling.items()), str(a.trials)]
        for a in report.plan.asked
    ]
    yield table(["suite", "condition", "prompt", "sampling", "trials"], asked, names=4)
    facts = [[name, version or "unknown"] for name, version in report.versions.items()]
    facts += [[f"seed of {name}", str(seed)] for name, seed in _seeds(report.plan).items()]
    if report.plan.limit is not None:
        facts.append(["--llm-limit", str(report.plan.limit)])
    yield table(["what", "version, seed or limit"], facts, names=2)


def _seeds(plan: RunPlan) -> dict[str, int]:
    chosen = {
        f"{suite.name}, {choice}": seed
        for suite in plan.suites
        for choice, seed in suite.seeds.items()
    }
    return {**plan.seeds, **chosen}


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _sampling(entries: Iterable[tuple[str, object]]) -> str:
    told = (
        f"{key} {value}" for key, value in entries if value is not None and value not in ([], ())
    )
    return ", ".join(told)
