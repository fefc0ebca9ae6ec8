"""The fixture `llm_faults` in tests of users: needs no model, and ends with its test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.standins.upstream import Upstream, endpoint

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

TESTS = """
import urllib.error, urllib.request
import pytest

def ask(url):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{{}}")) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code

def test_own(llm_faults):
    proxy = llm_faults("{url}", "rate_limit:times=2", "loading:times=1", seed=7)
    assert [ask(proxy.url) for _ in range(4)] == [429, 429, 503, 200]
    assert [each.request for each in proxy.injected] == [1, 2, 3]
    with open("url.txt", "w") as file:
        file.write(proxy.url)

def test_next():
    with open("url.txt") as file, pytest.raises(urllib.error.URLError):
        ask(file.read())
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    yield from endpoint()


def test_an_ordinary_session_has_it_and_the_proxy_ends_with_its_test(
    project: Project, upstream: Upstream
) -> None:
    project.write("test_own.py", TESTS.format(url=upstream.url))
    project.pytest().assert_outcomes(passed=2)


def test_what_cannot_be_is_told_at_the_users_line(project: Project, upstream: Upstream) -> None:
    line = f'llm_faults("{upstream.url}", "latncy")'
    project.write("test_own.py", f"def test_own(llm_faults):\n    {line}\n")
    result = project.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f">       {line}", "E*FaultError: unknown fault 'latncy'; did you mean 'latency'?*"]
    )
    result.stdout.no_fnmatch_line("*parsing.py*")
