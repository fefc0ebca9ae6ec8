"""`ollama serve` as a server of ours: one for each model, on a port of its own.

It is told by its environment what others are told by flags (Ollama's `envconfig/config.go`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from pytest_llmeval.errors import EngineError
from pytest_llmeval.servers.command import Need, find_executable
from pytest_llmeval.servers.health import Fetch, Health, read_health
from pytest_llmeval.servers.spec import ServerSpec

OLLAMA = Need(
    "Ollama",
    "Start Ollama if it is installed (`ollama serve`, or its app); else get it with "
    "`brew install ollama` or `winget install Ollama.Ollama`, or from the page called "
    "`Ollama download`, and name it with `executable:` if it is not on PATH",
)


class OllamaServer:
    """Ollama with room for one model and as many requests at once as the spec has slots."""

    def __init__(self, spec: ServerSpec) -> None:
        self._spec = spec

    def find_program(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Look the executable up (`KindOfServer`)."""
        name = self._spec.executable or "ollama"
        path = environ.get("PATH", os.defpath)
        return (find_executable(name, path, model=self._spec.name, need=OLLAMA),)

    def command(self, port: int, program: tuple[str, ...]) -> tuple[str, ...]:
        """`ollama serve`; the environment says the rest (`KindOfServer`)."""
        del port
        return (*program, "serve")

    def environment(self, port: int, environ: Mapping[str, str]) -> dict[str, str]:
        """Ours, with what was asked for in place of the user's own settings (`KindOfServer`)."""
        return {
            **environ,
            "OLLAMA_HOST": f"{self._spec.host}:{port}",
            "OLLAMA_NUM_PARALLEL": str(self._spec.slots),
            "OLLAMA_CONTEXT_LENGTH": str(self._spec.context),
            "OLLAMA_MAX_LOADED_MODELS": "1",
            # It ends with the run: until then nothing is gained by unloading the model.
            "OLLAMA_KEEP_ALIVE": "-1",
            # At its start it would throw away what an interrupted pull of the user's has left.
            "OLLAMA_NOPRUNE": "1",
            **self._spec.variables,
        }

    def check_health(self, fetch: Fetch, url: str) -> Health:
        """By /api/version, which it answers as soon as it takes requests (`KindOfServer`)."""
        try:
            return read_health(*fetch(f"{url}/api/version", None))
        except (EngineError, OSError) as error:
            return read_health(None, None, str(error))

    def find_fault(self, fetch: Fetch, url: str) -> str | None:
        """It must be Ollama; slots and context it does not tell (`KindOfServer`)."""
        status, body = fetch(f"{url}/api/version", None)
        return None if is_ollama(status, body) else "what was started is not Ollama"


def is_ollama(status: int | None, body: bytes) -> bool:
    """Whether an answer to /api/version is Ollama's."""
    try:
        answer = json.loads(body) if status == 200 else None
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and isinstance(answer.get("version"), str)
