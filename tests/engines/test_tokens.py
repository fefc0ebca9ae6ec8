"""Tokenizers from files count as the models' own do."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pytest_llmeval.engines.tokens import estimate_tokens, load_tokenizer
from pytest_llmeval.errors import ConfigError, MissingExtraError

MODELS = Path(__file__).parents[2] / "models"
TEXTS = [
    "",
    "What is the capital of France?",
    "12 + 345 = ",
    "  two  spaces, and\n\na new line\t.",
    "Zürich 🎈 naïve — “quotes” 東京",
    "It's they'll WE'VE don't",
    '<tool_call>{"name": "weather"}</tool_call>',
]


def random_texts(count: int) -> list[str]:
    """Texts of all sorts of characters, the same each time."""
    draw = random.Random(4)
    letters = " \n\t'.,abcdeFGH0123ßé東🎈<|>_"
    return ["".join(draw.choices(letters, k=draw.randrange(40))) for _ in range(count)]


@pytest.fixture
def tiny_server(tmp_path: Path) -> Iterator[str]:
    """llama.cpp's own server with a shipped model."""
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    launcher = [sys.executable, "-m", "pytest_llmeval.servers.embedded", "--lifeline"]
    log = tmp_path / "server.log"
    with log.open("wb") as handle:
        child = subprocess.Popen(
            [*launcher, "-m", str(MODELS / "tiny-l.gguf"), "--port", "0"],
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=subprocess.STDOUT,
        )
    assert child.stdin is not None
    while not (found := re.search(r"embedded: listening on (\S+)", log.read_text("utf-8"))):
        assert child.poll() is None, log.read_text("utf-8")
        time.sleep(0.02)
    yield found[1]
    child.stdin.close()
    child.wait()


def test_a_gguf_s_vocabulary_counts_as_its_server_does(tiny_server: str) -> None:
    tokenizer = load_tokenizer(str(MODELS / "tiny-l.gguf"))
    with httpx.Client(base_url=tiny_server, trust_env=False) as client:
        for text in [*TEXTS, *random_texts(200)]:
            told = client.post("/tokenize", json={"content": text}).json()["tokens"]
            assert tokenizer.count(text) == len(told), text


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BPE that the package sentencepiece has trained."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("sentencepiece")
    draw = random.Random(7)
    words = ["capital", "France", "Paris", "the", "of", "is", "what", "naïve", "straße", "12", "7"]
    lines = [" ".join(draw.choices(words, k=8)) for _ in range(400)]
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "small"),
        vocab_size=340,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return folder / "small.model"


def gguf_of(model: Path, target: Path) -> Path:
    """The vocabulary of a sentencepiece model as llama.cpp's converter writes it into a GGUF."""
    import gguf
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(model))
    ids = range(processor.vocab_size())
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([processor.id_to_piece(i) for i in ids])
    writer.add_token_scores([processor.get_score(i) for i in ids])
    writer.add_token_types(
        [6 if processor.is_byte(i) else 3 if processor.is_control(i) else 1 for i in ids]
    )
    writer.add_tensor("token_embd.weight", np.zeros((len(ids), 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def test_a_gguf_with_scores_counts_as_sentencepiece_itself(
    sentencepiece_model: Path, tmp_path: Path
) -> None:
    own = load_tokenizer(str(sentencepiece_model))
    made = load_tokenizer(str(gguf_of(sentencepiece_model, tmp_path / "small.gguf")))
    texts = ["What is the capital of France?", "the naïve straße 12 7", "xyz 東京", "of  of"]
    assert [made.count(text) for text in texts] == [own.count(text) for text in texts]
    assert min(own.count(text) for text in texts) > 1


def fast_tokenizer(folder: Path, **extra: Any) -> Path:
    """A tokenizer.json that makes a token of every word."""
    made: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"},
    }
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(made | extra), encoding="utf-8", newline="\n")
    return path


def test_truncation_and_padding_of_a_tokenizer_file_change_no_count(tmp_path: Path) -> None:
    truncation = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    padding = {
        "strategy": {"Fixed": 16},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "?",
    }
    path = fast_tokenizer(tmp_path, truncation=truncation, padding=padding)
    tokenizer = load_tokenizer(str(path))
    assert tokenizer.count("one two") == 2
    assert tokenizer.count("one two three four five six") == 6
    assert tokenizer.count("") == 0


def test_an_encoding_of_tiktoken_goes_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiktoken finds the encodings of other packages, and so the one of this test."""
    folder = tmp_path / "tiktoken_ext"
    folder.mkdir()
    (folder / "letters.py").write_text(
        "def letters():\n"
        "    ranks = {bytes([i]): i for i in range(256)}\n"
        "    return dict(name='letters', pat_str='.', mergeable_ranks=ranks, special_tokens={})\n"
        "ENCODING_CONSTRUCTORS = {'letters': letters}\n",
        encoding="utf-8",
        newline="\n",
    )
    import tiktoken.registry
    import tiktoken_ext

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tiktoken_ext, "__path__", [*tiktoken_ext.__path__, str(folder)])
    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", None)
    tiktoken.registry._available_plugin_modules.cache_clear()
    assert load_tokenizer("tiktoken:letters").count("four") == 4
    with pytest.raises(ConfigError, match=r"tokenizer: tiktoken:cl999: there are .*letters"):
        load_tokenizer("tiktoken:cl999")
    tiktoken.registry._available_plugin_modules.cache_clear()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.json", None, "there is no such file"),
        ("words.txt", "a", r"expected a file \(\*\.gguf, \*\.json, \*\.model\) or tiktoken:NAME"),
        ("broken.json", "{", r"cannot be read"),
        ("broken.model", "{", r"cannot be read"),
        ("broken.gguf", "{", r"cannot be read"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_told_with_what_can(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8", newline="\n")
    with pytest.raises(ConfigError, match=words):
        load_tokenizer(str(path))


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("tiktoken:cl100k_base", "tiktoken"),
        ("a.json", "tokenizers"),
        ("a.model", "sentencepiece"),
        ("a.gguf", "gguf"),
    ],
)
def test_a_missing_package_is_told_with_its_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name.replace(":", "-")).touch()
    with pytest.raises(MissingExtraError, match=r'pip install "pytest-llmeval-local\[tokens\]"'):
        load_tokenizer(name if ":" in name else str(tmp_path / name))


def test_an_unknown_way_of_cutting_words_is_refused(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("odd-one")
    writer.add_token_list(["a", "b"])
    writer.add_token_merges(["a b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ConfigError, match=r"its words are cut as 'odd-one' does it; known are"):
        load_tokenizer(str(tmp_path / "odd.gguf"))


def test_an_estimate_is_a_quarter_of_the_characters_and_never_nothing_for_a_text() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "four", "fives")] == [0, 1, 1, 2]
