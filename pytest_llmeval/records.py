"""The words of the project as plain, frozen data.

Every room speaks in these records and none of them knows a room. The words are those of the
blueprint: an *item* is asked under a *condition*, which makes a *trial*; what came back, stored, is
its *prediction*; a *score* judges a prediction; a *metric* is a number over scores with an interval
and counts; a *comparison* sets two conditions side by side on the same items; a *gate* decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["right", "wrong", "graded", "no_answer", "failure"]
"""What became of a trial.

`right` and `wrong` are 1 and 0; `graded` is a score strictly between them. `no_answer` means the
model gave nothing that could be judged: it counts as not right. `failure` means the machinery
broke: it leaves the denominator and makes the number incomplete.
"""

NoAnswerReason = Literal["empty", "refusal", "unparsed", "truncated"]
"""Why a model that was reached gave nothing to judge."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""How an answer ended, in OpenAI's words."""

GateVerdict = Literal["pass", "fail", "inconclusive", "no_change"]

GateKind = Literal["at_least", "not_worse_than", "latency", "tokens", "failures"]
"""What a gate requires; the last part of its node's name."""


# What is asked ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a dataset. `slug` is its id made safe for node names, unique within the suite."""

    id: str
    slug: str
    fields: Mapping[str, Any]
    target: Any
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat, or its template."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class PromptVariant:
    """A way of asking: message templates, to be rendered with an item's fields.

    `name` is "" when the suite has one unnamed prompt; `line` is where the suite file writes it.
    """

    name: str
    messages: tuple[Message, ...]
    hash: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is asked to write. None leaves the server's own default in force."""

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A scorer as a suite names it: its registered name and the options given to it."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    line: int | None = None


@dataclass(frozen=True, slots=True)
class GateSpec:
    """A requirement as a suite writes it; `only` names the condition it speaks of.

    `limit` is, by `kind`: the least mean of the scorer `metric` (`at_least`), by how much it may be
    worse than in the baseline (`not_worse_than`), the most milliseconds at `percentile`
    (`latency`), the most tokens of an answer in the mean (`tokens`), the largest share of trials
    that may fail (`failures`). `inconclusive` says what a gate is that nothing could decide.
    `detail` tells it from another gate of its kind on the same condition, "" where it is the first.
    """

    only: str
    metric: str
    limit: float
    line: int | None = None
    kind: GateKind = "at_least"
    percentile: float | None = None
    inconclusive: Literal["skip", "fail"] = "skip"
    detail: str = ""

    @property
    def name(self) -> str:
        """The gate's node name: `tiny-l/plain.at_least`, or `tiny-l/plain.at_least.exact`."""
        return ".".join([self.only, self.kind, *([self.detail] if self.detail else [])])

    @property
    def subject(self) -> str:
        """What it is about: its condition, and the scorer where the name has it (a percentile is in
        the words of the verdict).
        """
        return f"{self.only} {self.metric}" if self.detail and not self.percentile else self.only


@dataclass(frozen=True, slots=True)
class StopSpec:
    """When a suite stops asking before it has asked everything, and with which error."""

    alpha: float = 0.05
    when: Literal["decided"] = "decided"
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """Which items, prompts, scorers and gates. `origin` is the file (and for marked functions the
    function) as pytest shows it, with forward slashes; node ids start with it. `items` stand in the
    order in which they are asked: with `stop` a random one. `seeds` are those of the choices that
    were made by chance: `items` (limit, split), `few_shot` and `order`.
    """

    name: str
    origin: str
    items: tuple[Item, ...]
    dataset_hash: str
    prompts: tuple[PromptVariant, ...]
    scorers: tuple[ScorerSpec, ...]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    gates: tuple[GateSpec, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    each_item: Literal["may_fail", "must_pass"] = "may_fail"
    exact: bool = False
    is_function: bool = False
    seeds: Mapping[str, int] = field(default_factory=dict)
    stop: StopSpec | None = None


# What is run --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition:
    """model × sampling × prompt variant: the thing that is compared.

    `name` joins the parts that have a name of their own, for instance `tiny-l/plain` or
    `qwen3-q4/greedy`.
    """

    name: str
    model: str
    prompt: PromptVariant
    sampling: Sampling
    sampling_name: str = ""
    repeats: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """item × condition × repeat (from 1): the unit that is scheduled and shown as one test.

    `name` is the last part of its node id: the item, and `.2` for the second repeat. `id` is unique
    within a run: the `custom_id` of requests and of the journal.
    """

    suite: Suite
    condition: Condition
    item: Item
    repeat: int
    name: str
    id: str


@dataclass(frozen=True, slots=True)
class Request:
    """What an engine is asked, complete and independent of any suite."""

    messages: tuple[Message, ...]
    sampling: Sampling
    tools: tuple[Mapping[str, Any], ...] = ()
    cache_prompt: bool = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asked for. `arguments` is the object; None when it was no JSON object, and
    then `raw` still holds what the model wrote.
    """

    name: str
    arguments: Mapping[str, Any] | None
    raw: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, and who counted them. `cached` of the prompt's tokens came from a prompt cache."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    source: Literal["server", "none"] = "none"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine gives back for a request it could fulfil.

    `first_token_ms` (its prompt time) and `service_ms` (prompt and writing together) are the
    server's own figures where it has them, else None.
    """

    text: str
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    usage: Usage = Usage()
    first_token_ms: float | None = None
    service_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a trial: how long it took, and what went wrong if it brought no answer."""

    ms: float
    error: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The machinery broke. `reason` is one word, `message` the server's or our own words."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The stored outcome of a trial: an answer or a failure, never both, never neither.

    `started` is seconds since the run began, when its first attempt was sent. `total_ms` is its
    last attempt from sending to the end of the answer; `queued_ms` is the part of it that the
    request waited for a free slot (0 where the server does not tell its own time).
    """

    trial_id: str
    answer: Answer | None
    failure: Failure | None
    attempts: tuple[Attempt, ...] = ()
    started: float = 0.0
    queued_ms: float = 0.0
    total_ms: float = 0.0

    @property
    def text(self) -> str:
        """The answer's text, "" for a failure."""
        return self.answer.text if self.answer is not None else ""


@dataclass(frozen=True, slots=True)
class Unneeded:
    """What becomes of a trial that nobody needs any more: its suite has decided without it.

    It has no outcome and counts nowhere, not even where its answer was under way and came in.
    """

    trial_id: str


# What it is worth ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's judgement of one prediction.

    `value` lies in [0, 1]: 1 right, 0 wrong or no answer, None only for a failure. `extracted` is
    what was taken from the text to be judged; `stages` says how it was found, in order.
    """

    scorer: str
    outcome: Outcome
    value: float | None
    reason: str = ""
    extracted: str | None = None
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction that was judged before anyone saw it: its suite's decision rests on the scores.

    They are the trial's only ones; whoever waits for it takes them as they are.
    """

    prediction: Prediction
    scores: tuple[Score, ...]

    @property
    def trial_id(self) -> str:
        """The trial whose prediction it is."""
        return self.prediction.trial_id


Settled = Prediction | Scored | Unneeded
"""How a trial ends for whoever waits for it."""


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
