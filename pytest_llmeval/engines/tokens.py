"""Counting tokens without a server: tokenizers from files, for where an endpoint counts nothing.

A tokenizer here only counts. It gets a text as it stands: no template, no special tokens, and never
a truncation or a padding, which a `tokenizer.json` may bring along and which would make every count
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pytest_llmeval.errors import ConfigError, MissingExtraError

CHARACTERS_PER_TOKEN = 4
"""A token of English text is about this many characters; used where nobody can count."""

TIKTOKEN = "tiktoken:"
"""What a tokenizer's name begins with when the package tiktoken has it."""


class Tokenizer(Protocol):
    """Counts the tokens of a text."""

    def count(self, text: str) -> int:
        """Return how many tokens a text has, special ones not counted in."""
        ...


def load_tokenizer(name: str) -> Tokenizer:
    """Return the tokenizer that a config names: a file, or `tiktoken:` and an encoding's name.

    Raises ConfigError for a file that is not there, damaged or of no known kind, MissingExtraError
    without the package that reads it.
    """
    if name.startswith(TIKTOKEN):
        return _counting(_tiktoken(name.removeprefix(TIKTOKEN)))
    path = Path(name)
    load = _LOADERS.get(path.suffix.lower())
    if load is None:
        kinds = ", ".join(f"*{suffix}" for suffix in _LOADERS)
        raise ConfigError(f"tokenizer: {name}: expected a file ({kinds}) or {TIKTOKEN}NAME")
    if not path.is_file():
        raise ConfigError(f"tokenizer: {name}: there is no such file")
    try:
        return _counting(load(path))
    except (MissingExtraError, ConfigError):
        raise
    except Exception as error:  # each library has errors of its own for a damaged file
        raise ConfigError(
            f"tokenizer: {name}: cannot be read: {type(error).__name__}: {error}"
        ) from error


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, by its length; 0 only for an empty one."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


class _Counting:
    """A tokenizer made of a function that encodes."""

    def __init__(self, encode: Callable[[str], Any]) -> None:
        self._encode = encode

    def count(self, text: str) -> int:
        """Return the length of what the text is encoded into."""
        return len(self._encode(text))


def _counting(encode: Callable[[str], Any]) -> Tokenizer:
    return _Counting(encode)


def _tiktoken(name: str) -> Callable[[str], Any]:
    try:
        import tiktoken
    except ImportError as error:
        raise _missing("tiktoken") from error
    try:
        encoding = tiktoken.get_encoding(name)
    except ValueError as error:
        known = ", ".join(tiktoken.list_encoding_names())
        raise ConfigError(f"tokenizer: {TIKTOKEN}{name}: there are {known}") from error
    except Exception as error:  # it fetches the file of an encoding that it does not have yet
        raise ConfigError(
            f"tokenizer: {TIKTOKEN}{name}: its file is not on this machine and cannot be fetched "
            f"({type(error).__name__}); set TIKTOKEN_CACHE_DIR to a folder that has it, or name a "
            f"tokenizer's file"
        ) from error
    return encoding.encode_ordinary


def _tokenizer_json(path: Path) -> Callable[[str], Any]:
    try:
        from tokenizers import Tokenizer as FastTokenizer
    except ImportError as error:
        raise _missing("tokenizers") from error
    return _bare(FastTokenizer.from_file(str(path)))


def _sentencepiece(path: Path) -> Callable[[str], Any]:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise _missing("sentencepiece") from error
    processor = SentencePieceProcessor(model_file=str(path))
    encode: Callable[[str], Any] = processor.encode
    return encode


def _gguf(path: Path) -> Callable[[str], Any]:
    try:
        import gguf  # noqa: F401
        import tokenizers  # noqa: F401 - both are asked for before the file is read
    except ImportError as error:
        raise _missing(error.name or "tokenizers") from error
    from pytest_llmeval.engines.gguf_vocabulary import tokenizer_of

    return _bare(tokenizer_of(path))


def _bare(tokenizer: Any) -> Callable[[str], Any]:
    """The encoding of a fast tokenizer, without what a file may have it do besides."""
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str) -> Any:
        return tokenizer.encode(text, add_special_tokens=False).ids

    return encode


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError("tokenizer:", package=package, extra="tokens")


_LOADERS: Mapping[str, Callable[[Path], Callable[[str], Any]]] = {
    ".gguf": _gguf,
    ".json": _tokenizer_json,
    ".model": _sentencepiece,
}
