"""The door of the interface: who may come in, and what browsers are told with every answer."""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pytest_llmeval.orchestrator.web.access import ASSETS, Access, Call, refusal
from pytest_llmeval.orchestrator.web.answers import Problem, ProblemAnswer

SECURITY = {
    # Scripts and styles are files of ours, nothing is loaded from elsewhere, and no text can
    # become markup (trusted types): what a server writes into its log stays text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Gate:
    """Lets a call through to the app, or answers itself why not."""

    def __init__(self, app: ASGIApp, access: Access):
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            # The start and the end of the app. Nothing else is served, so nothing else comes by.
            assert scope["type"] == "lifespan", scope["type"]
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                _mark(MutableHeaders(scope=message), is_asset=scope["path"] in ASSETS)
            await send(message)

        refused = refusal(call_of(scope), self._access)
        if refused is None:
            await self._app(scope, receive, guarded)
            return
        answer = problem_answer(refused.status, Problem(refused.message, refused.type))
        await answer(scope, receive, guarded)


def problem_answer(status: int, problem: Problem) -> JSONResponse:
    """The answer to what cannot be answered."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(dataclasses.asdict(ProblemAnswer(problem)), status, headers)


def call_of(scope: Scope) -> Call:
    """What is decided about, read from a request."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else None
    return Call(
        scope["method"],
        scope["path"],
        hosts[0]
        if len(hosts) == 1
        else None,  # two of them are no host: who knows which one counts
        headers.get("origin"),
        headers.get("sec-fetch-site"),
        headers.get("x-llama-orch-token", given),
    )


def _mark(headers: MutableHeaders, *, is_asset: bool) -> None:
    for name, value in SECURITY.items():
        headers[name] = value
    headers["Cache-Control"] = "no-cache" if is_asset else "no-store"
