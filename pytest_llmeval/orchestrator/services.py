"""The daemon as a service of the system, which starts it at boot: planned, written, installed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pytest_llmeval.atomic import replacing
from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.home import VARIABLE, Home, find_home
from pytest_llmeval.orchestrator.service_files import (
    ServiceFacts,
    launchd_plist,
    nssm_script,
    systemd_unit,
    task_xml,
)

Kind = Literal["systemd", "launchd", "task-scheduler", "nssm"]

Run = Callable[[Sequence[str]], "tuple[int, str]"]
"""Run a program to its end: its exit status, and what it wrote."""

CARRIED = (
    "PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
)
"""Variables that decide which program runs on what; a service has none of ours by itself."""

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters, halves of characters, and what XML does not have."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command that installs; one that `may_fail` only clears the way."""

    command: tuple[str, ...]
    may_fail: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A file, where it belongs, what installs it, and what its user should know."""

    kind: Kind
    path: Path
    text: str
    encoding: str
    steps: tuple[Step, ...]
    advice: tuple[str, ...]


def default_kind(system: str) -> Kind:
    """What this system (`sys.platform`) starts services with."""
    kinds: dict[str, Kind] = {"linux": "systemd", "darwin": "launchd", "win32": "task-scheduler"}
    if system not in kinds:
        raise OrchestratorError(
            f"it is not known how {system} starts services: name one with --kind "
            f"({', '.join(get_args(Kind))})"
        )
    return kinds[system]


def service_name(home: Home, own: Home) -> str:
    """The name of a home's service; another than that of the user's own home has its mark."""
    if home == own:
        return "llama-orch"
    return f"llama-orch-{hashlib.sha256(str(home.root).encode()).hexdigest()[:8]}"


def service_facts(
    home: Home,
    *,
    program: Sequence[str],
    user: str,
    environment: Mapping[str, str],
    names: Iterable[str] = (),
) -> ServiceFacts:
    """What a service of this home is made of.

    `program` is llama-orch as a command; `names` are further variables that it needs, such as
    those in paths of configs. Raises OrchestratorError when something holds a character that no
    service's file can.
    """
    own = find_home(None, {name: text for name, text in environment.items() if name != VARIABLE})
    wanted = dict.fromkeys((*CARRIED, *names))
    variables = {name: environment[name] for name in wanted if environment.get(name)}
    variables[VARIABLE] = str(home.root)
    command = (*program, "--home", str(home.root), "daemon", "run")
    for text in (*command, *variables.values(), user):
        if _UNWRITABLE.search(text):
            raise OrchestratorError(f"{text!r} holds a character that no service's file can hold")
    log = home.logs / "service.log"
    return ServiceFacts(service_name(home, own), command, variables, user, log)


def plan_service(
    kind: Kind, facts: ServiceFacts, home: Home, *, user_home: Path, user_id: int, config_home: Path
) -> Service:
    """The service of a kind. `config_home` is where systemd looks for what is the user's."""
    name = facts.name
    if kind == "systemd":
        path = config_home / "systemd" / "user" / f"{name}.service"
        return Service(kind, path, systemd_unit(facts), "utf-8", *_systemd(name, path, facts.user))
    if kind == "launchd":
        path = user_home / "Library" / "LaunchAgents" / f"{name}.plist"
        return Service(kind, path, launchd_plist(facts), "utf-8", *_launchd(name, path, user_id))
    if kind == "task-scheduler":
        path = home.root / f"{name}.xml"
        return Service(kind, path, task_xml(facts), "utf-16", *_task(name, path))
    path = home.root / f"{name}.cmd"
    return Service(kind, path, nssm_script(facts), "utf-8", *_nssm(name, path))


ONE_DAEMON = "a daemon that runs already keeps the service's from starting: llama-orch daemon stop"

_How = tuple[tuple[Step, ...], tuple[str, ...]]


def _systemd(name: str, path: Path, user: str) -> _How:
    control = ("systemctl", "--user")
    steps = (
        Step((*control, "daemon-reload")),
        Step((*control, "enable", "--now", f"{name}.service")),
    )
    advice = (
        ONE_DAEMON,
        f"so that it starts at boot, and not when you log in: loginctl enable-linger {user}",
        (
            "a variable that holds a key (server.api_key_env) goes into a file of "
            "~/.config/environment.d, never into the unit"
        ),
        f"look at it: systemctl --user status {name}, journalctl --user -u {name}",
        f"take it away: systemctl --user disable --now {name} && rm '{path}'",
    )
    return steps, advice


def _launchd(name: str, path: Path, user_id: int) -> _How:
    domain = f"gui/{user_id}"
    steps = (
        Step(("launchctl", "bootout", f"{domain}/{name}"), may_fail=True),
        Step(("launchctl", "bootstrap", domain, str(path))),
    )
    advice = (
        ONE_DAEMON,
        "it starts when you log in; macOS starts nobody's own programs before",
        (
            "a variable that holds a key (server.api_key_env) goes into EnvironmentVariables, and "
            "the file must then be yours alone: chmod 600"
        ),
        f"look at it: launchctl print {domain}/{name}",
        f"take it away: launchctl bootout {domain}/{name} && rm '{path}'",
    )
    return steps, advice


def _task(name: str, path: Path) -> _How:
    steps = (
        Step(("schtasks", "/Create", "/TN", name, "/XML", str(path), "/F")),
        Step(("schtasks", "/Run", "/TN", name)),
    )
    advice = (
        ONE_DAEMON,
        "only an administrator may have something started at boot: do it in a prompt of one",
        (
            "a task has the variables of your account alone, such as setx sets: PATH, and any that "
            "holds a key (server.api_key_env)"
        ),
        f"look at it: schtasks /Query /TN {name} /V /FO LIST",
        f"take it away: schtasks /Delete /TN {name}",
    )
    return steps, advice


def _nssm(name: str, path: Path) -> _How:
    steps = (Step(("cmd", "/d", "/c", str(path))),)
    advice = (
        ONE_DAEMON,
        "it needs NSSM on PATH (winget install NSSM.NSSM), and an administrator's prompt",
        (
            "the service runs as LocalSystem, which has its own variables and not your drives: "
            f"nssm set {name} ObjectName .\\USER PASSWORD makes it yours"
        ),
        (
            f"a variable that holds a key (server.api_key_env): nssm set {name} "
            "AppEnvironmentExtra +NAME=KEY"
        ),
        f"take it away: nssm stop {name} && nssm remove {name} confirm",
    )
    return steps, advice


def write_service(service: Service, path: Path | None = None) -> Path:
    """Write its file, to where it belongs unless another `path` is given; gives where it is."""
    target = path or service.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            file.write(service.text.encode(service.encoding))
    except OSError as error:
        raise OrchestratorError(
            f"{target}: cannot be written: {error.strerror or error}; name another place with --to"
        ) from error
    return target


def install_service(service: Service, home: Home, run: Run) -> None:
    """Write its file where it belongs, and have the system take it.

    Raises OrchestratorError with what the system's own program said.
    """
    write_service(service)
    try:
        home.logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OrchestratorError(
            f"{home.logs}: cannot be made: {error.strerror or error}; {service.path} is written, "
            "and nothing is installed"
        ) from error
    for step in service.steps:
        shown = " ".join(step.command)
        try:
            status, output = run(step.command)
        except OSError as error:
            raise OrchestratorError(
                f"`{shown}` cannot be run: {error.strerror or error}; {service.path} is written, "
                "and nothing is installed"
            ) from error
        if status and not step.may_fail:
            said = output.strip() or f"exit status {status}"
            raise OrchestratorError(
                f"`{shown}` failed: {said}\n{service.path} is written, and may not be installed"
            )
