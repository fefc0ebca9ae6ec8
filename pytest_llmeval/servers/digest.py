"""The sha256 of a model file, computed once per file and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

from filelock import FileLock

from pytest_llmeval.errors import ModelFileError
from pytest_llmeval.servers.gguf import shards

CHUNK = 2**20
CACHE_NAME = "digests.json"


def file_digest(
    path: Path, cache_dir: Path, *, cancelled: Callable[[], bool] = lambda: False
) -> str:
    """The sha256 of a model file in hex, from the cache in `cache_dir` if it is still the same.

    The same means: path, size, time of change and the file's number on its disk. A cache that
    cannot be read or written costs time, nothing else. Several processes may share it. Of a split
    model it is the sha256 of the files' digests in hex, one behind the other in order.

    Raises ModelFileError when a file is missing or changes meanwhile, CancelledError soon after
    `cancelled()` turns true.
    """
    digests = [_file_digest(shard, cache_dir, cancelled) for shard in shards(path.absolute())]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def _file_digest(path: Path, cache_dir: Path, cancelled: Callable[[], bool]) -> str:
    identity = _identity(path)
    cache = cache_dir / CACHE_NAME
    known = _read(cache).get(str(path))
    if known is not None and known.startswith(f"{identity} "):
        return known.rpartition(" ")[2]
    digest = _hash(path, cancelled)
    if _identity(path) != identity:
        raise ModelFileError(f"{path}: changed while it was read; is it still being downloaded?")
    with contextlib.suppress(OSError, TimeoutError):  # no room, no permission, a busy cache
        _remember(cache, str(path), f"{identity} {digest}")
    return digest


def _identity(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_dev}:{stat.st_ino}"


def _hash(path: Path, cancelled: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                if cancelled():
                    raise CancelledError
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _read(cache: Path) -> dict[str, str]:
    """The cache's entries; none at all if it is not there or not what we wrote."""
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {key: value for key, value in entries.items() if isinstance(value, str)}


def _remember(cache: Path, key: str, entry: str) -> None:
    """Add an entry, or replace it, in one step that other processes see whole or not at all."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{cache}.lock", timeout=5):
        entries = {**_read(cache), key: entry}
        fresh = cache.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps(entries, indent=1), encoding="utf-8", newline="\n")
        fresh.replace(cache)
