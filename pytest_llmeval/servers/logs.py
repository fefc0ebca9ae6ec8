"""The log file of a server: sections, one per start, and the last lines for people."""

from __future__ import annotations

import re
from pathlib import Path

SECTION = "=== llmeval: "
TAIL_BYTES = 2**15
SECTION_BYTES = 2**20
LINE_LENGTH = 300

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def start_section(path: Path, title: str) -> None:
    """Begin a new section at the end of the log, and the log itself where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="\n") as log:
        log.write(f"{SECTION}{title} ===\n")


def read_tail(path: Path, count: int) -> tuple[str, ...]:
    """The last lines of the log's last section that say something, fit for any terminal."""
    return _last_section(path, TAIL_BYTES)[-count:]


def read_section(path: Path) -> tuple[str, ...]:
    """All lines of the log's last section that say something, as far as they are the last MiB."""
    return _last_section(path, SECTION_BYTES)


def _last_section(path: Path, limit: int) -> tuple[str, ...]:
    """The lines since the last start within the last `limit` bytes; () where there is no log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - limit))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ()
    _, found, section = f"\n{text}".rpartition(f"\n{SECTION}")
    # Either way the first line is none: the rest of the title, or what we cut in two.
    _, *lines = (section if found else text).split("\n")
    return tuple(filter(None, map(clean_line, lines)))


def clean_line(line: str) -> str:
    """A line without colours and control characters, cut where nobody reads on."""
    plain = _CONTROLS.sub("", _ESCAPES.sub("", line)).rstrip()
    return plain if len(plain) <= LINE_LENGTH else f"{plain[:LINE_LENGTH]}…"
