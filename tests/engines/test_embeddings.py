"""Embeddings: one vector for each text, or none at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmeval.engines.embeddings import embeddings_body, vectors_from
from pytest_llmeval.errors import BadAnswer


def reply(*vectors: Any) -> bytes:
    """Write a reply out, its entries in reversed order."""
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data[::-1]}).encode()


def test_texts_are_asked_for_together() -> None:
    assert embeddings_body(["a", "b"], "tiny") == {
        "model": "tiny",
        "input": ["a", "b"],
        "encoding_format": "float",
    }


def test_vectors_come_in_the_order_of_the_texts() -> None:
    assert vectors_from(reply([1, 0.5], [0, -1]), 2) == ((1.0, 0.5), (0.0, -1.0))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (reply([1.0]), "it has 1 embeddings for 2 texts"),
        (b'{"error": "x"}', "it has 0 embeddings for 2 texts"),
        (b'{"data": [{"index": 0, "embedding": [1]}, {"embedding": [1]}]}', "indices 0 to 1"),
        (b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}', "0 to 1"),
        (b'{"data": [{"index": [], "embedding": [1]}]}', "index is a list, not a whole number"),
        (b'{"data": [{"index": 0, "embedding": [1%b]}]}' % (b"0" * 400), "is inf, not a number"),
        (reply([1.0], [1.0, 2.0]), "its embeddings are not all of one length"),
        (reply([], []), "its embeddings are not all of one length"),
        (reply([1.0], [None]), "a number of an embedding is null or missing, not a number"),
        (reply([1.0], [True]), "a number of an embedding is true or false, not a number"),
        (reply([1.0], None), "an entry of data has no embedding"),
        (reply([1.0], "aGk="), "embedding is a string, not a list"),
        (b'{"data": [1, 2]}', "an entry of data is a whole number, not an object"),
    ],
    ids=range(13),
)
def test_a_vector_that_is_missing_or_no_vector_is_named(body: bytes, problem: str) -> None:
    with pytest.raises(BadAnswer) as told:
        vectors_from(body, 2)
    assert problem in str(told.value)
