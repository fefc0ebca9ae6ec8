"""The header of a GGUF file: what the model says of itself, and whether the file is whole.

Layout (GGUF version 2 and 3, little-endian): the magic, u32 version, u64 number of tensors, u64
number of key-value pairs; the pairs (string key, u32 type, value); per tensor its name, u32 number
of dimensions, u64 each, u32 type, u64 offset; padding to the alignment; the tensors' data. A string
is its u64 length and its bytes; an array its u32 type, its u64 length and its values.

A llama.cpp that meets a bad file says so in many ways and may crash; this reader raises
ModelFileError on anything that is no whole GGUF, and nothing else but OSError. It keeps a handful
of values, however large the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pytest_llmeval.errors import ModelFileError
from pytest_llmeval.servers.gguf_facts import (
    MAX_LAYERS,
    GgufHeader,
    Value,
    WeightsSoFar,
    alignment,
    header_of,
    is_kept,
    together,
)

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_STRING = 2**24
MAX_PAIRS = 2**16
MAX_TENSORS = 2**20
MAX_STRINGS = 2**23
"""More than any model has: a thousand entries, a hundred thousand tensors, a million merges."""

_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")

# Of each type of tensor, as ggml.h numbers them: values and bytes per block.
# fmt: off
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 30: (1, 2),                                # F32, F16, BF16
    2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24),              # Q4_0, Q4_1, Q5_0, Q5_1
    8: (32, 34),                                                     # Q8_0
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176),   # Q2_K, Q3_K, Q4_K, Q5_K
    14: (256, 210), 16: (256, 66), 17: (256, 74),                    # Q6_K, IQ2_XXS, IQ2_XS
    18: (256, 98), 19: (256, 50),                                    # IQ3_XXS, IQ1_S
    20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),     # IQ4_NL, IQ3_S, IQ2_S, IQ4_XS
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),      # I8, I16, I32, I64, F64
    29: (256, 56), 34: (256, 54), 35: (256, 66), 39: (32, 17),       # IQ1_M, TQ1_0, TQ2_0, MXFP4
}
# fmt: on

_STRANGERS = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"<": "a web page: the download did not give the file itself",
    b"PK\x03\x04": "a zip archive, as PyTorch writes it: convert it to GGUF first",
    b"ggml": "a model in a format older than GGUF",
    b"tjgg": "a model in a format older than GGUF",
    b"lmgg": "a model in a format older than GGUF",
}


def read_gguf(path: Path) -> GgufHeader:
    """Read the header of a GGUF and hold it against the file's size.

    Of a split model it reads every file; what the model is stands in the first. Raises
    ModelFileError when a file is missing, no GGUF, of an unknown version, or truncated.
    """
    headers = [_read_one(shard) for shard in shards(path)]
    return replace(
        headers[0],
        size=sum(header.size for header in headers),
        expected_size=sum(header.expected_size for header in headers),
        weights=together(header.weights for header in headers),
    )


def shards(path: Path) -> tuple[Path, ...]:
    """The files of the model that `path` names, in order: it alone, but for a split model.

    A split model's files are called NAME-00001-of-00003.gguf and so on, and the first stands for
    all. Raises ModelFileError when one of them is missing, or `path` is not the first.
    """
    match = _SHARD.fullmatch(path.name)
    if match is None:
        return (path,)
    number, count = int(match["number"]), int(match["count"])
    if not 1 <= number <= count:
        return (path,)
    names = [f"{match['name']}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1)]
    if number != 1:
        raise ModelFileError(
            f"{path}: is file {number} of a model split into {count}: name the first, {names[0]}"
        )
    files = tuple(path.with_name(name) for name in names)
    for file in files:
        if not file.is_file():
            raise ModelFileError(f"{file}: there is no such file; the model is split into {count}")
    return files


def _read_one(path: Path) -> GgufHeader:
    try:
        with path.open("rb") as file:
            return _Reader(file, path).header()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file") from None
    except OSError as error:  # a folder, no permission, a drive that went away
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Reader:
    """Walks through one file once, front to back, and knows how much of it is left."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = file.seek(0, 2)
        self._left = self._size
        file.seek(0)

    def header(self) -> GgufHeader:
        self._check_version()
        tensors, pairs = self._number("<Q"), self._number("<Q")
        self._plausible(tensors, 24, MAX_TENSORS, "tensors")
        self._plausible(pairs, 13, MAX_PAIRS, "metadata entries")
        values = self._metadata(pairs)
        weights = WeightsSoFar()
        expected = self._expected_size(tensors, alignment(values), weights)
        if expected > self._size:
            raise self._truncated(f"its tensors end at byte {expected:,}")
        return header_of(values, weights, self._size, expected)

    def _check_version(self) -> None:
        start = self._file.read(24)
        self._file.seek(0)
        if not start:
            raise ModelFileError(f"{self._path}: is empty")
        if not start.startswith(MAGIC):
            raise ModelFileError(f"{self._path}: is no GGUF: {_describe_start(start)}")
        self._take(len(MAGIC))
        version = self._number("<I")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            what = f"big-endian GGUF of version {swapped}" if swapped in VERSIONS else f"{version}"
            raise ModelFileError(
                f"{self._path}: its GGUF version is {what}; readable are versions 2 and 3"
            )

    def _metadata(self, pairs: int) -> Mapping[str, Value]:
        values: dict[str, Value] = {}
        for _ in range(pairs):
            key = self._string().decode("utf-8", "replace")
            keep = is_kept(key, values)
            value = self._value(self._number("<I"), keep=keep)
            if keep and value is not None:
                values[key] = value
        return values

    def _value(self, kind: int, *, keep: bool) -> Value | None:
        """Read or skip one value; None for what is skipped or of no interest."""
        if kind in _SCALARS:
            (value,) = _SCALARS[kind].unpack(self._take(_SCALARS[kind].size))
            return value  # type: ignore[no-any-return]  # struct.unpack is untyped
        if kind == _STRING and keep:
            return self._string()
        if kind == _STRING:
            self._skip(self._number("<Q"))
            return None
        if kind == _ARRAY:
            return self._array(keep=keep)
        raise self._broken(f"a metadata value of unknown type {kind}")

    def _array(self, *, keep: bool) -> tuple[int, ...] | None:
        kind, length = self._number("<I"), self._number("<Q")
        if kind in _SCALARS:
            scalar = _SCALARS[kind]
            if not keep or length > MAX_LAYERS:
                self._skip(length * scalar.size)
                return None
            data = self._take(length * scalar.size)
            return tuple(int(value) for (value,) in scalar.iter_unpack(data))
        if kind != _STRING:
            raise self._broken(f"a metadata array of unknown type {kind}")
        self._plausible(length, 8, MAX_STRINGS, "strings in one array")
        for _ in range(length):
            self._skip(self._number("<Q"))
        return None

    def _expected_size(self, tensors: int, alignment: int, weights: WeightsSoFar) -> int:
        """Where the data of the last tensor ends, by the tensor table; `weights` get each one."""
        end = 0
        for _ in range(tensors):
            name = self._string()
            dimensions = self._number("<I")
            if dimensions > 4:
                raise self._broken(f"a tensor of {dimensions} dimensions")
            values = 1
            for _ in range(dimensions):
                values *= self._number("<Q")
            kind = self._number("<I")
            # A type too new for us: at least its first byte must be there.
            per_block, size = _BLOCKS.get(kind, (values or 1, 1))
            needed = -(-values // per_block) * size
            weights.add(name, needed if kind in _BLOCKS else None)
            end = max(end, self._number("<Q") + needed)
        position = self._size - self._left
        return -(-position // alignment) * alignment + end if end else position

    def _string(self) -> bytes:
        length = self._number("<Q")
        if length > MAX_STRING and length <= self._left:
            raise self._broken(f"a text of {length:,} bytes")
        return self._take(length)

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(value)

    def _take(self, count: int) -> bytes:
        self._spend(count)
        data = self._file.read(count)
        if len(data) < count:  # it became shorter while we read
            raise self._truncated(f"byte {self._size - self._left:,} could not be read")
        return data

    def _skip(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, 1)

    def _spend(self, count: int) -> None:
        if count > self._left:
            at = self._size - self._left
            raise self._truncated(f"at byte {at:,} its header goes on for {count:,} bytes")
        self._left -= count

    def _plausible(self, count: int, least: int, most: int, what: str) -> None:
        """Refuse a count that the rest of the file has no room for, or that is more than `most`,
        before looping over it.
        """
        if count * least > self._left:
            raise self._truncated(f"its header speaks of {count:,} {what}")
        if count > most:
            raise self._broken(f"{count:,} {what}, and {most:,} are the most that is read")

    def _truncated(self, reason: str) -> ModelFileError:
        return ModelFileError(
            f"{self._path}: is truncated or damaged: it has {self._size:,} bytes, but {reason}. "
            "Fetch it again, and let the download finish"
        )

    def _broken(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self._path}: is damaged: its header has {reason}")


def _describe_start(start: bytes) -> str:
    for beginning, what in _STRANGERS.items():
        if start.lstrip().startswith(beginning):
            return f"it is {what}"
    return f"it starts with {start[:8]!r} instead of {MAGIC!r}"
