"""The process in which math-verify compares: it reads requests and writes replies, one JSON a line.

The first line says that it has begun, {}, or why it cannot, {"error": ...}. A reply has the `id` of
its request.

math-verify keeps its own time limits with signals, which only the main thread of a process has, and
which Windows lacks. Here they are off, and the process ends itself when a request takes longer than
its limit: the timer of `faulthandler` runs outside Python, so that it also ends a computation that
never returns to Python. So the other side needs to wait for nothing but a reply or the end of the
process, and a process whose owner was killed is gone soon after.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import re
import signal
import sys
from functools import lru_cache
from typing import Any, BinaryIO

#: Loading sympy takes seconds on a busy machine; it never takes this long.
START_LIMIT = 120.0
#: What mathematics between texts begins with.
_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed|\\begin\{")
#: What math-verify reads without delimiters.
_PLAIN_NUMBER = re.compile(r"\A(?:[-+−]?[\d.,\s]+%?|[-+−]?\d+\s*/\s*\d+)\Z")
#: What people write for LaTeX's commands.
_KEYBOARD = (
    (re.compile(r"(?<![\\A-Za-z])sqrt\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\A-Za-z])(pi|sin|cos|tan|log|ln)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(\d)[eE]([-+]?\d+)(?![\w.])"), r"\1\\cdot 10^{\2}"),
)
#: Whole words besides LaTeX's own: prose, in which a formula is looked for.
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}|\n")


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's business
    replies = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr  # whatever a library prints is no reply
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a name, not a path
        _end_after(START_LIMIT, nowhere)
        logging.getLogger("math_verify").setLevel(logging.ERROR)
        # What is loaded and built at the first use should not count against the first request.
        begun = _reply([r"2\sqrt{2}"], r"$\sqrt{8}$")
        faulthandler.cancel_dump_traceback_later()
        _write(replies, {"error": begun["error"]} if "error" in begun else {})
        if "error" in begun:
            return
        for line in sys.stdin.buffer:
            request = json.loads(line)
            _end_after(request["limit"], nowhere)
            reply = _reply(request["targets"], request["text"])
            faulthandler.cancel_dump_traceback_later()
            _write(replies, {**reply, "id": request["id"]})


def _write(replies: BinaryIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()


def _end_after(seconds: float, nowhere: BinaryIO) -> None:
    faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)


def _reply(targets: list[str], text: str) -> dict[str, Any]:
    try:
        return compared(targets, text)
    except Exception as error:  # noqa: BLE001 - sympy may raise anything; the owner is told
        return {"error": f"{type(error).__name__}: {error}"}


def compared(targets: list[str], text: str) -> dict[str, Any]:
    """Say which mathematics a text comes to, `found`, and whether a target is `right` about it.

    `unread` is a target in which there is no mathematics.
    """
    from math_verify import verify

    for target in targets:
        if not _read_target(target):
            return {"unread": target}
    found = _read(text)
    if not found:
        return {"found": None, "right": False}
    right = any(verify(_read_target(each), found, timeout_seconds=None) for each in targets)
    return {"found": str(found[-1]), "right": right}


@lru_cache(maxsize=1024)
def _read_target(target: str) -> list[Any]:
    return _read(target)


def _read(text: str) -> list[Any]:
    """What math-verify finds in a text: the value, and how it was written.

    It looks for formulas between delimiters; a text that is one formula as a whole gets some.
    """
    from math_verify import parse

    text = text.replace("−", "-")  # U+2212, which math-verify does not know
    formula = _as_latex(text.strip())
    found: list[Any] = []
    if not any(looks.search(formula) for looks in (_DELIMITED, _PLAIN_NUMBER, _PROSE)):
        found = parse(f"${formula}$", parsing_timeout=None)
    return found or list(parse(text, parsing_timeout=None))


def _as_latex(formula: str) -> str:
    for keyboard, latex in _KEYBOARD:
        formula = keyboard.sub(latex, formula)
    return formula
