"""Bytes into events, wherever the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.engines.sse import Event, EventParser


def events_of(*pieces: bytes) -> list[Event]:
    """Everything that these pieces of one stream complete."""
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: 1\n\n", [Event("", b"1")]),
        (b"data: 1\r\n\r\n", [Event("", b"1")]),
        (b"data: 1\r\r", [Event("", b"1")]),
        (b"data:1\n\n", [Event("", b"1")]),
        (b"data:  1\n\n", [Event("", b" 1")]),
        (b"data: a\ndata: b\n\n", [Event("", b"a\nb")]),
        (b"data\n\n", [Event("", b"")]),
        (b"event: ping\ndata: {}\n\n", [Event("ping", b"{}")]),
        (b"event: ping\n\ndata: 1\n\n", [Event("", b"1")]),
        (b": ping\n\n: ping\n\ndata: 1\n\n", [Event("", b"1")]),
        (b"id: 7\nretry: 10\nunknown: x\ndata: 1\n\n", [Event("", b"1")]),
        (b"\xef\xbb\xbfdata: 1\n\n", [Event("", b"1")]),
        (b"data: a:b\n\n", [Event("", b"a:b")]),
        (b"data: \xff\n\n", [Event("", b"\xff")]),
        ("data: Zürich\u2028🎈\n\n".encode(), [Event("", "Zürich\u2028🎈".encode())]),
        (b"data: 1\x0b\x0c\x1c\n\n", [Event("", b"1\x0b\x0c\x1c")]),
        (b"data: 1\n", []),
        (b"data: 1", []),
        (b"\n\n\n", []),
        (b"", []),
    ],
    ids=range(20),
)
def test_a_stream_is_read_as_the_format_says(stream: bytes, events: list[Event]) -> None:
    assert events_of(stream) == events


MIXED = "\r\n".join(
    [
        *("event: a", "data: Zü", "data: 🎈", ": comment", ""),
        *("data: [DONE]", "", "event: b", "data: {}", "", ": ping", "", "data: cut"),
    ]
).encode()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_it_reads_the_same_cut_anywhere_twice_also_inside_a_character(end: bytes) -> None:
    stream = MIXED.replace(b"\r\n", end)
    whole = events_of(stream)
    assert [event.type for event in whole] == ["a", "", "b"]
    for first, second in itertools.combinations(range(len(stream) + 1), 2):
        pieces = stream[:first], stream[first:second], stream[second:]
        assert events_of(*pieces) == whole
    assert events_of(*(bytes([byte]) for byte in stream)) == whole


LINE = st.sampled_from(["data: ü", "data: 🎈", "event: x", ": c", "", "data", "id: 1", "nonsense"])


@given(
    lines=st.lists(st.tuples(LINE, st.sampled_from(["\n", "\r\n", "\r"]))),
    sizes=st.lists(st.integers(0, 9)),
)
def test_any_stream_reads_the_same_however_it_is_cut(
    lines: list[tuple[str, str]], sizes: list[int]
) -> None:
    stream = "".join(map("".join, lines)).encode()
    pieces, rest = [], stream
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert events_of(*pieces, rest) == events_of(stream)


def test_a_long_line_in_tiny_pieces_is_put_together_once() -> None:
    """A megabyte, byte by byte: if each looked at what came before, it would be 10¹² steps."""
    parser = EventParser()
    for _ in range(1_000_000):
        assert parser.feed(b"x") == []
    assert parser.feed(b"\n\ndata: 1\n\n") == [Event("", b"1")]
