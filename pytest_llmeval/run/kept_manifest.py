"""A run's manifest on its way to the disk, while others wait for nothing."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

from pytest_llmeval.redaction import Redactor
from pytest_llmeval.results.manifest import Manifest, write_manifest
from pytest_llmeval.run.soon import Soon

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
        self._soon = Soon(self._write_latest, PAUSE, "llmeval-manifest")

    @property
    def value(self) -> Manifest:
        """As it is by now."""
        return self._manifest

    def write(self, **changes: object) -> None:
        """Change it and write it down."""
        self.change(**changes)
        self._write_latest()

    def write_soon(self, **changes: object) -> None:
        """Change it and have a thread write it down: the scheduler's loop has no time for that."""
        self.change(**changes)
        self._soon.do()

    def settle(self) -> None:
        """Let the thread end; from now on only `write` writes."""
        self._soon.end()

    def change(self, **changes: object) -> None:
        """Change it, for the next time that it is written."""
        with self._changing:
            self._manifest = dataclasses.replace(self._manifest, **changes)  # type: ignore[arg-type] # its own fields

    def _write_latest(self) -> None:
        """Of two threads the later one has the newer."""
        with self._writing:
            write_manifest(self._run, self._manifest, self._redactor)
