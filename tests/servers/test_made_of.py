"""What a server is made of: every file with which it may answer otherwise, and no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_llmeval.servers.made_of import files_named, is_script, libraries_of, parts_of
from pytest_llmeval.servers.sharing import SharedServer
from pytest_llmeval.servers.spec import LoraAdapter, ServerSpec

Placed = Callable[[str], Path]


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    """Has a file of some content."""

    def place(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
        return path

    return place


def spec(tmp_path: Path, *args: str) -> ServerSpec:
    return ServerSpec(
        "m",
        "llama-server",
        tmp_path / "m-00001-of-00002.gguf",
        2,
        256,
        tmp_path / "log",
        executable=sys.executable,
        args=args,
        lora=(LoraAdapter(tmp_path / "lora.gguf"),),
    )


def test_libraries_and_backends_are_found_beside_a_program_and_in_the_lib_folder_next_to_it(
    placed: Placed,
) -> None:
    program = placed("pack/bin/llama-server")
    beside = [placed(f"pack/bin/{name}") for name in ("ggml-cuda.dll", "cudart64_12.dll")]
    lib = [placed(f"pack/lib/{name}") for name in ("libggml-cpu.so.0.9.1", "libllama.dylib")]
    for other in ("pack/bin/llama-cli", "pack/bin/README.md", "pack/lib/libz.so", "pack/ggml.so"):
        placed(other)
    assert libraries_of(str(program)) == sorted(map(str, [*beside, *lib]))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_libraries_are_those_of_the_program_that_a_link_leads_to(
    tmp_path: Path, placed: Placed
) -> None:
    program, library = placed("cellar/bin/llama-server"), placed("cellar/lib/libggml.so")
    (tmp_path / "llama-server").symlink_to(program)
    assert libraries_of(str(tmp_path / "llama-server")) == [str(library)]


def test_libraries_are_found_where_distributions_and_loaders_have_them(placed: Placed) -> None:
    program = placed("usr/bin/llama-server")
    system = placed("usr/lib/x86_64-linux-gnu/libggml.so.0")
    backend = placed("usr/lib/x86_64-linux-gnu/ggml/backends0/libggml-vulkan.so")
    named = placed("opt/cuda/libcudart.so.12")
    placed("usr/lib/x86_64-linux-gnu/libz.so.1")
    placed("usr/lib/python3/libggml.so")
    path = os.pathsep.join([str(named.parent), str(named.parent / "gone")])
    found = libraries_of(str(program), [path])
    assert found == sorted(map(str, [system, backend, named]))


def test_a_script_is_no_program_of_which_all_is_known(placed: Placed) -> None:
    script, program, batch = placed("a"), placed("b"), placed("c.CMD")
    script.write_bytes(b"#!/bin/sh\nexec b")
    program.write_bytes(b"\x7fELF")
    assert [is_script(str(each)) for each in (script, program, batch)] == [True, False, True]


def test_files_are_found_in_lists_with_scales_and_behind_an_equals_sign(placed: Placed) -> None:
    a, b, c = (str(placed(name)) for name in ("a.gguf", "b,c.gguf", "C-5.gguf"))
    assert files_named(["--lora", a, "-x"]) == [a]
    assert files_named([f"--lora={a}"]) == [a]
    assert files_named([f"{a},{c}"]) == [a, c]
    assert files_named([f"{a}:0.5,{c}:-1e-3"]) == [a, c]
    assert files_named([b, f"{b}:2"]) == [b, b]
    assert files_named(["", "-", "--", "1:2", "{%- if x:1 %}\0", "a" * 5000]) == []


def test_the_log_that_a_server_writes_is_none_of_its_parts(tmp_path: Path, placed: Placed) -> None:
    log, template = str(placed("server.log")), str(placed("t.jinja"))
    args = ("--log-file", log, f"--log-file={log}", "--chat-template-file", template)
    assert parts_of(spec(tmp_path, *args), {}, [])[-1] == template
    assert log not in parts_of(spec(tmp_path, *args), {}, [])


@pytest.mark.parametrize(
    "name", ["m-00002-of-00002.gguf", "lora.gguf", "t.jinja", "named by a variable"]
)
def test_a_server_with_another_file_under_an_old_name_is_another_server(
    tmp_path: Path, placed: Placed, name: str
) -> None:
    for each in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "lora.gguf", "t.jinja"):
        placed(each)
    variable = {"LLAMA_ARG_JSON_SCHEMA_FILE": str(placed("named by a variable"))}
    asked = spec(tmp_path, "--chat-template-file", str(tmp_path / "t.jinja"))

    def lease() -> Path:
        server = SharedServer(asked, tmp_path, lambda *_: (0, b""), environ=variable)
        return server._join().files.folder

    before = lease()
    assert lease() == before
    (tmp_path / name).write_bytes(b"another content")
    assert lease() != before
