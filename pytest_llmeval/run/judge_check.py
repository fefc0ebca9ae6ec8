"""How good is a judge? It judges answers whose verdict is known, outside of any run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.inputs.paths import cache_folder
from pytest_llmeval.inputs.prompts import make_variant
from pytest_llmeval.records import (
    Answer,
    Condition,
    Interval,
    Item,
    Message,
    Prediction,
    Predictions,
    Sampling,
    ScorerSpec,
    Suite,
    Trial,
)
from pytest_llmeval.run.backing import backing_of
from pytest_llmeval.run.judge_checks import answer_checks, pair_checks
from pytest_llmeval.run.judge_lanes import judge_lane, refuse_the_impossible_of_judges
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.scheduler import Scheduler
from pytest_llmeval.scoring.pairwise import Pairwise
from pytest_llmeval.statistics.agreement import (
    PositionConsistency,
    cohen_kappa,
    position_consistency,
)
from pytest_llmeval.statistics.intervals import wilson

_PROMPT = make_variant("", [Message("user", "{{ question }}")], None)
_SAMPLING = Sampling(256, seed=0)

#: The condition of the answers that are judged, and of those they are compared with.
_ONE, _OTHER = "answer", "other"


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and what came of it: `said` is None where no verdict could be read or had, and `why`
    is then the reason, else the judge's own words.
    """

    id: str
    kind: str
    known: str
    said: str | None
    why: str

    @property
    def agrees(self) -> bool:
        """Whether the judge said what is known."""
        return self.said == self.known


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of some checks a judge agrees with; what it did not say counts as disagreement.

    `kappa` is of those that have a verdict, None where nothing varies.
    """

    checks: tuple[Checked, ...]
    agreed: int
    interval: Interval
    kappa: float | None
    unread: int

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """How many agree, of how many, of each kind."""
        kinds = dict.fromkeys(check.kind for check in self.checks)
        its = {kind: [c for c in self.checks if c.kind == kind] for kind in kinds}
        return {kind: (sum(c.agrees for c in some), len(some)) for kind, some in its.items()}


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What there is to say about a judge: alone, in pairs, and whether the order sways it."""

    judge: str
    engine: str
    digest: str | None
    answers: Agreement
    pairs: Agreement
    consistency: PositionConsistency


def check_judge(
    settings: Settings, logs: Path, say: Callable[[str], None], judge: str | None = None
) -> JudgeReport:
    """Have a judge of the config (the usual one, if None) judge all checks. Raises LlmevalError."""
    bench = dataclasses.replace(settings.bench, judge=judge or settings.bench.judge)
    trials, known = _questions()
    wave = SecondWave(trials, bench)
    refuse_the_impossible_of_judges(settings, wave)
    name = wave.trials[0].condition.model
    model = settings.config.models[name]
    cache = cache_folder()
    live = LiveModel(
        name,
        backing_of(model, settings.config, cache, say),
        logs,
        say,
        place=f"{settings.config.path}: models: {name}",
    )
    predictions = _ask(settings, live, wave, known, say)
    return _report(name, model.engine, live.digest, trials, wave, predictions)


def _questions() -> tuple[list[Trial], dict[str, Prediction]]:
    """The checks as trials that have been answered already."""
    trials: list[Trial] = []
    known: dict[str, Prediction] = {}

    def add(suite: Suite, condition: str, item: Item, text: str) -> None:
        made = Condition(condition, condition, _PROMPT, _SAMPLING)
        trial = Trial(suite, made, item, 1, item.slug, f"{suite.name}::{condition}::{item.slug}")
        trials.append(trial)
        known[trial.id] = Prediction(trial.id, Answer(text, "stop"), None)

    alone = _suite("answers", ScorerSpec("judge"))
    for check in answer_checks():
        add(alone, _ONE, _item(check.id, check.question, check.target), check.answer)
    pairs = _suite("pairs", ScorerSpec("pairwise", {"against": _OTHER}))
    for pair in pair_checks():
        item = _item(pair.id, pair.question, pair.target)
        add(pairs, _ONE, item, pair.answer)
        add(pairs, _OTHER, item, pair.other)
    return trials, known


def _suite(name: str, scorer: ScorerSpec) -> Suite:
    return Suite(name, "judge-check", (), "", (_PROMPT,), (scorer,))


def _item(id_: str, question: str, target: str) -> Item:
    return Item(id_, id_, {"question": question}, target)


def _ask(
    settings: Settings,
    live: LiveModel,
    wave: SecondWave,
    known: Predictions,
    say: Callable[[str], None],
) -> dict[str, Prediction]:
    say(f"{live.name} judges: {len(wave.trials)} questions")
    lane = judge_lane(settings, live, wave.trials, wave, lambda: scheduler.predictions)
    scheduler = Scheduler([[lane]], lambda _: None, live.close, known=known.values())
    scheduler.start()
    try:
        while not scheduler.wait_for_all():
            pass
    finally:
        scheduler.stop()
    if scheduler.broken is not None:
        raise scheduler.broken
    return scheduler.predictions


def _report(
    judge: str,
    engine: str,
    digest: str | None,
    trials: Sequence[Trial],
    wave: SecondWave,
    predictions: Predictions,
) -> JudgeReport:
    by_id = {(t.suite.name, t.item.id): t for t in trials if t.condition.name == _ONE}

    def checked(suite: str, id_: str, kind: str, known: str) -> Checked:
        (score,) = wave.complete(by_id[suite, id_], predictions, ())
        why = "".join(score.stages[-1:]).removeprefix("compare: ")
        return Checked(id_, kind, known, score.extracted, why)

    alone = [checked("answers", c.id, c.kind, c.known) for c in answer_checks()]
    pairs = [checked("pairs", c.id, c.kind, c.known) for c in pair_checks()]
    both = [t for t in wave.by_answer() if t[0].scorer == Pairwise.name]
    preferred = [wave.preferences(trials, predictions) for trials in both]
    return JudgeReport(
        judge,
        engine,
        digest,
        agreement_of(alone),
        agreement_of(pairs),
        position_consistency([one for one, _ in preferred], [other for _, other in preferred]),
    )


def agreement_of(checks: Sequence[Checked]) -> Agreement:
    """Sum up checks."""
    agreed = sum(check.agrees for check in checks)
    return Agreement(
        tuple(checks),
        agreed,
        wilson(agreed, len(checks)),
        cohen_kappa([check.known for check in checks], [check.said for check in checks]),
        sum(check.said is None for check in checks),
    )
