"""What is particular to the servers of each kind: all else about them is the same (`server.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pytest_llmeval.errors import EngineError
from pytest_llmeval.servers import adapters, props
from pytest_llmeval.servers.command import build_command, build_environment, find_program
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.health import Fetch, Health, Post, check_health
from pytest_llmeval.servers.ollama import OllamaServer
from pytest_llmeval.servers.spec import ServerSpec


class KindOfServer(Protocol):
    """How a server of one kind is started, asked for its health, and known to be what was meant.

    `fetch` and `url` are as for `check_health`.
    """

    def find_program(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Look at what is needed before anything is started, and find the program.

        Raises ModelFileError, MissingExtraError or ServerStartError.
        """
        ...

    def command(self, port: int, program: tuple[str, ...]) -> tuple[str, ...]:
        """The argument list that starts it on a port."""
        ...

    def environment(self, port: int, environ: Mapping[str, str]) -> dict[str, str]:
        """Its environment, made of ours."""
        ...

    def check_health(self, fetch: Fetch, url: str) -> Health:
        """Ask it for its health."""
        ...

    def find_fault(self, fetch: Fetch, url: str) -> str | None:
        """What a healthy server has otherwise than the spec asks for; None if all is well.

        Raises EngineError, OSError or ValueError when it does not say what it has.
        """
        ...


class LlamaCppServer:
    """llama.cpp's server, embedded or as an executable: one GGUF, verified by /props."""

    def __init__(self, spec: ServerSpec, post: Post | None = None) -> None:
        self._spec = spec
        self._post = post
        self._trained_context: int | None = None

    def find_program(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Read model and adapters before the program is looked for (`KindOfServer`)."""
        assert self._spec.gguf is not None, "these servers have one"
        header = read_gguf(self._spec.gguf)
        adapters.check_files(self._spec, header)
        self._trained_context = header.context_length
        return find_program(self._spec, environ)

    def command(self, port: int, program: tuple[str, ...]) -> tuple[str, ...]:
        """The flags of llama-server (`KindOfServer`)."""
        return build_command(self._spec, port, program)

    def environment(self, port: int, environ: Mapping[str, str]) -> dict[str, str]:
        """Ours, with the spec's variables, device and key (`KindOfServer`)."""
        del port  # a flag says it
        return build_environment(self._spec, environ)

    def check_health(self, fetch: Fetch, url: str) -> Health:
        """By /health, or as the spec says (`KindOfServer`)."""
        return check_health(fetch, url, self._spec.api_key, self._spec.health_path)

    def find_fault(self, fetch: Fetch, url: str) -> str | None:
        """By /props, and by /lora-adapters where it is to have some (`KindOfServer`)."""
        try:
            answer = props.read_props(*fetch(f"{url}/props", self._spec.api_key))
        except (EngineError, OSError, ValueError) as error:
            raise ValueError(f"it gives no /props: {error}") from error
        fault = props.find_fault(answer, self._spec, self._trained_context)
        if fault is None and self._spec.lora:
            return self._apply_adapters(fetch, f"{url}/lora-adapters")
        return fault

    def _apply_adapters(self, fetch: Fetch, url: str) -> str | None:
        """Set the adapters' scales; what the server has loaded otherwise, None if all is well."""
        try:
            scales = adapters.scales_body(self._spec.lora)
            if scales is not None and self._post is not None:
                self._post(url, scales)
            loaded = adapters.read_adapters(*fetch(url, self._spec.api_key))
        except (EngineError, OSError, ValueError) as error:
            raise ValueError(f"it tells no adapters, GET /lora-adapters: {error}") from error
        return adapters.find_adapter_fault(loaded, self._spec.lora)


def kind_of(spec: ServerSpec, post: Post | None = None) -> KindOfServer:
    """What is particular to the server that a spec describes; `post` is as for `Server`."""
    return OllamaServer(spec) if spec.kind == "ollama" else LlamaCppServer(spec, post)
