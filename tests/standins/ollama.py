"""An Ollama for tests: strict about every request, and answering as the real one does.

What it takes and gives is read from Ollama's own sources (`api/types.go`, `server/routes.go`,
`server/sched.go`, `llm/llama_server.go`), errors and oddities included. Where the real one ignores
what it does not know, this one refuses it and keeps a complaint, so that no test passes by luck.

As a program it is `ollama serve`: it listens where OLLAMA_HOST says, on the models written in
`stand-in.json` in the folder that OLLAMA_MODELS names, and leaves a record of itself there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

MANIFEST = "mediaType: manifest of "
LIBRARY = "registry.ollama.ai/library/"

# What is asked of it ------------------------------------------------------------------------------

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_whole(value: Any) -> bool:
    # Go would cut a fraction off without a word.
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    return isinstance(value, list)


def are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_format(value: Any) -> bool:
    return value == "json" or (isinstance(value, dict) and bool(value))


def is_duration(value: Any) -> bool:
    is_go = is_text(value) and re.fullmatch(r"-?(0|(\d+(\.\d+)?(ns|us|ms|s|m|h))+)", value)
    return is_number(value) or bool(is_go)


def is_thinking(value: Any) -> bool:
    return is_flag(value) or value in {"low", "medium", "high", "max"}


OPTIONS: Mapping[str, Check] = {
    **dict.fromkeys(("num_keep", "seed", "num_predict", "top_k", "repeat_last_n"), is_whole),
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), is_whole),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "repeat_penalty"), is_number),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), is_number),
    "use_mmap": is_flag,
    "stop": are_texts,
}
COMMON: Mapping[str, Check] = {
    "model": is_text,
    "stream": is_flag,
    "format": is_format,
    "keep_alive": is_duration,
    "options": lambda value: isinstance(value, dict),
    "think": is_thinking,
    "truncate": is_flag,
    "shift": is_flag,
    "logprobs": is_flag,
    "top_logprobs": is_whole,
}
FIELDS: Mapping[str, Mapping[str, Check]] = {
    "/api/chat": {**COMMON, "messages": is_list, "tools": is_list},
    "/api/generate": {
        **COMMON,
        **dict.fromkeys(("prompt", "suffix", "system", "template"), is_text),
        "raw": is_flag,
        "images": is_list,
    },
    "/api/embed": {
        **{key: COMMON[key] for key in ("model", "keep_alive", "options", "truncate")},
        "input": lambda value: is_text(value) or are_texts(value),
        "dimensions": is_whole,
    },
    "/api/show": {"model": is_text, "verbose": is_flag},
    "/api/pull": {"model": is_text, "stream": is_flag, "insecure": is_flag},
}


def complaints_about(path: str, body: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a request, in words."""
    yield from _about(path, body, FIELDS[path])
    yield from _about(f"{path} options", body.get("options") or {}, OPTIONS)
    if not body.get("model"):
        yield f"{path}: no model"
    if path in {"/api/chat", "/api/generate"} and body.get("stream") is not False:
        yield f"{path}: this one answers in one piece only"
    for message in body.get("messages") or ():
        if set(message) - {"role", "content"} or not is_text(message.get("content")):
            yield f"{path}: not a message of ours: {message}"
        if message.get("role") not in {"system", "user", "assistant"}:
            yield f"{path}: no role of ours: {message}"
    for tool in body.get("tools") or ():
        function = tool.get("function", {})
        parameters = function.get("parameters") or {}
        if tool.get("type") != "function" or not function.get("name"):
            yield f"{path}: not a tool: {tool}"
        if not isinstance(parameters.get("properties"), dict) or parameters.get("type") != "object":
            yield f"{path}: a tool whose parameters the model would be shown as null: {tool}"


def _about(place: str, found: Mapping[str, Any], known: Mapping[str, Check]) -> Iterator[str]:
    for key, value in found.items():
        if key not in known:
            yield f"{place}: unknown field {key!r}"
        elif not known[key](value):
            yield f"{place}: {key} is {value!r}"


# What it has and says -----------------------------------------------------------------------------


@dataclass
class Model:
    """A model of its store. `layers` are its parts with their sizes, as a pull names them."""

    name: str = "tiny:latest"
    weights: str = "a" * 64
    capabilities: tuple[str, ...] = ("completion", "tools")
    trained: int = 8192
    template: str = "{{ .Prompt }}"
    stops: tuple[str, ...] = ()
    system: str = ""
    adapter: str = ""
    remote_host: str = ""
    layers: Mapping[str, int] = field(default_factory=lambda: {"sha256:aaaa": 4000, "sha256:bb": 8})

    @property
    def digest(self) -> str:
        """The digest of its manifest, which changes with anything in it."""
        content = json.dumps({**asdict(self), "name": MANIFEST}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def modelfile(self) -> str:
        """What /api/show makes of it; a path as on either system."""
        lines = [
            '# Modelfile generated by "ollama show"',
            "# To build a new Modelfile based on this, replace FROM with:",
            f"# FROM {self.name}",
            "",
            f"FROM C:\\models\\blobs\\sha256-{self.weights}",
            *([f"ADAPTER /models/blobs/sha256-{self.adapter}"] if self.adapter else []),
            f'TEMPLATE """{self.template}"""',
            *([f"SYSTEM {self.system}"] if self.system else []),
            *(f'PARAMETER stop "{stop}"' for stop in self.stops),
        ]
        return "\n".join(lines)

    def shown(self) -> dict[str, Any]:
        """The body of /api/show."""
        remote = {"remote_host": self.remote_host, "remote_model": self.name}
        return {
            "modelfile": self.modelfile,
            "parameters": "\n".join(f"{'stop':<30} {json.dumps(stop)}" for stop in self.stops),
            "template": self.template,
            **({"system": self.system} if self.system else {}),
            **(remote if self.remote_host else {}),
            "details": {"format": "gguf", "family": "llama", "quantization_level": "Q4_K_M"},
            "model_info": {
                "general.architecture": "llama",
                "llama.context_length": self.trained,
                "llama.rope.scaling.original_context_length": 4096.5,
                "tokenizer.ggml.tokens": [],
            },
            "capabilities": list(self.capabilities),
            "modified_at": "2026-11-01T10:00:00Z",
        }

    def listed(self) -> dict[str, Any]:
        """Its entry in /api/tags."""
        entry = {"name": self.name, "model": self.name, "digest": self.digest, "size": 4008}
        return entry | ({"remote_host": self.remote_host} if self.remote_host else {})


@dataclass
class Says:
    """What the model says to a prompt; `first` are its likeliest first tokens, with logprobs."""

    text: str
    thinking: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    first: tuple[tuple[str, float], ...] = ()


def arithmetic(prompt: str) -> Says:
    """What it says to what nobody has told it: the sum, when it is asked for one."""
    asked = re.search(r"(\d+)\s*\+\s*(\d+)", prompt)
    return Says(str(int(asked[1]) + int(asked[2])) if asked else "I do not know that.")


def tokens_of(text: str) -> list[str]:
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+$", text)


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    body: dict[str, Any]


class Ollama:
    """The server and all that a test wants to know of it.

    `faults` are taken one by one by requests for text: each names what goes wrong with it.
    """

    def __init__(self, *models: Model, slots: int = 1, address: tuple[str, int] = ("127.0.0.1", 0)):
        self.models = {model.name: model for model in models or (Model(),)}
        self.library: dict[str, Model] = {}
        self.says: dict[str, Says] = {}
        self.faults: list[str] = []
        self.pull_faults: list[str] = []
        self.version = "0.14.2"
        self.key: str | None = None
        self.seen: list[Seen] = []
        self.complaints: list[str] = []
        self.running: dict[str, tuple[int, bool]] = {}
        self.loads: list[str] = []
        self.busiest = 0
        self._under_way = 0
        self._slots = threading.Semaphore(slots)
        self._state = threading.Lock()
        self._over = threading.Event()
        self._fetched: dict[str, int] = {}
        self._http = ThreadingHTTPServer(address, type("ItsHandler", (Handler,), {"ollama": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def asked(self, path: str) -> list[dict[str, Any]]:
        """The bodies of the requests to a path."""
        return [seen.body for seen in self.seen if seen.path == path]

    def __enter__(self) -> Ollama:  # noqa: PYI034 - Self is of newer Pythons than we support
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    # How it answers; a status and a body, or lines ------------------------------------------------

    def find(self, name: str) -> Model | None:
        full = name if ":" in name else f"{name}:latest"
        return self.models.get(full)

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/api/version":
            return 200, {"version": self.version}
        if path == "/api/tags":
            return 200, {"models": [model.listed() for model in self.models.values()]}
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": name} for name in self.models]}
        if path == "/api/ps":
            loaded = [self._loaded(name, context) for name, (context, _) in self.running.items()]
            return 200, {"models": loaded}
        return 404, b"404 page not found"

    def _loaded(self, name: str, context: int) -> dict[str, Any]:
        return {**self.models[name].listed(), "size_vram": 0, "context_length": context}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        model = self.find(body["model"])
        if model is None:
            return 404, {"error": f"model '{body['model']}' not found"}
        if path == "/api/show":
            return 200, model.shown()
        if path == "/api/embed":
            return self._embed(model, body)
        return self._write(path, model, body)

    def _load(self, model: Model, body: Mapping[str, Any]) -> None:
        """Have it loaded as this request wants it: other options mean that it is loaded anew."""
        context = min((body.get("options") or {}).get("num_ctx", 4096), model.trained)
        wanted = (context, body.get("shift", True))
        with self._state:
            if self.running.get(model.name) != wanted:
                self.loads.append(model.name)
                self.running[model.name] = wanted

    def _embed(self, model: Model, body: Mapping[str, Any]) -> tuple[int, Any]:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self._load(model, body)
        context = self.running[model.name][0]
        if any(len(tokens_of(text)) > context for text in texts):
            return 400, {"error": "the input length exceeds the context length"}
        vectors = [[float(len(text)), 1.0, -0.5] for text in texts]
        return 200, {"model": body["model"], "embeddings": vectors, "prompt_eval_count": 3}

    def _write(self, path: str, model: Model, body: dict[str, Any]) -> tuple[int, Any]:
        is_chat = path == "/api/chat"
        asked = body.get("messages") if is_chat else body.get("prompt")
        if not asked and body.get("keep_alive") == 0:
            self.running.pop(model.name, None)
            return 200, _last(path, body, "", "unload")
        refusal = _refusal(model, body, "chat" if is_chat else "generate")
        if refusal:
            return 400, {"error": refusal}
        self._load(model, body)
        if not asked:
            return 200, _last(path, body, "", "load")
        with self._slot():
            return self._answer(path, model, body)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        with self._slots:
            with self._state:
                self._under_way += 1
                self.busiest = max(self.busiest, self._under_way)
            try:
                yield
            finally:
                with self._state:
                    self._under_way -= 1

    def _answer(self, path: str, model: Model, body: dict[str, Any]) -> tuple[int, Any]:
        context = self.running[model.name][0]
        texts = [m["content"] for m in body.get("messages", ())] or [body.get("prompt", "")]
        read = tokens_of(" ".join(texts))
        if len(read) >= context and body.get("truncate", True) is False:
            words = (
                f"request ({len(read)} tokens) exceeds the available context size "
                f"({context} tokens), try increasing it"
            )
            inner = {"code": 400, "message": words, "type": "exceed_context_size_error"}
            return 400, {"error": json.dumps({"error": inner})}
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "hang":
            self._over.wait()
        if fault in REFUSALS:
            return REFUSALS[fault]
        says = self.says.get(texts[-1]) or arithmetic(texts[-1])
        answer = _answer(path, body, says, min(len(read), context - 1))
        answer |= {"remote_host": "https://elsewhere.example:443"} if fault == "remote" else {}
        if fault == "load":
            answer = _last(path, body, "", "load")
        return CHANGES[fault](answer) if fault in CHANGES else (200, answer)

    def pull(self, body: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
        """The lines of a pull; None breaks the connection. What it has fetched it keeps."""
        model = self.library.get(body["model"])
        fault = self.pull_faults.pop(0) if self.pull_faults else ""
        yield {"status": "pulling manifest"} if fault != "dead" else None
        if model is None:
            yield {"error": "pull model manifest: file does not exist"}
            return
        for digest, total in model.layers.items():
            while (have := self._fetched.get(digest, 0)) < total:
                line = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
                yield line | ({"completed": have} if have else {})
                if fault == "no space left":
                    yield {"error": "write /models/blobs: no space left on device"}
                    return
                if fault and have:
                    yield None if fault == "cut" else {"error": "max retries exceeded: EOF"}
                    return
                self._fetched[digest] = min(total, have + max(1, total // 4))
            yield {"status": "pulling", "digest": digest, "total": total, "completed": total}
        for step in ("verifying sha256 digest", "writing manifest", "removing unused layers"):
            yield {"status": step}
        if fault != "no end":
            self.models[model.name] = model
            yield {"status": "success"}


def _refusal(model: Model, body: Mapping[str, Any], what: str) -> str:
    """Why a model does not do what is asked of it, "" when it does."""
    if not 0 <= body.get("top_logprobs", 0) <= 20:
        return "top_logprobs must be between 0 and 20"
    if "thinking" not in model.capabilities and body.get("think") not in {None, False}:
        return f'"{body["model"]}" does not support thinking'
    if "completion" not in model.capabilities:
        return f'"{body["model"]}" does not support {what}'
    if body.get("tools") and "tools" not in model.capabilities:
        return f"{LIBRARY}{model.name} does not support tools"
    return ""


def _broken(answer: dict[str, Any]) -> tuple[int, Any]:
    return 0, json.dumps(answer).encode()[:40]


def _without_end(answer: dict[str, Any]) -> tuple[int, Any]:
    return 200, {key: answer[key] for key in ("model", "message", "response") if key in answer} | {
        "done": False
    }


def _in_a_loop(answer: dict[str, Any]) -> tuple[int, Any]:
    loop = {"message": {"role": "assistant", "content": "Well, " + "no no " * 16}}
    return 200, {**_without_end(answer)[1], **loop}


#: What is answered instead of anything.
REFUSALS: Mapping[str, tuple[int, Any]] = {
    "busy": (
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
    ),
    "runner lost": (
        500,
        {
            "error": "model runner has unexpectedly stopped, this may be due to resource "
            "limitations or an internal error, check ollama server logs for details"
        },
    ),
    "mid-answer": (500, {"error": "an error was encountered while running the model"}),
    "error with 200": (200, {"error": "an error was encountered while running the model"}),
    "no memory": (500, {"error": "model requires more system memory (9 GiB) than is available"}),
    "html": (200, b"<!doctype html><title>Sign in</title>"),
    "signed out": (401, {"error": "unauthorized", "signin_url": "https://elsewhere.example"}),
}
#: What becomes of an answer.
CHANGES: Mapping[str, Callable[[dict[str, Any]], tuple[int, Any]]] = {
    "cut": _broken,
    "not done": _without_end,
    "loop": _in_a_loop,
    "no times": lambda answer: (200, {k: v for k, v in answer.items() if "eval" not in k}),
    "odd reason": lambda answer: (200, answer | {"done_reason": "tired"}),
    "no logprobs": lambda answer: (200, {k: v for k, v in answer.items() if k != "logprobs"}),
    "nan": lambda answer: (200, json.dumps(answer | {"logprobs": [{"logprob": float("nan")}]})),
}


def _last(path: str, body: Mapping[str, Any], text: str, reason: str) -> dict[str, Any]:
    """An answer's last or only part, before any figures."""
    is_chat = path == "/api/chat"
    message = {"message": {"role": "assistant", "content": text}}
    return {
        "model": body["model"],
        "created_at": "2026-11-26T10:00:00.5Z",
        **(message if is_chat else {"response": text}),
        "done": True,
        "done_reason": reason,
    }


def _answer(path: str, body: dict[str, Any], says: Says, read: int) -> dict[str, Any]:
    options = body.get("options", {})
    text, found = says.text, len(says.text)
    for stop in options.get("stop", ()):
        found = min(found, text.find(stop) if stop in text else found)
    written = tokens_of(text[:found])
    most = options.get("num_predict", -1)
    kept = written if most < 0 else written[:most]
    reason = "length" if len(kept) < len(written) else "stop"
    answer = _last(path, body, "".join(kept), reason)
    # Whatever is 0 the real one leaves out.
    figures = {
        "total_duration": 9_000_000_000,
        "load_duration": 5_000_000,
        "prompt_eval_count": read,
        "prompt_eval_duration": 1_500_000 * read,
        "eval_count": len(kept),
        "eval_duration": 2_000_000 * len(kept),
    }
    answer |= {key: value for key, value in figures.items() if value}
    inner = answer["message"] if path == "/api/chat" else answer
    if says.thinking and body.get("think") is not False:
        inner["thinking"] = says.thinking
    if says.calls and body.get("tools"):
        inner["tool_calls"] = [
            {"id": f"call_{n}", "function": {"index": n, "name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(says.calls)
        ]
    if body.get("logprobs"):
        answer["logprobs"] = _logprobs(kept, says, body.get("top_logprobs", 0))
    return answer


def _logprobs(tokens: list[str], says: Says, count: int) -> list[dict[str, Any]]:
    told = []
    for place, token in enumerate(tokens):
        first = says.first if place == 0 and says.first else ((token, -0.25), (" or", -2.5))
        entry: dict[str, Any] = {"token": token, "logprob": dict(first).get(token, -0.25)}
        if count:
            top = [{"token": word, "logprob": value} for word, value in first[:count]]
            entry["top_logprobs"] = top
        told.append(entry)
    return told


# The server ---------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One connection to the stand-in."""

    protocol_version = "HTTP/1.1"
    ollama: ClassVar[Ollama]

    def do_GET(self) -> None:
        self.ollama.seen.append(Seen("GET", self.path, {}))
        if self.is_allowed():
            self.reply(*self.ollama.get(self.path))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path not in FIELDS:
            self.complain(f"nobody asks {self.path}")
            return
        body = json.loads(raw)
        self.ollama.seen.append(Seen("POST", self.path, body))
        for complaint in complaints_about(self.path, body):
            self.complain(complaint)
            return
        if not self.is_allowed():
            return
        if self.path == "/api/pull":
            self.reply_in_lines(self.ollama.pull(body))
            return
        self.reply(*self.ollama.post(self.path, body))

    def is_allowed(self) -> bool:
        """Ask for the key, as a proxy in front of it would."""
        allowed = self.ollama.key is None
        allowed = allowed or self.headers.get("Authorization") == f"Bearer {self.ollama.key}"
        if not allowed:
            self.reply(401, {"error": "who are you?"})
        return allowed

    def complain(self, words: str) -> None:
        self.ollama.complaints.append(words)
        self.reply(400, {"error": f"the stand-in refuses it: {words}"})

    def reply(self, status: int, answer: Any) -> None:
        if isinstance(answer, dict):
            answer = json.dumps(answer, ensure_ascii=False)
        content = answer if isinstance(answer, bytes) else answer.encode()
        self.send_response(status or 200)
        # A status of 0: there is less than was announced, and then no more.
        self.send_header("Content-Length", str(len(content) + (0 if status else 999)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or not status

    def reply_in_lines(self, lines: Iterator[dict[str, Any] | None]) -> None:
        """NDJSON; an error that comes first has a status of its own."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if line is None:
                self.close_connection = True
                return
            content = json.dumps(line).encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing: what counts is in `seen`."""


# The program --------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Be `ollama serve` until a signal comes; the exit status."""
    if arguments != ["serve"]:
        print(f"Error: unknown command {arguments}", file=sys.stderr)
        return 1
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    folder = Path(os.environ["OLLAMA_MODELS"])
    written = json.loads((folder / "stand-in.json").read_text(encoding="utf-8"))
    if written.get("dies"):
        print(f"Error: {written['dies']}", file=sys.stderr, flush=True)
        return 1
    models = [Model(**keys) for keys in written["models"]]
    slots = int(os.environ["OLLAMA_NUM_PARALLEL"])
    with Ollama(*models, slots=slots, address=(host, int(port))) as ollama:
        ollama.library = {name: Model(**keys) for name, keys in written.get("library", {}).items()}
        ollama.faults = written.get("faults", [])
        print(f"Listening on {host}:{port} (version {ollama.version})", flush=True)
        _wait_for_a_signal()
        record = {
            "environment": {k: v for k, v in os.environ.items() if k.startswith("OLLAMA_")},
            "complaints": ollama.complaints,
            "loads": ollama.loads,
            "busiest": ollama.busiest,
            "paths": [seen.path for seen in ollama.seen],
        }
        text = json.dumps(record)
        (folder / f"served-{port}.json").write_text(text, encoding="utf-8", newline="\n")
    return 0


def _wait_for_a_signal() -> None:
    stop = threading.Event()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    while not stop.wait(0.1):
        pass


def write_executable(folder: Path) -> Path:
    """An executable called ollama that is this program; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        path, text = folder / "ollama.cmd", f'@"{sys.executable}" "{__file__}" %*\r\n'
    else:
        path, text = folder / "ollama", f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n'
    path.write_text(text, encoding="utf-8", newline="")
    path.chmod(0o755)
    return path


def write_store(folder: Path, *models: Model, **more: Any) -> Path:
    """The folder for OLLAMA_MODELS, with these models in it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"models": [asdict(model) for model in models], **more}
    text = json.dumps(content)
    (folder / "stand-in.json").write_text(text, encoding="utf-8", newline="\n")
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
