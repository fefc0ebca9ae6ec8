"""The report in short where GitHub Actions shows it: on the page of the workflow's run."""

from __future__ import annotations

from pathlib import Path

from pytest_llmeval.results.markdown import markdown_summary
from pytest_llmeval.results.report import RunReport

MOST_BYTES = 1024 * 1024
"""GitHub shows nothing of a step whose summary is larger."""


def append_step_summary(path: Path, report: RunReport) -> None:
    """Append the report to the file of a step's summary, behind what the step has put there.

    What does not fit any more is left out, with a line that says so. Raises OSError.
    """
    taken = path.stat().st_size if path.exists() else 0
    text = fitting(markdown_summary(report), MOST_BYTES - taken - 1, report.path)
    if text:
        with path.open("ab") as handle:
            # A block of its own, whatever the line before it is.
            handle.write(b"\n" + text if taken else text)


def fitting(text: str, room: int, where: str) -> bytes:
    """The text as UTF-8 in at most `room` bytes, cut behind a whole line; `where` has the rest.

    Empty where not even the line about the rest has room.
    """
    whole = text.encode("utf-8", "backslashreplace")
    if len(whole) <= room:
        return whole
    note = f"\nCut: GitHub shows no more. The whole report is {where}\n".encode(
        "utf-8", "backslashreplace"
    )
    if len(note) > room:
        return b""
    return whole[: whole.rfind(b"\n", 0, room - len(note)) + 1] + note
