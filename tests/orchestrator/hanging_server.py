"""A llama-server for tests that can be told to hang, which no real one does when asked to.

hanging_server.py FLAGS-OF-LLAMA-SERVER...: GET /hang?how makes it answer nothing more from then on,
and either `compute` or `sleep`. With `never` among its flags it never becomes healthy.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def compute() -> None:
    """Use a core for good."""
    while True:
        sum(range(10_000))


def main(arguments: list[str]) -> None:
    """Serve as the flags say."""
    flags = dict(itertools.pairwise(arguments))
    hanging = threading.Event()
    props = {
        "total_slots": int(flags["-np"]),
        "default_generation_settings": {"n_ctx": int(flags["-c"])},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/hang"):
                if self.path.endswith("compute"):
                    threading.Thread(target=compute, daemon=True).start()
                self.answer(200, {})
                hanging.set()
                return
            while hanging.is_set():
                time.sleep(1)
            if self.path == "/health" and "never" in arguments:
                self.answer(503, {"error": {"message": "Loading model"}})
            elif self.path in {"/health", "/props"}:
                self.answer(200, props)
            else:
                self.answer(404, {})

        def answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a log that grows is a sign of life."""

    ThreadingHTTPServer((flags["--host"], int(flags["--port"])), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
