"""Checks and doubts in words."""

from __future__ import annotations

from pytest_llmeval.records import Check, Doubt
from pytest_llmeval.results.manifest import ModelFacts
from pytest_llmeval.results.trust import trust_warnings

SYSTEM = Check("system", "lacking", "it is refused", "system: Be kind., max_tokens 1", "HTTP 400")


def test_what_is_lacking_is_told_with_the_request_that_showed_it() -> None:
    model = ModelFacts("m", "openai", preflight=(Check("alive", "ok", "it answers"), SYSTEM))
    assert list(trust_warnings([model], [])) == [
        "m lacks system: it is refused (asked: system: Be kind., max_tokens 1; came back: HTTP 400)"
    ]


def test_what_there_was_no_time_for_is_told_in_one_line() -> None:
    why = "the 5 s for all checks were over"
    skipped = (Check("stop", "skipped", why), Check("seed", "skipped", why))
    assert list(trust_warnings([ModelFacts("m", "openai", preflight=skipped)], [])) == [
        f"m: preflight has not looked at stop, seed: {why}"
    ]


def test_what_is_unknown_warns_of_nothing() -> None:
    unknown = (Check("context", "unknown", "the endpoint does not say"),)
    assert list(trust_warnings([ModelFacts("m", "openai", preflight=unknown)], [])) == []


def test_a_doubt_is_told_with_its_place_and_an_example() -> None:
    doubt = Doubt("sums", "m/plain", "all_right", 20, 20, "sums::m/plain::i1", "All are right.")
    assert list(trust_warnings([], [doubt])) == [
        "sums m/plain: All are right. For instance sums::m/plain::i1"
    ]
