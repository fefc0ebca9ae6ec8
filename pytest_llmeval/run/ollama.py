"""Models that Ollama runs: one that answers is adopted, else an `ollama serve` is ours."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.engines.engine import Engine
from pytest_llmeval.engines.fetch import fetch, post
from pytest_llmeval.engines.ollama_facts import is_cloud_name, manifest_digest, read_shown
from pytest_llmeval.engines.ollama_requests import USUAL_CONTEXT, base_of
from pytest_llmeval.errors import ConfigError, ServerStartError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.adopted import HEALTH_TIMEOUT, api_key_of, endpoint_of, fetch_for_health
from pytest_llmeval.run.managed import loading_reporter
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.ollama import OllamaServer, is_ollama
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec

#: Where Ollama listens when nothing says otherwise.
USUAL_PORT = 11434


def ollama_backing(model: ModelConfig, config: Config, say: Callable[[str], None]) -> Backing:
    """How a model is reached that Ollama runs. Raises ConfigError."""
    _refuse_other_machines(model, config)
    url, key = url_of(model, os.environ), api_key_of(model, config)
    return Backing(
        make_server=partial(_server_unless_there, model, url, key, say),
        make_engine=partial(_engine, model, key, say),
        url=url,
        digest=lambda _: digest_there(model.sent_name, url, key),
        unload=_unload,
        find_program=partial(_find_program_unless_there, model, url, key),
    )


def what_ollama_computes(model: ModelConfig) -> str:
    """One line for the header."""
    slots = "1 slot" if model.slots == 1 else f"{model.slots} slots"
    place = url_of(model, os.environ)
    otherwise = ", or started here if none answers" if _is_ours_to_start(model, place) else ""
    return f"ollama, {model.sent_name}, {slots}: at {place}{otherwise}"


def url_of(model: ModelConfig, environ: Mapping[str, str]) -> str:
    """Where Ollama is: where the config says, else OLLAMA_HOST, else where it usually is."""
    return base_of(model.url or usual_url(environ))


def usual_url(environ: Mapping[str, str]) -> str:
    """Where Ollama is for everybody here: what OLLAMA_HOST means to Ollama's own client."""
    return _url_of_host(environ.get("OLLAMA_HOST", "").strip(" \t\"'"))


def version_there(url: str) -> str | None:
    """The version of the Ollama that answers at a url of this machine; None where none does."""
    if not _is_here(url):
        return None
    found = fetch(f"{url}/api/version", HEALTH_TIMEOUT)
    return str(_object(found.body)["version"]) if is_ollama(found.status, found.body) else None


def digest_there(name: str, url: str, key: str | None) -> str | None:
    """The digest of a model's weights as the Ollama at `url` has them, None when it says none."""
    body = json.dumps({"model": name}).encode("ascii")
    shown = post(f"{url}/api/show", HEALTH_TIMEOUT, body, key)
    if shown.status != 200:
        return None
    listed = fetch(f"{url}/api/tags", HEALTH_TIMEOUT, key)
    return read_shown(_object(shown.body)).weights or manifest_digest(_object(listed.body), name)


def _engine(model: ModelConfig, key: str | None, say: Callable[[str], None], url: str) -> Engine:
    from pytest_llmeval.engines.ollama import OllamaEngine  # not for other models

    def tell(words: str) -> None:
        say(f"llmeval: {model.name}: {words}")

    return OllamaEngine(endpoint_of(model, key, url), tell=tell)


async def _unload(engine: Engine) -> None:
    from pytest_llmeval.engines.ollama import OllamaEngine  # not for other models

    assert isinstance(engine, OllamaEngine), "`_engine` has made it"
    await engine.unload()


def _server_unless_there(
    model: ModelConfig, url: str, key: str | None, say: Callable[[str], None], logs: Path
) -> Server | None:
    """A server of ours, on a port of its own; None when one answers, or it is not ours to start.

    Raises ServerStartError where there is no executable to start.
    """
    if _is_there(url, key) or not _is_ours_to_start(model, url):
        return None
    spec = _spec(model, logs)
    OllamaServer(spec).find_program(os.environ)  # before it is said that one is started
    say(f"llmeval: {model.name}: no Ollama answers at {url}; starting one")
    return Server(spec, fetch_for_health, report=loading_reporter(model.name, say))


def _find_program_unless_there(model: ModelConfig, url: str, key: str | None) -> None:
    """Raise ServerStartError when no Ollama answers and none can be started."""
    try:
        OllamaServer(_spec(model, Path())).find_program(os.environ)
    except ServerStartError:
        if _is_ours_to_start(model, url) and not _is_there(url, key):
            raise


def _is_there(url: str, key: str | None) -> bool:
    found = fetch(f"{url}/api/version", HEALTH_TIMEOUT, key)
    return is_ollama(found.status, found.body)


def _spec(model: ModelConfig, logs: Path) -> ServerSpec:
    return ServerSpec(
        name=model.name,
        kind="ollama",
        gguf=None,
        slots=model.slots,
        context=model.context or USUAL_CONTEXT,
        executable=model.executable,
        variables={} if model.remote else {"OLLAMA_NO_CLOUD": "1"},
        log_path=logs / f"{model.name}.log",
        start_timeout=model.start_timeout,
    )


def _is_ours_to_start(model: ModelConfig, url: str) -> bool:
    """Whether an Ollama of ours could take the place of one at `url`: plain, of this machine."""
    return model.api_key_env is None and _is_here(url)


def _is_here(url: str) -> bool:
    try:
        address = parse_address(url)
    except ConfigError:
        return False
    return address.scheme == "http" and not address.path and address.is_loopback


def _refuse_other_machines(model: ModelConfig, config: Config) -> None:
    """Nothing leaves this machine unless the config says so."""
    if is_cloud_name(model.sent_name) and not model.remote:
        raise ConfigError(
            f"models: {model.name}: Ollama passes all that {model.sent_name} is asked on to "
            f"another machine. Nothing leaves this machine unless you say so: write `remote: true`",
            path=config.path,
            line=config.model_lines.get(model.name),
        )
    if model.url is None and not parse_address(url_of(model, os.environ)).is_loopback:
        raise ConfigError(
            f"models: {model.name}: OLLAMA_HOST names another machine "
            f"({os.environ['OLLAMA_HOST']}). Write it as `url:` if prompts may go there",
            path=config.path,
            line=config.model_lines.get(model.name),
        )


def _url_of_host(host: str) -> str:
    """The url that a value of OLLAMA_HOST means (Ollama's `envconfig.ConnectableHost`)."""
    scheme, named, rest = host.rpartition("://")
    place, _, path = rest.partition("/")
    usual_port = {"http": 80, "https": 443}.get(scheme, USUAL_PORT) if named else USUAL_PORT
    name, port = _split(place)
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104 - what a server listens on, a client cannot ask
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme or 'http'}://{shown}:{port or usual_port}{'/' if path else ''}{path}"


def _split(place: str) -> tuple[str, int | None]:
    """Host and port; a port that is none does not count."""
    try:
        return str(ipaddress.ip_address(place.strip("[]"))), None
    except ValueError:
        parts = urlsplit(f"//{place}")
    try:
        return parts.hostname or "", parts.port
    except ValueError:
        return parts.hostname or "", None


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
