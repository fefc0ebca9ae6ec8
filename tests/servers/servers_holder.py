"""A process that shares a server, says so in a line of JSON, and lets go when its input ends.

python servers_holder.py GGUF FOLDER [again]
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

from pytest_llmeval.servers.sharing import SharedServer, shared
from pytest_llmeval.servers.spec import ServerSpec


def get(url: str, _api_key: str | None) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, answer.read()


def main(gguf: str, folder: str, *extra: str) -> None:
    log = Path(folder).with_name(f"{os.getpid()}.log")
    spec = ServerSpec("tiny", "embedded", Path(gguf), 2, 256, log, threads=1)
    print(json.dumps({"asks": True}), flush=True)
    with shared(spec, Path(folder), get) as server:
        print(json.dumps(facts(server)), flush=True)
        if extra:  # now that it runs for sure: how long does it take to find it?
            sys.stdin.readline()
            began = time.perf_counter()
            with shared(spec, Path(folder), get):
                print(json.dumps({"attached_ms": 1000 * (time.perf_counter() - began)}), flush=True)
        sys.stdin.read()


def facts(server: SharedServer) -> dict[str, object]:
    return {"server": server.pid, "guard": server.guard_pid, "url": server.url}


if __name__ == "__main__":
    main(*sys.argv[1:])
