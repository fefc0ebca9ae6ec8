"""What is answered to a request: a page of the front door's own, or what an instance says."""

from __future__ import annotations

from functools import partial
from urllib.parse import unquote

from pytest_llmeval.errors import EndpointAbsent, EndpointTimeout, EngineError, LlmevalError
from pytest_llmeval.orchestrator.front_door import access
from pytest_llmeval.orchestrator.front_door.answer import Answer
from pytest_llmeval.orchestrator.front_door.fleet import FAILURE_SECONDS, Fleet
from pytest_llmeval.orchestrator.front_door.lane import Lane, LaneFullError, NotServedError
from pytest_llmeval.orchestrator.front_door.messages import Page, Request, error, page, passed_on
from pytest_llmeval.orchestrator.front_door.routing import (
    NotJsonError,
    model_of,
    no_model,
    unknown_model,
)
from pytest_llmeval.orchestrator.views import InstanceView


class Serving:
    """Answers requests (`Client.Serve`); `key` is what they must carry, None: nothing."""

    def __init__(self, fleet: Fleet, key: str | None) -> None:
        self._fleet = fleet
        self._key = key

    async def serve(self, request: Request, answer: Answer) -> None:
        """Answer one request. What it leaves incomplete, the client's connection breaks off."""
        path = request.path
        if path in (b"/health", b"/v1/health"):
            answer.send(page({"status": "ok"}))
            return
        if request.method == b"OPTIONS":
            answer.send(access.options(request))
            return
        refusal = access.refusal(request, self._key)
        if refusal is not None:
            answer.send(refusal)
        elif request.method == b"POST" and path.startswith(b"/v1/"):
            await self._pass_on(request, answer)
        else:
            answer.send(await self._own_page(request.method, path))

    # Pages of our own ----------------------------------------------------------------------------

    async def _own_page(self, method: bytes, path: bytes) -> Page:
        if not path.startswith(b"/v1/"):
            return error(404, "the front door serves /v1/..., /v1/models and /health")
        if method not in (b"GET", b"HEAD") or not (path + b"/").startswith(b"/v1/models/"):
            return error(
                405,
                f"{_text(method)} is not for {_text(path)}: requests to a model are sent by POST",
                headers=((b"Allow", b"POST, OPTIONS"),),
            )
        try:
            await self._fleet.look()
        except LlmevalError as wrong:
            return error(503, str(wrong))
        return self._models(unquote(_text(path).removeprefix("/v1/models").strip("/")))

    def _models(self, wanted: str) -> Page:
        """All models, or one."""
        names, views = self._fleet.names, self._fleet.views
        if not wanted:
            entries = [_model_entry(name, views[names[name]]) for name in names]
            return page({"object": "list", "data": entries})
        if wanted not in names:
            return unknown_model(wanted, names)
        return page(_model_entry(wanted, views[names[wanted]]))

    # Answers of instances ------------------------------------------------------------------------

    async def _pass_on(self, request: Request, answer: Answer) -> None:
        try:
            found = await self._find(request.body)
        except NotJsonError as wrong:
            found = error(400, f"the body must be JSON that names a model, and is not: {wrong}")
        except LlmevalError as wrong:
            found = error(503, str(wrong))
        if isinstance(found, Page):
            answer.send(found)
        # Where nothing could be sent its server was gone: it is started, and asked once more.
        elif not await self._ask(found, request, answer, again=True):
            await self._ask(found, request, answer, again=False)

    async def _find(self, body: bytes) -> str | Page:
        """The instance that a request is for, or why there is none."""
        model, names = model_of(body), self._fleet.names
        if model is None:
            instances = set(names.values())
            return instances.pop() if len(instances) == 1 else no_model(names)
        if model not in names:
            await self._fleet.look()  # it may have been declared this very moment
            names = self._fleet.names
        return names[model] if model in names else unknown_model(model, names)

    async def _ask(self, name: str, request: Request, answer: Answer, *, again: bool) -> bool:
        """Have an instance answer, when it is its turn; False: ask again, it was gone."""
        try:
            lane = self._fleet.lane(name)
            place = await lane.enter()
        except LaneFullError as full:
            answer.send(_too_many(name, full))
            return True
        except NotServedError as why:
            answer.send(error(503, str(why), retry_after=round(FAILURE_SECONDS)))
            return True
        wire = lane.wire
        assert wire is not None  # a place is with an instance that is ready
        # At once, not when this task goes on: every slot is to get its next request in no time.
        answer.when_complete = partial(place.leave, served=True)
        try:
            await wire.relay(
                b"POST %b HTTP/1.1\r\n" % request.target,
                passed_on(request.headers),
                request.body,
                answer,
            )
        except EndpointAbsent as wrong:
            lane.lost(wire)
            if again:
                return False
            self._fail(lane, wrong, answer)
        except EngineError as wrong:
            self._fail(lane, wrong, answer)
        finally:
            place.leave(served=False)
        return True

    def _fail(self, lane: Lane, wrong: EngineError, answer: Answer) -> None:
        """Say why there is no answer; in the middle of one it is too late for words."""
        lane.counts.failures += 1
        if not answer.begun:
            status = 504 if isinstance(wrong, EndpointTimeout) else 502
            answer.send(error(status, f"{lane.name} gave no answer: {wrong}"))


def _too_many(name: str, full: LaneFullError) -> Page:
    return error(
        503,
        f"{full.waiting} requests wait for {name} already, and more may not; "
        f"come back in {full.retry_after} s",
        code="queue_full",
        retry_after=full.retry_after,
    )


def _model_entry(name: str, view: InstanceView) -> dict[str, object]:
    """A model in OpenAI's shape, with what they have no word for."""
    return {
        "id": name,
        "object": "model",
        "created": int(view.started_at or 0),
        "owned_by": "llama-orch",
        "instance": view.name,
        "state": view.health,
    }


def _text(value: bytes) -> str:
    return value.decode("latin-1")
