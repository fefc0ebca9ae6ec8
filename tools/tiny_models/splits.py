"""What is held out of training: one pure decision that corpus, suites and tests share.

A key is a held-out one when its hash says so. Nothing else is stored, so training and
suites cannot disagree.
"""

from hashlib import blake2b
from typing import Final

#: Percent of the keys of each kind that training never sees.
SHARES: Final[dict[str, int]] = {
    "sum": 8,
    "comparison": 10,
    "noun-adjective": 16,
    "options": 8,
    "name": 16,
    "tool-city": 25,
    "minutes": 25,
    "restraint": 20,
}


def is_held_out(kind: str, *key: object) -> bool:
    """Whether training must never show this key; the same answer on every machine."""
    if kind not in SHARES:
        raise KeyError(f"no split named {kind!r}; there are {', '.join(sorted(SHARES))}")
    text = "|".join([kind, *map(str, key)])
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return number % 100 < SHARES[kind]


def pair_is_held_out(kind: str, a: int, b: int) -> bool:
    """Like is_held_out for two numbers whose order does not matter."""
    return is_held_out(kind, min(a, b), max(a, b))
