"""What is evaluated by the rounds of `kill_points.py`, and the stub server that they share."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmeval.servers.ports import is_free
from tools.real_runs import REPOSITORY, shipped

ITEMS = 24


def _items(prefix: str = "i", count: int = ITEMS) -> list[dict[str, str]]:
    """Questions to the fake: two of three are answered right."""
    return [
        {"id": f"{prefix}{n:02}", "question": f"say {'yes' if n % 3 else 'no'}", "answer": "yes"}
        for n in range(count)
    ]


def _fake() -> tuple[dict[str, Any], dict[str, Any]]:
    odd = [
        {"id": "broken", "question": "break", "answer": "yes"},
        {"id": "silent", "question": "say", "answer": "yes"},
    ]
    config = {
        "models": {
            "m": {"engine": "fake", "script": "script.json"},
            "n": {"engine": "fake", "script": "yes.json"},
            "j": {"engine": "fake", "script": "judge.json", "role": "judge"},
        },
        "judge": "j",
        "sampling": {"max_tokens": 8},
    }
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.1}
    suites = {
        "plain": {"items": [*_items(), *odd], "score": "exact", "gates": [gate]},
        "repeated": {"items": _items("r", 5), "score": "exact", "repeats": 3},
        "judged": {"items": _items("j", 8), "score": ["judge", "exact"]},
    }
    return config, suites


def _stopping() -> tuple[dict[str, Any], dict[str, Any]]:
    config, _ = _fake()
    stop = {"when": "decided"}
    return config, {"stopping": {"items": _items("s", 40), "score": "exact", "stop": stop}}


def _sums(models: Mapping[str, Any], count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    config = {
        "models": models,
        "sampling": {"temperature": 0, "max_tokens": 8, "seed": 7},
        "cache": {"mode": "off"},  # an answer that was under way would come back without its times
    }
    prompts = {"plain": "{{ a }} + {{ b }} ="}
    suite = {"items": shipped("arithmetic", count), "score": "numeric", "prompts": prompts}
    return config, {"sums": suite}


@dataclass(frozen=True)
class World:
    """A config and suites; `make` gives them, for the stub's port.

    In a world that `stops` early, how many answers came in vain depends on what was under way at
    the moment of the decision, also undisturbed; so tokens and counts of parts are others, and what
    is held is what was decided, and by which answers.
    """

    make: Callable[[int], tuple[dict[str, Any], dict[str, Any]]]
    has_server: bool = False
    stops: bool = False

    def write(self, root: Path, port: int) -> None:
        """The files of a user's folder."""
        config, suites = self.make(port)
        (root / "suites").mkdir(parents=True)
        (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (root / "local.yaml").write_text(json.dumps(config), encoding="utf-8")
        for name, rules in _SCRIPTS.items():
            (root / f"{name}.json").write_text(json.dumps(rules), encoding="utf-8")
        for name, suite in suites.items():
            whole = {"target": "answer", "prompts": {"plain": "{{ question }}"}, **suite}
            (root / "suites" / f"{name}.yaml").write_text(json.dumps(whole), encoding="utf-8")


_SCRIPTS: Mapping[str, list[dict[str, Any]]] = {
    "script": [
        {"when": "^break", "fail": "refused"},
        {"when": "^say ?(.*)", "text": r"\1", "latency": 0.003},
    ],
    "yes": [{"when": "", "text": "yes", "latency": 0.001}],
    "judge": [
        {"when": "no", "text": '{"verdict": "fail"}', "latency": 0.003},
        {"when": "", "text": '{"verdict": "pass"}'},
    ],
}


def _stub(port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    url = f"http://127.0.0.1:{port}/v1"
    return _sums({"stub": {"engine": "openai", "url": url, "name": "stub", "slots": 4}}, 60)


def _real(port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    del port
    gguf = str(REPOSITORY / "models" / "tiny-s.gguf")
    model = {"engine": "embedded", "gguf": gguf, "exact": True, "context": 256, "threads": 1}
    return _sums({"tiny": model}, 12)


WORLDS: Mapping[str, World] = {
    "fake": World(lambda _: _fake()),
    "stopping": World(lambda _: _stopping(), stops=True),
    "stub": World(_stub, has_server=True),
    "real": World(_real, has_server=True),
}


class Stub:
    """The stub server of the benchmarks, on one port as long as the rounds last."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Have it serve."""
        command = [sys.executable, str(REPOSITORY / "benchmarks" / "stub.py")]
        command += ["--port", str(self.port), "--slots", "4", "--latency-ms", "4"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
        assert self._process.stdout is not None
        self.port = json.loads(self._process.stdout.readline())["port"]

    def end(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def die_and_come_back(self) -> None:
        """`kill -9`, and a new one on the same port."""
        self.end()
        deadline = time.monotonic() + 20
        while not is_free("127.0.0.1", self.port) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.start()
