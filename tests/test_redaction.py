"""Secrets out of texts, settings left in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.redaction import REDACTED, looks_secret, redact

SHAPES = {
    "OPENAI_API_KEY=sk-proj-abc123DEF456ghi": "OPENAI_API_KEY=[redacted]",
    "key sk-abcdefgh12345678 refused": "key [redacted] refused",
    "hf_abcdefghijklmnop": "[redacted]",
    "ghp_0123456789abcdefABCDEF0123456789abcd": "[redacted]",
    "AKIAIOSFODNN7EXAMPLE": "[redacted]",
    "Authorization: Bearer abc.def-123": "Authorization: Bearer [redacted]",
    "authorization: basic dXNlcjpwYXNz": "authorization: basic [redacted]",
    "x-api-key: local-secret": "x-api-key: [redacted]",
    '{"password": "correct horse battery"}': '{"password": "[redacted]"}',
    r"{\"password\": \"hunter2\"}": r"{\"password\": \"[redacted]\"}",
    "{'client_secret': 'a b'}": "{'client_secret': '[redacted]'}",
    "llama-server --api-key local1 -c 4096": "llama-server --api-key [redacted] -c 4096",
    "['--api-key', 'local1', '-c']": "['--api-key', '[redacted]', '-c']",
    "--api-key=local1": "--api-key=[redacted]",
    "https://me:pw@example.org/x": "https://[redacted]@example.org/x",
    "GET /v1?api_key=abc&limit=3": "GET /v1?api_key=[redacted]&limit=3",
    "HF_TOKEN=abcdef0123456789": "HF_TOKEN=[redacted]",
    "access_token: 'abcdef0123456789=='": "access_token: '[redacted]'",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc-_": "[redacted]",
    "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb": "a [redacted]\nb",
    "-----BEGIN PRIVATE KEY-----\ncut off": "[redacted]",
}

CLEAN = [
    "max_tokens=64, prompt_tokens: 1234567890123, tokens per second = 2140.4",
    "print_info: EOS token        = 151645 '<|im_end|>'",
    '"eos_token": "<|endoftext|>", "bos_token": "<s>", "pad_token": null',
    "a task-oriented risk-averse disk-bound Asia of the monkey",
    "http://127.0.0.1:8080/v1/chat/completions and user@example.org",
    "api_key: ${MY_KEY}",
    "api_key: null",
    "a bearer of newspapers, basic arithmetic, Bearer authentication",
    "tokenizer.ggml.model str = gpt2",
    "The secret of the password is patience.",
]


@pytest.mark.parametrize(("text", "expected"), SHAPES.items())
def test_what_looks_like_a_secret_is_taken_out_and_the_rest_is_kept(
    text: str, expected: str
) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_sounds_like_a_secret_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_found_plain_in_json_and_in_a_url() -> None:
    secret = 'tø/p "x"'
    text = f"{secret} {json.dumps({'a': secret})} ?q=t%C3%B8%2Fp%20%22x%22"
    assert redact(text, [secret]) == f'{REDACTED} {{"a": "{REDACTED}"}} ?q={REDACTED}'


def test_of_two_known_secrets_the_longer_one_goes_first() -> None:
    assert redact("abcd-efgh abcd", ["abcd", "abcd-efgh"]) == f"{REDACTED} {REDACTED}"


def test_an_empty_or_tiny_secret_does_not_take_the_text_apart() -> None:
    assert redact("banana", ["", "a"]) == "banana"


@given(st.lists(st.sampled_from([*SHAPES, *CLEAN, " ", "\n", '"', "'", "=", "password:"])))
def test_redacting_twice_changes_nothing_more(pieces: list[str]) -> None:
    once = redact(" ".join(pieces), ["hunter2"])
    assert redact(once, ["hunter2"]) == once


@given(st.text(), st.text(min_size=4), st.text())
def test_a_known_secret_never_survives(before: str, secret: str, after: str) -> None:
    cleaned = redact(before + secret + after, [secret])
    assert secret not in cleaned.replace(REDACTED, "") or secret in REDACTED


@pytest.mark.parametrize(
    "text", ["sk-abcdefgh12345678", "--key=sk-abcdefgh12345678", "x hf_abcdefghijklmnop y"]
)
def test_a_setting_with_a_token_as_a_word_of_it_looks_secret(text: str) -> None:
    assert looks_secret(text)
    assert not looks_secret(text, is_path=True)


@pytest.mark.parametrize("text", ["/data/hf_downloads/x.gguf", "sk-learn-8b-q4.gguf", *CLEAN])
def test_a_setting_with_a_name_that_begins_like_a_token_does_not(text: str) -> None:
    assert not looks_secret(text)


def test_a_path_with_a_password_in_it_looks_secret() -> None:
    assert looks_secret("https://me:pw@example.org/x.gguf", is_path=True)


@pytest.mark.parametrize("piece", ["-eyJ", "--secret-", "secret=", "://a", "bearer ", "token=a"])
def test_a_long_text_is_looked_through_once(piece: str) -> None:
    """Where a shape was searched again from each of its parts, this took hours."""
    redact(piece * (2**20 // len(piece)))
