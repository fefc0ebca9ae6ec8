from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_llmeval.errors import ModelFileError
from pytest_llmeval.servers import digest
from pytest_llmeval.servers.digest import CACHE_NAME, CHUNK, file_digest

CONTENT = bytes(range(256)) * 10_000


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "wörter.gguf"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes were really read."""
    read: list[Path] = []
    honest = digest._hash

    def counted(path: Path, cancelled: object) -> str:
        read.append(path)
        return honest(path, cancelled)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(digest, "_hash", counted)
    return read


def test_the_digest_is_the_sha256_of_the_bytes(weights: Path, cache: Path) -> None:
    assert file_digest(weights, cache) == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_read_once(weights: Path, cache: Path, reads: list[Path]) -> None:
    assert file_digest(weights, cache) == file_digest(weights, cache)
    assert len(reads) == 1


def test_a_file_that_changed_is_read_again(weights: Path, cache: Path, reads: list[Path]) -> None:
    first = file_digest(weights, cache)
    before = weights.stat()
    weights.write_bytes(CONTENT[::-1])
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 10))
    assert file_digest(weights, cache) != first


def test_a_file_put_in_its_place_with_the_same_size_and_time_is_read_again(
    weights: Path, cache: Path
) -> None:
    first = file_digest(weights, cache)
    before = weights.stat()
    other = weights.with_suffix(".new")
    other.write_bytes(CONTENT[::-1])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(weights)
    assert file_digest(weights, cache) != first


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"a": 1}', b"\xff\xfe"])
def test_a_damaged_cache_is_ignored_and_replaced(
    weights: Path, cache: Path, reads: list[Path], damage: bytes
) -> None:
    cache.mkdir()
    (cache / CACHE_NAME).write_bytes(damage)
    file_digest(weights, cache)
    file_digest(weights, cache)
    assert len(reads) == 1
    assert [*json.loads((cache / CACHE_NAME).read_text(encoding="utf-8"))] == [str(weights)]


def test_a_cache_that_cannot_be_written_costs_time_only(weights: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    assert file_digest(weights, in_the_way / "cache") == hashlib.sha256(CONTENT).hexdigest()


def test_many_may_share_a_cache(tmp_path: Path, cache: Path) -> None:
    files = [tmp_path / f"{number}.gguf" for number in range(8)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda file: file_digest(file, cache), files))
    entries = json.loads((cache / CACHE_NAME).read_text(encoding="utf-8"))
    assert sorted(entries) == sorted(map(str, files))
    assert {path.name for path in cache.iterdir()} <= {CACHE_NAME, f"{CACHE_NAME}.lock"}


def test_it_can_be_cancelled_between_two_chunks(
    weights: Path, cache: Path, reads: list[Path]
) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(CancelledError):
        file_digest(weights, cache, cancelled=cancelled)
    assert len(asked) == 2 < len(CONTENT) / CHUNK
    assert not cache.exists()


def test_a_missing_file_is_a_model_file_error(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.gguf: cannot be read: No such file"):
        file_digest(tmp_path / "none.gguf", cache)


def test_a_file_that_changes_while_it_is_read_has_no_digest(weights: Path, cache: Path) -> None:
    def grow() -> bool:
        if weights.stat().st_size == len(CONTENT):
            with weights.open("ab") as file:
                file.write(b"more")
        return False

    with pytest.raises(ModelFileError, match="changed while it was read"):
        file_digest(weights, cache, cancelled=grow)
    assert not cache.exists()


def test_the_digest_of_a_split_model_covers_every_file(
    tmp_path: Path, cache: Path, reads: list[Path]
) -> None:
    files = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for file in files:
        file.write_bytes(file.name.encode())
    both = "".join(hashlib.sha256(file.name.encode()).hexdigest() for file in files)
    whole = hashlib.sha256(both.encode()).hexdigest()
    assert [file_digest(files[0], cache) for _ in range(2)] == [whole, whole]
    assert reads == files
    files[1].write_bytes(b"other weights")
    assert file_digest(files[0], cache) != whole


def test_a_missing_file_of_a_split_model_is_named_before_anything_is_read(
    tmp_path: Path, cache: Path, reads: list[Path]
) -> None:
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(CONTENT)
    with pytest.raises(ModelFileError, match=r"m-00002-of-00002\.gguf: there is no such file"):
        file_digest(first, cache)
    assert reads == []
