"""The disk confirms a journal a moment after its lines are written."""

from __future__ import annotations

import threading

from pytest_llmeval.run.soon import Soon


class Disk:
    """A journal whose disk says when it was asked; the first time it is full."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.times = 0

    def sync(self) -> None:
        self.times += 1
        self.asked.release()
        if self.times == 1:
            raise OSError(28, "No space left on device")


def syncing_of(disk: Disk, pause: float = 0.0) -> Soon:
    return Soon(disk.sync, pause, "sync")


def test_every_line_is_followed_by_a_sync_also_after_a_disk_that_refused_one() -> None:
    disk = Disk()
    syncing = syncing_of(disk)
    for _ in range(3):
        syncing.do()
        assert disk.asked.acquire(timeout=60)
    syncing.end()


def test_lines_that_follow_each_other_at_once_share_a_sync() -> None:
    disk = Disk()
    syncing = syncing_of(disk, pause=3600.0)
    for _ in range(1000):
        syncing.do()
    assert disk.asked.acquire(timeout=60)
    for _ in range(1000):
        syncing.do()
    syncing.end()
    assert disk.times == 1


def test_a_run_without_a_line_has_nothing_to_end() -> None:
    syncing_of(Disk()).end()
