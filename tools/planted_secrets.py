"""Plant secrets wherever one may come in, and look for them in everything that comes out.

    python tools/planted_secrets.py [--secrets 10000] [--seed 7]

The secrets are made by the shapes of real ones, with random characters and a mark by which they are
found. They come in by the errors of an endpoint, by what a server of ours writes (cut into pieces
anywhere), by tests that fail with one in a variable, an exception, a print and a log message, and
by the environment. What comes out is all that pytest prints and every file that a run leaves, the
members of its archive and the JUnit file among them. Then the project's own source is redacted, in
which nothing is secret but examples of the tests: how many words are taken out of the rest, and how
fast it goes, beside detect-secrets' own scan. The exit status is 1 if a secret is found.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import string
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pytest_llmeval.redaction import REDACTED, Redactor
from pytest_llmeval.servers.process import GuardedProcess
from tools.real_runs import REPOSITORY, becomes_true

MARK = "Q7zXw9"
HEX_MARK = "c0ffee9bad"
"""What stands in the random part of every secret."""

_WORDS = string.ascii_letters + string.digits


def _random(draw: random.Random, length: int, alphabet: str = _WORDS) -> str:
    mark = MARK if alphabet == _WORDS else HEX_MARK
    rest = "".join(draw.choices(alphabet, k=length - len(mark)))
    place = draw.randrange(1, len(rest) - 1)
    return f"{rest[:place]}{mark}{rest[place:]}"


def _hex(draw: random.Random, length: int) -> str:
    return _random(draw, length, "0123456789abcdef")


TOKENS: Mapping[str, Callable[[random.Random], str]] = {
    "OpenAI": lambda draw: f"sk-proj-{_random(draw, 40)}",
    "Anthropic": lambda draw: f"sk-ant-api03-{_random(draw, 80)}",
    "OpenRouter": lambda draw: f"sk-or-v1-{_hex(draw, 64)}",
    "Fireworks": lambda draw: f"fw_{_random(draw, 24)}",
    "Hugging Face": lambda draw: f"hf_{_random(draw, 34)}",
    "Groq": lambda draw: f"gsk_{_random(draw, 52)}",
    "xAI": lambda draw: f"xai-{_random(draw, 80)}",
    "NVIDIA": lambda draw: f"nvapi-{_random(draw, 64)}",
    "Replicate": lambda draw: f"r8_{_random(draw, 37)}",
    "GitHub": lambda draw: f"ghp_{_random(draw, 36)}",
    "GitLab": lambda draw: f"glpat-{_random(draw, 20)}",
    "Google": lambda draw: f"AIza{_random(draw, 35)}",
    "Slack": lambda draw: f"xoxb-{draw.randrange(10**11)}-{_random(draw, 24)}",
    "npm": lambda draw: f"npm_{_random(draw, 36)}",
    "PyPI": lambda draw: f"pypi-AgEIcHlwaS5vcmc{_random(draw, 80)}",
    "Stripe": lambda draw: f"sk_live_{_random(draw, 24)}",
    "Twilio": lambda draw: f"SK{_hex(draw, 32)}",
    "JWT": lambda draw: f"eyJ{_random(draw, 20)}.eyJ{_random(draw, 40)}.{_random(draw, 43)}",
}
"""Secrets that are one by themselves, wherever they stand."""

PLACES: Mapping[str, Callable[[random.Random], str]] = {
    "bearer header": lambda draw: f"Authorization: Bearer {_random(draw, 32)}",
    "key header": lambda draw: f"x-api-key: {_random(draw, 24)}",
    "JSON": lambda draw: json.dumps({"api_key": _random(draw, 20), "model": "m"}),
    "JSON in JSON": lambda draw: json.dumps(json.dumps({"password": _random(draw, 16)})),
    "assignment": lambda draw: f"DB_PASSWORD={_random(draw, 12)}",
    "argument": lambda draw: f"llama-server --api-key {_random(draw, 16)} -c 4096",
    "URL": lambda draw: f"https://me:{_random(draw, 16)}@example.org/v1",
    "query": lambda draw: f"GET /v1/models?api_key={_random(draw, 20)}&limit=3",
    "token": lambda draw: f"access_token: '{_random(draw, 30)}'",
    "random value": lambda draw: f"session_cookie={_random(draw, 40)}",
    "Azure": lambda draw: f"AccountKey={_random(draw, 88)}",
    "private key": lambda draw: (
        "-----BEGIN RSA PRIVATE KEY-----\n"
        + "\n".join(_random(draw, 64) for _ in range(4))
        + "\n-----END RSA PRIVATE KEY-----"
    ),
    "escaped private key": lambda draw: json.dumps(
        f"-----BEGIN PRIVATE KEY-----\n{_random(draw, 64)}\n-----END PRIVATE KEY-----"
    ),
}
"""Secrets that are one because of what stands around them."""


@dataclass(frozen=True)
class Planted:
    """A text with a secret in it, and its kind."""

    kind: str
    text: str


def plant(draw: random.Random, count: int) -> list[Planted]:
    """So many texts; every kind has its share."""
    kinds = {**TOKENS, **PLACES}
    names = list(kinds)
    planted = []
    for number in range(count):
        name = names[number % len(names)]
        made = kinds[name](draw)
        words = draw.choice(["{} refused", "error: {}", '{{"error": {{"message": "{}"}}}}', "{}"])
        fitting = words if name in TOKENS else draw.choice(["{}", "failed: {}"])
        planted.append(Planted(name, fitting.format(made)))
    return planted


def leaks(content: bytes) -> int:
    """How many secrets stand in what came out."""
    return content.count(MARK.encode()) + content.count(HEX_MARK.encode())


def everything_below(folder: Path, planted_in: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Every file but those that the secrets were planted in, and the members of archives."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path in planted_in:
            continue
        yield str(path.relative_to(folder)), path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from (
                    (f"{path.name}:{name}", archive.read(name)) for name in archive.namelist()
                )


# Where they come in -------------------------------------------------------------------------------


@contextlib.contextmanager
def refusing_endpoint(planted: Sequence[Planted]) -> Iterator[int]:
    """An endpoint that answers question n with an error that has the nth secret in it."""

    class Refuse(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(404, b"{}")

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            number = int(asked.partition("question ")[2].partition('"')[0] or 0)
            words = planted[number % len(planted)].text
            status = 400 if number % 2 else 401
            self._say(status, json.dumps({"error": {"message": words, "code": status}}).encode())

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


TESTS = """
import json, logging, pathlib, pytest
PLANTED = json.loads(pathlib.Path(__file__).with_name("planted.json").read_text("utf-8"))

@pytest.mark.parametrize("number", range(0, len(PLANTED), 4))
def test_with_secrets(number, llm_run):
    in_a_variable, printed, logged, raised = (PLANTED + PLANTED[:4])[number:number + 4]
    print(printed)
    logging.getLogger("httpx").warning(logged)
    raise RuntimeError(raised)
"""


def errors_and_tests(root: Path, planted: Sequence[Planted], known: str) -> dict[str, int]:
    """A run whose trials and tests fail with secrets; how often each output has one."""
    half = len(planted) // 2
    (root / "suites").mkdir(parents=True)
    inlet = root / "planted.json"
    inlet.write_text(json.dumps([each.text for each in planted[half:]]), encoding="utf-8")
    (root / "test_planted.py").write_text(TESTS, encoding="utf-8")
    (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    items = [{"id": f"q{n}", "question": f"question {n}", "answer": "x"} for n in range(half)]
    suite = {"items": items, "target": "answer", "prompt": "{{ question }}", "score": "exact"}
    (root / "suites" / "asked.yaml").write_text(json.dumps(suite), encoding="utf-8")
    with refusing_endpoint(planted[:half]) as port:
        url = f"http://127.0.0.1:{port}/v1"
        model = {"engine": "openai", "url": url, "name": "m", "api_key_env": "SERVED_KEY"}
        config = {"models": {"m": model}, "sampling": {"max_tokens": 4}}
        (root / "local.yaml").write_text(json.dumps(config), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:randomly",
            "--llm-config",
            "local.yaml",
        ]
        command += [
            "--llm-archive",
            "--junitxml",
            "junit.xml",
            "-rA",
            "--showlocals",
            "--tb",
            "long",
        ]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        done = subprocess.run(
            [*command, "suites", "test_planted.py"],
            cwd=root,
            env={**kept, "SERVED_KEY": known, "MY_API_KEY": f"{known}-too"},
            capture_output=True,
            check=False,
        )
    files = everything_below(root, [inlet])
    outputs = [("what pytest prints", done.stdout + done.stderr), *files]
    found = {name: count for name, content in outputs if (count := leaks(content))}
    if REDACTED.encode() not in done.stdout or not list(root.glob("runs/*/manifest.json")):
        raise RuntimeError(f"nothing was planted: {done.stdout[-2000:]!r}")
    return found


WRITER = """
import pathlib, random, sys, time
content, draw = pathlib.Path(sys.argv[1]).read_bytes(), random.Random(int(sys.argv[2]))
while content:
    cut = draw.choice([1, 7, 100, 4096, 65536])
    sys.stdout.buffer.write(content[:cut])
    sys.stdout.buffer.flush()
    content = content[cut:]
"""


def server_logs(root: Path, planted: Sequence[Planted], seed: int) -> dict[str, int]:
    """A server that writes secrets, in pieces that end anywhere; how often its log has one."""
    root.mkdir(parents=True)
    inlet, log = root / "planted.txt", root / "server.log"
    lines = [f"llama: {each.text}\n" for each in planted]
    inlet.write_text("".join(lines) + "the last line\n", encoding="utf-8")
    command = [sys.executable, "-c", WRITER, str(inlet), str(seed)]
    process = GuardedProcess.start(command, log, environ=os.environ)
    ended = becomes_true(lambda: log.is_file() and log.read_bytes().endswith(b"last line\n"))
    process.stop(0)
    if not ended:
        raise RuntimeError(f"the log has no end: {log.read_bytes()[-300:]!r}")
    return {"server.log": count} if (count := leaks(log.read_bytes())) else {}


# What stays, and how fast -------------------------------------------------------------------------


def false_redactions() -> tuple[int, int]:
    """How many words of the project's own source are taken out, and of how many; tests and rules
    have examples of secrets, on purpose, and are left out.
    """
    redactor, taken, words = Redactor(thorough=True), 0, 0
    for path in _sources():
        text = path.read_text(encoding="utf-8")
        words += len(text.split())
        taken += redactor.text(text).count(REDACTED) - text.count(REDACTED)
    return taken, words


def _sources() -> Iterator[Path]:
    endings = {".py", ".md", ".yaml", ".jsonl", ".jinja2", ".js", ".css", ".toml"}
    for folder in ("pytest_llmeval", "docs", "suites", "config", "benchmarks", "tools"):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in endings and "secret" not in path.name:
                yield path


def speed() -> tuple[float, float]:
    """Megabytes a second on mixed text: ours, and detect-secrets' own scan of its lines."""
    text = "".join(path.read_text(encoding="utf-8") for path in _sources())
    redactor = Redactor(["a-known-secret"], thorough=True)
    redactor.text(text[:1000])
    began = time.perf_counter()
    for place in range(0, len(text), 10_000):
        redactor.text(text[place : place + 10_000])
    ours = len(text) / 1e6 / (time.perf_counter() - began)
    return ours, _speed_of_the_library(text[:100_000])


def _speed_of_the_library(text: str) -> float:
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    with default_settings():
        began = time.perf_counter()
        for line in text.splitlines():
            list(scan_line(line))
        return len(text) / 1e6 / (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, look, and print what was found; 1 if a secret has come out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--secrets", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    planted = plant(draw, options.secrets)
    draw.shuffle(planted)
    half = len(planted) // 2
    with tempfile.TemporaryDirectory(prefix="planted-secrets-") as folder:
        found = errors_and_tests(Path(folder) / "run", planted[:half], _random(draw, 24))
        found |= server_logs(Path(folder) / "server", planted[half:], options.seed)
    kinds, out = len({each.kind for each in planted}), sum(found.values())
    print(f"{len(planted):,} secrets of {kinds} kinds planted, {out} came out")
    for name, count in found.items():
        print(f"  {name}: {count}")
    taken, words = false_redactions()
    print(f"{taken} of {words:,} words of the project's own source taken out ({taken / words:.4%})")
    ours, theirs = speed()
    print(f"{ours:.1f} MB/s; detect-secrets' own scan {theirs:.2f} MB/s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
