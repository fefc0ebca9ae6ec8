"""Several servers of one model: one towards their owner, each with its own fate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.several import ServerGroup
from pytest_llmeval.servers.spec import RestartPolicy


@pytest.fixture
def pair(make_server: Callable[..., Server], tmp_path: Path) -> tuple[Server, Server]:
    first, second = (
        make_server(log_path=tmp_path / f"{name}.log", restart=RestartPolicy(initial=0.0))
        for name in ("first", "second")
    )
    return first, second


def kill(server: Server, becomes_true: Callable[..., bool]) -> None:
    psutil.Process(server.pid).kill()
    assert becomes_true(lambda: not server.alive())


def test_all_are_started_and_their_addresses_named(pair: tuple[Server, Server]) -> None:
    group = ServerGroup(pair)
    assert not group.alive()
    group.start()
    assert group.alive()
    assert group.exit_description is None
    assert group.url.split() == [server.url for server in pair]
    assert group.spec == pair[0].spec
    group.stop()
    assert not any(server.alive() for server in pair)


def test_it_lives_when_all_do_and_tells_of_the_one_that_is_gone(
    pair: tuple[Server, Server], becomes_true: Callable[..., bool]
) -> None:
    group = ServerGroup(pair)
    group.start()
    kill(pair[1], becomes_true)
    assert not group.alive()
    assert group.exit_description == pair[1].exit_description
    assert group.log_tail() == pair[1].log_tail()


def test_only_the_one_that_is_gone_is_started_again(
    pair: tuple[Server, Server], becomes_true: Callable[..., bool]
) -> None:
    group = ServerGroup(pair)
    group.start()
    urls, survivor = group.url, pair[0].pid
    kill(pair[1], becomes_true)
    group.restart()
    assert group.alive()
    assert (group.url, pair[0].pid) == (urls, survivor)
    assert [server.restarts for server in pair] == [0, 1]
    assert group.restarts == 1


def test_when_one_cannot_start_none_is_left(
    make_server: Callable[..., Server], unloadable: Path, tmp_path: Path
) -> None:
    good = make_server(log_path=tmp_path / "good.log")
    bad = make_server(log_path=tmp_path / "bad.log", gguf=unloadable)
    with pytest.raises(ServerStartError, match="merges"):
        ServerGroup([good, bad]).start()
    assert not good.alive()
    assert not bad.alive()
