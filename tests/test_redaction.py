"""Secrets out of texts, settings left in."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.utils import htmlsafe_json_dumps

from pytest_llmeval import redaction
from pytest_llmeval.redaction import (
    REDACTED,
    Pieces,
    Redactor,
    known_secrets,
    looks_secret,
    redact,
)

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


ODD = """p&ss/"w<rd' 99+\\"""


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(ODD)[1:-1],
        json.dumps(ODD)[1:-1].replace("/", "\\/"),
        repr(ODD)[1:-1],
        html.escape(ODD),
        html.escape(ODD, quote=False),
        html.escape(ODD).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        quote(ODD),
        quote(ODD, safe=""),
        quote_plus(ODD),
        "p%26ss%2f%22w%3crd%27%2099%2b%5c",
        html.escape(ODD).replace("&#x27;", "&#039;"),
        json.dumps(json.dumps(ODD))[3:-3],
        json.dumps(ODD)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c"),
        json.dumps(ODD)[1:-1].replace("&", "\\u0026").replace("<", "\\u003C"),
        str(htmlsafe_json_dumps(ODD))[1:-1],
        shlex.quote(ODD)[1:-1],
    ],
)
def test_a_known_secret_is_found_as_others_write_it(written: str) -> None:
    assert redact(f"<{written}>", [ODD]) == f"<{REDACTED}>"


FOREIGN = "pässwörd'xyz"


@pytest.mark.parametrize(
    "written",
    [
        FOREIGN,
        repr(FOREIGN + '"')[1:-2],
        ascii(FOREIGN)[1:-1],
        repr(FOREIGN.encode())[2:-1],
        json.dumps(FOREIGN)[1:-1],
        json.dumps(FOREIGN)[1:-1].replace("e4", "E4").replace("f6", "F6"),
        quote(FOREIGN),
    ],
)
def test_a_secret_in_letters_of_elsewhere_is_found_in_texts_and_in_bytes(written: str) -> None:
    assert redact(f"<{written}>", [FOREIGN]) == f"<{REDACTED}>"
    as_read = written.encode("utf-8").decode("latin-1")
    assert Redactor([FOREIGN], as_latin_1=True).text(f"<{as_read}>") == f"<{REDACTED}>"


def test_a_variable_that_is_no_text_is_a_secret_all_the_same() -> None:
    secret = b"p\xffssword".decode("utf-8", "surrogateescape")
    assert redact(f"<{secret}>", [secret]) == f"<{REDACTED}>"
    as_latin_1 = Redactor([secret], as_latin_1=True)
    assert as_latin_1.text("<p\xffssword>") == f"<{REDACTED}>"


def test_each_long_line_of_a_known_secret_is_one_but_not_the_armour_of_a_key() -> None:
    secret = "-----BEGIN THING-----\nfirst half\n  second half\nend\n-----END THING-----"
    text = "so first half, so\n  second half, the end of it\n-----BEGIN THING-----"
    assert redact(text, [secret]) == (
        f"so {REDACTED}, so\n  {REDACTED}, the end of it\n-----BEGIN THING-----"
    )


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


# The rules ----------------------------------------------------------------------------------------

RULES = json.loads(
    Path(redaction.__file__).with_name("redaction_rules.json").read_text(encoding="utf-8")
)
EXAMPLES = [(rule["name"], text) for rule in RULES for text in rule["redacts"]]
KEPT = [(rule["name"], text) for rule in RULES for text in rule["keeps"]]


@pytest.mark.parametrize(("rule", "text"), EXAMPLES)
def test_what_a_rule_is_for_goes_in_the_middle_of_any_text(rule: str, text: str) -> None:
    found = redact(f"before {text} after\n")
    assert REDACTED in found, rule
    assert found.startswith("before ")
    value = re.split(r"[\s=\"':]+", text.strip("\"'{}[]"))[-1]
    if "KEY" not in text:
        assert len(value) < 8 or value not in found


@pytest.mark.parametrize(("rule", "text"), KEPT)
def test_what_a_rule_is_not_for_stays(rule: str, text: str) -> None:
    assert redact(text) == text, rule


def test_what_identifies_weights_commits_and_runs_is_no_secret() -> None:
    told = [
        f"sha256 of the weights was {'0123456789abcdef' * 4}",
        f'"template_digest": "{"fedcba9876543210" * 4}"',
        "commit 64b133b0a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "123e4567-e89b-12d3-a456-426614174000",
        "D:\\models\\Qwen3-8B-Q4_K_M.gguf",
        "runs/2026-11-23-0412/qwen3-q4--plain/parts/part-0001.results.jsonl",
    ]
    assert [Redactor(thorough=True).text(text) for text in told] == told


def test_detect_secrets_finds_what_no_rule_of_ours_is_for() -> None:
    text = f"cloudant_password = '{'a1b2c3d4' * 8}' and {'0123456789abcdef' * 2}-us12"
    assert redact(text).endswith("-us12")
    assert "us12" not in Redactor(thorough=True).text(text)


def test_values_of_variables_whose_names_sound_secret_are_known() -> None:
    environ = {
        "SERVED_KEY": "named",
        "OPENAI_API_KEY": "by its name",
        "HF_TOKEN_PATH": "/home/me/token",
        "TOKENIZERS_PARALLELISM": "false-and-long",
        "MY_PASSWORD": "short",
        "PATH": "/usr/bin:/usr/local/bin",
    }
    assert known_secrets(environ, ["SERVED_KEY"]) == ["named", "by its name"]


@pytest.mark.parametrize("before", [r"\n", r"\\t", r"\x0a", r"\u003c", "%20", "\x1b[32m", "\x1b[m"])
def test_a_token_is_found_behind_what_stands_for_one_character(before: str) -> None:
    assert redact(f"said{before}sk-proj-abc123DEF456ghi") == f"said{before}{REDACTED}"
    assert redact(f"said{before}AKIAIOSFODNN7EXAMPLE") == f"said{before}{REDACTED}"


def test_a_letter_that_is_two_in_small_letters_moves_no_secret() -> None:
    assert redact("İ İ API_KEY=abc12345 İ") == f"İ İ API_KEY={REDACTED} İ"


def test_what_is_left_of_a_secret_whose_middle_was_cut_out_goes_too() -> None:
    known = ["hunter2hunter2xyz"]
    assert redact("['hunter2hunt...ter2xyz', ...]", known) == f"['{REDACTED}...{REDACTED}', ...]"
    assert redact("'sk-proj-Zx81mQp0...dRc7HsJ2uEa5G'") == f"'{REDACTED}...'"
    assert redact("hun... and ...xyz, wait... so", known) == "hun... and ...xyz, wait... so"
    assert redact("..." * 2000 + "x", known) == "..." * 2000 + "x"


def _longest(sizes: Sequence[int], is_there: Callable[[int], bool]) -> int:
    return max(filter(is_there, sizes), default=0)


@given(*[st.text("ab ", max_size=12) for _ in range(3)])
def test_as_much_of_a_beginning_and_an_end_goes_as_stands_at_the_cut(
    middle: str, before: str, after: str
) -> None:
    secret = f"abba{middle}baab"
    before, after = before.replace(secret, ""), after.replace(secret, "")
    sizes = range(4, len(secret))
    head = _longest(sizes, lambda size: before.endswith(secret[:size]))
    tail = _longest(sizes, lambda size: after.startswith(secret[-size:]))
    left = before[: len(before) - head] + (REDACTED if head else "")
    right = (REDACTED if tail else "") + after[tail:]
    if head and not tail:  # what follows is taken for the end of a token
        right = right.lstrip("ab")
    assert redact(f"{before}...{after}", [secret]) == f"{left}...{right}"


def test_a_known_secret_is_found_in_base64_too() -> None:
    secret = "correct horse battery"
    encoded = base64.b64encode(secret.encode()).decode()
    assert redact(f"Basic realm {encoded}", [secret]) == f"Basic realm {REDACTED}"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "Bearer "])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_known_secret_is_found_in_base64_of_what_stands_around_it(
    before: str, encode: Callable[[bytes], bytes]
) -> None:
    """But for what single characters of it share with their neighbours."""
    secret = "correct ~~~horse???battery"
    encoded = encode(f"{before}{secret}:end".encode()).decode()
    left = redact(f"bad token {encoded}", [secret])
    assert re.fullmatch(r"bad token \S{0,13}\[redacted\]\S{0,8}", left)
    assert len(left) < len(encoded)


def test_texts_within_data_are_redacted_and_the_rest_is_as_it_was() -> None:
    data = {"a": ["hf_abcdefghijklmnop", 1, None], "b": {"c": True}}
    assert Redactor().data(data) == {"a": [REDACTED, 1, None], "b": {"c": True}}


@pytest.mark.parametrize(
    "hostile",
    [
        *("a" * 40_000, "-----BEGIN " * 4000, "://" * 13_000, "token=" * 7000, "eyJ" * 13_000),
        *(
            "key: " + "A1" * 20_000,
            "password" * 5000,
            "bearer " * 6000,
            "sk-" * 13_000,
            "'" * 40_000,
            "key" * 13_000,
            "token" * 8000,
            "authorization=" * 3000,
        ),
    ],
)
def test_no_text_takes_longer_than_its_length(hostile: str) -> None:
    """A rule that looks at a text again from each of its places would take minutes for these."""
    short, long = (min(_seconds(hostile[: len(hostile) // n]) for _ in range(3)) for n in (8, 1))
    assert long < 40 * short + 0.05, "eight times as long; a square would be 64 times"


def _seconds(text: str) -> float:
    began = time.perf_counter()
    Redactor(thorough=True).text(text)
    return time.perf_counter() - began


# In pieces ----------------------------------------------------------------------------------------


def pass_on(text: str, cuts: Sequence[int], known: Sequence[str] = ()) -> str:
    pieces = Pieces(Redactor(known))
    bounds = [0, *sorted(cuts), len(text)]
    passed = [pieces.feed(text[low:high]) for low, high in itertools.pairwise(bounds)]
    return "".join(passed) + pieces.flush()


@pytest.mark.parametrize(("rule", "text"), EXAMPLES)
def test_a_secret_is_found_wherever_it_is_cut(rule: str, text: str) -> None:
    whole = f"a line\nbefore {text} after\nand more\n"
    expected = redact(whole)
    for cut in range(len(whole)):
        assert pass_on(whole, [cut]) == expected, rule


@pytest.mark.parametrize(
    "text",
    [
        '{"password":\n  "correct horse"}\n',
        "api_key =\n\n  local-secret\n",
        '[\n  "--api-key",\n  "local-secret"\n]\n',
        "password=\nx\n",
        "session_id=\nZx8kQ2mN7pR4tV9wB3cF6hJ1\n",
    ],
)
def test_a_value_on_the_line_after_its_name_is_found_wherever_it_is_cut(text: str) -> None:
    whole = f"a line\n{text}and more\n"
    expected = redact(whole)
    assert expected.count(REDACTED) == 1
    for cut in range(len(whole)):
        assert pass_on(whole, [cut]) == expected


def test_a_line_that_no_value_follows_is_given_on_at_once() -> None:
    pieces = Pieces(Redactor())
    for line in ("listening:\n", "the key\n", "a token of it\n", "x =\n"):
        assert pieces.feed(line) == line


@given(
    st.lists(st.sampled_from([text for _, text in EXAMPLES] + CLEAN + ["\n", " ", "known-one"])),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_pieces_give_what_the_whole_gives(parts: list[str], cuts: list[int]) -> None:
    whole = "\n".join(parts) + "\n"
    within = [min(cut, len(whole)) for cut in cuts]
    assert pass_on(whole, within, ["known-one"]) == redact(whole, ["known-one"])


@pytest.mark.parametrize("step", [1000, 4096, 65_536, 300_000])
def test_a_line_without_an_end_is_passed_on_in_parts_and_hides_no_secret(step: int) -> None:
    secret = "sk-proj-abc123DEF456ghi"
    filler = "word " * 4000
    text = "".join(f"{filler}{secret} " for _ in range(14))
    pieces, longest, passed = Pieces(Redactor()), 0, ""
    for place in range(0, len(text), step):
        passed += pieces.feed(text[place : place + step])
        longest = max(longest, len(pieces._held))
    passed += pieces.flush()
    assert secret not in passed
    assert passed.count("word") == 14 * 4000
    assert longest <= redaction.LONGEST_LINE + step


def test_a_private_key_without_an_end_is_not_held_for_ever_and_never_shown() -> None:
    pieces, passed = Pieces(Redactor()), ""
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n"
    passed += pieces.feed("fine\n-----BEGIN PRIVATE KEY-----\n")
    for _ in range(20_000):
        passed += pieces.feed(body)
        assert len(pieces._held) < 3 * redaction.LONGEST_LINE
    passed += pieces.feed("-----END PRIVATE KEY-----\nfine again\n") + pieces.flush()
    assert "MIIE" not in passed
    assert passed == f"fine\n{REDACTED}\nfine again\n"
