"""What executables have listed as their devices, kept in memory and in a file of the user's cache.

An answer counts as long as the executable is the same (path, size, time of its last change) and so
are the variables that hide or number devices. An empty one is never kept: it is quick to have, and
a driver may come back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import write_json
from pytest_llmeval.machine.devices import Device, Listing, ask_devices

FILE = "devices.json"
_VARIABLES = ("CUDA_", "GGML_", "HIP_", "ROCR_", "VK_", "LLAMA_ARG_DEVICE")
"""What the names of variables begin with that may change what is listed."""

Ask = Callable[[str, Mapping[str, str]], Listing]


class KnownDevices:
    """The devices of executables, asked for once each. May be used by several threads.

    The file lies in `folder`; that it cannot be read or written is no trouble of anybody's.
    """

    def __init__(self, folder: Path, ask: Ask = ask_devices) -> None:
        self._path = folder / FILE
        self._ask = ask
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[Device, ...]] = {}

    def of(self, executable: str, environ: Mapping[str, str]) -> Listing:
        """The devices as they were when last asked for, or asked for now."""
        key = _key(executable, environ)
        if key is None:
            return self._ask(executable, environ)  # which says what is wrong with it
        with self._lock:
            if key not in self._listed:
                self._listed |= self._read()
            if key in self._listed:
                return Listing(self._listed[key])
        return self.ask_now(executable, environ)

    def ask_now(self, executable: str, environ: Mapping[str, str]) -> Listing:
        """The devices asked for now, whatever was known, and kept."""
        listing = self._ask(executable, environ)
        key = _key(executable, environ)
        if key is not None and listing.devices:
            with self._lock:
                self._listed = {**self._read(), key: listing.devices}
                self._write()
        return listing

    def _read(self) -> dict[str, tuple[Device, ...]]:
        """What the file holds; nothing where it is no file of ours."""
        try:
            kept: Any = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                key: tuple(Device(**device) for device in devices) for key, devices in kept.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self) -> None:
        rows = {
            key: [asdict(device) for device in devices] for key, devices in self._listed.items()
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, rows)
        except OSError:
            return


def _key(executable: str, environ: Mapping[str, str]) -> str | None:
    """What an answer depends on; None where there is no such file."""
    try:
        about = Path(executable).stat()
    except OSError:
        return None
    seen = {name: value for name, value in environ.items() if name.startswith(_VARIABLES)}
    return json.dumps([executable, about.st_size, about.st_mtime_ns, sorted(seen.items())])
