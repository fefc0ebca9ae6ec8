"""Server-sent events, read as they come: bytes in, events out. Pure.

The format is WHATWG's (HTML Living Standard, 9.2.6): lines end in LF, CRLF or CR, a blank line ends
an event, a line that begins with a colon is a comment (`: ping`, which keeps connections alive).
Where the bytes are cut makes no difference, and each is looked at a fixed number of times.
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type, "" where none is given, and its data with LF between several lines.

    The data are bytes because whoever reads them also says what is wrong with them.
    """

    type: str
    data: bytes


class EventParser:
    """Reads one stream of events. An event that the stream's end cuts off is dropped."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._type = ""
        self._after_cr = False
        self._first = True

    def feed(self, piece: bytes) -> list[Event]:
        """Take some bytes, any number of them, and return the events that they complete."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")  # the other half of a CRLF that was cut
            self._after_cr = False
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if not end:
            self._line.append(piece)
            return []
        self._after_cr = piece.endswith(b"\r")
        whole = b"".join([*self._line, piece[:end]])
        self._line = [piece[end:]]
        events = []
        for line in whole.splitlines():
            if line:
                self._take(line)
            elif self._data:
                events.append(Event(self._type, b"\n".join(self._data)))
                self._data, self._type = [], ""
            else:
                self._type = ""
        return events

    def _take(self, line: bytes) -> None:
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
