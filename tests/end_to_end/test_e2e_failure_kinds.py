"""Every kind of failure in one run: each under its name, none a wrong answer, none its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.standins.failure_kinds import ANSWERS, FAILURES, STREAM_FAILURES, TIMEOUT, Kind
from tests.standins.faulty import Faulty, serve
from tools.real_runs import Project

#: 65 MiB each: what they show is shown by the engine alone.
TOO_LARGE = ("endless_body", "endless_stream")

WITH_AN_ANSWER = {"none": "right", "empty_answer": "empty", "content_filter": "refusal"}


@pytest.fixture
def server() -> Iterator[Faulty]:
    yield from serve()


def played(kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """Those that a run asks for; of those that hang one is enough, for each is asked four times."""
    hanging = [name for name, kind in kinds.items() if kind is TIMEOUT]
    left_out = {*TOO_LARGE, *hanging[1:]}
    return {name: kind for name, kind in kinds.items() if name not in left_out}


def suite_for(names: list[str], model: str) -> dict[str, Any]:
    """A suite that asks one model for faults; where there is an answer, 42 is the right one."""
    return {
        "items": [{"id": name.replace("_", "-"), "fault": name, "sum": "42"} for name in names],
        "target": "sum",
        "prompts": {"plain": "17 + 25 = ? fault:{{ fault }}"},
        "score": "numeric",
        "only": model,
    }


def test_a_run_survives_everything_and_counts_nothing_of_it_as_wrong(
    project: Project, server: Faulty
) -> None:
    model = {"engine": "openai", "url": server.url, "slots": 12, "timeout": 4}
    project.config(models={"whole": model, "streamed": {**model, "stream": True}})
    project.suite("whole", **suite_for([*played(FAILURES), *WITH_AN_ANSWER], "whole"))
    project.suite("streamed", **suite_for([*played(STREAM_FAILURES), "none"], "streamed"))
    session = project.start()
    assert session.wait() == 1, session.text
    rows = {
        (row["suite"], row["item_id"].replace("-", "_")): row for row in project.rows("predictions")
    }
    for suite, kinds in (("whole", played(FAILURES)), ("streamed", played(STREAM_FAILURES))):
        for name, kind in kinds.items():
            row = rows.pop((suite, name))
            assert (name, row["outcome"], row["reason"]) == (name, "failure", kind.reason)
            assert (name, row["attempts"]) == (name, "4" if kind.again else "1")
            assert kind.words in row["error"]
    found = {key: row["reason"] or row["outcome"] for key, row in rows.items()}
    answered = {("whole", name): expected for name, expected in WITH_AN_ANSWER.items()}
    assert found == {**answered, ("streamed", "none"): "right"}
    assert set(WITH_AN_ANSWER) <= set(ANSWERS)
    assert " wrong" not in session.text.splitlines()[-1]
