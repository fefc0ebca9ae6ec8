"""Which files make a server what it is: with others in their place it may answer otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_llmeval.servers.command import locate
from pytest_llmeval.servers.gguf import shards
from pytest_llmeval.servers.spec import ServerSpec

_LIBRARY = re.compile(
    r"(lib)?(ggml|llama|mtmd|cublas|cudart|hipblas|rocblas|mkl|openblas|blis|g?omp)"
    r".*\.(dylib|dll|so[.\d]*)",
    re.IGNORECASE,
)
"""What llama-server is made of besides its executable, and what these compute with: a release has
them beside it, and takes up a backend that somebody puts there.
"""

_SCALE = re.compile(r":[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
"""What `--lora-scaled` and its kin have behind a name."""


def parts_of(spec: ServerSpec, environ: Mapping[str, str], words: Iterable[str]) -> list[str]:
    """The program that serves `spec`, its libraries, and what `words` name besides the spec's own
    arguments; weights and adapters are not among them. Raises as `locate` does.
    """
    files = locate(spec, environ).files
    paths = [environ.get(name, "") for name in _LIBRARY_PATHS]
    beside = libraries_of(files[0], paths) if spec.kind == "llama-server" else []
    return [*files, *beside, *files_named([*_read(spec.args), *words])]


def weights_of(spec: ServerSpec) -> list[Path]:
    """The files of a model and of its adapters. Raises ModelFileError where one is missing."""
    assert spec.gguf is not None, "these servers have one"
    return [*shards(spec.gguf), *(each.path for each in spec.lora)]


def libraries_of(program: str, search_paths: Iterable[str] = ()) -> list[str]:
    """The libraries that lie where a program looks for its own, in order; `search_paths` are what
    the loader's variables say.
    """
    home = Path(os.path.realpath(program)).parent  # package managers link to it
    named = [part for path in search_paths for part in path.split(os.pathsep) if part]
    found: set[str] = set()
    for folder in (str(home), *named):
        found.update(_libraries_in(folder))
    for packaged in (home.parent / "lib", home.parent / "lib64"):
        found.update(_libraries_in(str(packaged), _PACKAGED))
    return sorted(found)


_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")

_PACKAGED = re.compile(r"ggml|llama\S*|backends\d*|\w+-linux-\w+", re.IGNORECASE)
"""Folders within `lib` in which distributions put them, one within the other."""


def _libraries_in(folder: str, within: re.Pattern[str] | None = None) -> Iterator[str]:
    """The libraries in a folder, and in those folders of it that are called so."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a Path's takes longer, and may be /usr/lib
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118 - as above
        if _LIBRARY.fullmatch(name):
            yield path
        elif within is not None and within.fullmatch(name) and not os.path.islink(path):  # noqa: PTH114
            yield from _libraries_in(path, within)


def is_script(program: str) -> bool:
    """Whether a program is a text that starts another one, of which nothing is known."""
    if Path(program).suffix.lower() in {".bat", ".cmd", ".ps1"}:
        return True
    with open(program, "rb") as file:  # noqa: PTH123 - as above
        return file.read(2) == b"#!"


def files_named(words: Iterable[str]) -> list[str]:
    """The files among arguments, such as a template, a projector, some adapters with scales."""
    return [name for word in words for name in _names(word) if os.path.isfile(name)]  # noqa: PTH113 - never raises


def _read(args: Sequence[str]) -> list[str]:
    """The arguments but for what is written to: it is another file after each run."""
    pairs = zip(("", *args), args, strict=False)
    return [word for before, word in pairs if "--log-file" not in (before, word.partition("=")[0])]


def _names(word: str) -> Iterator[str]:
    """What in an argument may be a file's name: all of it, or a place in a list."""
    text = word.partition("=")[2] if word.startswith("-") else word
    names = dict.fromkeys([text, *text.split(",")])
    for name in names:
        yield name
        scale = name.rfind(":")
        if scale > 0 and _SCALE.fullmatch(name, scale):
            yield name[:scale]
