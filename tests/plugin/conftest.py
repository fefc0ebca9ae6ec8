"""A small project of a user: a config with the fake engine, suites, tests of their own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401 - httpx maps its errors once; loaded twice, they would not be its own
import httpx  # noqa: F401
import numpy as np  # noqa: F401 - as the next ones, and it can be loaded only once in a process
import pytest
import scipy.special  # noqa: F401

import pytest_llmeval.hooks  # noqa: F401 - imported once here, not once in every inner session
from pytest_llmeval.scoring.scorer import BUILT_IN

for module in BUILT_IN.values():  # an inner session forgets what it imports, the registry does not
    import_module(module)

Rules = Sequence[Mapping[str, Any]]
Item = dict[str, Any]

#: "say X" is answered with X, "break" never is.
SCRIPT: Rules = (
    {"when": "^break", "fail": "refused"},
    {"when": "^say ?(.*)", "text": r"\1"},
)

CONFIG: Mapping[str, Any] = {
    "models": {"m": {"engine": "fake", "script": "script.json", "slots": 4}},
    "sampling": {"max_tokens": 16},
}

SUITE: Mapping[str, Any] = {
    "target": "answer",
    "prompts": {"plain": "{{ question }}"},
    "score": "exact",
}


class Project:
    """A user's project in a temporary folder, and pytest runs in it.

    Inner sessions load no plugin but ours, xdist and those that are asked for, so that what is
    tested does not depend on what else is installed. They run in this process unless the test
    run was started with `--runpytest=subprocess`.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        self.root = pytester.path
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        self.write("pytest.ini", "[pytest]\naddopts = --strict-markers\n")
        self.script(SCRIPT)
        self.config()

    # What the user writes -------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        """A file of the project, its folders made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    def config(self, **keys: Any) -> Path:
        """`local.yaml`: the model `m` on the fake engine with 4 slots; `keys` replace its own."""
        return self.write("local.yaml", json.dumps({**CONFIG, **keys}, indent=2))

    def script(self, rules: Rules) -> Path:
        """What the fake answers; unless told otherwise, `SCRIPT`."""
        return self.write("script.json", json.dumps(rules))

    def suite(
        self, name: str = "arithmetic", items: Sequence[Item] = (), *, text: str = "", **keys: Any
    ) -> Path:
        """`suites/<name>.yaml` from its text, or from its items and other keys."""
        content = text or json.dumps({"items": list(items), **SUITE, **keys}, indent=2)
        return self.write(f"suites/{name}.yaml", content)

    @staticmethod
    def right(id: str, **more: Any) -> Item:  # noqa: A002 - the item's own word
        """An item that `m` answers well."""
        return {"id": id, "question": "say yes", "answer": "yes", **more}

    @staticmethod
    def wrong(id: str, **more: Any) -> Item:  # noqa: A002
        """An item that `m` answers wrongly."""
        return {"id": id, "question": "say no", "answer": "yes", **more}

    @staticmethod
    def silent(id: str, **more: Any) -> Item:  # noqa: A002
        """An item to which `m` says nothing."""
        return {"id": id, "question": "say", "answer": "yes", **more}

    @staticmethod
    def broken(id: str, **more: Any) -> Item:  # noqa: A002
        """An item whose request is refused: a failure."""
        return {"id": id, "question": "break", "answer": "yes", **more}

    # What the user runs ---------------------------------------------------------------------------

    def run(
        self, *args: str, plugins: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> pytest.RunResult:
        """`pytest --llm-config local.yaml`, with other plugins by their entry point's name."""
        return self.pytest("--llm-config", "local.yaml", *args, plugins=plugins, env=env)

    def pytest(
        self, *args: str, plugins: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> pytest.RunResult:
        """Pytest without an evaluation."""
        for name, value in (env or {}).items():
            self.monkeypatch.setenv(name, value)
        return self.pytester.runpytest(*_loading(plugins), *args)

    def spawn(self, *args: str, plugins: Sequence[str] = ()) -> subprocess.Popen[str]:
        """`pytest --llm-config local.yaml` in a process of its own, for signals.

        Its output goes to one pipe. It leads a process group, so that a test can press Ctrl-C.
        """
        command = [sys.executable, "-m", "pytest", *_loading(plugins)]
        group: dict[str, Any]
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        else:
            group = {"start_new_session": True}
        return subprocess.Popen(
            [*command, "--llm-config", "local.yaml", *args],
            cwd=self.root,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            **group,
        )

    # What a run leaves ----------------------------------------------------------------------------

    def latest_run(self) -> Path:
        """The newest run's folder."""
        runs = [path for path in (self.root / "runs").iterdir() if path.is_dir()]
        return max(runs, key=lambda path: path.stat().st_ctime_ns)

    def manifest(self) -> dict[str, Any]:
        """The newest run's manifest."""
        text = (self.latest_run() / "manifest.json").read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text)
        return content

    def rows(self, table: str) -> list[dict[str, str]]:
        """All rows of a table, for instance `predictions`, over the newest run's conditions."""
        rows: list[dict[str, str]] = []
        for path in sorted(self.latest_run().glob(f"*/{table}.csv")):
            with path.open(encoding="utf-8", newline="") as file:
                rows += csv.DictReader(file)
        return rows

    def journal(self) -> list[dict[str, Any]]:
        """All lines of the newest run's journal."""
        paths = sorted(self.latest_run().glob("*/parts/*.results.jsonl"))
        lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
        return [json.loads(line) for line in lines]


def _loading(plugins: Sequence[str]) -> list[str]:
    return [part for name in ("llmeval", "xdist", *plugins) for part in ("-p", name)]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)
