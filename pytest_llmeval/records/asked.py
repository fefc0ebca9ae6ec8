"""What is asked: items, suites and what they want to know; conditions and trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GateKind = Literal["at_least", "not_worse_than", "latency", "tokens", "failures"]
"""What a gate requires; the last part of its node's name."""

RequestForm = Literal["chat", "completion"]
"""Messages through the model's chat template, or a text that is continued as it stands."""


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
    were made by chance: `items` (limit, split), `few_shot` and `order`. `form`, `json_schema` and
    `grammar` are those of its requests, `logprobs` is the number of alternatives they ask for.
    `continuations` has for each item's id the texts whose likelihood is asked, and is empty where
    answers are written; `delimiter` stands before each of them, None leaves that to the request.
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
    form: RequestForm = "chat"
    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    logprobs: int | None = None
    continuations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    delimiter: str | None = None


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


@dataclass(frozen=True, slots=True, eq=False)
class JudgeTrial(Trial):
    """A trial of the second wave: what a model is asked about the answer of a trial.

    `judged` is the trial whose answer it is about, `against` the one whose answer is held against
    it, None where there is none. `scorer` is who wants to know, `number` (from 1) counts what it
    asks about one answer. The condition's name is that of the judged one; model, prompt and
    sampling are the judge's, and the prompt's hash is over everything that is asked besides the
    answers and the item.
    """

    judged: Trial
    scorer: str
    number: int = 1
    against: Trial | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What an engine is asked, complete and independent of any suite.

    `form` says whether the messages go through the model's chat template, or their texts, joined,
    are continued as they stand. `json_schema` or `grammar` (llama.cpp's GBNF) is what the answer
    has to obey. `top_logprobs` asks for the log probability of every token that is written, and of
    so many alternatives to it; None asks for none. With `continuations` nothing is written: asked
    is how likely each of these texts is as the continuation.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    tools: tuple[Mapping[str, Any], ...] = ()
    cache_prompt: bool = True
    form: RequestForm = "chat"
    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    top_logprobs: int | None = None
    continuations: tuple[str, ...] = ()
