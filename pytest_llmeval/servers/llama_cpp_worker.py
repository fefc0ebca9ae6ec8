"""llama-cpp-python in a process of its own: one model, one request at a time.

`python -m pytest_llmeval.servers.llama_cpp_worker -m FILE --port PORT` loads a GGUF and answers on
the loopback interface until it gets SIGTERM (Windows: Ctrl-Break), then ends with 0; a model that
it cannot load ends it with 1 and one line. The flags are llama-server's, so that `Server` starts,
watches and restarts it like one.

    GET  /health, /props                 as llama-server has them
    POST /complete, /likelihoods         a request (`records.Request`) as JSON
    POST /tokenize                       {"text": ...}

Refusals are {"error": {"message": ...}}: with status 501 what this engine cannot do, with 400 what
it will not do of this request, with 500 what broke.

The library is not safe for two threads, and much of it ends the process when it fails. So one
thread loads the model and serves every request, and each model has a process. A request that its
client has given up is left at the next token or batch; one that cannot be left ends the process.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pytest_llmeval.servers.embedded import end, end_on_signals, end_with_input
from pytest_llmeval.servers.llama_cpp_answers import complete, likelihoods
from pytest_llmeval.servers.llama_cpp_loading import CannotServe, load
from pytest_llmeval.servers.llama_cpp_model import Abandoned, LoadedModel, Refused

LOOK_SECONDS = 0.2
"""How often a request's client is looked after while the model works."""

PATIENCE_SECONDS = 60.0
"""How long work that nobody waits for may go on before the process ends: more than one batch of a
large model takes on a slow CPU."""

Work = Callable[[LoadedModel, Mapping[str, Any], Callable[[], bool]], dict[str, Any]]


def tokenize(
    model: LoadedModel, body: Mapping[str, Any], abandoned: Callable[[], bool]
) -> dict[str, Any]:
    """The tokens of a text."""
    del abandoned
    return {"tokens": model.tokenize(body["text"])}


WORKS: Mapping[str, Work] = {
    "/complete": complete,
    "/likelihoods": likelihoods,
    "/tokenize": tokenize,
}


class Worker:
    """A model in the one thread that ever touches it."""

    def __init__(self, load: Callable[[], LoadedModel]) -> None:
        self._thread = ThreadPoolExecutor(1, "llama")
        self.loading = self._thread.submit(load)

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self.loading.done() and self.loading.exception() is None

    def submit(
        self, work: Work, body: Mapping[str, Any], abandoned: Callable[[], bool]
    ) -> Future[dict[str, Any]]:
        """Have a request worked on, behind those that came before it."""
        return self._thread.submit(lambda: work(self.loading.result(), body, abandoned))

    def props(self) -> dict[str, Any]:
        """What GET /props tells, in llama-server's words."""
        model = self.loading.result()
        return {
            "total_slots": 1,
            "default_generation_settings": {"n_ctx": model.context},
            "model_path": str(model.gguf),
            "chat_template": model.template,
            "build_info": f"llama-cpp-python {model.version}",
        }


class Handler(BaseHTTPRequestHandler):
    """One connection of the engine's, kept open; it works in a thread of its own."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    worker: Worker

    def do_GET(self) -> None:
        """Tell of health and properties."""
        if self.path == "/health" and self.worker.ready:
            self.reply(200, {"status": "ok"})
        elif self.path == "/health":
            self.refuse(503, "Loading model")
        elif self.path == "/props" and self.worker.ready:
            self.reply(200, self.worker.props())
        else:
            self.refuse(404, f"there is no {self.path}")

    def do_POST(self) -> None:
        """Work on a request, unless its client goes away."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():  # where the next request begins, nobody knows then
            self.close_connection = True
            self.refuse(411, f"Content-Length is {length!r}, and has to be a number of bytes")
            return
        content = self.rfile.read(int(length))
        work = WORKS.get(self.path)
        if work is None:
            self.refuse(404, f"there is no {self.path}")
            return
        abandoned = threading.Event()
        try:
            future = self.worker.submit(work, json.loads(content), abandoned.is_set)
            self.reply(200, self.wait(future, abandoned))
        except Refused as refused:
            self.refuse(501 if refused.unsupported else 400, str(refused))
        except (Abandoned, CancelledError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - the library raises of every kind
            say(f"a request broke: {type(error).__name__}: {error}")
            self.refuse(500, f"{type(error).__name__}: {error}")

    def wait(self, future: Future[dict[str, Any]], abandoned: threading.Event) -> dict[str, Any]:
        """The reply, once it is there. When the client goes away first, its work is stopped."""
        while not is_done(future, LOOK_SECONDS):
            if has_gone(self.connection):
                abandoned.set()
                future.cancel()
                if not is_done(future, PATIENCE_SECONDS):
                    say(f"a request that nobody waits for did not end in {PATIENCE_SECONDS:.0f} s")
                    end(1)
        return future.result()

    def reply(self, status: int, body: Mapping[str, Any]) -> None:
        """Send a whole reply."""
        content = json.dumps(body, allow_nan=False).encode("ascii")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:  # it has gone meanwhile
            self.close_connection = True

    def refuse(self, status: int, message: str) -> None:
        """Send why there is no answer."""
        self.reply(status, {"error": {"message": message}})

    def log_request(self, *_: object) -> None:
        """Say nothing: a line for each request helps nobody."""


class LoopbackServer(ThreadingHTTPServer):
    """Listens for the engine. What Windows calls reusing an address would be taking it away."""

    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell of what broke in a line; nothing of clients that go away, as those do that give a
        request up: a traceback of each would hide the library's last words.
        """
        del request, client_address
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            say(f"a connection broke: {type(error).__name__}: {error}")


def is_done(future: Future[Any], seconds: float) -> bool:
    """Wait for a future; whether it is done."""
    return bool(concurrent.futures.wait([future], seconds).done)


def has_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection on which it waits for us."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


# Starting -----------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one model; the exit status."""
    options = build_parser().parse_args(arguments)
    if options.lifeline:
        threading.Thread(target=end_with_input, daemon=True).start()
    end_on_signals()
    # Else it has a debugger write its end, and its last words drown in that.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    worker = Worker(lambda: load_as(options))
    worker.loading.add_done_callback(lambda loading: end_if_failed(loading, options.model))
    handler = type("BoundHandler", (Handler,), {"worker": worker})
    with LoopbackServer((options.host, options.port), handler) as server:
        server.serve_forever()
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The flags of llama-server that we pass, and the lifeline."""
    parser = argparse.ArgumentParser(
        prog="llama_cpp_worker", description="Serve one GGUF with llama-cpp-python."
    )
    parser.add_argument("-m", "--model", required=True, type=Path, metavar="FILE")
    parser.add_argument("-a", "--alias", metavar="NAME", help="not used: requests name no model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("-np", "--parallel", type=int, choices=[1], default=1)
    parser.add_argument("-c", "--ctx-size", type=int, required=True, metavar="TOKENS")
    parser.add_argument("-ngl", "--gpu-layers", type=int, default=0, metavar="N")
    parser.add_argument("-t", "--threads", type=int, metavar="N")
    parser.add_argument(
        "--lifeline", action="store_true", help="end when standard input ends: our starter is gone"
    )
    return parser


def load_as(options: argparse.Namespace) -> LoadedModel:
    """Load what the flags say. Raises CannotServe."""
    return load(
        options.model,
        context=options.ctx_size,
        gpu_layers=options.gpu_layers,
        threads=options.threads,
    )


def end_if_failed(loading: Future[LoadedModel], model: Path) -> None:
    """End the process with 1 and one line when the model is not there."""
    error = loading.exception()
    if error is not None:
        words = str(error) if isinstance(error, CannotServe) else f"{type(error).__name__}: {error}"
        say(f"cannot serve {model.name}: {words}")
        end(1)


def say(words: str) -> None:
    """Write a line to the log in one piece: llama.cpp writes to it from threads of its own."""
    sys.stderr.write(f"worker: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
