from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_llmeval.errors import ModelFileError
from pytest_llmeval.servers import gguf as reader
from pytest_llmeval.servers.gguf import read_gguf, shards
from pytest_llmeval.servers.gguf_facts import Cache, GgufHeader, Weights

Write = Callable[[bytes], Path]

files = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: bytes) -> Path:
        path = tmp_path / "m.gguf"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GGUF with a value of every kind, two tensors, and not much else."""
    import gguf
    import numpy as np

    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("smäll")
    writer.add_context_length(512)
    writer.add_block_count(3)
    writer.add_embedding_length(64)
    writer.add_head_count(8)
    writer.add_array("llama.attention.head_count_kv", [8, 4, 2])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_token_list(["a", "b", "the"])
    writer.add_array("some.floats", [0.5, 1.5])
    writer.add_bool("some.bool", True)
    writer.add_float64("some.double", 0.1)
    writer.add_int8("some.byte", -1)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("first", np.ones((2, 32), np.float32))
    quantised = np.zeros((2, 34), np.uint8)
    writer.add_tensor("second", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_gguf(path)
    return str(caught.value)


def refused_or_read(path: Path) -> None:
    """Any other exception than ModelFileError is a mistake of the reader."""
    with contextlib.suppress(ModelFileError):
        assert read_gguf(path).size == path.stat().st_size


def test_a_header_says_what_the_model_is(small: bytes, write: Write) -> None:
    header = read_gguf(write(small))
    assert header == GgufHeader(
        context_length=512,
        size=len(small),
        expected_size=header.expected_size,
        kv_bytes_per_token=2 * (8 + 4 + 2) * (8 + 8),
        layers=3,
        weights=Weights(input=0, layers=(), output=2 * 32 * 4 + 2 * 34, tied=True),
        cache=Cache((64, 32, 16), (64, 32, 16)),
    )
    # Both tensors start at a multiple of 32; the last one needs its 68 bytes and no padding.
    assert header.expected_size == len(small) - 96 + 68


def test_a_header_tells_adapters_and_models_made_for_embeddings(tmp_path: Path) -> None:
    import gguf

    def header(kind: str, pooling: int | None) -> GgufHeader:
        writer = gguf.GGUFWriter(tmp_path / "x.gguf", "bert")
        writer.add_type(kind)
        if pooling is not None:
            writer.add_uint32("bert.pooling_type", pooling)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return read_gguf(tmp_path / "x.gguf")

    assert header("adapter", None).is_adapter
    assert not header("model", None).is_adapter
    assert header("model", gguf.PoolingType.CLS).pools
    assert not header("model", gguf.PoolingType.NONE).pools
    assert not header("model", None).pools


def test_a_served_model_has_the_size_that_its_tensors_ask_for(model: Path) -> None:
    header = read_gguf(model)
    assert header.expected_size == header.size == model.stat().st_size
    assert header.kv_bytes_per_token == 2 * 2 * 64 * 2


def test_weights_are_told_apart_by_where_they_belong(model: Path) -> None:
    header = read_gguf(model)
    width, words = 64, 258
    embeddings = words * width * 4
    layer = 4 * (2 * width + 4 * width * width + 3 * 2 * width * width)
    assert header.weights == Weights(
        input=embeddings, layers=(layer, layer), output=embeddings + 4 * width, tied=False
    )
    assert header.cache == Cache((width, width), (width, width))


@pytest.mark.parametrize(
    ("key", "value", "fact"),
    [
        ("attention.sliding_window", 1024, ("window", 1024)),
        ("attention.sliding_window", 0, ("window", None)),
        ("ssm.state_size", 128, ("recurrent", True)),
        ("shortconv.l_cache", 3, ("recurrent", True)),
        ("attention.kv_lora_rank", 512, ("latent", True)),
    ],
)
def test_a_header_tells_what_makes_its_cache_smaller(
    tmp_path: Path, key: str, value: int, fact: tuple[str, object]
) -> None:
    import gguf

    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "strange")
    writer.add_uint32(f"strange.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert getattr(read_gguf(path), fact[0]) == fact[1]


def test_a_cut_anywhere_is_noticed(small: bytes, write: Write) -> None:
    path = write(small)
    needed = read_gguf(path).expected_size
    for length in reversed(range(len(small))):
        os.truncate(path, length)
        if length < needed:
            words = refusal(path)
            assert "truncated" in words or "is empty" in words or "is no GGUF" in words, length
        else:
            assert read_gguf(path).size == length


@files
@given(cut=st.integers(min_value=4, max_value=460_000))
def test_a_cut_download_is_named_with_its_sizes(model: Path, write: Write, cut: int) -> None:
    words = refusal(write(model.read_bytes()[:cut]))
    assert f"is truncated or damaged: it has {cut:,} bytes" in words
    assert "let the download finish" in words


@files
@given(content=st.binary(max_size=400))
def test_arbitrary_bytes_are_no_gguf(write: Write, content: bytes) -> None:
    refusal(write(content))


@files
@given(rest=st.binary(max_size=400))
def test_arbitrary_bytes_behind_the_magic_are_refused_or_read(write: Write, rest: bytes) -> None:
    refused_or_read(write(b"GGUF\x03\x00\x00\x00" + rest))


@files
@given(data=st.data())
def test_flipped_bytes_are_refused_or_read(small: bytes, write: Write, data: st.DataObject) -> None:
    damaged = bytearray(small)
    for place in data.draw(st.lists(st.integers(0, len(small) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    refused_or_read(write(bytes(damaged)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"GG", "it starts with b'GG' instead of b'GGUF'"),
        (b"\x80\x02}q\x00", "it starts with b'\\x80\\x02}q\\x00'"),
        (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"tjgg....", "older than GGUF"),
    ],
)
def test_a_stranger_is_recognised(write: Write, content: bytes, words: str) -> None:
    path = write(content)
    assert refusal(path).startswith(f"{path}: is ")
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("version", "words"),
    [(1, "version is 1;"), (4, "version is 4;"), (0x03000000, "is big-endian GGUF of version 3;")],
)
def test_an_unknown_version_is_named_with_the_known_ones(
    write: Write, version: int, words: str
) -> None:
    told = refusal(write(b"GGUF" + struct.pack("<IQQ", version, 0, 0)))
    assert words in told
    assert "readable are versions 2 and 3" in told


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((2**20 + 1, 0), "1,048,577 tensors, and 1,048,576 are the most that is read"),
        ((0, 2**16 + 1), "65,537 metadata entries, and 65,536 are the most that is read"),
    ],
)
def test_counts_that_no_model_has_are_refused_however_large_the_file(
    write: Write, counts: tuple[int, int], words: str
) -> None:
    path = write(b"GGUF" + struct.pack("<IQQ", 3, *counts) + bytes(2**25))
    assert refusal(path) == f"{path}: is damaged: its header has {words}"


def test_a_long_array_of_texts_is_refused_before_it_is_walked(write: Write) -> None:
    key = struct.pack("<Q1sIIQ", 1, b"k", 9, 8, 2**23 + 1)
    path = write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + bytes(2**26 + 64))
    assert "8,388,609 strings in one array, and 8,388,608 are the most" in refusal(path)


def test_arrays_within_arrays_are_refused(write: Write) -> None:
    key = struct.pack("<Q1sI", 1, b"k", 9) + struct.pack("<IQ", 9, 1) * 100_000
    path = write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key)
    assert "a metadata array of unknown type 9" in refusal(path)


@pytest.mark.parametrize("counts", [(2**63, 0), (0, 2**63), (10**7, 10**7)])
def test_absurd_counts_are_refused_before_anything_is_read(
    write: Write, counts: tuple[int, int]
) -> None:
    assert "its header speaks of" in refusal(write(b"GGUF" + struct.pack("<IQQ", 3, *counts)))


def test_a_missing_file_and_a_folder_are_no_models(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.gguf").endswith("none.gguf: there is no such file")
    assert "cannot be read" in refusal(tmp_path)


def test_a_tensor_type_of_the_future_is_taken_for_at_least_one_byte(
    small: bytes, write: Write
) -> None:
    place = small.index(b"second") + len(b"second") + 4 + 2 * 8
    future = small[:place] + struct.pack("<I", 4711) + small[place + 4 :]
    header = read_gguf(write(future))
    assert header.expected_size == len(small) - 96 + 1
    assert "truncated" in refusal(write(future[: header.expected_size - 1]))


def test_the_table_of_tensor_types_is_that_of_the_gguf_package() -> None:
    import gguf

    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert reader._BLOCKS.items() <= known.items()


# Split models -------------------------------------------------------------------------------------


@pytest.fixture
def split(tmp_path: Path, small: bytes) -> list[Path]:
    """The names of a model of three files, all of them there."""
    files = [tmp_path / f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for file in files:
        file.write_bytes(small)
    return files


def test_the_first_file_of_a_split_model_stands_for_all(split: list[Path], small: bytes) -> None:
    assert shards(split[0]) == tuple(split)
    whole, one = read_gguf(split[0]), read_gguf(split[0].rename(split[0].with_name("m.gguf")))
    assert (whole.size, whole.expected_size) == (3 * len(small), 3 * one.expected_size)
    assert whole.kv_bytes_per_token == one.kv_bytes_per_token
    assert one.weights is not None
    assert whole.weights == replace(one.weights, output=3 * one.weights.output)


@pytest.mark.parametrize(
    "name", ["m.gguf", "m-00001-of-00001.gguf", "m-1-of-3.gguf", "m-00004-of-00003.gguf"]
)
def test_any_other_name_is_a_model_of_one_file(tmp_path: Path, write: Write, name: str) -> None:
    path = write(b"").rename(tmp_path / name)
    assert shards(path) == (path,)


def test_a_missing_file_of_a_split_model_is_named(split: list[Path]) -> None:
    split[1].unlink()
    assert refusal(split[0]) == f"{split[1]}: there is no such file; the model is split into 3"


def test_a_truncated_file_of_a_split_model_is_named(split: list[Path]) -> None:
    os.truncate(split[2], 100)
    assert refusal(split[0]).startswith(f"{split[2]}: is truncated")


def test_another_file_than_the_first_is_refused_with_the_first(split: list[Path]) -> None:
    assert refusal(split[1]).endswith(f"split into 3: name the first, {split[0].name}")
