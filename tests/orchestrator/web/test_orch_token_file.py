"""The token: made once, read by its owner only, and never a weak one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.web.token_file import SHORTEST, given_token, kept_token

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "token"


def test_it_is_made_once_and_kept(path: Path) -> None:
    token = kept_token(path)
    assert len(token) >= 43
    assert kept_token(path) == token
    assert path.read_text(encoding="utf-8") == f"{token}\n"


def test_each_home_has_its_own(tmp_path: Path) -> None:
    assert kept_token(tmp_path / "one") != kept_token(tmp_path / "other")


@posix
def test_nobody_else_may_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        kept_token(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_one_that_others_could_read_is_replaced(path: Path, mode: int) -> None:
    token = kept_token(path)
    path.chmod(mode)
    assert kept_token(path) != token
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe\x00" * 20])
def test_what_is_no_token_is_replaced(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    path.write_bytes(content)
    token = kept_token(path)
    assert len(token) >= 43
    assert kept_token(path) == token


def test_who_come_at_once_get_the_same(path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(kept_token(path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert [file.name for file in path.parent.glob("*.tmp")] == []


def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file")
    with pytest.raises(OrchestratorError) as raised:
        kept_token(tmp_path / "home" / "token")
    assert str(raised.value).startswith("the token of the interface cannot be kept in ")
    assert "--token-env NAME" in str(raised.value)


def test_a_given_token_is_taken_from_the_environment() -> None:
    token = "x" * SHORTEST
    assert given_token("MINE", {"MINE": token}) == token


@pytest.mark.parametrize("environ", [{}, {"MINE": ""}])
def test_a_variable_that_holds_none_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(OrchestratorError, match=r"--token-env MINE: .* no such variable") as raised:
        given_token("MINE", environ)
    assert "at least 16 characters" in str(raised.value)


@pytest.mark.parametrize(
    "token", ["x" * (SHORTEST - 1), "with a space in it ...", "ä" * 20, "\x07" * 20]
)
def test_a_token_that_is_weak_or_fits_into_no_header_is_told_but_not_shown(token: str) -> None:
    with pytest.raises(OrchestratorError) as raised:
        given_token("MINE", {"MINE": token})
    assert f"the token has {len(token)} characters; it needs at least 16" in str(raised.value)
    assert token not in str(raised.value)
