"""A server of faults in the test process, a real llama.cpp server, and a model that takes 0.2 s."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_llmeval.engines.fetch import fetch
from tests.standins.embedded import embedded
from tests.standins.listening import listening

Step = bytes | float | Literal["close", "reset", "hang"]
"""Bytes to send, seconds to wait, or how it ends: close in order, reset, say nothing more."""

CHAT: dict[str, Any] = {
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Zürich 🎈"}}],
    "usage": {"prompt_tokens": 21, "completion_tokens": 5},
}


@dataclass(frozen=True)
class Seen:
    """A request as it came, and the number of the connection (from 1) that it came on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class FaultServer:
    """Answers the n-th request with the n-th script, and further ones with the last.

    It is strict: what is no complete and correct HTTP/1.1 request lands in `complaints`.
    """

    scripts: list[list[Step]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    connections: int = 0
    gone: int = 0
    greeting: list[Step] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @staticmethod
    def reply(
        body: object = CHAT,
        status: str = "200 OK",
        headers: Sequence[str] = (),
        *,
        length: bool = True,
    ) -> bytes:
        """Write a reply out; `body` is sent as JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        ending = [f"Content-Length: {len(content)}"] if length else []
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, *ending, "", ""])
        return head.encode("latin-1") + content

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until its script or its client ends it."""
        self.connections += 1
        number = self.connections
        try:
            going = await self._play(self.greeting, reader, writer)
            while going and (request := await self._read(reader, number)):
                self.seen.append(request)
                script = self.scripts[min(len(self.seen), len(self.scripts)) - 1]
                going = await self._play(script, reader, writer)
        except ConnectionError:
            pass  # clients that give up are among the things to be tested
        except ValueError as error:
            self.complaints.append(f"not a request at all: {error!r}")
        finally:
            self.gone += 1
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Seen | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.complaints.append(f"half a request: {error.partial!r}")
            return None
        first, *lines = head[:-4].split("\r\n")
        method, path, version = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        expected = {"host"} if method == "GET" else {"host", "content-length", "content-type"}
        if version != "HTTP/1.1" or not expected <= set(headers):
            self.complaints.append(f"not a proper request: {head!r}")
        if headers.get("host") != f"127.0.0.1:{self.port}":
            self.complaints.append(f"meant for another host: {head!r}")
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(method, path, headers, body, connection)

    async def _play(
        self, script: list[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do what a script says; say whether the connection goes on."""
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step == "hang":
                await reader.read()  # until the client goes away
                return False
            else:
                if step == "reset":
                    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
                    sock: socket.socket = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
        return True


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that answers properly until a test gives it other scripts."""
    faults = FaultServer([[FaultServer.reply()]])
    with listening(faults.serve_one) as faults.port:
        yield faults
    assert faults.complaints == []


# A real server ------------------------------------------------------------------------------------

TEMPLATE = (
    "{% if topic %}About {{ topic }}.\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

LLAMA_SERVER = """
import sys
import xllamacpp
given = xllamacpp.CommonParams()
given.model.path, given.api_keys = sys.argv[1], sys.argv[2:]
given.port, given.n_ctx, given.n_parallel, given.cpuparams.n_threads = 0, 512, 2, 1
server = xllamacpp.Server(given)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class RealServer:
    url: str
    model_path: str
    api_key: str
    template: str = TEMPLATE
    slots: int = 2
    context: int = 256


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of random weights."""
    model = tmp_path_factory.mktemp("llama") / "random.gguf"
    write_random_model(model)
    return model


@pytest.fixture(scope="session", params=["embedded", "llama-server"])
def llama_server(request: pytest.FixtureRequest, random_model: Path) -> Iterator[RealServer]:
    """llama.cpp's own server, with an API key: in a child process, and the real executable."""
    yield from _serve(request, random_model, random_model.parent)


@pytest.fixture(scope="session", params=["embedded", "llama-server"])
def tiny_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealServer]:
    """The same with a model that has learned something: it writes text, and comes to an end."""
    model = Path(__file__).parents[2] / "models" / "tiny-s.gguf"
    yield from _serve(request, model, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny_l(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of the embedded server with the larger of the two shipped models, two slots."""
    yield from embedded("tiny-l", tmp_path_factory.mktemp("likelihood"))


def _serve(request: pytest.FixtureRequest, model: Path, logs: Path) -> Iterator[RealServer]:
    if request.param == "llama-server":
        yield from _executable(request.getfixturevalue("real_llama_server"), model, logs)
    else:
        pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
        yield from _embedded(model, logs)


def _embedded(model: Path, logs: Path) -> Iterator[RealServer]:
    with (logs / "embedded.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", LLAMA_SERVER, str(model), "sk-right"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert child.stdout is not None
    assert child.stdin is not None
    url = child.stdout.readline().decode().strip()
    yield RealServer(url, str(model), "sk-right")
    child.stdin.close()
    child.wait()
    child.stdout.close()


def _executable(program: Path, model: Path, logs: Path) -> Iterator[RealServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--host", "127.0.0.1", "--port", str(port), "-np", "2", "-c", "512", "-t", "1"]
    with (logs / "llama-server.log").open("wb") as log:
        child = subprocess.Popen(
            [str(program), "-m", str(model), *flags, "--api-key", "sk-right"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    while fetch(f"{url}/health", 5).status != 200:
        assert child.poll() is None, "it ended while it started"
        time.sleep(0.05)
    yield RealServer(url, str(model), "sk-right")
    child.terminate()
    child.wait()


def write_random_model(path: Path, width: int = 64, layers: int = 2) -> None:
    """Write a llama of random weights (fixed seed) with a byte-level vocabulary: 0.5 MB."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 2)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    tokens = [*_byte_tokens(), "<|im_start|>", "<|im_end|>"]
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, shape in _tensors(len(tokens), width, layers):
        values = rng.normal(0, 0.1, shape) if len(shape) == 2 else np.ones(shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def _tensors(vocabulary: int, width: int, layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocabulary, width)
    yield "output_norm.weight", (width,)
    yield "output.weight", (vocabulary, width)
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (width, width)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{name}.weight", (2 * width, width)
        yield f"blk.{layer}.ffn_down.weight", (width, 2 * width)
        yield f"blk.{layer}.attn_norm.weight", (width,)
        yield f"blk.{layer}.ffn_norm.weight", (width,)


# The stub -----------------------------------------------------------------------------------------

STUB = Path(__file__).resolve().parents[2] / "benchmarks" / "stub.py"


@pytest.fixture
def start_stub() -> Iterator[Callable[..., int]]:
    """Start the stub of the benchmarks with options; gives its port."""
    children: list[subprocess.Popen[str]] = []

    def start(*options: str) -> int:
        command = [sys.executable, str(STUB), *options]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        children.append(child)
        assert child.stdout is not None
        port: int = json.loads(child.stdout.readline())["port"]
        return port

    yield start
    for child in children:
        child.terminate()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
