"""A strict imitation of Fireworks' chat completions and batch inference, faults included.

It knows the facts that are written down in `pytest_llmeval/engines/fireworks.py` and nothing else:
a header, field or value that is not among them lands in `complaints`, which a test's fixture holds
to be empty. It is a server in the test's own process, so that it outlives what is killed.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "fw-right"
ACCOUNT = "mine"
MODEL = "accounts/fireworks/models/llama-v3p1-8b-instruct"

BODY_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "messages": list,
    "max_tokens": int,
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    "min_p": (int, float),
    "repetition_penalty": (int, float),
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "seed": int,
    "stop": list,
    "tools": list,
    "tool_choice": str,
    "response_format": dict,
    "context_length_exceeded_behavior": str,
}
"""What a chat completion may have besides `model`, and of which type."""

Body = Mapping[str, Any]


def echo(body: Body) -> str:
    """Answer with the last message in capitals."""
    return str(body["messages"][-1]["content"]).upper()


@dataclass
class Dataset:
    state: str = "UPLOADING"
    lines: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Job:
    model: str
    source: str
    label: str
    output: str
    polls: int = 0


@dataclass
class Faults:
    """What goes wrong, and how often: `busy` by the name of an operation."""

    busy: Counter[str] = field(default_factory=Counter)
    cut_uploads: int = 0
    cut_downloads: int = 0
    expired_links: int = 0
    slow_ready: int = 0
    end: str = "JOB_STATE_COMPLETED"
    why: str = ""
    missing: frozenset[str] = frozenset()
    doubled: frozenset[str] = frozenset()
    differing: frozenset[str] = frozenset()
    errors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    torn: bool = False


class FireworksStandIn:
    """The service. `polls` is how often a job is asked about before it has ended; `held` keeps all
    jobs running until it is cleared.
    """

    def __init__(self, answer: Callable[[Body], str] = echo, *, polls: int = 3):
        self.answer = answer
        self.polls = polls
        self.faults = Faults()
        self.complaints: list[str] = []
        self.seen: list[str] = []
        self.datasets: dict[str, Dataset] = {}
        self.jobs: dict[str, Job] = {}
        self.asked: list[Body] = []
        self.held = threading.Event()
        self.port = 0
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[FireworksStandIn]:
        """Serve on a free port, and find nothing to complain of."""
        service = self

        class Handler(_Handler):
            standin = service

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
        assert self.complaints == [], self.complaints

    def did(self, operation: str) -> int:
        """How often an operation was asked for."""
        return self.seen.count(operation)

    # What it does ---------------------------------------------------------------------------------

    def create_dataset(self, body: Body) -> tuple[int, Any]:
        name = body.get("datasetId")
        dataset = body.get("dataset")
        self._require(set(body) == {"datasetId", "dataset"}, f"dataset: {body}")
        self._require(_is_id(name), f"datasetId {name!r}")
        self._require(
            isinstance(dataset, dict)
            and set(dataset) == {"userUploaded", "exampleCount"}
            and dataset["userUploaded"] == {}
            and re.fullmatch("[1-9][0-9]*", str(dataset["exampleCount"]))
            and isinstance(dataset["exampleCount"], str),
            f"dataset {dataset}",
        )
        if name in self.datasets:
            return 409, {"code": 6, "message": "dataset already exists", "details": []}
        self.datasets[str(name)] = Dataset()
        return 200, self._dataset(str(name))

    def upload(self, name: str, content: bytes) -> tuple[int, Any]:
        if name not in self.datasets:
            return 404, {"code": 5, "message": "resource not found", "details": []}
        dataset = self.datasets[name]
        self._require(dataset.state == "UPLOADING", f"{name} is uploaded twice")
        self._require(content.endswith(b"\n"), "the last line of an upload has no end")
        lines = [json.loads(line) for line in content.splitlines()]
        ids = [line.get("custom_id") for line in lines]
        self._require(len(set(ids)) == len(ids), "custom_ids of an upload are not unique")
        for line in lines:
            self._require(set(line) == {"custom_id", "body"}, f"line {line}")
            self._check_body(line["body"])
        dataset.lines = lines
        if not self.faults.slow_ready:
            dataset.state = "READY"
        told = {"bytes": len(content), "filename": "requests.jsonl", "id": self._full(name)}
        return 200, {**told, "object": "file", "purpose": "dataset", "created_at": 1788061722}

    def get_dataset(self, name: str) -> tuple[int, Any]:
        if name not in self.datasets:
            return 404, {"code": 5, "message": "resource not found", "details": []}
        if self.faults.slow_ready and self.datasets[name].lines:
            self.faults.slow_ready -= 1
            if not self.faults.slow_ready:
                self.datasets[name].state = "READY"
        return 200, self._dataset(name)

    def create_job(self, name: str, body: Body) -> tuple[int, Any]:
        self._require(_is_id(name), f"job id {name!r}")
        self._require(set(body) == {"model", "inputDatasetId", "displayName"}, f"job: {body}")
        self._require(body.get("model") == MODEL, f"model {body.get('model')!r}")
        source = str(body.get("inputDatasetId")).removeprefix(f"accounts/{ACCOUNT}/datasets/")
        self._require(source in self.datasets, f"inputDatasetId {body.get('inputDatasetId')!r}")
        self._require(self.datasets[source].state == "READY", f"{source} is not ready")
        self._require(bool(body.get("displayName")), "no displayName")
        if name in self.jobs:
            return 409, {"code": 6, "message": "job already exists", "details": []}
        output = f"bij-{len(self.jobs) + 1}"
        self.jobs[name] = Job(MODEL, source, str(body["displayName"]), output)
        return 200, self._job(name, "JOB_STATE_VALIDATING")

    def get_job(self, name: str) -> tuple[int, Any]:
        if name not in self.jobs:
            return 404, {"code": 5, "message": "resource not found", "details": []}
        job = self.jobs[name]
        if not self.held.is_set():
            job.polls += 1
        if job.polls < self.polls:
            states = ["JOB_STATE_PENDING", "JOB_STATE_RUNNING"]
            return 200, self._job(name, states[min(job.polls, 1)])
        if job.output not in self.datasets and self.faults.end != "JOB_STATE_FAILED":
            self.datasets[job.output] = self._run(job)
        return 200, self._job(name, self.faults.end)

    def download_endpoint(self, name: str) -> tuple[int, Any]:
        if name not in self.datasets:
            return 404, {"code": 5, "message": "resource not found", "details": []}
        files = self.datasets[name].files
        urls = {
            f"dataset/{name}/{file}": f"{self.url}/signed/{name}/{file}?X-Goog-Expires=599"
            for file in files
        }
        return 200, {"filenameToSignedUrls": urls}

    def chat(self, body: Body) -> tuple[int, Any]:
        self._require(body.get("model") == MODEL, f"model {body.get('model')!r}")
        self._check_body({key: value for key, value in body.items() if key != "model"})
        self.asked.append(body)
        return 200, self._completion(body)

    # How it answers -------------------------------------------------------------------------------

    def _run(self, job: Job) -> Dataset:
        """Answer everything, in an order of its own."""
        faults, out, errors = self.faults, [], []
        for line in reversed(self.datasets[job.source].lines):
            custom_id = line["custom_id"]
            self.asked.append(line["body"])
            if custom_id in faults.missing:
                continue
            if custom_id in faults.errors:
                errors.append({"custom_id": custom_id, "error": faults.errors[custom_id]})
                continue
            result = {"custom_id": custom_id, "response": self._completion(line["body"])}
            out.append(result)
            if custom_id in faults.doubled:
                out.append(result)
            if custom_id in faults.differing:
                other = {**line["body"], "messages": [{"role": "user", "content": "other"}]}
                out.append({"custom_id": custom_id, "response": self._completion(other)})
        out += [{**out[0], "custom_id": custom_id} for custom_id in faults.unknown]
        files = {"BIJOutputSet.jsonl": _lines(out), "error-data": _lines(errors)}
        if faults.torn:
            files["BIJOutputSet.jsonl"] = files["BIJOutputSet.jsonl"][:-20]
        return Dataset("READY", files=files)

    def _completion(self, body: Body) -> dict[str, Any]:
        text = self.answer(body)
        return {
            "id": "chatcmpl-cdf5",
            "object": "chat.completion",
            "created": 1788062136,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 47,
                "total_tokens": 49,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 29},
            },
        }

    def _job(self, name: str, state: str) -> dict[str, Any]:
        job = self.jobs[name]
        count = len(self.datasets[job.source].lines)
        done = count if state == "JOB_STATE_COMPLETED" else 0
        return {
            "name": f"accounts/{ACCOUNT}/batchInferenceJobs/{name}",
            "displayName": job.label,
            "state": state,
            "status": {
                "code": "OK",
                "message": self.faults.why if state == self.faults.end else "",
            },
            "model": job.model,
            "inputDatasetId": self._full(job.source),
            "outputDatasetId": self._full(job.output),
            "jobProgress": None
            if state == "JOB_STATE_VALIDATING"
            else {
                "percent": 100 if done else 0,
                "totalInputRequests": count,
                "totalProcessedRequests": done,
                "successfullyProcessedRequests": done,
                "failedRequests": 0,
            },
        }

    def _dataset(self, name: str) -> dict[str, Any]:
        dataset = self.datasets[name]
        told = {"name": self._full(name), "state": dataset.state}
        return {**told, "status": {"code": "OK", "message": ""}, "userUploaded": {}}

    @staticmethod
    def _full(name: str) -> str:
        return f"accounts/{ACCOUNT}/datasets/{name}"

    def _check_body(self, body: Body) -> None:
        for key, value in body.items():
            known = isinstance(value, BODY_KEYS.get(key, ()))
            self._require(known, f"body: {key}: {value!r}")
        self._require(
            body.get("context_length_exceeded_behavior") == "error",
            "the service would shorten max_tokens in silence",
        )
        for message in body.get("messages", []):
            self._require(
                set(message) == {"role", "content"}
                and message["role"] in ("system", "user", "assistant", "tool"),
                f"message {message}",
            )

    def _require(self, held: object, words: str) -> None:
        if not held:
            self.complaints.append(words)


def _lines(results: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(result, ensure_ascii=False)}\n" for result in results).encode()


def _is_id(name: object) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", str(name)))


class _Handler(BaseHTTPRequestHandler):
    """Routes, headers, and what a broken line does."""

    standin: FireworksStandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every reply waits 40 ms for the client's ACK

    def do_GET(self) -> None:
        self._require(self.headers.get("Content-Length", "0") == "0", "a GET with a body")
        if self.path.startswith("/signed/"):
            self._download()
            return
        self._handle(b"")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._handle(content)

    def log_request(self, *_: object) -> None:
        """Say nothing."""

    def _handle(self, content: bytes) -> None:
        path, _, query = self.path.partition("?")
        operation = self._operation(path)
        service = self.standin
        with service._lock:
            service.seen.append(operation)
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                error = {"message": "The API key you provided is invalid.", "type": "error"}
                self._reply(403, {"error": {**error, "code": "UNAUTHORIZED", "param": None}})
                return
            if service.faults.busy[operation]:
                service.faults.busy[operation] -= 1
                self._reply(429, {"error": {"message": "slow down"}}, ("Retry-After", "0"))
                return
            if operation == "upload":
                self._upload(path, content)
                return
            if content:
                kind = self.headers.get("Content-Type")
                self._require(kind == "application/json", f"Content-Type {kind!r}")
            try:
                told = self._answer(operation, path, query, json.loads(content or b"{}"))
            except Exception as error:  # noqa: BLE001 - a test is told of it
                self._require(False, f"{operation}: {error!r}")
                told = 500, {"error": {"message": f"the stand-in broke: {error!r}"}}
            self._reply(*told)

    def _answer(self, operation: str, path: str, query: str, body: Body) -> tuple[int, Any]:
        service, name = self.standin, path.rpartition("/")[2].partition(":")[0]
        answers: Mapping[str, Callable[[], tuple[int, Any]]] = {
            "chat": lambda: service.chat(body),
            "models": lambda: (200, {"object": "list", "data": [{"id": MODEL}]}),
            "create dataset": lambda: service.create_dataset(body),
            "get dataset": lambda: service.get_dataset(name),
            "download endpoint": lambda: service.download_endpoint(name),
            "create job": lambda: service.create_job(query.partition("=")[2], body),
            "get job": lambda: service.get_job(name),
        }
        if operation == "create job":
            self._require(query.startswith("batchInferenceJobId="), f"query {query!r}")
        if operation not in answers:
            return 404, {"code": 5, "message": f"no such method: {path}", "details": []}
        return answers[operation]()

    def _operation(self, path: str) -> str:
        account = f"/v1/accounts/{ACCOUNT}"
        routes = {
            ("POST", "/inference/v1/chat/completions"): "chat",
            ("GET", "/inference/v1/models"): "models",
            ("POST", f"{account}/datasets"): "create dataset",
            ("POST", f"{account}/batchInferenceJobs"): "create job",
        }
        if (self.command, path) in routes:
            return routes[self.command, path]
        if self.command == "POST" and re.fullmatch(rf"{account}/datasets/[^/:]+:upload", path):
            return "upload"
        if self.command == "GET" and path.endswith(":getDownloadEndpoint"):
            return "download endpoint"
        if self.command == "GET" and path.startswith(f"{account}/datasets/"):
            return "get dataset"
        if self.command == "GET" and path.startswith(f"{account}/batchInferenceJobs/"):
            return "get job"
        self._require(False, f"{self.command} {self.path}")
        return "nothing"

    def _upload(self, path: str, content: bytes) -> None:
        service = self.standin
        if service.faults.cut_uploads:
            service.faults.cut_uploads -= 1
            self.close_connection = True
            return
        kind = self.headers.get("Content-Type", "")
        self._require(kind.startswith("multipart/form-data; boundary="), f"Content-Type {kind!r}")
        head = f"Content-Type: {kind}\r\n\r\n".encode("ascii")
        parts = list(BytesParser(policy=HTTP).parsebytes(head + content).iter_parts())
        names = [part.get_param("name", header="content-disposition") for part in parts]
        self._require(names == ["file"], f"fields of the form: {names}")
        file = parts[0].get_payload(decode=True)
        assert isinstance(file, bytes)
        name = path.rpartition("/")[2].partition(":")[0]
        self._reply(*service.upload(name, file))

    def _download(self) -> None:
        """A link to a file lies elsewhere: it is asked for without the key."""
        service = self.standin
        with service._lock:
            service.seen.append("download")
            self._require("Authorization" not in self.headers, "the key is sent with a download")
            if service.faults.expired_links:
                service.faults.expired_links -= 1
                self._reply(403, {"error": "expired"})
                return
            _, _, name, file = self.path.partition("?")[0].split("/")
            content = service.datasets[name].files[file]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if service.faults.cut_downloads and content:
                service.faults.cut_downloads -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content)

    def _reply(self, status: int, body: Any, *headers: tuple[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _require(self, held: object, words: str) -> None:
        self.standin._require(held, words)
