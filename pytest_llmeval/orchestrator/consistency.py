"""What a config cannot mean although each of its values, by itself, is allowed. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from pytest_llmeval.inputs.documents import KeyPath
from pytest_llmeval.inputs.mistakes import shown
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.servers.command import API_KEYS

Contradiction = tuple[KeyPath, str]

OURS = {
    "-m": "model.path", "--model": "model.path",
    "--host": "server.host",
    "--port": "server.port",
    "-a": "aliases", "--alias": "aliases",
    "-np": "server.parallel", "--parallel": "server.parallel",
    "-c": "model.context_size", "--ctx-size": "model.context_size",
    "--api-key": "server.api_key_env", "--api-key-file": "server.api_key_env",
    "-ngl": "gpu.layers", "--gpu-layers": "gpu.layers", "--n-gpu-layers": "gpu.layers",
}  # fmt: skip
"""Arguments of the server that have a key here, which everything else relies on."""


ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 # what hosts are held against, not what is bound
"""Hosts that stand for every address of the machine."""

PLACEHOLDER = "/path/to/model.gguf"
"""What stands in a new config where the user has not said yet which model it is."""


def contradictions(config: InstanceConfig) -> Iterator[Contradiction]:
    """All of them: the value to blame, and a message that says the way out."""
    for check in _CHECKS:
        yield from check(config)


def is_local(host: str) -> bool:
    """Whether only programs of this machine reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _model_is_chosen(config: InstanceConfig) -> Iterator[Contradiction]:
    if config.model.path == PLACEHOLDER:
        words = f"model.path: {PLACEHOLDER} stands for a model; write the path of your GGUF there"
        yield ("model", "path"), words


def _host_needs_a_key(config: InstanceConfig) -> Iterator[Contradiction]:
    server = config.server
    if not is_local(server.host) and server.api_key_env is None:
        words = (
            f"server.host: {server.host!r} is not local without a token: others in the network "
            "could use the model. Set server.api_key_env to the name of the variable that holds "
            "the key, or host to 127.0.0.1"
        )
        yield ("server", "host"), words


def _host_is_a_host(config: InstanceConfig) -> Iterator[Contradiction]:
    host = config.server.host
    if any(character.isspace() or character in "/@?#" for character in host):
        words = f"server.host: expected a name or an address such as 127.0.0.1, found {shown(host)}"
        yield ("server", "host"), words


def _batches_nest(config: InstanceConfig) -> Iterator[Contradiction]:
    batch, ubatch = config.model.batch_size, config.model.ubatch_size
    if batch is not None and ubatch is not None and ubatch > batch:
        words = (
            f"model.ubatch_size: {ubatch} is more than the batch_size of {batch}, "
            "which it is a part of"
        )
        yield ("model", "ubatch_size"), words


def _cpu_has_no_device(config: InstanceConfig) -> Iterator[Contradiction]:
    if config.gpu.backend != "cpu":
        return
    way_out = "set gpu.backend to vulkan, cuda, metal or rocm, or leave it out"
    if config.gpu.device_id is not None:
        yield ("gpu", "device_id"), f"gpu.device_id: the backend is cpu, which has none; {way_out}"
    if config.gpu.layers:
        words = f"gpu.layers: the backend is cpu, so that no layer can lie on a GPU; {way_out}"
        yield ("gpu", "layers"), words


def _embedded_computes_on_the_cpu(config: InstanceConfig) -> Iterator[Contradiction]:
    if config.server.engine == "embedded" and config.gpu.backend != "cpu":
        words = (
            f"gpu.backend: the embedded engine has only cpu, found {config.gpu.backend!r}; "
            "set server.engine to llama-server"
        )
        yield ("gpu", "backend"), words


def _restarts_can_grow(config: InstanceConfig) -> Iterator[Contradiction]:
    restart = config.restart
    if restart.cap < restart.initial:
        words = (
            f"restart.cap: {restart.cap:g} s is less than the first delay, "
            f"restart.initial of {restart.initial:g} s"
        )
        yield ("restart", "cap"), words


def _health_path_is_one(config: InstanceConfig) -> Iterator[Contradiction]:
    path = config.healthcheck.path
    if not path.startswith("/") or any(character.isspace() for character in path):
        words = f"healthcheck.path: expected a path such as /health, found {shown(path)}"
        yield ("healthcheck", "path"), words


def _arguments_are_not_ours(config: InstanceConfig) -> Iterator[Contradiction]:
    for number, argument in enumerate(config.args):
        name = argument.partition("=")[0]
        if name in OURS:
            words = f"args: {name} is what {OURS[name]} is for; set that, and leave {name} out"
            yield ("args", number), words


def _variables_can_be_set(config: InstanceConfig) -> Iterator[Contradiction]:
    for name, value in config.env.items():
        if not name or "=" in name or "\0" in name + value:
            yield ("env", name), f"env: {shown(name)} can be no name or value of a variable"


def _environment_holds_no_key(config: InstanceConfig) -> Iterator[Contradiction]:
    for name in sorted(API_KEYS & config.env.keys()):
        words = (
            f"env: {name} would hold a key, and no config holds one; name a variable of the "
            "daemon's environment with server.api_key_env"
        )
        yield ("env", name), words


def _aliases_are_names(config: InstanceConfig) -> Iterator[Contradiction]:
    for number, alias in enumerate(config.aliases):
        if not alias or "," in alias or any(character.isspace() for character in alias):
            words = f"aliases: expected a name without spaces and commas, found {shown(alias)}"
            yield ("aliases", number), words
        elif alias in config.aliases[:number]:
            yield ("aliases", number), f"aliases: {alias!r} is given twice"


_CHECKS: tuple[Callable[[InstanceConfig], Iterator[Contradiction]], ...] = (
    _model_is_chosen,
    _host_needs_a_key,
    _host_is_a_host,
    _batches_nest,
    _cpu_has_no_device,
    _embedded_computes_on_the_cpu,
    _restarts_can_grow,
    _health_path_is_one,
    _arguments_are_not_ours,
    _variables_can_be_set,
    _environment_holds_no_key,
    _aliases_are_names,
)
