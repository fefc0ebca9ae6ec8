"""A llama-server for tests: the embedded launcher, with faults if they are asked for.

llama_server_stand_in.py [--half-context] [--dies-on WORD] FLAGS-OF-LLAMA-SERVER...
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pytest_llmeval.servers import embedded
from pytest_llmeval.servers.ports import free_port

LAST_WORDS = "stand-in: that prompt was too much"


def main(arguments: list[str]) -> int:
    """Serve as the flags say; the exit status."""
    if "--half-context" in arguments:
        arguments.remove("--half-context")
        place = arguments.index("-c") + 1
        arguments[place] = str(int(arguments[place]) // 2)
    if "--dies-on" not in arguments:
        return embedded.main(arguments)
    place = arguments.index("--dies-on")
    word = arguments[place + 1]
    return serve_until(word, arguments[:place] + arguments[place + 2 :])


def serve_until(word: str, arguments: list[str]) -> int:
    """Pass requests on to a real server, until one of them holds `word`."""
    place = arguments.index("--port") + 1
    port, hidden = int(arguments[place]), free_port("127.0.0.1")
    arguments[place] = str(hidden)
    server = subprocess.Popen([sys.executable, "-m", embedded.__name__, *arguments])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.pass_on(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if word.encode() in body:
                print(LAST_WORDS, flush=True)
                server.kill()
                os._exit(3)
            self.pass_on(body)

        def pass_on(self, body: bytes | None) -> None:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{hidden}{self.path}", body, headers)
            try:
                with urllib.request.urlopen(request) as answer:
                    self.reply(answer.status, answer.read())
            except urllib.error.HTTPError as error:
                self.reply(error.code, error.read())
            except OSError:
                self.reply(503, b'{"error": {"message": "Loading model"}}')

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, *_: object) -> None:
            """Say nothing: what counts is the real server's log."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as front:
        front.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
