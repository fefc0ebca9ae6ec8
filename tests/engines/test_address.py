"""The urls that people write, and those that no engine can use."""

from __future__ import annotations

import pytest

from pytest_llmeval.engines.address import Address, parse_address
from pytest_llmeval.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080/v1/", Address("http", "127.0.0.1", 8080, "/v1", "127.0.0.1:8080")),
        ("https://Host.Example", Address("https", "host.example", 443, "", "host.example:443")),
        (" http://[::1]:80 ", Address("http", "::1", 80, "", "[::1]:80")),
        ("http://bücher.example/ä b", None),
    ],
)
def test_a_url_is_taken_apart(url: str, address: Address | None) -> None:
    expected = address or Address(
        "http", "xn--bcher-kva.example", 80, "/%C3%A4%20b", "xn--bcher-kva.example:80"
    )
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:8080", "must look like http://127"),
        ("ftp://127.0.0.1", "must look like http://127"),
        ("http://", "must look like"),
        ("", "must look like"),
        ("http://127.0.0.1:x", "no usable url: Port could not be cast"),
        ("http://127.0.0.1:99999", "no usable url: Port out of range"),
        ("http://[::1", "no usable url: Invalid IPv6"),
        ("http://127.0.0.1/v1?key=1", "nothing may follow its path"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_an_example(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        parse_address(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="carries a user name or password") as told:
        parse_address("http://me:secret@127.0.0.1:8080")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_is_known_by_its_names(host: str) -> None:
    assert parse_address(f"http://{host}:1").is_loopback


@pytest.mark.parametrize("host", ["192.168.1.9", "localhost.example", "[2001:db8::1]"])
def test_other_machines_are_not_loopback(host: str) -> None:
    assert not parse_address(f"http://{host}:1").is_loopback
