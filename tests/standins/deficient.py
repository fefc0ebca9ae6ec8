"""A llama-server for tests that can do everything, but for what it is told to lack.

A healthy one answers like llama.cpp's: /props, /v1/models, chat completions with counts of tokens,
a context that refuses what is longer, stop strings, seeds, schemas, grammars, log probabilities and
tools. A word is a token, and a message has four more around it. It is strict: what is no request of
its API is refused with 400 and kept as a complaint.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args

Lack = Literal[
    "props",
    "model",
    "context",
    "usage",
    "lying_usage",
    "template",
    "system",
    "refusing_system",
    "max_tokens",
    "truncation",
    "stop",
    "seed",
    "json_schema",
    "grammar",
    "logprobs",
    "nan_logprobs",
    "tools",
    "refusing_tools",
    "tools_in_text",
    "reasoning",
]
"""What it can be told to do badly, each a fault that some server has had; not a fault but usual is
that one has no /props.
"""

LACKS: tuple[Lack, ...] = get_args(Lack)

CONTEXT = 256
AROUND_A_MESSAGE = 4
ANSWER = "The capital of France is Paris , as far as anybody here can tell you today ."
KEYS = {
    "messages",
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "tools",
    "tool_choice",
    "cache_prompt",
    "response_format",
    "grammar",
    "logprobs",
    "top_logprobs",
}

Body = dict[str, Any]


class _RefusedError(Exception):
    """Says why a request is refused, in llama-server's words."""

    def __init__(self, message: str, kind: str = "invalid_request_error", **more: Any):
        super().__init__(message)
        self.error = {"code": 400, "message": message, "type": kind, **more}


@dataclass
class Deficient:
    """Its brain: from a request's body to a reply's, as a function of what it lacks.

    `answers` take the place of its usual answer, by the text of the last user message.
    """

    lacks: frozenset[Lack] = frozenset()
    answers: Mapping[str, str] = field(default_factory=dict)
    requests: list[Body] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def questions(self) -> list[str]:
        """The last message of each chat it was asked, in their order."""
        return [request["messages"][-1]["content"] for request in self.requests]

    def reply(self, path: str, body: Body | None) -> tuple[int, Body]:
        """Status and body of the reply to a GET (without a body) or a POST."""
        if path == "/health":
            return 200, {"status": "ok"}
        if path == "/props" and "props" not in self.lacks:
            return 200, self._props()
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": self._model}]}
        if path != "/v1/chat/completions" or body is None:
            return 404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found"}}
        self.requests.append(body)
        try:
            return 200, self._chat(body)
        except _RefusedError as refusal:
            return 400, {"error": refusal.error}

    @property
    def _model(self) -> str:
        return "/models/other.gguf" if "model" in self.lacks else "/models/meant.gguf"

    def _props(self) -> Body:
        return {
            "default_generation_settings": {"n_ctx": CONTEXT},
            "total_slots": 4,
            "model_path": self._model,
            "chat_template": "{{ messages }}",
            "build_info": "b1-standin",
        }

    def _chat(self, body: Body) -> Body:
        self._check(body)
        messages = self._seen(body["messages"])
        read = self._read(messages, body)
        calls, words = self._says(messages, body)
        words, finish = self._ended(words, body)
        text = " ".join(words)
        if "reasoning" in self.lacks and words[:1] == ["The"]:
            text = f"<think> Easy. </think> {text}"
        message: Body = {"role": "assistant", "content": text}
        if calls:
            message, finish = {**message, "content": None, "tool_calls": calls}, "tool_calls"
        choice: Body = {"index": 0, "message": message, "finish_reason": finish}
        if body.get("logprobs") and "logprobs" not in self.lacks:
            choice["logprobs"] = {"content": [self._logprob(word) for word in words]}
        reply: Body = {"object": "chat.completion", "choices": [choice]}
        if "usage" not in self.lacks:
            counted = {"prompt_tokens": read, "completion_tokens": len(words) + 20 * len(calls)}
            reply["usage"] = {**counted, "total_tokens": sum(counted.values())}
        return reply

    def _check(self, body: Body) -> None:
        strange = set(body) - KEYS
        roles = [message.get("role") for message in body.get("messages", ())]
        if strange or not roles or set(roles) - {"system", "user", "assistant"}:
            self.complaints.append(f"no chat: keys {sorted(strange)}, roles {roles}")
            raise _RefusedError(f"unknown keys or roles: {sorted(strange)} {roles}")
        if "system" in roles and "refusing_system" in self.lacks:
            raise _RefusedError("System role not supported")
        if body.get("tools") and "refusing_tools" in self.lacks:
            raise _RefusedError("tools param requires --jinja flag")

    def _seen(self, messages: Sequence[Body]) -> list[Body]:
        """The messages that reach the model."""
        seen = [m for m in messages if m["role"] != "system" or "system" not in self.lacks]
        systems = [message for message in seen if message["role"] == "system"]
        return [*systems, seen[-1]] if "template" in self.lacks else seen

    def _read(self, messages: Sequence[Body], body: Body) -> int:
        """How many tokens it says that it has read; raises for more than fit."""
        read = sum(AROUND_A_MESSAGE + len(m["content"].split()) for m in messages)
        if body.get("tools") and "tools" not in self.lacks:
            read += len(json.dumps(body["tools"]).split())
        if read > CONTEXT and "context" not in self.lacks:
            raise _RefusedError(
                f"request ({read} tokens) exceeds the available context size ({CONTEXT} tokens), "
                f"try increasing it",
                "exceed_context_size_error",
                n_prompt_tokens=read,
                n_ctx=CONTEXT,
            )
        return 7 if "lying_usage" in self.lacks else min(read, CONTEXT)

    def _says(self, messages: Sequence[Body], body: Body) -> tuple[list[Body], list[str]]:
        """The calls it makes, or the words it says."""
        asked = messages[-1]["content"]
        held = self._held(body)
        if held:
            return [], [held]
        if body.get("tools") and "tools" not in self.lacks and "weather" in asked:
            call = {"name": "weather", "arguments": '{"city": "Oslo"}'}
            if "tools_in_text" in self.lacks:
                return [], [json.dumps(call)]
            return [{"id": "call_1", "type": "function", "function": call}], []
        if asked in self.answers:
            return [], self.answers[asked].split()
        if body.get("temperature"):
            return [], self._at_random(body)
        return [], ANSWER.split()

    def _held(self, body: Body) -> str:
        """The only text that a schema or a grammar allows."""
        if body.get("response_format") and "json_schema" not in self.lacks:
            schema = body["response_format"]["json_schema"]["schema"]
            return json.dumps({key: e["enum"][0] for key, e in schema["properties"].items()})
        if body.get("grammar") and "grammar" not in self.lacks:
            return str(body["grammar"].split('"')[1])
        return ""

    def _at_random(self, body: Body) -> list[str]:
        seed = len(self.requests) if "seed" in self.lacks else body.get("seed")
        return random.Random(seed).sample(ANSWER.split(), 8)

    def _ended(self, words: list[str], body: Body) -> tuple[list[str], str]:
        """The words up to where they have to end, and how they did."""
        stops = [] if "stop" in self.lacks else body.get("stop") or []
        text = " ".join(words)
        for stop in stops:
            text = text.partition(stop)[0]
        words = text.split()
        most = body.get("max_tokens")
        if most is None or len(words) <= most or "max_tokens" in self.lacks:
            return words, "stop"
        return words[:most], "stop" if "truncation" in self.lacks else "length"

    def _logprob(self, word: str) -> Body:
        value = float("nan") if "nan_logprobs" in self.lacks else -0.25
        other = {"token": "else", "logprob": -2.5}
        top = [{"token": word, "logprob": value}, other]
        return {"token": word, "logprob": value, "top_logprobs": top}


@contextmanager
def serving(*lacks: Lack, answers: Mapping[str, str] | None = None) -> Iterator[Deficient]:
    """One on a free port of this machine, until the block ends."""
    brain = Deficient(frozenset(lacks), answers or {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*brain.reply(self.path, None))

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(*brain.reply(self.path, json.loads(content)))

        def _send(self, status: int, body: Body) -> None:
            # As llama.cpp's own JSON does: a NaN becomes null.
            content = json.dumps(body).replace("NaN", "null").encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        brain.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield brain
        finally:
            server.shutdown()
            thread.join()
