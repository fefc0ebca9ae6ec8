"""Answers from run to run: what was asked before, of the same model served the same way, is not
asked again.

Kept is only what servers answer that are started here: of others nobody knows all that shapes their
answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.inputs.config import CacheMode, Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.inputs.paths import cache_folder
from pytest_llmeval.machine.environment import what_computes
from pytest_llmeval.records import Answer, Prediction, Request, Trial
from pytest_llmeval.results.lines import prediction_from_line, prediction_to_line
from pytest_llmeval.results.manifest import weights_digest
from pytest_llmeval.run.cache_keys import Serving, answer_key, serving_hash
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.running.cache import AnswerStore
from pytest_llmeval.running.cache_file import ANSWERS
from pytest_llmeval.servers.leases import fingerprint, switches
from pytest_llmeval.servers.made_of import is_script, parts_of

Fresh = Callable[[], Awaitable[Answer]]
"""Asks the model."""

Through = Callable[[Trial, Request, Fresh, int], Awaitable[Answer]]
"""Gives the answer to a trial's request, a kept one or a fresh one, where so many requests are
under way at once; raises what `Fresh` does.
"""

PACKAGE = Path(__file__).resolve().parents[1]

OUR_CODE = (
    *("engines/*.py", "servers/embedded.py", "servers/llama_cpp_*.py", "records/*.py"),
    *("servers/command.py", "servers/placement.py", "servers/kinds.py", "servers/adapters.py"),
    *("run/models.py", "run/counting.py", "run/honesty.py", "results/lines.py"),
    *("run/likelihood_answers.py", "depth.py"),
)
"""What of our own code stands between a request and its answer, also a kept one: how the server is
started, what is sent, what is made of the reply, and what is refused for one.
"""


async def ask_anew(trial: Trial, request: Request, fresh: Fresh, at_once: int) -> Answer:
    """Ask the model, whatever was kept."""
    del trial, request, at_once
    return await fresh()


class AnswerCache:
    """The kept answers of one run. Its methods belong to the scheduler's loop, but for `close`."""

    def __init__(self, store: AnswerStore, mode: CacheMode) -> None:
        self._store = store
        self._takes = mode in {"read-write", "read"}
        self._keeps = mode in {"read-write", "refresh"}
        self._under_way: dict[bytes, asyncio.Future[Answer]] = {}

    def of_model(
        self,
        live: LiveModel,
        model: ModelConfig,
        *,
        measured: bool,
        today: Callable[[], str] = lambda: time.strftime("%Y-%m-%d"),
    ) -> Through:
        """How a model's answers go through the cache. Where their time is `measured` none is taken
        from it, and each request is sent by itself. Nothing is kept of a model that is told the
        time of day; what one says that is told the date counts for the day.
        """
        serving: list[bytes] = []  # known once the model is open

        async def through(trial: Trial, request: Request, fresh: Fresh, at_once: int) -> Answer:
            if not serving:
                found = _serving_of(live, model, at_once)
                serving.append(b"" if found is None else serving_hash(found))
            clock = live.facts.clock if live.facts and request.form == "chat" else "none"
            if not serving[0] or clock == "moment":
                return await fresh()
            day = today() if clock == "day" else ""
            key = answer_key(serving[0], request, trial, day)
            if measured:
                return self._kept(key, await fresh())
            return await self.answer(key, fresh)

        return through

    async def answer(self, key: bytes, fresh: Fresh) -> Answer:
        """The kept answer, that of an equal request which is under way, or a fresh one."""
        while True:
            line = self._store.get(key) if self._takes else None
            found = None if line is None else read_answer(line)
            if found is not None:
                await asyncio.sleep(0)  # thousands may follow each other: others have their turn
                return found
            under_way = self._under_way.get(key)
            if under_way is None:
                return await self._lead(key, fresh)
            await asyncio.wait([under_way])
            if not under_way.cancelled() and under_way.exception() is None:
                return from_cache(under_way.result())
            # What went wrong for that one need not for this one.

    async def _lead(self, key: bytes, fresh: Fresh) -> Answer:
        leading = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            answer = self._kept(key, await fresh())
        except BaseException:
            leading.cancel()
            raise
        else:
            leading.set_result(answer)
            return answer
        finally:
            del self._under_way[key]

    def _kept(self, key: bytes, answer: Answer) -> Answer:
        if self._keeps:
            self._store.put(key, written_answer(answer))
        return answer

    def close(self) -> None:
        """Write down what is left."""
        self._store.close()


def cache_of(config: Config, *, dry_run: bool, tell: Callable[[str], None]) -> AnswerCache | None:
    """The cache that a run uses; None where it is off, or nothing in it could be of use.

    With `redact: predictions` nothing is kept: what a model wrote is to be in no file.
    """
    policy = config.cache
    is_off = policy.mode == "off" or dry_run or config.redact_predictions
    if is_off or not any(map(is_ours, config.models.values())):
        return None
    _machine()  # found out now, and not while an answer is timed
    _code()
    folder = cache_folder() / ANSWERS
    store = AnswerStore(folder, policy.size, writes=policy.mode != "read", tell=tell)
    return AnswerCache(store, policy.mode)


def through_cache(
    cache: AnswerCache | None, live: LiveModel, model: ModelConfig, *, measured: bool
) -> Through:
    """How a model's answers go through the cache, if there is one and they may be kept."""
    if cache is None or not is_ours(model):
        return ask_anew
    return cache.of_model(live, model, measured=measured)


def is_ours(model: ModelConfig) -> bool:
    """Whether a model's server is started here from a file, so that all is known of it."""
    return model.gguf is not None and model.url is None


def written_answer(answer: Answer) -> bytes:
    """An answer as it is kept: the journal's line of a trial without a name."""
    return prediction_to_line(Prediction("", answer, None))


def read_answer(line: bytes) -> Answer | None:
    """A kept answer, as one from the cache; None where somebody has written something else."""
    try:
        answer = prediction_from_line(line).answer
    except ValueError:
        return None
    return None if answer is None else from_cache(answer)


def from_cache(answer: Answer) -> Answer:
    """The answer without what was measured when it was given: this time it took nothing."""
    return dataclasses.replace(
        answer,
        origin="cache",
        usage=dataclasses.replace(answer.usage, cached=None),
        first_token_ms=None,
        service_ms=None,
        likelihoods=tuple(
            dataclasses.replace(
                each, service_ms=None, usage=dataclasses.replace(each.usage, cached=None)
            )
            for each in answer.likelihoods
        ),
    )


def _serving_of(live: LiveModel, model: ModelConfig, at_once: int) -> Serving | None:
    """Who answers, all of it; None where it cannot be told, and then nothing is kept."""
    spec, facts = live.spec, live.facts
    weights = weights_digest(live.digest, live.adapters)
    if spec is None or facts is None or weights is None:
        return None
    environ = switches(os.environ)
    try:
        parts = parts_of(spec, os.environ, [*environ.values(), model.tokenizer or ""])
        if is_script(parts[0]):
            return None
    except (LlmevalError, OSError):
        return None
    return Serving(
        model=model,
        spec=spec,
        facts=facts,
        weights=weights,
        made_of=[fingerprint(each) for each in parts],
        machine=_machine(),
        environ=environ,
        code=_code(),
        at_once=at_once,
    )


@cache
def _machine() -> dict[str, Any]:
    return what_computes()


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for pattern in OUR_CODE:
        for path in sorted(PACKAGE.glob(pattern)):
            digest.update(path.name.encode("utf-8") + b"\0" + path.read_bytes())
    return digest.hexdigest()
