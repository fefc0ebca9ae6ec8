"""What `llama-orch config lint` finds on a machine, by its words."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import InstanceConfigError
from pytest_llmeval.machine.devices import Device
from pytest_llmeval.orchestrator.autostart import write_autostart
from pytest_llmeval.orchestrator.configs import fingerprint, load_instance
from pytest_llmeval.orchestrator.findings import Finding, summary
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.lint import lint, validate
from pytest_llmeval.orchestrator.lint_facts import Machine
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.sight import Sight
from pytest_llmeval.servers.identity import identity_of

MODELS = Path(__file__).resolve().parents[2] / "models"
CUDA = Device("CUDA0", "a card", 2**40, 2**40)
PLENTY = Sight((CUDA, replace(CUDA, name="Vulkan0"), replace(CUDA, name="Metal")), 2**40)

Lint = Callable[..., list[str]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small one, trained for 1,024 tokens."""
    shutil.copyfile(MODELS / "tiny-l.gguf", tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


@pytest.fixture
def write(home: Home, model: Path) -> Callable[..., Path]:
    """Writes the config of an instance that nothing is wrong with, but for what is given."""

    def write(name: str, rest: str = "", **keys: Any) -> Path:
        path = home.instances / name / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {"path": f"'{model}'", "context_size": 1024, **keys}
        inside = ", ".join(f"{key}: {value}" for key, value in settings.items())
        text = f"model: {{{inside}}}\n{rest}"
        if "engine:" not in rest and "executable:" not in rest and "server:" not in rest:
            text += f"\nserver: {{executable: '{sys.executable}'}}"
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        return path

    return write


def look(
    home: Home,
    environment: Mapping[str, str] | None = None,
    rows: Mapping[str, InstanceRow] | None = None,
    *,
    system: str = "linux",
    sight: Sight = PLENTY,
) -> list[Finding]:
    environment = {"PATH": os.defpath} if environment is None else environment
    return list(
        lint(home, environment, rows or {}, lambda known: Machine(system, known, lambda _: sight))
    )


def said(*arguments: Any, **keywords: Any) -> list[str]:
    """What is found, as `severity instance: message. way out`."""
    found = look(*arguments, **keywords)
    return [f"{each.severity} {each.instance or '-'}: {each.text}" for each in found]


def test_nothing_is_found_where_all_is_well(home: Home, write: Callable[..., Path]) -> None:
    write("a")
    assert look(home) == []
    assert summary([]) == "nothing found"


def test_looking_leaves_nothing_behind(home: Home, write: Callable[..., Path]) -> None:
    write("a")
    before = sorted(home.root.rglob("*"))
    look(home)
    assert sorted(home.root.rglob("*")) == before


def test_mistakes_in_files_are_told_one_by_one_with_their_lines(
    home: Home, write: Callable[..., Path]
) -> None:
    path = write("a", "gpu: {layers: x}\nargz: []")
    found = look(home)
    assert [(each.line, each.rule, each.severity) for each in found] == [
        (2, "config", "error"),
        (3, "config", "error"),
    ]
    assert found[1].place == f"{path}:3"
    assert found[1].text.startswith("unknown key 'argz'; did you mean 'args'?")


# The model ----------------------------------------------------------------------------------------


def test_a_model_that_is_not_there(home: Home, write: Callable[..., Path], model: Path) -> None:
    write("a")
    model.unlink()
    assert said(home) == [f"error a: {model}: there is no such file"]


def test_a_model_that_is_no_gguf(home: Home, write: Callable[..., Path], model: Path) -> None:
    write("a")
    model.write_text("<html>", encoding="utf-8", newline="\n")
    assert said(home) == [
        f"error a: {model}: is no GGUF: it is a web page: the download did not give the file itself"
    ]


def test_a_model_that_is_cut_short(home: Home, write: Callable[..., Path], model: Path) -> None:
    write("a")
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    (line,) = said(home)
    assert line.startswith(f"error a: {model}: is truncated or damaged: it has {len(whole) // 2:,}")
    assert line.endswith("Fetch it again, and let the download finish")


def test_more_context_than_the_model_was_trained_for(
    home: Home, write: Callable[..., Path]
) -> None:
    write("a", f"server: {{parallel: 3, executable: '{sys.executable}'}}", context_size=4096)
    assert said(home) == [
        (
            "error a: 4,096 tokens of context in each of 3 slots, and the model was trained for "
            "1,024: llama-server gives no more, so that it would not come up. Set "
            "model.context_size to 1024 or less, or "
            "stretch it with args"
        )
    ]


def test_it_is_the_context_of_a_slot_that_counts(home: Home, write: Callable[..., Path]) -> None:
    write("a", f"server: {{parallel: 8, executable: '{sys.executable}'}}")
    assert look(home) == []


def test_a_context_that_is_stretched_is_meant(home: Home, write: Callable[..., Path]) -> None:
    write("a", "args: [--rope-scaling, yarn]", context_size=4096)
    assert look(home) == []


def test_embeddings_of_a_model_that_writes(home: Home, write: Callable[..., Path]) -> None:
    write("a", embeddings="true")
    write("b", "args: [--pooling, mean]", embeddings="true")
    assert said(home) == [
        (
            "warning a: embeddings: true, but the model does not say how it pools: it was made to "
            "write. Use a model made for embeddings, or say how: args: [--pooling, mean]"
        )
    ]


# Program, key, backend ----------------------------------------------------------------------------


def test_a_program_that_is_not_there(home: Home, write: Callable[..., Path]) -> None:
    write("a", "server: {executable: llama-server-x}")
    (line,) = said(home, {"PATH": str(home.root)})
    assert line.startswith("error a: model m.gguf needs llama-server, but no executable")
    assert "`llama-server-x` in the 1 folders of PATH" in line


def test_the_embedded_engine_needs_no_program(home: Home, write: Callable[..., Path]) -> None:
    write("a", "server: {engine: embedded}")
    assert look(home) == []


@pytest.mark.parametrize(
    ("environment", "state"), [({}, "not set"), ({"MY_KEY": ""}, "empty"), ({"MY_KEY": "x"}, None)]
)
def test_a_key_s_variable(
    home: Home, write: Callable[..., Path], environment: dict[str, str], state: str | None
) -> None:
    write("a", f"server: {{host: 0.0.0.0, api_key_env: MY_KEY, executable: '{sys.executable}'}}")
    wanted = [
        (
            f"warning a: the variable MY_KEY, which is to hold the key, is {state} here. It must "
            "be set where the daemon is started, else the instance does not start"
        )
    ]
    assert said(home, environment) == (wanted if state else [])


@pytest.mark.parametrize(
    ("backend", "system", "words"),
    [
        ("metal", "linux", "there is no metal on this system. Set gpu.backend to cuda, vulkan or"),
        ("cuda", "darwin", "there is no cuda on macOS. Set gpu.backend to metal, or to cpu"),
        ("vulkan", "darwin", None),
        ("metal", "darwin", None),
        ("cuda", "win32", None),
    ],
)
def test_a_backend_that_the_system_has_not(
    home: Home, write: Callable[..., Path], backend: str, system: str, words: str | None
) -> None:
    write("a", f"gpu: {{backend: {backend}}}")
    found = said(home, system=system)
    assert len(found) == (words is not None)
    assert all(line.startswith(f"error a: {words}") for line in found)


# Ports --------------------------------------------------------------------------------------------


def test_a_port_that_is_taken(home: Home, write: Callable[..., Path]) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        write("a", f"server: {{port: {port}, executable: '{sys.executable}'}}")
        (line,) = said(home)
        assert line.startswith(f"error a: port {port} is taken by ")
        assert line.endswith("Stop that, or set server.port to another number or to auto")
        # By that very instance it may be.
        ours = InstanceRow("a", server=identity_of(os.getpid()), port=port)
        assert said(home, rows={"a": ours}) == []
        ended = InstanceRow("a", server=None, port=port)
        assert len(said(home, rows={"a": ended})) == 1


def test_two_instances_on_one_port(home: Home, write: Callable[..., Path], dead_port: int) -> None:
    # The fixture keeps others away from the port, so both of ours find it taken as well.
    first = write("a", f"server: {{port: {dead_port}, executable: '{sys.executable}'}}")
    second = write("b", f"server:\n  executable: '{sys.executable}'\n  port: {dead_port}")
    found = [each for each in look(home) if "also" in each.message]
    assert [(each.instance, each.severity, each.path, each.line) for each in found] == [
        ("b", "error", second, 4)
    ]
    assert found[0].text == (
        f"port {dead_port} is also that of a ({first}:2). Give one of them another port, or auto"
    )


@pytest.mark.parametrize(("hosts", "meet"), [(("127.0.0.1", "127.0.0.2"), False),
                                              (("127.0.0.1", "0.0.0.0"), True)])  # fmt: skip
def test_one_port_of_two_addresses_is_two(
    home: Home, write: Callable[..., Path], hosts: tuple[str, str], meet: bool
) -> None:
    for name, host in zip("ab", hosts, strict=True):
        rest = f"host: {host}, port: 1, api_key_env: K, executable: '{sys.executable}'"
        write(name, f"server: {{{rest}}}")
    assert any("is also that of a" in line for line in said(home, {"K": "x"})) == meet


@pytest.mark.parametrize("port", ["auto", 9001])
@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid"])
def test_a_host_that_is_no_address_of_this_machine(
    home: Home, write: Callable[..., Path], host: str, port: int | str
) -> None:
    program = f"executable: '{sys.executable}'"
    write("a", f"server: {{host: {host}, port: {port}, api_key_env: PATH, {program}}}")
    (line,) = [line for line in said(home) if line.startswith("error")]
    assert line.startswith(f"error a: nobody can listen at '{host}': ")
    assert line.endswith("Set server.host to an address of this machine, such as 127.0.0.1")


@pytest.mark.skipif(sys.platform == "win32", reason="any user may have any port there")
def test_a_port_that_only_root_may_have(home: Home, write: Callable[..., Path]) -> None:
    write("a", f"server: {{port: 1, executable: '{sys.executable}'}}")
    (line,) = said(home)
    assert "port 1 is " in line  # taken: root alone finds it free
    assert line.startswith("warning a: port 1 is below 1024") or "is taken by" in line


# Logs ---------------------------------------------------------------------------------------------


def test_a_log_s_folder_that_is_a_file(
    home: Home, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("x", encoding="utf-8", newline="\n")
    write("a", f"log: {{folder: '{tmp_path / 'logs' / 'a'}'}}")
    assert said(home) == [
        (
            f"error a: no log can be written: {tmp_path / 'logs'} is no folder. Make it writable, "
            "or name another folder with log.folder"
        )
    ]


@pytest.mark.skipif(
    sys.platform == "win32" or os.access("/root", os.W_OK), reason="root may write everywhere"
)
def test_a_log_s_folder_that_is_not_ours(
    home: Home, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    write("a", f"log: {{folder: '{tmp_path / 'theirs'}'}}")
    (line,) = said(home)
    assert f"{tmp_path / 'theirs'} cannot be written to: Permission denied" in line


# Memory -------------------------------------------------------------------------------------------


def test_too_little_memory(home: Home, write: Callable[..., Path]) -> None:
    write("a")
    (line,) = said(home, sight=Sight((), 2**20))
    assert line.startswith("warning a: it does not fit: about 260 MiB of main memory, and 259 MiB")
    assert line.endswith("or set less context_size, parallel or layers, or take a smaller model")


def test_too_little_memory_on_the_gpu(home: Home, write: Callable[..., Path]) -> None:
    write("a", "gpu: {backend: cuda, layers: all}")
    (line,) = said(home, sight=Sight((replace(CUDA, free=2**20),), 2**40))
    assert line.startswith("warning a: it does not fit: about")
    assert "of the device's too little is free" in line


def test_memory_that_nobody_can_tell_of_is_unknown(home: Home, write: Callable[..., Path]) -> None:
    write("a", "gpu: {backend: cuda, layers: all}")
    (line,) = said(home, sight=Sight((), 2**40, trouble="it hangs"))
    assert line.startswith("note a: whether it fits is unknown: about")


def test_what_runs_has_its_memory(home: Home, write: Callable[..., Path]) -> None:
    write("a")
    row = InstanceRow("a", server=identity_of(os.getpid()))
    assert said(home, rows={"a": row}, sight=Sight((), 2**20)) == []


def test_what_is_brought_up_together_must_fit_together(
    home: Home, write: Callable[..., Path]
) -> None:
    for name in "abc":
        write(name)
    write_autostart(home, ["a", "c"])
    (line,) = said(home, sight=Sight((), 300 * 2**20))
    assert line.startswith(
        "warning -: a, c are brought up together and need about 520 MiB of main memory: "
    )
    assert line.endswith("Take one out with: llama-orch daemon autostart --remove NAME")


def test_a_card_that_two_backends_list_has_its_memory_once(
    home: Home, write: Callable[..., Path]
) -> None:
    for name, backend in {"a": "cuda", "b": "vulkan"}.items():
        write(name, f"gpu: {{backend: {backend}, layers: all}}")
    write_autostart(home, ["a", "b"])
    card = replace(CUDA, free=3 * 2**29)
    (line,) = said(home, sight=Sight((card, replace(card, name="Vulkan0")), 2**40))
    assert line.startswith("warning -: a, b are brought up together and need about 512 MiB of main")
    assert "2.0 GiB of the device's: 520 MiB of the device's too little is free" in line


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("{backend: rocm}", "llama-server lists no rocm device: it has CUDA0, Vulkan0, Metal. Set"),
        ("{backend: cuda, device_id: 3}", "llama-server lists no cuda device 3: it has CUDA0, "),
        ("{backend: cuda, device_id: 0}", None),
    ],
)
def test_a_device_that_is_not_there(
    home: Home, write: Callable[..., Path], gpu: str, words: str | None
) -> None:
    write("a", f"gpu: {gpu}")
    found = said(home)
    assert len(found) == (words is not None)
    assert all(line.startswith(f"error a: {words}") for line in found)


# Between instances --------------------------------------------------------------------------------


def test_an_alias_that_two_have(home: Home, write: Callable[..., Path]) -> None:
    write("a", "aliases: [x, b]")
    path = write("b", "aliases: [y, x]")
    assert said(home) == [
        (
            "error a: the alias 'b' is the name of b. A request for it could mean either: take it "
            "out of one of them"
        ),
        (
            "error b: the alias 'x' is an alias of a. A request for it could mean either: take it "
            "out of one of them"
        ),
    ]
    assert look(home)[1].place == f"{path}:2"


def test_an_instance_may_have_its_own_name_as_an_alias(
    home: Home, write: Callable[..., Path]
) -> None:
    write("a", "aliases: [a]")
    assert look(home) == []


def test_autostart_of_what_is_not_there(home: Home, write: Callable[..., Path]) -> None:
    write("qwen")
    write_autostart(home, ["qwen2"])
    assert said(home) == [
        (
            "warning -: the daemon is to bring up 'qwen2', which has no config; did you mean "
            "'qwen'? Take it out with: llama-orch daemon autostart --remove qwen2"
        )
    ]


def test_an_autostart_file_that_says_nothing(home: Home, write: Callable[..., Path]) -> None:
    write("a")
    home.autostart.write_text("[]", encoding="utf-8", newline="\n")
    (line,) = said(home)
    assert line.startswith("error -: a mapping such as 'key: value' is expected")


def test_a_folder_without_a_config_is_noticed(home: Home, write: Callable[..., Path]) -> None:
    write("a")
    (home.instances / "b").mkdir()
    (home.instances / ".git").mkdir()
    assert said(home) == ["warning b: there is no config.yaml or config.json"]


# What is to know ----------------------------------------------------------------------------------


def test_a_config_that_was_edited_while_its_instance_runs(
    home: Home, write: Callable[..., Path]
) -> None:
    write("a")
    before = fingerprint(load_instance(home, "a").config)
    row = InstanceRow("a", server=identity_of(os.getpid()), fingerprint=before)
    assert said(home, rows={"a": row}) == []
    write("a", "ttl: 60")
    assert said(home, rows={"a": row}) == [
        (
            "note a: the config has changed since the instance was started, which runs as it was. "
            "Take it over with: llama-orch restart a"
        )
    ]


def test_variables_where_they_are_not_replaced(home: Home, write: Callable[..., Path]) -> None:
    write("a", "env: {A: '${HOME}/x', CUDA_VISIBLE_DEVICES: '1'}\nargs: ['${B}']")
    write("b", "env: {CUDA_VISIBLE_DEVICES: '1'}\ngpu: {backend: cuda, device_id: 0}")
    assert said(home) == [
        (
            "warning a: env: A stays as it is written: variables are replaced in paths only. Set "
            "it where the daemon is started: every server has its environment too"
        ),
        "warning a: args: '${B}' stays as it is: variables are replaced in paths only",
        "warning b: env: CUDA_VISIBLE_DEVICES and gpu.device_id both say which GPU. Leave one out",
    ]


def test_an_argument_for_which_there_is_a_key(home: Home, write: Callable[..., Path]) -> None:
    write("a", "args: [--mlock, -t, '3']")
    assert said(home) == [
        (
            "warning a: args: -t wins over model.threads, and is not seen here. "
            "Set model.threads, and leave -t out"
        )
    ]


def test_a_check_that_may_last_longer_than_to_the_next(
    home: Home, write: Callable[..., Path]
) -> None:
    write("a", "healthcheck: {interval: 2, timeout: 30}")
    assert said(home) == [
        (
            "note a: healthcheck.timeout of 30 s is more than the interval of 2 s: the next check "
            "waits for it"
        )
    ]


# validate -----------------------------------------------------------------------------------------


def test_validate_takes_a_file_a_folder_or_a_folder_of_folders(
    home: Home, write: Callable[..., Path]
) -> None:
    path = write("a", "ttl: x")
    write("b")
    wanted = ["ttl: expected a number, found 'x'"]
    for place, count in ((path, 1), (path.parent, 1), (home.instances, 2)):
        checked, found = validate(place, {})
        assert (checked, [each.text for each in found]) == (count, wanted)
        assert {each.place for each in found} == {f"{path}:2"}
    assert validate(home.instances / "b", {}) == (1, ())


def test_validate_does_not_ask_for_what_stands_outside_the_file(
    home: Home, write: Callable[..., Path], model: Path
) -> None:
    path = write("a")
    model.unlink()
    assert validate(path, {}) == (1, ())


def test_validate_says_what_it_expects_where_there_is_nothing(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InstanceConfigError, match="expected a config file, the folder that holds"):
        validate(tmp_path, {})
    (_, (finding,)) = validate(home.instances / "a.yaml", {})
    assert finding.text.startswith("no such file")
    assert finding.instance is None, "nobody knows whose config was meant"
