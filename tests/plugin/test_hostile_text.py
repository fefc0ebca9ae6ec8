"""Answers, items and servers' words that would act on a terminal: a session shows them as text."""

from __future__ import annotations

import json
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.results.tables import read_predictions

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

#: Clears the screen, names the window, links, hides, turns text round, sits in a C1 control.
HOSTILE = (
    "=1\x1b[2J\x1b]0;pwned\x07\x1b]8;;http://x.example\x1b\\here \x1b[8mhidden\x1b[0m"
    "\u202ecod.exe\u2069 \u200bx\u061c\x9b31m\rPASSED"
)
SPELT_OUT = r"\x1b[2J\x1b]0;pwned\x07"
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]")

SCORER = """
from dataclasses import dataclass
from typing import ClassVar
from pytest_llmeval.scoring.scorer import register

@register("failing")
@dataclass(frozen=True)
class Failing:
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer, item):
        raise ValueError(answer.text)
"""

JUDGING = """
import pytest

@pytest.mark.llmeval(items=[{"id": "a", "answer": "x"}], prompt="speak", target="answer")
def test_marked(llm_prediction):
    assert llm_prediction.text + "\\nb" == "x\\nb"

def test_chat(llm):
    raise RuntimeError(llm.chat("speak").text)

def test_refused(llm):
    llm.chat("refuse")
"""


class Hostile(BaseHTTPRequestHandler):
    """A server that answers, and refuses, in words that would act on a terminal."""

    def do_GET(self) -> None:
        self._say(200, {"object": "list", "data": [{"id": HOSTILE}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "refuse" in body["messages"][-1]["content"]:
            self._say(400, {"error": {"message": HOSTILE, "type": "invalid_request_error"}})
            return
        asked = " ".join(message["content"] for message in body["messages"])
        text = HOSTILE if "speak" in asked else "x"  # the preflight gets proper answers
        usage = {"prompt_tokens": len(asked.split()), "completion_tokens": 1}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._say(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def log_message(self, *_: object) -> None:
        pass

    def _say(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hostile(project: Project) -> Iterator[Project]:
    """A project whose server is hostile."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        project.config(models={"m": {"engine": "openai", "url": url, "name": "x"}})
        yield project
        server.shutdown()
        thread.join()


def item(name: str, question: str = "speak") -> dict[str, str]:
    return {"id": name, "question": question, "answer": "yes"}


def nothing_acts(text: str) -> bool:
    return ACTS.findall(text) == []


def test_a_wrong_answer_is_shown_spelt_out(hostile: Project) -> None:
    hostile.suite("arithmetic", [item("a")], each_item="must_pass")
    shown = hostile.run("-v", "-rA").stdout.str()
    assert SPELT_OUT in shown
    assert nothing_acts(shown)


def test_ids_and_servers_words_are_shown_spelt_out(hostile: Project) -> None:
    hostile.suite("arithmetic", [item(f"a{HOSTILE}"), item("b", "refuse")])
    shown = hostile.run("-v", "-rA").stdout.str()
    assert SPELT_OUT in shown
    assert nothing_acts(shown)


def test_a_scorer_that_quotes_an_answer_is_shown_spelt_out(hostile: Project) -> None:
    hostile.write("conftest.py", SCORER)
    hostile.suite("arithmetic", [item("a")], score="failing")
    shown = hostile.run().stdout.str()
    assert SPELT_OUT in shown
    assert nothing_acts(shown)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_tests_that_quote_an_answer_are_shown_spelt_out(hostile: Project, workers: str) -> None:
    hostile.write("test_own.py", JUDGING)
    shown = hostile.run(workers, "-vv", "test_own.py").stdout.str()
    assert "3 failed" in shown
    assert shown.count(SPELT_OUT) >= 3
    assert nothing_acts(shown)


def test_a_mistake_in_a_suite_is_told_spelt_out(hostile: Project) -> None:
    hostile.suite("arithmetic", [item("a")], score=HOSTILE)
    result = hostile.run()
    shown = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert r"\x1b" in shown
    assert nothing_acts(shown)


def test_colours_of_an_assertion_stay_where_a_terminal_has_them(hostile: Project) -> None:
    hostile.write("test_own.py", JUDGING)
    shown = hostile.run("--color=yes", "-vv", "test_own.py").stdout.str()
    colours = re.compile(r"\x1b\[[0-9;]*m")
    assert len(colours.findall(shown)) > 10
    assert nothing_acts(colours.sub("", shown))


def test_junit_is_valid_and_tells_it_spelt_out(hostile: Project) -> None:
    hostile.suite("arithmetic", [item("a"), item("b", "refuse")])
    hostile.suite("strict", [item("a")], each_item="must_pass")
    hostile.run("--junitxml=junit.xml")
    text = (hostile.root / "junit.xml").read_text(encoding="utf-8")
    assert nothing_acts(text)
    told = [entry.attrib.get("value", "") for entry in ET.fromstring(text).iter("property")]
    assert any(SPELT_OUT in value for value in told)


def test_journal_and_tables_keep_it_as_it_was(hostile: Project) -> None:
    hostile.suite("arithmetic", [item("a")])
    hostile.run()
    (row,) = read_predictions(hostile.latest_run())
    assert row["text"] == HOSTILE
    (line,) = hostile.journal()
    assert line["response"]["body"]["choices"][0]["message"]["content"] == HOSTILE
    assert "\x1b" not in json.dumps(line)
