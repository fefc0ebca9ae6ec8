"""A whole run on a real server behind all faults: true answers and named failures only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_llmeval.probes.faults import FaultProxy
from tests.standins.embedded import embedded
from tools.real_runs import Project, shipped

Stand = Callable[..., FaultProxy]

#: All faults there are, as often as is bearable: what takes time comes a few times.
MIX = (
    "latency:latency=5,jitter=5,share=0.2",
    "bandwidth:rate=100,share=0.1",
    "slicer:average_size=20,size_variation=10,share=0.2",
    "slow_close:delay=5,share=0.1",
    "reset_peer:share=0.05",
    "reset_peer:stream=upstream,share=0.03",
    "limit_data:bytes=300,share=0.05",
    "timeout:times=1,after=8,only=chat",
    "timeout:timeout=5,share=0.03",
    "down:after=30,times=1,duration=100",
    "loading:share=0.08,only=chat",
    "rate_limit:share=0.08,retry_after=0,only=chat",
    "server_error:share=0.03,only=chat,after=12",
    "html:share=0.03,only=chat,after=12",
    "invalid_json:share=0.03,only=chat,after=12",
    "garbage_utf8:share=0.03,only=chat,after=12",
    "cut_arguments",
    "duplicate_index:share=0.05,after=12",
    "empty_deltas:share=0.3",
    "missing_done:share=0.05,after=12",
    "ping_flood:times=1,after=15",
    "ping_flood:count=5,share=0.1",
    "hang:times=1,after=20",
)
REASONS = {"unreachable", "timeout", "busy", "refused", "bad_answer"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    yield from embedded("tiny-s", tmp_path)


def answers(project: Project, url: dict[str, str]) -> dict[tuple[str, str], dict[str, str]]:
    """The predictions of a run whose models are behind these urls, by model and item."""
    model = {"engine": "openai", "slots": 2, "timeout": 1.5}
    models = {
        name: {**model, "url": its, "stream": name == "streamed"} for name, its in url.items()
    }
    project.config(models=models)
    project.run()
    rows = project.rows("predictions")
    found = {(row["condition"].split("/")[0], row["item_id"]): row for row in rows}
    assert len(found) == len(rows) == 2 * 20
    return found


def test_a_run_through_all_faults_has_true_answers_and_named_failures(
    project: Project, server: str, llm_faults: Stand
) -> None:
    project.suite()
    calm = answers(project, {"whole": server, "streamed": server})
    assert {row["outcome"] for row in calm.values()} <= {"right", "wrong"}
    proxies = {name: llm_faults(server, *MIX, seed=11) for name in ("whole", "streamed")}
    stormy = answers(project, {name: proxy.url for name, proxy in proxies.items()})
    assert stormy.keys() == calm.keys()
    for key, row in stormy.items():
        if row["outcome"] == "failure":
            assert row["reason"] in REASONS, row
            assert row["error"]
        else:
            told = (row["text"], row["outcome"], row["finish_reason"])
            undisturbed = calm[key]
            assert told == tuple(undisturbed[each] for each in ("text", "outcome", "finish_reason"))
    again = [
        row for row in stormy.values() if row["outcome"] != "failure" and row["attempts"] != "1"
    ]
    assert again
    happened = {
        each.fault.partition(":")[0] for proxy in proxies.values() for each in proxy.injected
    }
    assert len(happened) >= 12  # which of the rare ones come depends on who asks first


def test_a_hiccup_while_a_model_is_opened_costs_no_trial(
    project: Project, server: str, llm_faults: Stand
) -> None:
    project.suite(items=shipped("arithmetic", 3))
    faults = (
        "reset_peer:times=1,path=/props",
        "loading:times=1,path=/v1/models",
        "reset_peer:times=1,path=/v1/chat/completions",
    )
    proxy = llm_faults(server, *faults)
    project.config(models={"m": {"engine": "openai", "url": proxy.url, "slots": 2}})
    _, text = project.run()
    assert sorted(each.fault for each in proxy.injected) == sorted(faults)
    assert {row["outcome"] for row in project.rows("predictions")} <= {"right", "wrong"}, text
    (model,) = project.manifest()["models"]
    assert "skipped" not in {check["verdict"] for check in model["preflight"]}
