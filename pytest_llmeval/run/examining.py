"""Every check on every model of a config, without a run: what `llmeval doctor` finds out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.engines.engine import EndpointFacts, Engine
from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.inputs.paths import cache_folder
from pytest_llmeval.records import Check, CheckName, Message, Request
from pytest_llmeval.redaction import Redactor
from pytest_llmeval.run.backing import backing_of, what_computes
from pytest_llmeval.run.cleaning import redactor_of
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.preflight import Examine, examiner, needs_of
from pytest_llmeval.running.preflight import ALL, Budget, Examined

#: Nobody waits for a run here: a slow endpoint is given its time.
UNHURRIED = Budget(total=120.0, each=30.0)


@dataclass(frozen=True, slots=True)
class ExaminedModel:
    """What was found out about a model; `trouble` is why that is nothing, "" where it is something.

    `asked_for` is what the config itself asks of it, whatever suites need; `seconds` are those of
    the checks alone.
    """

    name: str
    computes: str
    asked_for: frozenset[CheckName]
    checks: tuple[Check, ...] = ()
    requests: int = 0
    seconds: float = 0.0
    trouble: str = ""

    @property
    def broken(self) -> bool:
        """Whether something that the config asks for is not there."""
        lacking = {check.name for check in self.checks if check.verdict == "lacking"}
        return bool(self.trouble or lacking & self.asked_for)


async def examine_models(
    config: Config, logs: Path, *, salt: str, say: Callable[[str], None]
) -> AsyncIterator[ExaminedModel]:
    """Examine one model after the other, starting servers as needed; they log into a folder.

    `salt` is unlike that of any other examination. The fake engine has nothing to examine.
    """
    redactor = redactor_of(config)
    for model in config.models.values():
        found = ExaminedModel(model.name, what_computes(model), asked_for(config, model))
        if model.engine == "fake":
            yield found
            continue
        embeds = model.role == "embedder"
        look = _look_at_vectors if embeds else _look(model, salt, redactor)
        try:
            examined = await _examine(model, config, logs, say, look)
        except LlmevalError as error:
            yield dataclasses.replace(found, trouble=redactor.text(str(error)))
        else:
            yield dataclasses.replace(
                found,
                checks=examined.checks,
                requests=examined.requests,
                seconds=examined.seconds,
            )


def asked_for(config: Config, model: ModelConfig) -> frozenset[CheckName]:
    """What a config asks of a model: that it is there as written, and its samplings."""
    question = (Message("user", ""),)
    needs = [needs_of(Request(question, named.sampling)) for named in config.samplings.values()]
    there: frozenset[CheckName] = frozenset({"alive", "model", "template"})
    context: frozenset[CheckName] = frozenset({"context"} if model.context is not None else ())
    return there.union(context, *needs)


def _look(model: ModelConfig, salt: str, redactor: Redactor) -> Examine:
    return examiner(model, ALL, salt=salt, budget=UNHURRIED, redactor=redactor)


async def _look_at_vectors(engine: Engine, _: EndpointFacts, __: str | None) -> Examined:
    """What there is to see of an embedder, whose server need not write."""
    began = time.perf_counter()
    (vector,) = await engine.embed(["a text"])
    found = Check("alive", "ok", f"it gives vectors of {len(vector):,} numbers")
    return Examined((found,), 1, time.perf_counter() - began)


async def _examine(
    model: ModelConfig, config: Config, logs: Path, say: Callable[[str], None], look: Examine
) -> Examined:
    examined: list[Examined] = []

    async def keep(engine: Engine, facts: EndpointFacts, digest: str | None) -> Examined:
        examined.append(await look(engine, facts, digest))
        return examined[-1]

    cache = cache_folder()
    backing = backing_of(model, config, cache, say)
    place = f"{config.path}: models: {model.name}"
    live = LiveModel(model.name, backing, logs, say, place, examine=keep)
    try:
        await live.open()
    finally:
        await live.close()
    return examined[-1]
