"""A run's manifest on its way to the disk, while others wait for nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from pathlib import Path

from pytest_llmeval.redaction import Redactor
from pytest_llmeval.results.manifest import Manifest, write_manifest

#: Seconds between two writings of what changes often.
PAUSE = 0.2


class KeptManifest:
    """The manifest as it is by now, and as it was last written. May be changed from any thread."""

    def __init__(self, run: Path, manifest: Manifest, redactor: Redactor):
        self._redactor = redactor
        self._run = run
        self._manifest = manifest
        self._changing = threading.Lock()
        self._writing = threading.Lock()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None

    @property
    def value(self) -> Manifest:
        """As it is by now."""
        return self._manifest

    def write(self, **changes: object) -> None:
        """Change it and write it down."""
        self._change(**changes)
        self._write_latest()

    def write_soon(self, **changes: object) -> None:
        """Change it and have a thread write it down: the scheduler's loop has no time for that."""
        self._change(**changes)
        self._news.set()
        if self._writer is None:
            self._writer = threading.Thread(target=self._keep, name="llmeval-manifest", daemon=True)
            self._writer.start()

    def settle(self) -> None:
        """Let the thread end; from now on only `write` writes."""
        self._closing.set()
        self._news.set()
        if self._writer is not None:
            self._writer.join()

    def _change(self, **changes: object) -> None:
        with self._changing:
            self._manifest = dataclasses.replace(self._manifest, **changes)  # type: ignore[arg-type] # its own fields

    def _write_latest(self) -> None:
        """Of two threads the later one has the newer."""
        with self._writing:
            write_manifest(self._run, self._manifest, self._redactor)

    def _keep(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._closing.is_set():
                return
            with contextlib.suppress(OSError):  # a full disk is told when the run is closed
                self._write_latest()
            self._closing.wait(PAUSE)
