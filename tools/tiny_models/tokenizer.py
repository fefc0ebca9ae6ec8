"""Byte-level BPE with our own merges, read by the server as a gpt-2 tokenizer.

Digits never merge, and a leading space never merges with a capital letter, so that a
name is the same tokens after a space and after a quote.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Final

from .documents import SPECIALS, Document, text_of
from .words import FIRST_SYLLABLES, NAMES, SECOND_SYLLABLES

#: The gpt-2 pre-tokenizer, with what Python's re offers for its letter and digit classes.
_PRETOKENS: Final = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+"
)
_SPECIALS: Final = re.compile("(" + "|".join(map(re.escape, SPECIALS)) + ")")
_NAMES: Final = frozenset(NAMES)

Word = tuple[str, ...]
Merge = tuple[str, str]


def _byte_letters() -> list[str]:
    """gpt-2's printable stand-in for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


BYTE_LETTERS: Final = _byte_letters()
SPACE: Final = BYTE_LETTERS[ord(" ")]


def _letters(text: str) -> Word:
    return tuple(BYTE_LETTERS[byte] for byte in text.encode())


def _may_merge(left: str, right: str) -> bool:
    joined = left + right
    if any(letter.isdigit() and letter.isascii() for letter in joined):
        return False
    return not (joined[0] == SPACE and joined[1:2].isascii() and joined[1:2].isupper())


def _merged(word: Word, merge: Merge) -> Word:
    result: list[str] = []
    index = 0
    while index < len(word):
        if word[index : index + 2] == merge:
            result.append(word[index] + word[index + 1])
            index += 2
        else:
            result.append(word[index])
            index += 1
    return tuple(result)


def _counted(documents: Iterable[Document]) -> dict[Word, int]:
    counts: Counter[str] = Counter()
    for document in documents:
        for part in _SPECIALS.split(text_of(document)):
            if part not in SPECIALS:
                counts.update(_PRETOKENS.findall(part))
    return {_letters(text): n for text, n in counts.items() if text.strip() not in _NAMES}


def learn_merges(documents: Iterable[Document], least: int = 3) -> list[Merge]:
    """Learn merges until every word of the text is one token; the syllables of names come first."""
    merges: list[Merge] = [
        (syllable[0], syllable[1]) for syllable in FIRST_SYLLABLES + SECOND_SYLLABLES
    ]
    words = {word: n for word, n in _counted(documents).items() if n >= least}
    for merge in merges:
        words = _apply(words, merge)
    while True:
        pairs: Counter[Merge] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                if _may_merge(*pair):
                    pairs[pair] += n
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        words = _apply(words, best)
        merges.append(best)


def _apply(words: dict[Word, int], merge: Merge) -> dict[Word, int]:
    result: dict[Word, int] = {}
    for word, n in words.items():
        new = _merged(word, merge) if merge[0] in word else word
        result[new] = result.get(new, 0) + n
    return result


class Tokenizer:
    """Text to ids and back; `tokens` in the order of their ids."""

    def __init__(self, merges: Iterable[Merge]) -> None:
        self.merges = list(merges)
        joined = [left + right for left, right in self.merges]
        self.tokens = list(dict.fromkeys([*SPECIALS, *BYTE_LETTERS, *joined]))
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        self._ranks = {merge: rank for rank, merge in enumerate(self.merges)}
        self._word_ids = lru_cache(maxsize=50_000)(self._encode_word)

    def _encode_word(self, text: str) -> tuple[int, ...]:
        word = _letters(text)
        while len(word) > 1:
            pairs = set(pairwise(word))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            word = _merged(word, best)
        return tuple(self.ids[token] for token in word)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens in it are recognised."""
        result: list[int] = []
        for part in _SPECIALS.split(text):
            if part in SPECIALS:
                result.append(self.ids[part])
            else:
                for pretoken in _PRETOKENS.findall(part):
                    result.extend(self._word_ids(pretoken))
        return result

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of some ids."""
        codes = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}
        result = bytearray()
        for index in ids:
            token = self.tokens[index]
            if token in SPECIALS:
                result += token.encode()
            else:
                result += bytes(codes[letter] for letter in token)
        return result.decode(errors="replace")
