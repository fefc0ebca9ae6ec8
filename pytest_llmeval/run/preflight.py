"""Preflight between the rooms: what is wanted of an endpoint, and what its lacks stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_llmeval.engines.balanced import BalancedEngine
from pytest_llmeval.engines.engine import EndpointFacts, Engine, refuse_request
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Check, CheckName, Message, Request, Sampling, Trial
from pytest_llmeval.redaction import PLAIN, Redactor
from pytest_llmeval.results.trust import check_words
from pytest_llmeval.run.honesty import LEAVING_OUT_CACHED, most_tokens
from pytest_llmeval.run.requests import request_of
from pytest_llmeval.running.checks import Subject
from pytest_llmeval.running.preflight import (
    ALWAYS,
    Budget,
    Examined,
    Way,
    examine,
    lacking,
    worst_of,
)
from pytest_llmeval.scoring.markup import reasoning_tag_in

Examine = Callable[[Engine, EndpointFacts, str | None], Awaitable[Examined]]
"""Examines an endpoint by its engine, what it says of itself and the digest of its weights."""

BEFORE_A_RUN = Budget()

Key = tuple[str, str]
"""Suite and condition."""


def examiner(
    model: ModelConfig,
    wanted: Collection[CheckName],
    *,
    salt: str,
    budget: Budget = BEFORE_A_RUN,
    one_at_a_time: bool = False,
    redactor: Redactor = PLAIN,
) -> Examine:
    """How a model's endpoint is examined, each of several by itself.

    `salt` is for one that others ask too: see `Way`. What came back is told without secrets.
    """

    async def without_secrets(engine: Engine, facts: EndpointFacts, digest: str | None) -> Examined:
        examined = await look_at_all(engine, facts, digest)
        checks = tuple(
            replace(
                check,
                found=redactor.text(check.found),
                asked=redactor.text(check.asked),
                answered=redactor.text(check.answered),
            )
            for check in examined.checks
        )
        return replace(examined, checks=checks)

    async def look_at_all(engine: Engine, facts: EndpointFacts, digest: str | None) -> Examined:
        if not isinstance(engine, BalancedEngine):
            return await look(engine, facts, digest)
        urls, engines, its_facts = zip(*engine.members, strict=True)
        found = await asyncio.gather(
            *(look(each, told, digest) for each, told in zip(engines, its_facts, strict=True))
        )
        return worst_of(dict(zip(urls, found, strict=True)))

    async def look(engine: Engine, facts: EndpointFacts, digest: str | None) -> Examined:
        exact = model.exact or one_at_a_time
        way = Way(
            tag_in=reasoning_tag_in,
            budget=budget,
            width=1 if exact else facts.slots or model.slots,
            salt=salt if model.gguf is None else "",
            cache=not exact,
            uncached=_has_cache_switch(model.engine),
        )
        return await examine(engine, subject_of(model, facts, digest), wanted, way)

    return without_secrets


def subject_of(model: ModelConfig, facts: EndpointFacts, digest: str | None) -> Subject:
    """What the config, and the endpoint itself, say before it is asked anything."""
    return Subject(
        # The config's own word for a model is sent where it has no other, and means nothing.
        name=model.sent_name if model.sent_name != model.name else None,
        served=facts.served,
        weights=str(model.gguf) if model.gguf is not None else None,
        loaded=facts.model_path,
        digest=digest,
        context=facts.context,
        context_asked=model.context,
        leaves_out_cached=model.engine in LEAVING_OUT_CACHED,
        adapters=tuple(f"{each.path.name} at scale {each.scale:g}" for each in model.lora),
    )


def _has_cache_switch(engine: str) -> bool:
    request = Request((Message("user", ""),), Sampling(1), cache_prompt=False)
    try:
        refuse_request(engine, request)
    except Unsupported:
        return False
    return True


# What is needed -----------------------------------------------------------------------------------


def needs_of(request: Request) -> frozenset[CheckName]:
    """What an endpoint must be able to do for requests like this one."""
    sampling = request.sampling
    roles = [message.role for message in request.messages]
    by_chance = sampling.temperature is None or sampling.temperature > 0
    chat = request.form == "chat"
    needed: dict[CheckName, bool] = {
        "model": True,
        "max_tokens": not request.continuations,
        "system": chat and "system" in roles,
        "template": chat and len(roles) - roles.count("system") > 1,
        "stop": bool(sampling.stop),
        "seed": by_chance and sampling.seed is not None,
        "tools": bool(request.tools),
        "json_schema": request.json_schema is not None,
        "grammar": request.grammar is not None,
        "logprobs": request.top_logprobs is not None,
        "likelihoods": bool(request.continuations),
    }
    return frozenset(name for name, is_needed in needed.items() if is_needed)


def wanted_for(requests: Iterable[Request]) -> frozenset[CheckName]:
    """What to look at before requests like these: what is cheap, and what they need."""
    return ALWAYS.union(*map(needs_of, requests))


def refuse_lack(request: Request, model: str, found: Sequence[Check], context: int | None) -> None:
    """Raise Unsupported where a request by itself needs what its endpoint was found to lack."""
    check = lack_of(request, found, context)
    if check is not None:
        raise Unsupported(
            f"the request needs what {model} lacks: {check.name}: {check.found}. "
            f"{WAYS_OUT[check.name]}"
        )


def lack_of(request: Request, found: Sequence[Check], context: int | None) -> Check | None:
    """What a request by itself needs and its endpoint was found to lack, None for nothing."""
    check = lacking(found, needs_of(request))
    if check is not None:
        return check
    cuts = lacking(found, ["context"])  # most do not, and then no length matters
    return cuts if cuts is not None and may_not_fit(request, context) else None


def first_of_each(trials: Iterable[Trial]) -> Mapping[Key, Trial]:
    """A trial of each suite under each condition: the requests of the others need all the same."""
    firsts: dict[Key, Trial] = {}
    for trial in trials:
        firsts.setdefault(_key(trial), trial)
    return firsts


def needs_by_suite(
    trials: Iterable[Trial], model: ModelConfig
) -> Mapping[Key, frozenset[CheckName]]:
    """What each suite needs under each condition."""
    return {key: needs_of(request_of(trial, model)) for key, trial in first_of_each(trials).items()}


class Gatekeeper:
    """Lets no trial through whose suite needs what its endpoint lacks."""

    def __init__(self, model: ModelConfig, trials: Sequence[Trial]):
        self._model = model
        self._trials = trials
        self._needs = needs_by_suite(trials, model)
        self._long: dict[Key, bool] = {}
        self._told = _Told()
        self._free: dict[Key, Sequence[Check]] = {}

    def admit(self, trial: Trial, found: Sequence[Check], context: int | None) -> None:
        """Raise Unsupported unless the endpoint, of which so much was found, can be asked this."""
        key = _key(trial)
        if self._free.get(key) is found:  # of the suite's earlier trials
            return
        check = lacking(found, self._needs[key])
        if check is None and lacking(found, ["context"]) and self._may_not_fit(trial, context):
            check = lacking(found, ["context"])
        if check is not None:
            raise Unsupported(
                f"suite {trial.suite.name} needs what {self._model.name} lacks: "
                f"{self._told.once(check, trial)}"
            )
        self._free[key] = found

    def _may_not_fit(self, trial: Trial, context: int | None) -> bool:
        """Whether some prompt of the trial's suite may be longer than the context."""
        key = _key(trial)
        if key not in self._long:
            requests = (request_of(t, self._model) for t in self._trials if _key(t) == key)
            self._long[key] = any(may_not_fit(request, context) for request in requests)
        return self._long[key]


class JudgesGatekeeper:
    """Lets no question through to a judge that lacks what it takes to reply to it.

    Each is looked at by itself: how long it is depends on the answer that it is about.
    """

    def __init__(self, model: ModelConfig):
        self._model = model
        self._told = _Told()

    def admit(
        self, trial: Trial, request: Request, found: Sequence[Check], context: int | None
    ) -> None:
        """Raise Unsupported unless the judge, of which so much was found, can be asked this."""
        check = lack_of(request, found, context)
        if check is not None:
            raise Unsupported(
                f"suite {trial.suite.name} needs of its judge what {self._model.name} lacks: "
                f"{self._told.once(check, trial)}"
            )


class _Told:
    """What was told of lacks: all there is to tell stands once, with the first trial that one
    stops, for there may be thousands.
    """

    def __init__(self) -> None:
        self._firsts: dict[CheckName, str] = {}

    def once(self, check: Check, trial: Trial) -> str:
        first = self._firsts.setdefault(check.name, trial.id)
        if first == trial.id:
            return f"{check_words(check)}. {WAYS_OUT[check.name]}"
        return f"{check.name}: {check.found}; in full with {first}"


def may_not_fit(request: Request, context: int | None) -> bool:
    """Whether prompt and answer together may be longer than the context."""
    return context is None or most_tokens(request) + request.sampling.max_tokens > context


def _key(trial: Trial) -> Key:
    return trial.suite.name, trial.condition.name


WAYS_OUT: Mapping[CheckName, str] = {
    "model": "Load the model that the config means, or correct `name` or `url`",
    "context": "Give the model more context, or serve it by an engine that refuses long prompts",
    "template": "Give the server the model's own chat template",
    "system": "Put the system message's words into the user's, or use another chat template",
    "max_tokens": "Use a server that obeys it",
    "stop": "Take `stop` out of the sampling, or use a server that obeys it",
    "seed": "Write `seed: null` if its answers may differ from run to run, or temperature: 0",
    "tools": "Start the server so that it parses tool calls (llama-server: --jinja)",
    "json_schema": "Use a server that holds answers to a schema",
    "grammar": "Use llama.cpp's server",
    "logprobs": "Use a server that gives log probabilities",
    "likelihoods": "Use llama.cpp's server",
}
"""What to do about a lack, for each that stops a suite."""
