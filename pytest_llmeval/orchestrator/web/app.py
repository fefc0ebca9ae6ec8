"""The interface: what can be asked over HTTP, each route in a few lines.

Nothing here knows how instances are kept; it asks `Instances`, in threads, since that may block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException

from pytest_llmeval import __version__
from pytest_llmeval.errors import LlmevalError, OrchestratorError
from pytest_llmeval.orchestrator.front_door.door import DoorFigures
from pytest_llmeval.orchestrator.views import InstanceDetail, Instances, InstanceView, Stream
from pytest_llmeval.orchestrator.web import metrics
from pytest_llmeval.orchestrator.web.access import ASSETS, Access
from pytest_llmeval.orchestrator.web.answers import (
    Action,
    HealthAnswer,
    Overview,
    Problem,
    ProblemAnswer,
    health_answer,
    problem_of,
    without_secrets,
)
from pytest_llmeval.orchestrator.web.feed import INTERVAL, Feed, Scene
from pytest_llmeval.orchestrator.web.gate import SECURITY, Gate, problem_answer
from pytest_llmeval.orchestrator.web.jobs import Jobs
from pytest_llmeval.orchestrator.web.log_part import LogPart, read_part
from pytest_llmeval.orchestrator.web.threads import Threads

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
"""What the page's files are: Windows may say otherwise of them in its registry."""

#: In place of FastAPI's own 422, whose body has another form.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemAnswer, "description": "Why not, in words."}
}

#: The same for routes whose own answers are no JSON.
PROBLEMS_IN_JSON: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": PROBLEMS["default"]["description"],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
    }
}

#: The gate asks for the token; these two tell the schema how it is sent.
TOKEN = [
    Depends(HTTPBearer(auto_error=False)),
    Depends(APIKeyHeader(name="X-Llama-Orch-Token", auto_error=False)),
]


Daemon = Callable[[], bool]
Door = Callable[[], DoorFigures | None]


def no_door() -> DoorFigures | None:
    """Of a `serve` without `--proxy`."""
    return None


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


class Office:
    """What all routes work with: the instances, the jobs under way and the feed of changes."""

    def __init__(self, instances: Instances, daemon: Daemon, door: Door, interval: float):
        self.instances = instances
        self.threads = Threads()
        self.feed = Feed(self.scene, interval=interval)
        self.jobs = Jobs(instances, self.feed.poke)
        self._daemon = daemon
        self._door = door

    def close(self) -> None:
        """Let all go who wait for something; else the server could not end."""
        self.feed.close()
        self.jobs.close()

    async def overview(self) -> Overview:
        """All instances now."""
        daemon, views = await self.threads(lambda: (self._daemon(), self.instances.overview()))
        return Overview(time.time(), daemon, views, self.jobs.pending, door=self._door())

    async def scene(self) -> Scene:
        """All that watchers are told of."""
        # Outcomes first: an instance must not be known as it was before an action that has ended.
        outcomes = self.jobs.outcomes
        return Scene(await self.overview(), outcomes)


def make_app(
    instances: Instances,
    *,
    access: Access,
    daemon: Daemon,
    door: Door = no_door,
    interval: float = INTERVAL,
) -> FastAPI:
    """The interface over these instances; `daemon` tells whether the daemon runs, `door` what goes
    on at the front door, where there is one.

    Its `state.office` must be closed for the server to end: those who watch never leave.
    """
    office = Office(instances, daemon, door, interval)
    app = FastAPI(
        title="llama-orch",
        version=__version__,
        description="The model servers of one machine: see them, start and stop them.",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.office = office
    app.add_middleware(Gate, access=access)
    app.include_router(_reading(office))
    app.include_router(_changing(office))
    for path in ASSETS:
        name = path[1:] or "index.html"
        app.add_api_route(path, _asset(name), methods=["GET", "HEAD"], include_in_schema=False)
    _tell_problems(app)
    return app


def _reading(office: Office) -> APIRouter:
    """What only looks."""
    router = APIRouter(responses=PROBLEMS)

    @router.get("/instances", tags=["instances"])
    async def overview() -> Overview:
        """All instances that have a config, as they are now."""
        return await office.overview()

    @router.get("/instances/{name}", tags=["instances"])
    async def describe(name: str) -> InstanceDetail:
        """Everything about one: its config, what it is now, and what has happened to it."""
        return without_secrets(await office.threads(office.instances.describe, name))

    @router.get("/instances/{name}/health", tags=["instances"])
    async def health(name: str) -> HealthAnswer:
        """Its health as it was last found, and how it came to be."""
        return health_answer(await office.threads(office.instances.describe, name))

    @router.get("/instances/{name}/logs", tags=["instances"])
    async def logs(
        name: str,
        stream: Stream = "err",
        tail: Annotated[int, Query(ge=0, le=10_000)] = 200,
        after: str | None = None,
    ) -> LogPart:
        """The end of what its server wrote; `after` a cursor, what was written since."""
        return await office.threads(_log, office.instances, name, stream, tail, after)

    @router.get("/events", tags=["events"], response_class=EventStream, responses=PROBLEMS_IN_JSON)
    async def events() -> StreamingResponse:
        """Server-sent events: `overview` once, then `instance`, `gone`, `pending`, `outcome`,
        `door`, `daemon` and `trouble` as things change.
        """
        # A proxy in between must not collect them.
        return EventStream(office.feed.events(), headers={"X-Accel-Buffering": "no"})

    @router.get(
        "/metrics", tags=["metrics"], response_class=PlainTextResponse, responses=PROBLEMS_IN_JSON
    )
    async def prometheus() -> Response:
        """For Prometheus, in its text format 0.0.4."""
        seen = await office.overview()
        families = metrics.metrics(
            seen.instances, seen.door, daemon=seen.daemon, version=__version__, now=seen.now
        )
        return Response(metrics.as_text(families), media_type=metrics.CONTENT_TYPE)

    return router


def _log(instances: Instances, name: str, stream: Stream, tail: int, after: str | None) -> LogPart:
    path = instances.log(name, stream)
    try:
        return read_part(path, tail, after)
    except OSError as error:
        raise OrchestratorError(f"the log {path} of {name} cannot be read: {error}") from error


def _changing(office: Office) -> APIRouter:
    """What changes something: it needs the token."""
    router = APIRouter(responses=PROBLEMS, dependencies=TOKEN, tags=["actions"])
    # One route for each action, so that the schema names them; they differ in the word only.
    words: dict[Action, str] = {
        "start": "Bring it up. With `wait`, answered when requests may be sent: maybe minutes.",
        "stop": "Bring it down. With `wait`, answered when its process is gone.",
        "restart": "End it and start it again. With `wait`, answered when requests may be sent.",
        "reset": "Forget its restarts, so that one that was given up may be started again.",
    }
    for action, text in words.items():
        router.add_api_route(
            f"/instances/{{name}}/{action}",
            _act(office, action),
            methods=["POST"],
            name=action,
            description=text,
            response_model=InstanceView,
            responses={202: {"model": InstanceView, "description": "Begun; /events tells more."}},
        )
    return router


def _act(office: Office, action: Action) -> Callable[..., Any]:
    async def act(name: str, response: Response, *, wait: bool = False) -> InstanceView:
        view = await office.threads(office.instances.view, name)  # or there is none of that name
        if action in {"start", "restart"}:
            await office.threads(office.instances.config, name)  # or it cannot be read
        task = office.jobs.begin(name, action)
        if not wait:
            response.status_code = 202
            return view
        after = await office.jobs.ended(task)
        if after is None:
            raise HTTPException(503, f"the interface ends; the {action} goes on")
        return after

    return act


def _asset(name: str) -> Callable[[], Any]:
    content = (files("pytest_llmeval.orchestrator") / "page" / name).read_bytes()

    async def asset() -> Response:
        return Response(content, media_type=KINDS[name.rpartition(".")[2]])

    return asset


def _tell_problems(app: FastAPI) -> None:
    """Every answer that is none has the same body."""

    async def ours(_request: Request, error: Exception) -> Response:
        return problem_answer(*problem_of(error))

    async def internal(_request: Request, error: Exception) -> Response:
        answer = problem_answer(*problem_of(error))
        answer.headers.update(SECURITY)  # this one does not come through the gate
        answer.headers["Connection"] = "close"  # uvicorn does it, and does not say so
        return answer

    async def malformed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = "; ".join(
            f"{each['loc'][-1]}: {each['msg']}, given {each['input']!r}" for each in error.errors()
        )
        return problem_answer(400, Problem(found, "bad_request"))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        asked = f"{request.method} {request.url.path}"
        word = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
        answer = problem_answer(error.status_code, Problem(f"{asked}: {error.detail}", word))
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(LlmevalError, ours)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, internal)
