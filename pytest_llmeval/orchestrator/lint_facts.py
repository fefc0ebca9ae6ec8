"""What a config is held against: the model's file, the program, the port, the log's folder."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.errors import ModelFileError, ServerStartError
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.configs import LoadedInstance
from pytest_llmeval.orchestrator.estimates import Estimate, estimate_instance
from pytest_llmeval.orchestrator.home import Home, cache_folder
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.sight import Sight, look_for
from pytest_llmeval.orchestrator.specs import log_folder
from pytest_llmeval.servers.command import find_executable
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.gguf_facts import GgufHeader
from pytest_llmeval.servers.ports import describe_listener, is_free

Look = Callable[[InstanceConfig], Sight]
"""Looks at devices and memory with an instance's eyes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, the same for all instances."""

    system: str
    environment: Mapping[str, str]
    look: Look


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about one instance; a `problem` is None where all is well.

    `estimate` is of the memory it will need, None where the model cannot be read; `sight` is what
    is free, None where there is no program to ask. `runs` tells that its server lives,
    `started_with` the fingerprint of the config that it was started with. `port_holder` is who else
    listens on its port, in words.
    """

    header: GgufHeader | None
    model_problem: str | None
    program_problem: str | None
    host_problem: str | None
    port_holder: str | None
    log_problem: str | None
    estimate: Estimate | None
    sight: Sight | None
    runs: bool
    started_with: str | None


def this_machine(environment: Mapping[str, str]) -> Machine:
    """The machine as it is now; devices are those that llama-server lists, asked only once."""
    known = KnownDevices(cache_folder())
    return Machine(
        sys.platform, environment, lambda config: look_for(config, environment, known.of)
    )


def find_facts(
    instance: LoadedInstance, home: Home, machine: Machine, row: InstanceRow | None
) -> Facts:
    """Look at everything that an instance needs; nothing is started, and nothing stays behind.

    `row` is what the daemon knows of it.
    """
    config = instance.config
    header, model_problem = _model(Path(config.model.path))
    program_problem = _program_problem(config, machine.environment)
    runs = row is not None and row.server is not None and row.server.lives()
    holds = row.port if row is not None and runs else None
    host_problem = _host_problem(config.server.host)
    return Facts(
        header=header,
        model_problem=model_problem,
        program_problem=program_problem,
        host_problem=host_problem,
        port_holder=None if host_problem else _port_holder(config, holds),
        log_problem=_folder_problem(log_folder(config, home)),
        estimate=_estimate(config, header, machine.environment),
        sight=None if program_problem else machine.look(config),
        runs=runs,
        started_with=row.fingerprint if row is not None and runs else None,
    )


def _model(path: Path) -> tuple[GgufHeader | None, str | None]:
    try:
        return read_gguf(path), None
    except ModelFileError as problem:
        return None, problem.message


def _estimate(
    config: InstanceConfig, header: GgufHeader | None, environment: Mapping[str, str]
) -> Estimate | None:
    return None if header is None else estimate_instance(config, header, environment)


def _program_problem(config: InstanceConfig, environment: Mapping[str, str]) -> str | None:
    if config.server.engine == "embedded":
        if importlib.util.find_spec("xllamacpp") is None:
            return (
                "the embedded engine needs the package xllamacpp, which is not installed. "
                'Install it with: pip install "pytest-llmeval-local[embedded]"'
            )
        return None
    search_path = environment.get("PATH", os.defpath)
    try:
        find_executable(config.server.executable, search_path, model=Path(config.model.path).name)
    except ServerStartError as problem:
        return problem.message
    return None


def _host_problem(host: str) -> str | None:
    """Why nobody can listen there, whatever the port."""
    try:
        is_free(host, 0)
    except OSError as problem:
        return problem.strerror or str(problem)
    return None


def _port_holder(config: InstanceConfig, holds: int | None) -> str | None:
    """Who listens on the port that the config asks for, unless its own server does."""
    host, port = config.server.host, config.server.port
    if port == "auto" or port == holds or is_free(host, port):  # noqa: PLR1714 # mypy sees it so
        return None
    return describe_listener(port) or "another program"


def _folder_problem(folder: Path) -> str | None:
    """Why no file can be written there, found out by writing one; nothing stays behind.

    A folder that is not there yet will be made: then the nearest one around it counts.
    """
    there = next((each for each in (folder, *folder.parents) if os.path.exists(each)), folder)  # noqa: PTH110 # never raises
    if not there.is_dir():
        return f"{there} is no folder"
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"x")
    except OSError as problem:
        return f"{there} cannot be written to: {problem.strerror or problem}"
    return None
