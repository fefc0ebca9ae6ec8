"""What a chat template reads of the clock: no more, and never less."""

from __future__ import annotations

import pytest

from pytest_llmeval.engines.openai import facts_from
from pytest_llmeval.engines.template_clock import Clock, clock_of

LLAMA_3_2 = """{%- if not date_string is defined %}{%- if strftime_now is defined %}
{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}{%- endif %}"""
GPT_OSS = """{{- "Current date: " + strftime_now("%Y-%m-%d") + "\\n\\n" }}"""


@pytest.mark.parametrize(
    ("template", "clock"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "none"),
        ("{# update_string, candidate_string, datetimes #}", "none"),
        (GPT_OSS, "day"),
        ("Today Date: {{ date_string }}", "day"),
        ("{{ strftime_now( '%A, %-d %B' ) }} {{ strftime_now('%Y') }}", "day"),
        ("{{ strftime_now('%H:%M') }}", "moment"),
        ("{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%c') }}", "moment"),
        ("{{ strftime_now('%-I %p') }}", "moment"),
        ("{{ strftime_now(format) }}", "moment"),
        ("It is {{ datetime }}.", "moment"),
    ],
)
def test_what_a_template_reads_of_the_clock_is_seen(template: str, clock: Clock) -> None:
    assert clock_of(template) == clock


def test_a_function_that_is_only_looked_for_is_taken_for_the_most_it_may_be() -> None:
    assert clock_of("{{ strftime_now | string }}") == "moment"


def test_a_template_that_looks_whether_it_may_ask_for_the_date_reads_the_date() -> None:
    assert clock_of(LLAMA_3_2) == "day"


def test_an_endpoint_that_has_another_template_for_tools_is_told_by_both() -> None:
    assert facts_from({}, {}, None).clock == "none"
    assert facts_from({"chat_template": "{{ 1 }}"}, {}, None).clock == "none"
    props = {"chat_template": "{{ 1 }}", "chat_template_tool_use": GPT_OSS}
    assert facts_from(props, {}, None).clock == "day"
