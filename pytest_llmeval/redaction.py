"""Secrets out of any text, before it is written or shown. Pure.

A secret that is known is taken out by its value, wherever it stands; one that is not known is taken
out where it looks like one. What looks like a setting (`max_tokens=64`, `EOS token = 2`) stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

REDACTED = "[redacted]"

_SHORTEST = 4
"""A known secret shorter than this is left alone: it would take ordinary words apart."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a kind of secret looks like, and what takes its place.

    `words` are tried first, those in small letters whatever the text's case: looking for a word is
    many times faster than looking for a shape, and most texts are clean.
    """

    words: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str


_NAME = (
    r"(?:api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?secret|secret[_-]?key|secret"
    r"|passw(?:or)?d|passphrase)"
)
_NAMES = (
    *("api_key", "api-key", "apikey", "access_key", "access-key", "accesskey"),
    *("private_key", "private-key", "privatekey", "secret", "password", "passwd", "passphrase"),
)
_QUOTED = r"""(?P<quote>\\?["'])(?:(?!(?P=quote))[^\n])+(?P=quote)"""
_BARE = r"""(?!\$|(?:null|none|true|false)\b)[^\s"'&,;\\<>(){}\[\]]+"""

_TOKENS = _Shape(
    (
        *("sk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "AKIA", "ASIA"),
        *("xox", "AIza", "glpat-", "fw_", "eyJ"),
    ),
    re.compile(
        r"(?<![A-Za-z0-9])(?:sk-[\w-]{8,}|hf_\w{8,}|gh[pousr]_\w{16,}|github_pat_\w{16,}"
        r"|A[KS]IA[0-9A-Z]{16}|xox[abprs]-[\w-]{8,}|AIza[\w-]{20,}|glpat-[\w-]{8,}|fw_\w{16,}"
        # Only from the beginning of a word: a long one must not be searched from each of its parts.
        r"|(?<![\w-])eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
    ),
    REDACTED,
)
_SHAPES = (
    _Shape(
        ("PRIVATE KEY-----",),
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        REDACTED,
    ),
    _Shape(
        ("bearer ", "basic "),
        re.compile(
            r"(authorization\\?[\"']?\s*[:=]\s*\\?[\"']?(?:basic|bearer)"
            r"|\bbearer(?= +\S*[\d._~+/=-])) +[\w.~+/=-]{8,}",
            re.IGNORECASE,
        ),
        rf"\1 {REDACTED}",
    ),
    _TOKENS,
    _Shape(("://",), re.compile(r"(://)[^\s/?#@\"'<>]+@"), rf"\1{REDACTED}@"),
    _Shape(
        _NAMES,
        re.compile(rf"(?P<name>{_NAME}\\?[\"']?\s*[:=]\s*)(?:{_QUOTED}|{_BARE})", re.IGNORECASE),
        rf"\g<name>\g<quote>{REDACTED}\g<quote>",
    ),
    _Shape(  # on a command line, or in the list one is made of
        _NAMES,
        re.compile(
            rf"(?P<name>(?<![\w-])--[\w-]*{_NAME}[\"']?,?\s+)(?:{_QUOTED}|(?!-){_BARE})",
            re.IGNORECASE,
        ),
        rf"\g<name>\g<quote>{REDACTED}\g<quote>",
    ),
    _Shape(  # "token" is a model's word too: only a long value with a digit in it is a secret
        ("token",),
        re.compile(
            r"""(token\\?["']?\s*[:=]\s*\\?["']?)(?=[\w.~+/-]*\d)[\w.~+/-]{12,}=*""",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Give the text with every secret replaced by `[redacted]`.

    `secrets` are known values; they are found in JSON and in URLs too. Redacting twice changes
    nothing more.
    """
    for form in _forms(secrets):
        text = text.replace(form, REDACTED)
    return _without(text, _SHAPES)


def looks_secret(text: str, *, is_path: bool = False) -> bool:
    """Whether a setting, as somebody has written it, holds what looks like a secret.

    A token has to be a whole word of it, and a path has none: `hf_downloads/x.gguf` is no token of
    Hugging Face. In a text that is shown a word too much may go, but a setting has to be possible.
    """
    shapes = tuple(shape for shape in _SHAPES if shape is not _TOKENS)
    if _without(text, shapes) != text:
        return True
    return not is_path and any(map(_TOKENS.pattern.fullmatch, _WORD_ENDS.split(text)))


# No dot and no slash: they make the words on both sides parts of one name.
_WORD_ENDS = re.compile(r"""[\s"'`=:,;&?@<>(){}\[\]]+""")


def _without(text: str, shapes: Iterable[_Shape]) -> str:
    small = text.lower()
    for shape in shapes:
        if any(word in small if word.islower() else word in text for word in shape.words):
            text = shape.pattern.sub(shape.replacement, text)
    return text


def _forms(secrets: Iterable[str]) -> list[str]:
    """The ways a secret may be written, the longest first, so that none is left cut in half."""
    known = [secret for secret in secrets if len(secret) >= _SHORTEST]
    forms = {form for s in known for form in (s, json.dumps(s)[1:-1], quote(s, safe=""))}
    return sorted(forms, key=lambda form: (-len(form), form))
