"""Under pytest-xdist with real servers: one per model, and the same results as without."""

from __future__ import annotations

from typing import Any

import pytest

from tools.real_runs import MODELS, Project, becomes_true, shipped

TIMES = {"queued_ms", "first_token_ms", "total_ms"}
MARKED = """
import pytest

ITEMS = [{"id": f"f{n}", "a": n, "b": 1} for n in range(6)]

@pytest.mark.llmeval(items=ITEMS, prompt="{{ a }} + {{ b }} =")
def test_marked(llm_item, llm_prediction):
    assert llm_prediction.text
"""


def found(project: Project) -> dict[str, Any]:
    """All rows of a run's tables, but for times."""
    tables = ("predictions", "per_item_scores")
    rows = {table: project.rows(table) for table in tables}
    return {
        table: [{key: value for key, value in row.items() if key not in TIMES} for row in each]
        for table, each in rows.items()
    }


@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_all_workers_share_one_server_per_model_and_leave_what_is_left_without(
    project: Project, dist: str
) -> None:
    models = {name: {**model, "exact": True} for name, model in MODELS.items()}
    project.config(models=models, server={"context": 256, "threads": 1})
    project.suite(items=shipped("arithmetic", 20))
    project.write("test_own.py", MARKED)
    status, text = project.run("-n", "0")
    assert status == 0, text
    plain = found(project)
    session = project.start("-n", "2", "--dist", dist)
    servers: set[int] = set()

    def through() -> bool:
        servers.update(one.process.pid for one in session.processes("server"))
        return session.over

    assert becomes_true(through, 120)
    assert session.wait() == 0, session.text
    assert len(servers) == 2
    assert found(project) == plain
    assert not session.processes("guard", "server")


def test_a_stopped_run_stops_its_servers_and_leaves_gates_inconclusive(project: Project) -> None:
    items = [{**each, "answer": "none"} for each in shipped("arithmetic", 20)]
    gate = {"only": "tiny-l/plain", "metric": "exact", "at_least": 0.5}
    project.suite(items=items, score="exact", each_item="must_pass", gates=[gate])
    session = project.start("-n", "2", "--maxfail", "2", "-rs")
    assert session.wait() == 2, session.text  # as xdist ends a session that it stops
    assert "stopping after" in session.text
    assert "gate inconclusive: tiny-l/plain the run stopped" in session.text
    assert becomes_true(lambda: not session.processes())
    for name in ("manifest.json", "significance.json", "costs.json", "reports/report.md"):
        assert (project.folder / name).is_file()
