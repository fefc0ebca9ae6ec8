"""A proxy before an endpoint that answers as a test says, and a real llama.cpp server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_llmeval.probes.faults import FaultProxy
from tests.standins.embedded import embedded
from tests.standins.upstream import Upstream, endpoint

Stand = Callable[..., FaultProxy]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    yield from endpoint()


@pytest.fixture
def before(upstream: Upstream, llm_faults: Stand) -> Stand:
    """A proxy before the endpoint, with these faults."""

    def stand(*faults: str, **options: Any) -> FaultProxy:
        return llm_faults(upstream.url, *faults, **options)

    return stand


@pytest.fixture(scope="module")
def tiny_s(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of the embedded server with the smaller of the two shipped models, two slots."""
    yield from embedded("tiny-s", tmp_path_factory.mktemp("tiny-s"))
