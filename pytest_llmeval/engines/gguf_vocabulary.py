"""The tokenizer that a GGUF file describes, built with the package tokenizers.

A GGUF holds the vocabulary, and either the merges of a byte-level BPE (`tokenizer.ggml.model` is
`gpt2`) or the scores of a SentencePiece BPE (`llama`). How a text is first cut into words is only
named there (`tokenizer.ggml.pre`); the patterns are those of the models that the names stand for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_llmeval.errors import ConfigError

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"

_PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT2,),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "llama-bpe": (_LLAMA3,),
    "llama3": (_LLAMA3,),
    "qwen2": (_QWEN2,),
}
"""By `tokenizer.ggml.pre`: how words are cut before merging, one pattern after the other. Those of
llama.cpp (`llm_tokenizer_bpe`); `default` is also how it cuts where a file does not say.
"""

_LONGEST_TOKEN = 1000

_NORMAL, _CONTROL, _USER_DEFINED, _BYTE = 1, 3, 4, 6
"""Values of `tokenizer.ggml.token_type`: gguf.TokenType."""


def tokenizer_of(path: Path) -> Any:
    """Return a `tokenizers.Tokenizer` for the vocabulary of a GGUF.

    Raises ConfigError when its kind, or its way of cutting words, is none that is known here: a
    count by another one would be wrong without a sign of it. So it does when the file is damaged.
    """
    try:
        return _tokenizer_of(path)
    except ConfigError:
        raise
    # Neither gguf nor tokenizers, which is Rust, says what it raises for a header that is none.
    except Exception as problem:
        words = str(problem) or type(problem).__name__
        message = f"tokenizer: {path}: its vocabulary cannot be read, the file is damaged: {words}"
        raise ConfigError(message) from problem


def _tokenizer_of(path: Path) -> Any:
    fields = _fields(path)
    kind = fields.get("tokenizer.ggml.model")
    if kind == "gpt2":
        return _with_words_of_its_own(_byte_level(fields, path), fields)
    if kind == "llama":
        return _with_words_of_its_own(_sentencepiece(fields), fields)
    raise ConfigError(
        f"tokenizer: {path}: its vocabulary is of the kind {kind!r}; known are 'gpt2' and 'llama'. "
        f"Name the model's tokenizer.json instead"
    )


def _fields(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader  # slow to import

    reader = GGUFReader(path)
    names = ("model", "pre", "tokens", "merges", "scores", "token_type", "add_space_prefix")
    keys = [f"tokenizer.ggml.{name}" for name in names]
    return {key: reader.fields[key].contents() for key in keys if key in reader.fields}


def _byte_level(fields: dict[str, Any], path: Path) -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    pre = fields.get("tokenizer.ggml.pre", "default")
    if pre not in _PATTERNS:
        raise ConfigError(
            f"tokenizer: {path}: its words are cut as {pre!r} does it; known are "
            f"{', '.join(sorted(_PATTERNS))}. Name the model's tokenizer.json instead"
        )
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(
        models.BPE(_ids(fields), merges, ignore_merges=_PATTERNS[pre] == (_LLAMA3,))
    )
    cut = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _PATTERNS[pre]]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cut, byte_level])
    return tokenizer


def _sentencepiece(fields: dict[str, Any]) -> Any:
    """Two neighbours merge where the text of both is a token, the one of the best score first.

    So the merges of the same BPE are all ways to cut a token into two others, by its score.
    """
    from tokenizers import Tokenizer, models, normalizers

    ids, scores = _ids(fields), fields["tokenizer.ggml.scores"]
    longest = max(map(len, ids), default=0)
    if longest > _LONGEST_TOKEN:  # each is cut everywhere
        raise ValueError(f"a token of {longest:,} characters")
    kinds = _kinds(fields)
    merges = [
        (-scores[number], ids[token[:cut]], ids[token[cut:]], token[:cut], token[cut:])
        for token, number in ids.items()
        if kinds[number] not in (_CONTROL, _BYTE)
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    pairs = [(left, right) for *_, left, right in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(ids, pairs, fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", "▁")
    prefix = fields.get("tokenizer.ggml.add_space_prefix", True)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    )
    return tokenizer


def _with_words_of_its_own(tokenizer: Any, fields: dict[str, Any]) -> Any:
    """Have the tokens that the model's makers defined found in a text before anything is cut."""
    names = zip(fields["tokenizer.ggml.tokens"], _kinds(fields), strict=True)
    tokenizer.add_tokens([name for name, kind in names if kind == _USER_DEFINED])
    return tokenizer


def _kinds(fields: dict[str, Any]) -> list[int]:
    return fields.get("tokenizer.ggml.token_type") or [_NORMAL] * len(
        fields["tokenizer.ggml.tokens"]
    )


def _ids(fields: dict[str, Any]) -> dict[str, int]:
    return {token: number for number, token in enumerate(fields["tokenizer.ggml.tokens"])}
