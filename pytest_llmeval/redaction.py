"""Secrets out of any text, before it is written or shown. Pure.

A secret that is known is taken out by its value, wherever it stands; one that is not known is taken
out where it looks like one. What looks like a setting (`max_tokens=64`, `EOS token = 2`) stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

REDACTED = "[redacted]"

_SHORTEST = 4
"""A known secret shorter than this is left alone: it would take ordinary words apart."""

_KEY = r"(?:api[_-]?key|access[_-]?key|private[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|passwd|password|passphrase|credentials?)"
_VALUE = r"[^\s\"'&,;\\<>{}\[\]]+"

# Each shape with words of which a text must hold one, in small letters, before the shape is tried:
# looking for a word is many times faster than looking for a shape, and most texts are clean.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (
        ("private key-----",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        REDACTED,
    ),
    (
        ("bearer ", "basic "),
        re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]{6,}"),
        rf"\1 {REDACTED}",
    ),
    (
        ("sk-", "hf_", "gh", "akia", "asia", "xox", "aiza", "glpat-", "fw_", "eyj"),
        re.compile(
            r"(?<![A-Za-z0-9])(?:sk-[\w-]{8,}|hf_\w{8,}|gh[pousr]_\w{16,}|github_pat_\w{16,}"
            r"|A[KS]IA[0-9A-Z]{16}|xox[abprs]-[\w-]{8,}|AIza[\w-]{20,}|glpat-[\w-]{8,}|fw_\w{16,}"
            r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
        ),
        REDACTED,
    ),
    (
        ("://",),
        re.compile(r"(://)[^\s/?#@\"'<>]+@"),
        rf"\1{REDACTED}@",
    ),
    (
        ("key", "secret", "passw", "passphrase", "credential"),
        re.compile(
            rf"(?i)((?<![A-Za-z0-9]){_KEY}[\"']?\s*(?:=|:)\s*[\"']?)(?!\[redacted\]|null\b|none\b)"
            rf"(?:(?:bearer|basic)\s+)?{_VALUE}"
        ),
        rf"\1{REDACTED}",
    ),
)
