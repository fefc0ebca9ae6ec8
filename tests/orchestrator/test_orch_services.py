"""What starts the daemon at boot: whatever paths hold, each system reads what was meant."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator import daemon
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.service_files import (
    ServiceFacts,
    launchd_plist,
    nssm_script,
    systemd_unit,
    task_xml,
    windows_command_line,
)
from pytest_llmeval.orchestrator.services import (
    Kind,
    Service,
    default_kind,
    install_service,
    plan_service,
    service_facts,
    service_name,
    write_service,
)

#: What paths and values may hold: all but what is refused.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1)
NASTY = 'C:\\a b\\100%PATH%\\%h & <"it\'s"> $HOME ^|!(;) ü\\'


def facts_of(*texts: str, program: str = "/usr/bin/python3") -> ServiceFacts:
    """Facts with these texts as arguments and as values of variables."""
    variables = {f"V{number}": text for number, text in enumerate(texts)}
    command = (program, "-m", "x", *texts, "daemon", "run")
    return ServiceFacts("llama-orch", command, variables, "dömain\\user", Path("/l/service.log"))


# systemd ------------------------------------------------------------------------------------------


def systemd_words(text: str, *, variables: bool) -> list[str]:
    """What systemd makes of a line: words taken apart, then specifiers, then variables."""
    words: list[str] = []
    for word in shlex.split(text):  # in double quotes `\\` and `\"`, as POSIX shells read them
        assert re.fullmatch(r"([^%]|%%)*", word), "a specifier"
        plain = word.replace("%%", "%")
        if variables and words:  # of the program's own path it replaces none
            assert re.fullmatch(r"([^$]|\$\$)*", plain), "a variable"
            plain = plain.replace("$$", "$")
        words.append(plain)
    return words


@given(TEXTS)
@example(NASTY)
def test_systemd_reads_back_every_argument_and_variable(text: str) -> None:
    facts = facts_of(text, "x")
    # Of Unicode's line ends systemd knows none but "\n".
    lines = systemd_unit(facts).split("\n")
    start = next(line for line in lines if line.startswith("ExecStart="))
    assert systemd_words(start.removeprefix("ExecStart="), variables=True) == list(facts.command)
    told = [line.removeprefix("Environment=") for line in lines if line.startswith("Environ")]
    found = dict(systemd_words(line, variables=False)[0].split("=", 1) for line in told)
    assert found == facts.variables


def test_systemd_watches_the_daemon_and_has_it_stop_its_servers() -> None:
    unit = systemd_unit(facts_of("x"))
    for line in ("Restart=on-failure", "KillMode=mixed", "WantedBy=default.target", "Type=exec"):
        assert line in unit.splitlines()


def test_a_program_that_systemd_would_refuse_is_refused_before() -> None:
    with pytest.raises(OrchestratorError, match="systemd starts no program whose path holds a quo"):
        systemd_unit(facts_of("x", program="/it's/python"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "a b %h $HOME &"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    unit = tmp_path / "llama-orch.service"
    facts = facts_of(NASTY, str(folder), program=str(folder / "python"))
    unit.write_text(systemd_unit(facts), encoding="utf-8", newline="\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],  # on PATH
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert unit.name not in said  # of other units it may say what it likes


# launchd ------------------------------------------------------------------------------------------


@given(TEXTS)
@example(NASTY)
def test_launchd_reads_back_every_argument_and_variable(text: str) -> None:
    facts = facts_of(text)
    agent = plistlib.loads(launchd_plist(facts).encode())
    assert agent["ProgramArguments"] == list(facts.command)
    assert agent["EnvironmentVariables"] == facts.variables
    assert agent["RunAtLoad"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


# Windows ------------------------------------------------------------------------------------------


@given(st.lists(TEXTS, min_size=1, max_size=4))
@example([NASTY, "", "a\\", "a b\\", 'a\\"b', "a\\\\ b"])
def test_windows_takes_a_command_line_apart_into_the_same_arguments(arguments: list[str]) -> None:
    assert windows_arguments(windows_command_line(arguments)) == arguments


def windows_arguments(line: str) -> list[str]:
    """What CommandLineToArgvW makes of a line: `2n` backslashes and a quote are n and a quote."""
    arguments: list[str] = []
    current, quoted, begun, position = "", False, False, 0
    while position < len(line):
        run = re.match(r'(\\*)("?)', line[position:])
        assert run is not None
        if run[2]:
            current += run[1][: len(run[1]) // 2]
            if len(run[1]) % 2:
                current += '"'
            else:
                quoted = not quoted
            begun, position = True, position + run.end()
        elif run[1]:
            current, begun, position = current + run[1], True, position + run.end()
        elif line[position] in " \t" and not quoted:
            arguments, current, begun = [*arguments, current] if begun else arguments, "", False
            position += 1
        else:
            current, begun, position = current + line[position], True, position + 1
    return [*arguments, current] if begun else arguments


@given(TEXTS)
@example(NASTY)
def test_the_task_scheduler_reads_back_every_argument(text: str) -> None:
    facts = facts_of(text, program=f"C:\\{text}\\python.exe")
    task = ElementTree.fromstring(task_xml(facts).encode("utf-16"))
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}

    def said(path: str) -> str | None:
        return task.findtext(path.replace("/", "/t:"), namespaces=space)

    assert said("./Actions/Exec/Command") == facts.command[0]
    assert windows_arguments(said("./Actions/Exec/Arguments") or "") == list(facts.command[1:])
    assert said("./Settings/RestartOnFailure/Interval") == "PT1M"
    assert said("./Settings/RestartOnFailure/Count") == "3"
    assert said("./Triggers/LogonTrigger/UserId") == facts.user
    assert task.find("t:Triggers/t:BootTrigger", space) is not None
    assert said("./Settings/ExecutionTimeLimit") == "PT0S"


def batch_words(line: str) -> list[str]:
    """What cmd hands to a program: `%%` is one, and `^` takes a character as it is."""
    assert re.fullmatch(r"([^%]|%%)*", line), "a variable"
    plain, escaped = "", False
    for character in line.replace("%%", "%"):
        if not escaped and character == "^":
            escaped = True
            continue
        assert escaped or character not in '"&|<>', "something that cmd would act on"
        plain, escaped = plain + character, False
    return windows_arguments(plain)


@given(TEXTS)
@example(NASTY)
def test_nssm_is_given_every_argument_and_variable(text: str) -> None:
    facts = facts_of(text, "x y", program=f"C:\\{text}\\python.exe")
    lines = nssm_script(facts).split("\r\n")
    ending = " || exit /b 1"
    calls = [batch_words(line.removesuffix(ending)) for line in lines if line.endswith(ending)]
    assert ["nssm", "install", "llama-orch", facts.command[0]] in calls
    settings = {call[3]: call[4:] for call in calls if call[1] == "set"}
    assert windows_arguments(settings["AppParameters"][0]) == list(facts.command[1:])
    given_variables = dict(each.split("=", 1) for each in settings["AppEnvironmentExtra"])
    assert given_variables == facts.variables
    assert settings["AppExit"] == ["Default", "Restart"]
    assert settings["AppThrottle"] == ["1500"]


# What a service is made of ------------------------------------------------------------------------


def facts_here(home: Home, environment: Mapping[str, str], *names: str) -> ServiceFacts:
    return service_facts(
        home, program=("/p/llama-orch",), user="me", environment=environment, names=names
    )


def test_the_daemon_is_run_in_the_foreground_with_its_home(tmp_path: Path) -> None:
    facts = facts_here(Home(tmp_path), {})
    assert facts.command == ("/p/llama-orch", "--home", str(tmp_path), "daemon", "run")


def test_of_the_environment_only_what_is_needed_goes_along(tmp_path: Path) -> None:
    environment = {"PATH": "/b", "MODELS": "/m", "MY_API_KEY": "secret", "CUDA_VISIBLE_DEVICES": ""}
    facts = facts_here(Home(tmp_path), environment, "MODELS", "UNSET")
    assert facts.variables == {"PATH": "/b", "MODELS": "/m", "LLAMA_ORCH_HOME": str(tmp_path)}


def test_the_services_of_two_homes_have_two_names(tmp_path: Path) -> None:
    own = Home(tmp_path / "own")
    assert service_name(own, own) == "llama-orch"
    names = {service_name(Home(tmp_path / each), own) for each in "abc"}
    assert len(names) == 3
    assert all(re.fullmatch(r"llama-orch-[0-9a-f]{8}", name) for name in names)


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "a\udcffb", "a\uffffb", "a\x85b"])
def test_what_no_file_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OrchestratorError, match="holds a character that no service's file can"):
        facts_here(Home(tmp_path / name), {})


@pytest.mark.parametrize(
    ("system", "kind"),
    [("linux", "systemd"), ("darwin", "launchd"), ("win32", "task-scheduler")],
)
def test_each_system_has_its_own(system: str, kind: Kind) -> None:
    assert default_kind(system) == kind


def test_an_unknown_system_is_asked_for_one() -> None:
    words = r"starts services: name one with --kind \(systemd, launchd, task-scheduler, nssm\)"
    with pytest.raises(OrchestratorError, match=words):
        default_kind("plan9")


# Writing and installing ---------------------------------------------------------------------------


def plan(tmp_path: Path, kind: Kind) -> tuple[Service, Home]:
    home = Home(tmp_path / "home")
    facts = facts_here(home, {"PATH": "/b"})
    service = plan_service(
        kind,
        facts,
        home,
        user_home=tmp_path / "user",
        user_id=501,
        config_home=tmp_path / "user" / ".config",
    )
    return service, home


@pytest.mark.parametrize(
    ("kind", "place", "commands", "words"),
    [
        (
            "systemd",
            "user/.config/systemd/user/NAME.service",
            ["systemctl --user daemon-reload", "systemctl --user enable --now NAME.service"],
            "loginctl enable-linger me",
        ),
        (
            "launchd",
            "user/Library/LaunchAgents/NAME.plist",
            ["launchctl bootout gui/501/NAME", "launchctl bootstrap gui/501 PATH"],
            "it starts when you log in",
        ),
        (
            "task-scheduler",
            "home/NAME.xml",
            ["schtasks /Create /TN NAME /XML PATH /F", "schtasks /Run /TN NAME"],
            "only an administrator may have something started at boot",
        ),
        ("nssm", "home/NAME.cmd", ["cmd /d /c PATH"], "it needs NSSM on PATH"),
    ],
)
def test_installing_writes_the_file_and_has_the_system_take_it(
    tmp_path: Path, kind: Kind, place: str, commands: list[str], words: str
) -> None:
    service, home = plan(tmp_path, kind)
    name = service.path.stem
    path = tmp_path / place.replace("NAME", name)
    ran: list[str] = []

    def run(command: Sequence[str]) -> tuple[int, str]:
        assert path.exists()
        ran.append(" ".join(command))
        return 0, ""

    install_service(service, home, run)
    assert service.path == path
    assert ran == [each.replace("NAME", name).replace("PATH", str(path)) for each in commands]
    assert words in "\n".join(service.advice)
    written = path.read_bytes()
    assert written.decode(service.encoding) == service.text
    assert (kind == "task-scheduler") == (written[:2] in {b"\xff\xfe", b"\xfe\xff"})


def test_what_only_clears_the_way_may_fail(tmp_path: Path) -> None:
    service, home = plan(tmp_path, "launchd")
    install_service(service, home, lambda command: (int("bootout" in command), "no such service"))


def test_what_the_system_says_is_told_when_it_does_not_take_it(tmp_path: Path) -> None:
    service, home = plan(tmp_path, "systemd")
    with pytest.raises(OrchestratorError) as caught:
        install_service(service, home, lambda _: (1, "Failed to connect to bus\n"))
    assert str(caught.value) == (
        "`systemctl --user daemon-reload` failed: Failed to connect to bus\n"
        f"{service.path} is written, and may not be installed"
    )


def test_a_system_without_its_program_is_told(tmp_path: Path) -> None:
    service, home = plan(tmp_path, "launchd")

    def run(command: Sequence[str]) -> tuple[int, str]:
        raise FileNotFoundError(2, "No such file or directory", command[0])

    with pytest.raises(OrchestratorError, match="cannot be run: No such file or directory; "):
        install_service(service, home, run)


def test_a_file_can_be_written_elsewhere(tmp_path: Path) -> None:
    service, _ = plan(tmp_path, "systemd")
    there = tmp_path / "x" / "y.service"
    assert write_service(service, there) == there
    assert there.read_text(encoding="utf-8") == service.text
    assert not service.path.exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    service, _ = plan(tmp_path, "systemd")
    (tmp_path / "x").write_text("", encoding="utf-8", newline="\n")
    with pytest.raises(OrchestratorError, match=r"cannot be written: .*; name another place with"):
        write_service(service, tmp_path / "x" / "y")


# The real thing -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no unit names a program of Windows")
def test_the_daemon_runs_as_the_unit_says_with_nothing_but_what_stands_in_it(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "a home: 100%h $HOME & <x>")
    program = (sys.executable, "-m", "pytest_llmeval.commands.llama_orch")
    facts = service_facts(home, program=program, user="me", environment=os.environ)
    lines = systemd_unit(facts).split("\n")
    told = [line.removeprefix("Environment=") for line in lines if line.startswith("Environ")]
    environment = dict(systemd_words(line, variables=False)[0].split("=", 1) for line in told)
    start = next(line for line in lines if line.startswith("ExecStart="))
    command = systemd_words(start.removeprefix("ExecStart="), variables=True)
    home.root.mkdir()
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        try:
            while daemon.running(home) is None:
                assert process.poll() is None, "the daemon has ended"
                time.sleep(0.05)
            daemon.stop(home)
            assert process.wait() == 0  # so that systemd does not start it again
        finally:
            process.kill()
