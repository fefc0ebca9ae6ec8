"""Which fault hits which request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.probes.faults import parse_fault
from pytest_llmeval.probes.faults.plan import Asked, Plan

CHAT = "/v1/chat/completions"


def chat(*, stream: bool = False, path: str = CHAT) -> Asked:
    return Asked("POST", path, b'{"stream": true}' if stream else b'{"stream": false}')


def names(plan: Plan, asked: Asked) -> list[str]:
    return [hit.fault.text for hit in plan.choose(asked)]


def hits(fault: str, count: int, seed: int = 0, asked: Asked | None = None) -> list[bool]:
    plan = Plan([parse_fault(fault)], seed)
    return [bool(plan.choose(asked or chat())) for _ in range(count)]


@given(st.integers(0, 10**6), st.sampled_from(["0", "0.2", "0.5", "1"]))
def test_the_same_seed_and_the_same_requests_meet_the_same_faults(seed: int, share: str) -> None:
    assert hits(f"loading:share={share}", 50, seed) == hits(f"loading:share={share}", 50, seed)


def test_other_seeds_choose_other_requests() -> None:
    assert hits("loading:share=0.5", 50, 1) != hits("loading:share=0.5", 50, 2)


def test_a_share_is_that_of_the_requests() -> None:
    assert 1800 < sum(hits("loading:share=0.2", 10_000)) < 2200
    assert not any(hits("loading:share=0", 100))
    assert all(hits("loading", 100))


@given(st.integers(1, 5), st.integers(0, 9), st.sampled_from(["0.3", "1"]), st.integers(0, 10**6))
def test_times_is_a_limit_and_after_a_beginning(
    times: int, after: int, share: str, seed: int
) -> None:
    found = hits(f"loading:times={times},after={after},share={share}", 60, seed)
    assert sum(found) <= times
    assert not any(found[:after])
    if share == "1":
        assert found[after : after + times] == [True] * times


def test_the_requests_of_others_do_not_change_whom_a_fault_hits() -> None:
    alone = hits("loading:share=0.5", 20, 7)
    plan = Plan([parse_fault("loading:share=0.5")], 7)
    among = []
    for _ in range(20):
        plan.choose(Asked("GET", "/health"))
        among.append(bool(plan.choose(chat())))
    assert among == alone


@pytest.mark.parametrize(
    ("fault", "asked", "hit"),
    [
        ("loading", Asked("GET", "/v1/models"), False),
        ("loading:path=/v1/models", Asked("GET", "/v1/models"), True),
        ("loading:path=/v1/*", chat(), True),
        ("loading:path=/v2/*", chat(), False),
        ("latency", Asked("GET", "/health"), True),
        ("latency:only=chat", Asked("GET", "/health"), False),
        ("latency:only=chat", chat(), True),
        ("loading:only=chat", chat(path="/v1/messages"), True),
        ("loading:only=chat", chat(path="/v1/completions"), False),
        ("loading:only=stream", chat(), False),
        ("loading:only=stream", chat(stream=True), True),
        ("loading:only=whole", chat(), True),
        ("loading:only=whole", chat(stream=True), False),
        ("missing_done", chat(), False),
        ("missing_done", chat(stream=True), True),
        ("loading:only=stream", Asked("POST", CHAT, b'{"stream": broken'), False),
        ("loading:only=stream", Asked("POST", CHAT, b'["stream"]'), False),
    ],
)
def test_a_fault_hits_what_it_is_meant_for(fault: str, asked: Asked, hit: bool) -> None:
    assert hits(fault, 1, asked=asked) == [hit]


def test_several_faults_hit_one_request_and_of_refusals_the_first_alone() -> None:
    given_ = ["latency", "rate_limit:times=1", "loading:times=1", "slicer"]
    plan = Plan([parse_fault(each) for each in given_])
    assert names(plan, chat()) == ["latency", "rate_limit:times=1", "slicer"]
    assert names(plan, chat()) == ["latency", "loading:times=1", "slicer"]
    assert names(plan, chat()) == ["latency", "slicer"]


def test_a_fault_that_could_not_happen_is_still_to_come() -> None:
    plan = Plan([parse_fault("cut_arguments:times=1")])
    [hit] = plan.choose(chat())
    assert plan.choose(chat()) == []
    plan.take_back(hit)
    assert len(plan.choose(chat())) == 1


def test_only_what_waits_for_no_request_is_down_at_once() -> None:
    for fault, at_once in (("down", True), ("down:times=1", True), ("down:after=1", False)):
        assert (Plan([parse_fault(fault)]).at_once() is not None) == at_once
    plan = Plan([parse_fault("down:times=1,duration=5")])
    plan.at_once()
    assert plan.choose(chat()) == []
