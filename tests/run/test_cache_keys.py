"""No answer is taken from the cache that could be another one today.

The long form is `python tools/stale_hits.py --cases 10000`.
"""

from __future__ import annotations

import dataclasses

import pytest

from pytest_llmeval.engines.engine import EndpointFacts
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Request, Sampling
from pytest_llmeval.run.cache_keys import (
    FACTS_LEAVE_OUT,
    MODEL_LEAVES_OUT,
    SPEC_LEAVES_OUT,
    is_settled,
)
from pytest_llmeval.servers.spec import ServerSpec
from tools import stale_hits


def test_whatever_single_field_changes_no_kept_answer_is_taken_for_the_new_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = 2 * len(stale_hits.TRAILS)
    status = stale_hits.main(["--cases", str(cases), "--seed", "5"])
    assert (status, capsys.readouterr().out) == (
        0,
        f"{cases} cases, {len(stale_hits.TRAILS)} fields: 0 stale hits, 0 answers lost\n",
    )


def test_the_proof_would_find_a_field_that_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forgetful = {**MODEL_LEAVES_OUT, "threads": "forgotten"}
    monkeypatch.setattr("pytest_llmeval.run.cache_keys.MODEL_LEAVES_OUT", forgetful)
    monkeypatch.setattr(stale_hits, "TRAILS", [("serving", "model", "threads")])
    assert stale_hits.main(["--cases", "3", "--seed", "5"]) == 1
    assert "stale: serving.model.threads" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [
        (ModelConfig, MODEL_LEAVES_OUT),
        (ServerSpec, SPEC_LEAVES_OUT),
        (EndpointFacts, FACTS_LEAVE_OUT),
    ],
)
def test_what_the_key_leaves_out_is_there_and_has_a_reason(
    kind: type, left_out: dict[str, str]
) -> None:
    assert left_out.keys() <= {each.name for each in dataclasses.fields(kind)}
    assert all(left_out.values())


def test_llama_cpps_word_for_any_seed_settles_nothing() -> None:
    drawn = Request((), Sampling(8, temperature=1.0, seed=2**32 - 1))
    assert not is_settled(drawn)
    assert is_settled(dataclasses.replace(drawn, sampling=Sampling(8, temperature=1.0, seed=0)))
    assert is_settled(dataclasses.replace(drawn, sampling=Sampling(8, temperature=0)))
