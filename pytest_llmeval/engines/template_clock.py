"""Whether a chat template tells the model what time it is: then the same messages are not the same
prompt on another day. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Clock = Literal["none", "day", "moment"]
"""What a template reads of the clock: nothing, no more than the date, or the time of day too."""

_NOW = re.compile(
    r"""\bstrftime_now\b(?!\s+is\s+(?:not\s+)?defined)(?:\s*\(\s*(?:"([^"]*)"|'([^']*)')\s*\))?"""
)
_DIRECTIVE = re.compile(r"%[-_0^#]*(.)", re.DOTALL)
_OF_A_DAY = frozenset("aAbBCdDeFgGhjmuUVwWxyY%nt")
"""What strftime writes once a day."""

_GIVEN: Mapping[Clock, re.Pattern[str]] = {
    "moment": re.compile(r"\bdatetime\b"),
    "day": re.compile(r"\bdate_string\b"),
}
"""Variables by which llama.cpp tells some templates the time, which ask no function for it."""


def clock_of(*templates: str | None) -> Clock:
    """The most that any of some templates reads of the clock; what cannot be told is the most."""
    read = {clock for template in templates if template for clock in _clocks(template)}
    return "moment" if "moment" in read else "day" if "day" in read else "none"


def _clocks(template: str) -> list[Clock]:
    calls = [found.group(1) or found.group(2) for found in _NOW.finditer(template)]
    clocks: list[Clock] = ["moment" if each is None else _clock_of_format(each) for each in calls]
    return clocks + [clock for clock, name in _GIVEN.items() if name.search(template)]


def _clock_of_format(text: str) -> Clock:
    return "day" if _OF_A_DAY.issuperset(_DIRECTIVE.findall(text)) else "moment"
