"""Where a model answers: one URL of a config, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema

from pytest_llmeval.inputs.mistakes import shown

_EXAMPLE_URL = "http://127.0.0.1:8080/v1"


def checked_url(value: str) -> str:
    """An http(s) address without a slash at its end.

    Raises ValueError for anything else that an engine could not use; what may be a secret, before
    the host or behind the path, is not repeated.
    """
    if "@" in value:
        raise ValueError(
            f"expected a URL such as {_EXAMPLE_URL}, without '@': no user name or password belongs "
            "into it; api_key_env names the environment variable that holds the key"
        )
    if "?" in value or "#" in value:
        raise ValueError(
            f"expected a URL such as {_EXAMPLE_URL}, with no '?' or '#' behind its path"
        )
    try:
        parts = urlsplit(value.strip())
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as problem:
        raise ValueError(
            f"expected a URL such as {_EXAMPLE_URL}, found {shown(value)}: {problem}"
        ) from problem
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError(f"expected a URL such as {_EXAMPLE_URL}, found {shown(value)}")
    return value.strip().rstrip("/")


def checked_urls(values: Sequence[str]) -> tuple[str, ...]:
    """Several addresses, all different; raises ValueError also for two that are the same but for
    how they are written: its slots would count twice.
    """
    urls = tuple(map(checked_url, values))
    for number, url in enumerate(urls):
        same = [other for other in urls[:number] if _plain(other) == _plain(url)]
        if same:
            raise ValueError(f"{same[0]} and {url} are one endpoint; name it once")
    return urls


def _plain(url: str) -> str:
    return url.lower().removesuffix("/v1")


def _url(value: str) -> str:
    # With variables in it, it is checked once they are known.
    return value if "${" in value else checked_url(value)


def _where(value: Any) -> str | list[str]:
    """One URL, or several different ones."""
    if isinstance(value, str):
        return _url(value)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(
            f"expected a URL such as {_EXAMPLE_URL}, or a list of these, found {shown(value)}"
        )
    if len(value) < 2 or len(set(value)) < len(value):
        raise ValueError(
            f"expected at least two different URLs in the list, found {shown(value)}; one endpoint "
            "takes more requests at once by slots"
        )
    return [_url(each) for each in value]


Where = Annotated[
    Any,
    PlainValidator(_where),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
            ]
        }
    ),
]
"""The value of `url`: a text, or a list of at least two."""
