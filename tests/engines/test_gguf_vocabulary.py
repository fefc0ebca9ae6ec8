"""A byte-level vocabulary counts as llama.cpp itself does, however its words are cut."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_llmeval.engines.gguf_vocabulary import tokenizer_of
from pytest_llmeval.engines.tokens import load_tokenizer
from pytest_llmeval.errors import ConfigError

PIECES = (
    *("the capital of France", "12345 + 678 = 91011", " ... ,, '' ", "don't WE'VE they'll"),
    *("naïve 東京!!", " \n\n\t", '<|x|> {"a": 1}', "$5+5<6^2~|=", "it's 2024-10-11", "a  b   c"),
)
COUNTING = """
import json, sys
import llama_cpp
model = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
texts = json.load(sys.stdin)
print(json.dumps([len(model.tokenize(t.encode(), add_bos=False, special=False)) for t in texts]))
"""


def texts(count: int) -> list[str]:
    """Texts that are cut differently by each way, the same each time."""
    draw = random.Random(5)
    return ["".join(draw.choices(PIECES, k=4)) for _ in range(count)]


@pytest.fixture(scope="module")
def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges that reach across whatever cuts words: learned without any."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, initial_alphabet=alphabet, max_token_length=12, show_progress=False
    )
    tokenizer.train_from_iterator(texts(500), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [" ".join(m) for m in model["merges"]]


def write_gguf(path: Path, tokens: list[str], merges: list[str], pre: str | None) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    for add in (writer.add_context_length, writer.add_embedding_length):
        add(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(merges)
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("pre", ["gpt-2", "default", None, "llama-bpe", "llama3", "qwen2"])
def test_words_are_cut_as_llama_cpp_cuts_them(
    vocabulary: tuple[list[str], list[str]], pre: str | None, llama_cpp_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "small.gguf"
    write_gguf(path, *vocabulary, pre)
    told = subprocess.run(
        [sys.executable, "-c", COUNTING, str(path)],
        input=json.dumps(texts(100)).encode("ascii"),
        env={**os.environ, "PYTHONPATH": str(llama_cpp_folder)},
        stdout=subprocess.PIPE,
        check=True,
    )
    tokenizer = load_tokenizer(str(path))
    assert [tokenizer.count(text) for text in texts(100)] == json.loads(told.stdout)


@pytest.fixture(scope="module")
def small(
    vocabulary: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    write_gguf(path, *vocabulary, "qwen2")
    return path.read_bytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_vocabulary_is_refused_or_read(
    small: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(small)
    for place in data.draw(st.lists(st.integers(4, 20_000), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    with contextlib.suppress(ConfigError):  # any other exception is a mistake of the reader
        assert tokenizer_of(path).get_vocab_size() > 0


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\3\0\0\0" + b"\xff" * 16 + bytes(64)])
def test_what_is_no_vocabulary_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="its vocabulary cannot be read, the file is damaged: "):
        tokenizer_of(path)


def test_a_token_of_a_page_is_no_token(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "long.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["a", "b" * 100_000])
    writer.add_token_scores([0.0, 0.0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ConfigError, match="a token of 100,000 characters"):
        tokenizer_of(path)
