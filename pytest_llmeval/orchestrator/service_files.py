"""What tells each system to run the daemon at boot: files as pure functions of facts.

Each escapes whatever paths and variables may hold, and every one starts the daemon in the
foreground: the system itself watches over it, and starts it again when it dies.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pytest_llmeval.errors import OrchestratorError

RESTART_SECONDS = 5
STOP_SECONDS = 60
"""A daemon that is asked to end stops all servers first, and each of them in its own time."""

_TASKS = "http://schemas.microsoft.com/windows/2004/02/mit/task"


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What a service is made of.

    `name` is different for each home, `command` runs the daemon in the foreground, `variables` are
    what it needs of our environment. `user` is whose service it is, on Windows with the domain;
    what it prints before it has a log of its own goes to `log`.
    """

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    user: str
    log: Path

    @property
    def description(self) -> str:
        """What systems show their users."""
        return "llama-orch: keeps local model servers running"


def systemd_unit(facts: ServiceFacts) -> str:
    """A unit of the user's own systemd; raises OrchestratorError for a program it would refuse."""
    program, *arguments = facts.command
    if re.search(r"[\"'\\]", program):
        raise OrchestratorError(
            f"{program}: systemd starts no program whose path holds a quote or a backslash; "
            "install into a folder without"
        )
    # Of the program's path systemd replaces no variables, of its arguments it does.
    words = [_systemd_quoted(program), *(_systemd_quoted(each, "$") for each in arguments)]
    variables = [
        f"Environment={_systemd_quoted(f'{name}={value}')}"
        for name, value in facts.variables.items()
    ]
    lines = [
        "[Unit]",
        f"Description={facts.description}",
        "StartLimitIntervalSec=600",
        "StartLimitBurst=5",
        "",
        "[Service]",
        "Type=exec",
        *variables,
        f"ExecStart={' '.join(words)}",
        "Restart=on-failure",
        f"RestartSec={RESTART_SECONDS}",
        "# The daemon alone is asked to end; it stops the servers in order.",
        "KillMode=mixed",
        f"TimeoutStopSec={STOP_SECONDS}",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def _systemd_quoted(text: str, doubled: str = "") -> str:
    """A word of a unit file: `%` would begin a specifier, and `doubled` what else stands twice."""
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    for character in f"%{doubled}":
        escaped = escaped.replace(character, character * 2)
    return f'"{escaped}"'


def launchd_plist(facts: ServiceFacts) -> str:
    """An agent of the user's own launchd."""
    agent = {
        "Label": facts.name,
        "ProgramArguments": list(facts.command),
        "EnvironmentVariables": dict(facts.variables),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RESTART_SECONDS,
        "ExitTimeOut": STOP_SECONDS,
        "StandardOutPath": str(facts.log),
        "StandardErrorPath": str(facts.log),
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def task_xml(facts: ServiceFacts) -> str:
    """A task of Windows' Task Scheduler, which starts at boot and when its user logs on.

    It runs without a window and without the user's password (S4U).
    """
    program, *arguments = facts.command
    restart = {"Interval": "PT1M", "Count": "3"}
    settings: _Tree = {
        "MultipleInstancesPolicy": "IgnoreNew",
        "DisallowStartIfOnBatteries": "false",
        "StopIfGoingOnBatteries": "false",
        "StartWhenAvailable": "true",
        "ExecutionTimeLimit": "PT0S",  # none: three days would be the default
        "Priority": "5",  # that of programs the user starts; 7, the default, is below
        "RestartOnFailure": restart,
    }
    task: _Tree = {
        "RegistrationInfo": {"Description": facts.description},
        "Triggers": {"BootTrigger": {"Enabled": "true"}, "LogonTrigger": {"UserId": facts.user}},
        "Principals": {
            "Principal": {"UserId": facts.user, "LogonType": "S4U", "RunLevel": "LeastPrivilege"}
        },
        "Settings": settings,
        "Actions": {"Exec": {"Command": program, "Arguments": windows_command_line(arguments)}},
    }
    root = ElementTree.Element("Task", {"version": "1.2", "xmlns": _TASKS})
    _grow(root, task)
    root.find("Principals/Principal").set("id", "Owner")  # type: ignore[union-attr] # just made
    root.find("Actions").set("Context", "Owner")  # type: ignore[union-attr] # just made
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'


_Tree = Mapping[str, "str | _Tree"]


def _grow(element: ElementTree.Element, tree: _Tree) -> None:
    for name, inner in tree.items():
        child = ElementTree.SubElement(element, name)
        if isinstance(inner, str):
            child.text = inner
        else:
            _grow(child, inner)


def nssm_script(facts: ServiceFacts) -> str:
    """A batch file that makes a Windows service of the daemon with NSSM."""
    program, *arguments = facts.command
    # NSSM joins what it is given with spaces, so that the arguments are given to it as one.
    parameters = windows_command_line(arguments)
    variables = [f"{name}={value}" for name, value in facts.variables.items()]
    commands = [
        ("install", facts.name, program),
        ("set", facts.name, "AppParameters", parameters),
        *([("set", facts.name, "AppEnvironmentExtra", *variables)] if variables else []),
        ("set", facts.name, "Description", facts.description),
        ("set", facts.name, "AppExit", "Default", "Restart"),
        ("set", facts.name, "AppThrottle", "1500"),
        ("set", facts.name, "AppStopMethodConsole", str(STOP_SECONDS * 1000)),
        ("set", facts.name, "AppStdout", str(facts.log)),
        ("set", facts.name, "AppStderr", str(facts.log)),
        ("set", facts.name, "Start", "SERVICE_AUTO_START"),
        ("start", facts.name),
    ]
    lines = [
        "@echo off",
        "chcp 65001 >nul",
        "rem One that is there already makes way.",
        f"nssm stop {facts.name} >nul 2>nul",
        f"nssm remove {facts.name} confirm >nul 2>nul",
        *map(_batch_line, commands),
    ]
    return "\r\n".join(lines) + "\r\n"


def _batch_line(command: Sequence[str]) -> str:
    r"""A line that gives NSSM exactly these arguments, whatever they hold.

    Quotes are escaped too, so that cmd never takes anything for quoted: it does not know `\"`.
    """
    line = windows_command_line(command)
    escaped = re.sub(r'([()^&|<>"!])', r"^\1", line).replace("%", "%%")
    return f"nssm {escaped} || exit /b 1"


def windows_command_line(arguments: Sequence[str]) -> str:
    """Arguments as the one text that Windows hands to a program, which takes it apart again."""
    return " ".join(map(_windows_argument, arguments))


def _windows_argument(text: str) -> str:
    r"""Quoted where need be. Backslashes count as themselves except before a quote: `\"`."""
    if text and not re.search(r'[\s"]', text):
        return text
    escaped = re.sub(r'(\\*)"', r"\1\1\\" + '"', text)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'
