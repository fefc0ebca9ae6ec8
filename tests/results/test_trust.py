"""Checks and doubts in words."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_llmeval.records import Check, Doubt
from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.manifest import ModelFacts
from pytest_llmeval.results.markdown import markdown_report
from pytest_llmeval.results.trust import preflight_words, trust_warnings

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


def test_a_models_checks_are_told_by_their_verdicts() -> None:
    checks = [
        Check("alive", "ok", "it answers"),
        Check("context", "unknown", "the endpoint does not say"),
        Check("usage", "ok", "counted"),
        SYSTEM,
    ]
    assert preflight_words(checks) == (
        "ok: alive, usage; lacking: system (it is refused); "
        "unknown: context (the endpoint does not say)"
    )
    assert preflight_words([]) == ""


def test_both_reports_tell_the_checks_of_each_model(samples: Any) -> None:
    report = samples.report()
    model = dataclasses.replace(report.models[0], preflight=(SYSTEM,))
    told = dataclasses.replace(report, models=(model,))
    assert f"- Preflight of {model.name}: lacking: system (it is refused)" in markdown_report(told)
    assert "<dt>preflight</dt><dd>lacking: system (it is refused)</dd>" in html_report(told)
    assert "reflight" not in markdown_report(report) + html_report(report)


def test_a_doubt_is_told_with_its_place_and_an_example() -> None:
    doubt = Doubt("sums", "m/plain", "all_right", 20, 20, "sums::m/plain::i1", "All are right.")
    assert list(trust_warnings([], [doubt])) == [
        "sums m/plain: All are right. For instance sums::m/plain::i1"
    ]
