"""Embeddings in OpenAI's format: a vector for each text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_llmeval.engines.reading import (
    Unexpected,
    count,
    finite,
    kind_of,
    optional,
    read_reply,
)

Vectors = tuple[tuple[float, ...], ...]


def embeddings_body(texts: Sequence[str], model: str | None) -> dict[str, Any]:
    """Return the body that asks for the vectors of some texts."""
    body: dict[str, Any] = {} if model is None else {"model": model}
    return body | {"input": list(texts), "encoding_format": "float"}


def vectors_from(body: bytes, texts: int, *, secret: str | None = None) -> Vectors:
    """Read a reply to `texts` texts: their vectors in their order, all of one length.

    Raises `BadAnswer` where one is missing, or holds something that is no number.
    """

    def read(data: dict[str, Any]) -> Vectors:
        entries = optional(data, "data", list) or []
        found = dict(map(_entry, entries))
        if len(entries) != texts:
            raise Unexpected(f"it has {len(entries)} embeddings for {texts} texts")
        if set(found) != set(range(texts)):
            raise Unexpected(f"its embeddings do not have the indices 0 to {texts - 1}")
        vectors = tuple(found[index] for index in range(texts))
        if len({len(vector) for vector in vectors}) > 1 or not all(vectors):
            raise Unexpected("its embeddings are not all of one length")
        return vectors

    return read_reply(body, read, secret)


def _entry(entry: object) -> tuple[int | None, tuple[float, ...]]:
    if not isinstance(entry, dict):
        raise Unexpected(f"an entry of data is {kind_of(entry)}, not an object")
    vector = optional(entry, "embedding", list)
    if vector is None:
        raise Unexpected("an entry of data has no embedding")
    return count(entry, "index"), tuple(
        finite(number, "a number of an embedding") for number in vector
    )
