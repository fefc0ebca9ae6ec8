"""A process that owns one server, says so in a line of JSON, and waits to be ended by a test.

python servers_owner.py GGUF LOG [fork | EXECUTABLE]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec


def get(url: str, _api_key: str | None) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, answer.read()


def main(gguf: str, log: str, *extra: str) -> None:
    spec = ServerSpec("tiny", "embedded", Path(gguf), 2, 256, Path(log), threads=1)
    if extra and extra != ("fork",):
        spec = replace(spec, kind="llama-server", executable=extra[0])
    server = Server(spec, get)
    server.start()
    facts = {"server": server.pid, "guard": server.guard_pid, "url": server.url}
    signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
    if "fork" in extra:
        facts["child"] = os.fork()
    if facts.get("child") != 0:
        print(json.dumps(facts), flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
