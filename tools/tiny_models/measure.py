"""How many items of each suite a model gets right, asked through a real server.

This is the check of the models themselves, kept apart from the plugin: it scores by plain
equality and needs nothing of `pytest_llmeval`.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from math import comb
from pathlib import Path
from typing import Any, Final

import httpx
from jinja2 import Environment, StrictUndefined, Template
from ruamel.yaml import YAML

from .serving import SLOTS, served

Message = dict[str, str]
_JINJA: Final = Environment(undefined=StrictUndefined, autoescape=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One request and the answer that counts as right."""

    suite: str
    variant: str
    item: dict[str, Any]
    body: dict[str, Any]


def questions(suite_file: Path) -> list[Question]:
    """Return every item of a suite under every prompt, as chat requests."""
    suite = YAML(typ="safe").load(suite_file.read_text(encoding="utf-8"))
    data = (suite_file.parent / suite["items"]).read_text(encoding="utf-8")
    found = []
    for variant, prompt in suite["prompts"].items():
        for item in map(json.loads, data.splitlines()):
            body = {"messages": messages(prompt, item), "temperature": 0, **suite["sampling"]}
            if "tools" in suite:
                body["tools"] = suite["tools"]
            found.append(Question(suite_file.stem, variant, item, body))
    return found


@cache
def _compiled(text: str) -> Template:
    return _JINJA.from_string(text)


def messages(prompt: str | list[dict[str, str]], item: dict[str, Any]) -> list[Message]:
    """Render a prompt of a suite for an item."""
    parts = [{"user": prompt}] if isinstance(prompt, str) else prompt
    return [
        {"role": role, "content": _compiled(text).render(item)}
        for part in parts
        for role, text in part.items()
    ]


def is_right(question: Question, message: dict[str, Any]) -> bool:
    """Compare the text, or of the calls where the suite sends tools."""
    item = question.item
    if "tools" not in question.body:
        accepted = {str(item["answer"])}
        if "options" in item:
            accepted.add(item["options"]["ABCD".index(item["answer"])])
        return str(message.get("content") or "").strip() in accepted
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    try:
        got = [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in calls]
    except json.JSONDecodeError:  # cut off by max_tokens
        return False
    return bool(got == item["answer"])


def ask(model: Path, asked: list[Question]) -> list[dict[str, Any]]:
    """Return the message the model answers to each question, in order."""
    with (
        served(model) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):

        def answer(question: Question) -> dict[str, Any]:
            reply = client.post("/v1/chat/completions", json=question.body).raise_for_status()
            message: dict[str, Any] = reply.json()["choices"][0]["message"]
            return message

        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(answer, asked))


def mid_p(only_first: int, only_second: int) -> float:
    """McNemar's mid-p, two-sided, from the two discordant counts."""
    n, least = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(least)) + comb(n, least) / 2
    return float(min(1.0, 2 * tail / 2**n))


def table(first: Path, second: Path, suites: Path) -> str:
    """Write a Markdown table: both models on every suite and prompt."""
    asked = [question for file in sorted(suites.glob("*.yaml")) for question in questions(file)]
    marks = [
        [is_right(*pair) for pair in zip(asked, ask(model, asked), strict=True)]
        for model in (first, second)
    ]
    rows = [
        f"| suite/prompt | n | {first.stem} | {second.stem} | McNemar mid-p |",
        "|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((question.suite, question.variant) for question in asked):
        places = [
            i for i, question in enumerate(asked) if (question.suite, question.variant) == key
        ]
        rows.append(_row("/".join(key), *([mark[i] for i in places] for mark in marks)))
    return "\n".join(rows)


def _row(name: str, one: list[bool], two: list[bool]) -> str:
    better = sum(a and not b for a, b in zip(one, two, strict=True))
    worse = sum(b and not a for a, b in zip(one, two, strict=True))
    n = len(one)
    shares = " | ".join(f"{sum(marks)} ({100 * sum(marks) / n:.1f} %)" for marks in (one, two))
    return f"| {name} | {n} | {shares} | {mid_p(better, worse):.2g} |"
