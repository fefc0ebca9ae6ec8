"""Real models of half a megabyte, real servers on them, and a way to see what is left of one."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec

WIDTH = 64
HEADS = 4
LAYERS = 2
TRAINED_CONTEXT = 2048


def byte_letters() -> list[str]:
    """The letters that gpt-2's vocabulary writes bytes with: printable ones are their own."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write_model(path: Path, *, merges: bool = True, template: bool = True) -> Path:
    """Write a llama with random weights and one token per byte; nobody loads it without merges."""
    import gguf
    import numpy as np

    random = np.random.default_rng(7)
    tokens = [*byte_letters(), "<|end|>", "th"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random")
    writer.add_context_length(TRAINED_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL, gguf.TokenType.NORMAL]
    )
    if merges:
        writer.add_token_merges(["t h"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(256)
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(
            "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
        )

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) * 0.05).astype(np.float32))

    add("token_embd.weight", len(tokens), WIDTH)
    add("output.weight", len(tokens), WIDTH)
    add("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}.weight", WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", 2 * WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_up.weight", 2 * WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, 2 * WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF that llama.cpp serves."""
    return write_model(tmp_path_factory.mktemp("model") / "random.gguf")


@pytest.fixture(scope="session")
def unloadable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole and well-formed GGUF that llama.cpp refuses: its tokenizer lacks its merges."""
    return write_model(tmp_path_factory.mktemp("model") / "no-merges.gguf", merges=False)


@pytest.fixture(scope="session")
def without_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF that does not say how its model was trained to chat."""
    return write_model(tmp_path_factory.mktemp("model") / "no-template.gguf", template=False)


@pytest.fixture(scope="session")
def fetch() -> Callable[[str, str | None], tuple[int, bytes]]:
    """GET by the standard library, as a server wants to be given it."""

    def get(url: str, api_key: str | None) -> tuple[int, bytes]:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return get


@pytest.fixture(scope="session")
def post() -> Callable[[str, bytes], tuple[int, bytes]]:
    """POST of JSON by the standard library, likewise."""

    def send(url: str, body: bytes) -> tuple[int, bytes]:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return send


@pytest.fixture
def make_server(
    tmp_path: Path,
    model: Path,
    fetch: Callable[[str, str | None], tuple[int, bytes]],
    post: Callable[[str, bytes], tuple[int, bytes]],
) -> Iterator[Callable[..., Server]]:
    """Make servers that are not started yet, embedded and of two slots unless told otherwise."""
    made: list[Server] = []

    def make(*, outside: dict[str, Any] | None = None, **spec: Any) -> Server:
        asked = {
            "name": "tiny",
            "kind": "embedded",
            "gguf": model,
            "slots": 2,
            "context": 256,
            "threads": 1,
            "log_path": tmp_path / "logs" / "tiny.log",
            **spec,
        }
        made.append(Server(ServerSpec(**asked), fetch, post=post, **(outside or {})))
        return made[-1]

    yield make
    for server in made:
        server.stop(0)


@pytest.fixture
def llama_server(tmp_path: Path) -> Callable[..., str]:
    """Make an executable called llama-server that does what the given shell command says.

    By default it is the embedded launcher: a real llama.cpp behind the real command line.
    """
    if sys.platform == "win32":
        pytest.skip("a stand-in executable in one line of text needs a POSIX shell")

    def make(
        command: str = f'exec "{sys.executable}" -m pytest_llmeval.servers.embedded "$@"',
    ) -> str:
        path = tmp_path / "llama-server"
        path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8", newline="\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture(scope="session")
def running() -> Callable[[int], bool]:
    """Whether a process runs: a zombie, which nobody has counted yet, does not."""

    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return runs


@pytest.fixture(scope="session")
def becomes_true() -> Callable[..., bool]:
    """Ask until something is true; whether it became so within some seconds."""

    def ask(condition: Callable[[], bool], seconds: float = 30) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return ask
