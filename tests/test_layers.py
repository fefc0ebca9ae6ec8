"""Who may import whom, and which module may touch the outside world.

The package is read with `ast`, never imported: imports inside functions and under TYPE_CHECKING
count like any other, and a module's name in a string (a registry that imports on demand) counts as
an import too. Every rule is a function from sources to violations; each is also shown small sources
that break it, so that none can pass by seeing nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pytest_llmeval"


def words(text: str) -> tuple[str, ...]:
    """Split a table written as lines."""
    return tuple(text.split())


# The rules ----------------------------------------------------------------------------------------

BASE = words("records errors redaction visible atomic depth sqlite")
ROOMS = words(
    "inputs engines servers running scoring statistics results machine orchestrator probes routing"
)
FACE = words(
    "plugin hooks fixtures collection functions lean namesakes selecting workers reporting"
    " snapshots controller crashes distribution parcels pulses"
)

#: From pytest's face down to the words. A unit imports from layers below its own, never sideways.
LAYERS = (
    ("plugin",),
    ("hooks",),
    ("fixtures", "selecting"),
    ("functions", "lean"),
    ("controller",),
    ("collection", "namesakes", "workers"),
    ("pulses",),
    ("reporting", "snapshots", "crashes", "distribution", "parcels"),
    ("commands",),
    ("run",),
    ROOMS,
    BASE,
)

#: Imports between rooms, (importer, imported), each with its reason.
BETWEEN_ROOMS = {
    ("orchestrator", "servers"): "it keeps many of those processes, for long",
    ("orchestrator", "machine"): "it decides which of them fit",
    ("orchestrator", "engines.wire"): "its front door passes requests on",
    ("orchestrator", "engines.engine"): "by its word for where an instance answers",
    ("orchestrator", "engines.fetch"): "it asks for health",
    ("orchestrator", "inputs.documents"): "configs of instances are YAML of the same kind",
    ("orchestrator", "inputs.mistakes"): "their mistakes are told in the same words",
    ("orchestrator", "inputs.sections"): "their sections are read in the same way",
    ("orchestrator", "inputs.paths"): "their paths mean what they mean in other configs",
    ("orchestrator", "inputs.credentials"): "no secret belongs into them either",
    ("probes", "engines.address"): "what they stand before has a url like any endpoint",
    ("probes", "inputs.documents"): "scripts of faults are YAML of the same kind",
    ("probes", "inputs.mistakes"): "their mistakes are told in the same words",
}


@dataclass(frozen=True)
class Door:
    """One way to the outside: the names that open it and the only modules that may use them.

    A name is dotted (`os.kill`, and everything below it), a method of any object (`.connect`) or a
    keyword argument (`preexec_fn=`). `doors` maps a room or a module to its reason.
    """

    rule: str
    names: tuple[str, ...]
    doors: Mapping[str, str]


WAITS_OR_FILES = Door(
    "statistics and routing never wait and never touch files",
    words("""
        asyncio concurrent io multiprocessing open os pathlib queue selectors shutil signal socket
        subprocess tempfile threading time .read_bytes .read_text .write_bytes .write_text
    """),
    {
        unit: "not of these two rooms"
        for layer in LAYERS
        for unit in layer
        if unit not in {"statistics", "routing"}
    },
)

DOORS = (
    Door(
        "pytest is known to its face only; everything below runs without it",
        words("pytest _pytest pluggy syrupy xdist"),
        dict.fromkeys(FACE, "pytest's face"),
    ),
    Door(
        "client sockets are opened in engines/ and probes/faults/ only",
        words("""
            aiohttp asyncio.open_connection asyncio.open_unix_connection .create_connection
            .create_unix_connection ftplib http.client httpx requests smtplib urllib.request urllib3
            websockets
        """),
        {
            "engines": "they speak to endpoints",
            "probes.faults": "the fault proxy passes on what it is asked, byte by byte",
        },
    ),
    Door(
        "the socket module is used in engines/, orchestrator/, probes/faults/ and servers/ only",
        words("socket"),
        {
            "engines": "they speak to endpoints",
            "orchestrator": "it listens",
            "probes.faults": "it listens",
            "servers": "a free port is found, and a port in use noticed, by binding it",
        },
    ),
    Door(
        "listening sockets are opened in orchestrator/ and probes/faults/ only",
        words("""
            asyncio.start_server asyncio.start_unix_server .create_server .create_unix_server
            http.server multiprocessing.connection socketserver uvicorn wsgiref
        """),
        {
            "orchestrator": "front door, interface and dashboard",
            "probes.faults": "the fault proxy",
            "workers": "the broker that xdist's workers ask, on the loopback interface",
            "servers.llama_cpp_worker": "a process of its own: what it answers is the engine",
        },
    ),
    Door(
        "processes are started, looked into and ended in servers/ (process, trees, guard) only",
        words("""
            asyncio.create_subprocess_exec asyncio.create_subprocess_shell
            concurrent.futures.process concurrent.futures.ProcessPoolExecutor
            multiprocessing.Pool multiprocessing.Process multiprocessing.get_context os.abort
            os.execl os.execv os.execve os.execvp os.fork os.kill os.killpg os.popen os.posix_spawn
            os.spawnl os.spawnv os.startfile os.system psutil pty subprocess
        """),
        {
            "servers.process": "the door",
            "servers.detached": "the door, for what outlives us or is run to its end",
            "servers.guard": "the door's guard, which must outlive a killed pytest",
            "servers.trees": "the door, too: looking into what was started, and ending it",
            "servers.ports": "read-only: it names the program that holds a port",
            "servers.identity": "read-only: who a process is, and whether it lives",
            "scoring.math_process": "math-verify needs a process that may hang and be ended",
            "machine": "read-only questions: git, nvidia-smi, memory and cores",
        },
    ),
    Door(
        "calls that only POSIX has are made in servers/ (process, trees, guard) only",
        words("""
            fcntl grp os.WNOHANG os.fork os.forkpty os.geteuid os.getpgid os.getpgrp os.getuid
            os.killpg os.mkfifo os.sched_getaffinity os.setpgid os.setpgrp os.setsid os.statvfs
            os.uname posix preexec_fn= pty pwd resource signal.SIGALRM signal.SIGCHLD signal.SIGHUP
            signal.SIGKILL signal.SIGUSR1 signal.SIGUSR2 signal.alarm start_new_session= termios tty
        """),
        {
            "servers.process": "process groups; Windows has its own branch",
            "servers.detached": "sessions; Windows has its own branch",
            "servers.guard": "process groups; Windows has its own branch",
            "servers.trees": "process groups; Windows has its own branch",
        },
    ),
    WAITS_OR_FILES,
)

#: What an idle plugin may load at once, beside the standard library.
IDLE_MAY_LOAD = ("pytest",)

#: Where a call takes a mode and an encoding among its positional arguments; None: it does not.
Positions = tuple[int | None, int | None]

#: Calls that read or write text, unless a mode says bytes.
TEXT_CALLS: Mapping[str, Positions] = {
    "open": (1, 3),
    "io.open": (1, 3),
    "os.fdopen": (1, 3),
    ".open": (0, 2),
    ".read_text": (None, 0),
    ".write_text": (None, 1),
    ".FileHandler": (None, 2),
    ".RotatingFileHandler": (None, 4),
}
#: Calls that do so only when asked, by a mode with "t" or by `text=`.
BYTES_CALLS: Mapping[str, Positions] = {
    "gzip.open": (1, 3),
    "bz2.open": (1, 3),
    "lzma.open": (1, None),
    "tempfile.NamedTemporaryFile": (0, 2),
    "tempfile.TemporaryFile": (0, 2),
    "subprocess.Popen": (None, None),
    "subprocess.check_output": (None, None),
    "subprocess.run": (None, None),
}
CALLS = {**TEXT_CALLS, **BYTES_CALLS}
#: Calls of the same name that read and write no text file, or whose inside is looked at anyway.
NOT_TEXT = (PACKAGE, "os.open", "webbrowser.open", "zipfile", "tarfile")
#: What a mode may consist of: `lane.open(name)` is no file.
MODE_LETTERS = frozenset("rwxabt+")


# What is read -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """A module, or a name in one, that a line refers to; `late` when by a string only."""

    line: int
    target: str
    late: bool = False


@dataclass(frozen=True, order=True)
class Violation:
    """Where a rule is broken, and which."""

    path: str
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


@dataclass(frozen=True)
class Source:
    """A module of the package: its path in the repository and its text."""

    path: str
    text: str = field(repr=False)

    @property
    def module(self) -> str:
        """Its full name; a package's `__init__` has the package's."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def name(self) -> str:
        """Its name within the package, for instance `engines.wire`; "" for the package itself."""
        return within_package(self.module)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What a name stands for: `sp` -> `subprocess`, `Popen` -> `subprocess.Popen`."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                roots = ((each, each.name.partition(".")[0]) for each in node.names)
                found |= {e.asname or root: e.name if e.asname else root for e, root in roots}
            elif isinstance(node, ast.ImportFrom):
                origin = self.origin(node)
                found |= {each.asname or each.name: f"{origin}.{each.name}" for each in node.names}
        return found

    @cached_property
    def roots(self) -> frozenset[str]:
        """The top-level packages that this module imports."""
        return frozenset(name.partition(".")[0] for name in self.aliases.values())

    def origin(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module that a `from ... import` names."""
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        up = node.level - self.path.endswith("/__init__.py")
        return ".".join([*parts[: len(parts) - up], *filter(None, [node.module])])

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, wherever it stands, with the names that a `from` import takes."""
        return [each for node in ast.walk(self.tree) for each in self.imports_of(node)]

    def imports_of(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = self.origin(node)
            yield from (Import(node.lineno, f"{origin}.{each.name}") for each in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if name.startswith(f"{PACKAGE}.") and name.replace(".", "").isidentifier():
                yield Import(node.lineno, name, late=True)

    def dotted(self, node: ast.expr) -> str:
        """The full name of an expression; `.name` when it hangs on something computed."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base if base.partition('.')[0] in self.roots else ''}.{node.attr}"
        return ""

    def uses(self) -> Iterator[tuple[int, str]]:
        """Every name that could open a door: imported, called, referred to, or a keyword."""
        yield from ((each.line, each.target) for each in self.imports)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute):
                yield node.lineno, self.dotted(node)
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    yield node.lineno, self.dotted(node.func)
                yield from ((node.lineno, f"{each.arg}=") for each in node.keywords if each.arg)


def within_package(module: str) -> str:
    return module.removeprefix(PACKAGE).removeprefix(".")


def covers(name: str, inner: str) -> bool:
    """Whether `inner` is this module (or name) or lies below it."""
    return inner == name or inner.startswith(f"{name}.")


def matches(known: str, name: str) -> bool:
    """Whether a name is this one, or for `.method` ends in it."""
    return name == known or (known.startswith(".") and name.endswith(known))


# The checks ---------------------------------------------------------------------------------------


def layer_of(module: str) -> int | None:
    """The number of a module's layer, from the top."""
    unit = within_package(module).partition(".")[0]
    return next((number for number, units in enumerate(LAYERS) if unit in units), None)


def misplaced(sources: Sequence[Source]) -> Iterator[Violation]:
    """Modules that no layer names: a new one is placed deliberately."""
    for source in sources:
        if source.name and layer_of(source.module) is None:
            yield Violation(source.path, 1, "has no place: add it to LAYERS, deliberately")


def sideways_or_up(sources: Sequence[Source]) -> Iterator[Violation]:
    """Imports that do not go down: from a lower layer up, or from a room into another."""
    modules = frozenset(source.module for source in sources)
    for source in sources:
        for each in source.imports:
            target = module_of(each.target, modules)
            if target is not None and not may_import(source.module, target):
                rule = f"imports go one way, and rooms do not import each other ({target})"
                yield Violation(source.path, each.line, rule)


def module_of(target: str, modules: frozenset[str]) -> str | None:
    """The module of ours that an import loads: `a.b.name` loads `a.b`."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target or None


def may_import(importer: str, imported: str) -> bool:
    one, other = within_package(importer), within_package(imported)
    if one.partition(".")[0] == other.partition(".")[0] or not other:
        return bool(one)
    if any(covers(room, one) and covers(into, other) for room, into in BETWEEN_ROOMS):
        return True
    upper, lower = layer_of(importer), layer_of(imported)
    return upper is not None and lower is not None and upper < lower


def cycles(sources: Sequence[Source]) -> Iterator[Violation]:
    """Modules that need each other to be loaded."""
    modules = frozenset(source.module for source in sources)
    graph = {source.module: needs(source, modules) for source in sources}
    for source in sources:
        way = way_back(graph, source.module)
        if way and source.module == min(way):  # each cycle is told once
            line = graph[source.module][way[1]]
            yield Violation(source.path, line, f"import cycle: {' -> '.join(way)}")


def needs(source: Source, modules: frozenset[str]) -> dict[str, int]:
    """The modules of ours that this one loads, each with a line that asks for it.

    Loading a module of another package runs that package's `__init__` too. The packages around the
    module itself are loaded before it, and are needed only where something is taken from them.
    """
    found: dict[str, int] = {}
    for each in source.imports:
        target = None if each.late else module_of(each.target, modules)
        taken = each.target != target
        while target:
            if target != source.module and (taken or not covers(target, source.module)):
                found.setdefault(target, each.line)
            taken = False
            target = target.rpartition(".")[0]
    return found


def way_back(graph: Mapping[str, Mapping[str, int]], start: str) -> list[str]:
    """The shortest way from a module back to itself, both ends included; empty when none."""
    ways, seen = [[start]], {start}
    for way in ways:
        for following in graph[way[-1]]:
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def beside_the_door(door: Door, sources: Sequence[Source]) -> Iterator[Violation]:
    """Uses of a door's names in a module that is no door."""
    for source in sources:
        if not any(covers(unit, source.name) for unit in door.doors):
            found = ((line, name) for line, name in source.uses() if opens(door, name))
            yield from (
                Violation(source.path, line, f"{door.rule} ({name})") for line, name in found
            )


def opens(door: Door, name: str) -> bool:
    return any(matches(opener, name) or covers(opener, name) for opener in door.names)


def without_encoding(sources: Sequence[Source]) -> Iterator[Violation]:
    """Texts read or written without saying how: Windows' own answer is neither UTF-8 nor LF."""
    for source in sources:
        for node in ast.walk(source.tree):
            name = text_call(source, node) if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Call) and name is not None:
                given = {each.arg for each in node.keywords}
                position = CALLS[name][1]
                by_position = position is not None and len(node.args) > position
                if "encoding" not in given and not by_position:
                    yield Violation(source.path, node.lineno, f"text needs encoding= ({name})")
                elif writes(node, name) and "newline" not in given:
                    yield Violation(source.path, node.lineno, f"writing needs newline= ({name})")


def text_call(source: Source, node: ast.Call) -> str | None:
    """The entry of the tables above that a call falls under, when it is about text."""
    name = source.dotted(node.func)
    if name in BYTES_CALLS:
        asked = {"text", "universal_newlines"} & {each.arg for each in node.keywords}
        return name if asked or "t" in mode_of(node, BYTES_CALLS[name][0]) else None
    if any(covers(other, name) for other in NOT_TEXT):
        return None
    known = next((each for each in TEXT_CALLS if matches(each, name)), None)
    if known is None or "b" in mode_of(node, TEXT_CALLS[known][0]):
        return None
    return known if known != ".open" or is_of_a_file(source, node) else None


def is_of_a_file(source: Source, node: ast.Call) -> bool:
    """Whether `.open(...)` is a path's and not, say, a ledger's: it is given a mode or an encoding,
    or a `with` around it.
    """
    mode = mode_of(node, 0)
    if node.args:
        return bool(mode) and set(mode) <= MODE_LETTERS
    handed = [each for each in ast.walk(source.tree) if isinstance(each, ast.With)]
    within = (each.context_expr for outer in handed for each in outer.items)
    return bool(node.keywords) or any(node is each for each in within)


def mode_of(node: ast.Call, position: int | None) -> str:
    """The mode that a call is given as a literal; "" when it takes or is given none."""
    if position is None:
        return ""
    given = [each.value for each in node.keywords if each.arg == "mode"]
    given += node.args[position : position + 1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def writes(node: ast.Call, name: str) -> bool:
    return name == ".write_text" or bool(set("wax+") & set(mode_of(node, CALLS[name][0])))


def loaded_when_idle(sources: Sequence[Source]) -> Iterator[Violation]:
    """What the package and its plugin load at once and need not."""
    allowed = {*sys.stdlib_module_names, *IDLE_MAY_LOAD}
    for source in sources:
        if source.name in {"", "plugin"}:
            at_once = (each for node in source.tree.body for each in source.imports_of(node))
            for each in at_once:
                if each.target.partition(".")[0] not in allowed:
                    rule = f"an idle plugin loads nothing but itself ({each.target})"
                    yield Violation(source.path, each.line, rule)


# The package keeps the rules ----------------------------------------------------------------------


def read_package() -> list[Source]:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return [
        Source(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
        for file in files
    ]


SOURCES = read_package()


def assert_none(violations: Iterable[Violation]) -> None:
    found = sorted(set(violations))
    assert not found, "\n" + "\n".join(map(str, found))


def test_the_package_is_really_read() -> None:
    assert {"", "plugin", "records", "errors"} <= {source.name for source in SOURCES}


def test_every_module_has_a_place() -> None:
    assert_none(misplaced(SOURCES))


def test_imports_go_one_way_and_rooms_do_not_import_each_other() -> None:
    assert_none(sideways_or_up(SOURCES))


def test_no_module_needs_itself() -> None:
    assert_none(cycles(SOURCES))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.rule)
def test_each_outside_thing_has_one_door(door: Door) -> None:
    assert_none(beside_the_door(door, SOURCES))


def test_texts_name_their_encoding_and_written_ones_their_newline() -> None:
    assert_none(without_encoding(SOURCES))


def test_an_idle_plugin_loads_nothing_but_itself() -> None:
    assert_none(loaded_when_idle(SOURCES))


# The checks see what they are for -----------------------------------------------------------------


def package(files: Mapping[str, str]) -> list[Source]:
    """A package of these modules, each with the `__init__` of its folder."""
    folders = {PurePosixPath(path).parent for path in files} | {PurePosixPath()}
    empty = {(folder / "__init__.py").as_posix(): "" for folder in folders}
    return [Source(f"{PACKAGE}/{path}", text) for path, text in {**empty, **files}.items()]


def told(violations: Iterable[Violation]) -> list[str]:
    return [str(violation) for violation in sorted(set(violations))]


def test_a_module_that_no_layer_names_is_told() -> None:
    assert told(misplaced(package({"utils.py": "", "records.py": ""}))) == [
        "pytest_llmeval/utils.py:1: has no place: add it to LAYERS, deliberately"
    ]


ROOMS_ONLY = {"results/tables.py": "", "scoring/text.py": "", "run.py": "", "records.py": ""}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("scoring/text.py", "import pytest_llmeval.results.tables"),
        ("scoring/text.py", "from pytest_llmeval.results import tables"),
        ("scoring/text.py", "from pytest_llmeval.results.tables import Table"),
        ("scoring/text.py", "from ..results import tables"),
        ("scoring/__init__.py", "from ..results.tables import Table"),
        ("scoring/text.py", "def f():\n    from pytest_llmeval import run"),
        ("scoring/text.py", "if TYPE_CHECKING:\n    from pytest_llmeval.run import Run"),
        ("scoring/text.py", "LATE = {'t': 'pytest_llmeval.results.tables'}"),
        ("records.py", "from pytest_llmeval.scoring import text"),
        ("run.py", "from pytest_llmeval import plugin"),
        ("commands/llmeval.py", "from pytest_llmeval import plugin"),
        ("__init__.py", "from pytest_llmeval.records import Item"),
        ("orchestrator/state.py", "from pytest_llmeval.results import tables"),
    ],
)
def test_an_import_up_or_sideways_is_told_wherever_it_stands(path: str, text: str) -> None:
    sources = package({**ROOMS_ONLY, "plugin.py": "", path: text})
    line = text.count("\n") + 1
    (violation,) = told(sideways_or_up(sources))
    assert violation.startswith(f"pytest_llmeval/{path}:{line}: imports go one way")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("scoring/numeric.py", "from pytest_llmeval.scoring.text import squeeze"),
        ("scoring/numeric.py", "from pytest_llmeval.records import Score\nimport json"),
        ("scoring/numeric.py", "TEXT = 'pytest_llmeval.results is another room'"),
        ("run.py", "from pytest_llmeval.scoring import text\nimport pytest_llmeval.results"),
        ("commands/llmeval.py", "from pytest_llmeval import run, results, __version__"),
        ("plugin.py", "from pytest_llmeval import collection\nfrom . import run"),
        ("orchestrator/state.py", "from pytest_llmeval.servers.process import start"),
    ],
)
def test_an_import_down_or_within_a_room_is_none(path: str, text: str) -> None:
    files = {"collection.py": "", "servers/process.py": "", **ROOMS_ONLY, path: text}
    assert told(sideways_or_up(package(files))) == []


@pytest.mark.parametrize(
    ("files", "cycle"),
    [
        (
            {"run.py": "import pytest_llmeval.inputs", "inputs/__init__.py": "from .. import run"},
            "inputs -> run -> inputs",
        ),
        (
            {
                "a.py": "from .b import x",
                "b.py": "def f():\n    from .c import y",
                "c.py": "from . import a",
            },
            "a -> b -> c -> a",
        ),
        (
            {
                "inputs/__init__.py": "from .config import load",
                "inputs/config.py": "from . import f",
            },
            "inputs -> inputs.config -> inputs",
        ),
        (
            {
                "inputs/__init__.py": "from ..run import x",
                "inputs/config.py": "",
                "run.py": "from .inputs.config import y",
            },
            "inputs -> run -> inputs",
        ),
    ],
)
def test_a_cycle_is_told_once_with_its_way(files: dict[str, str], cycle: str) -> None:
    way = " -> ".join(f"{PACKAGE}.{name}" for name in cycle.split(" -> "))
    (violation,) = told(cycles(package(files)))
    assert violation.endswith(f"import cycle: {way}")


@pytest.mark.parametrize(
    "files",
    [
        {
            "inputs/__init__.py": "from .config import load",
            "inputs/config.py": "from . import parse",
            "inputs/parse.py": "",
        },
        {
            "engines/registry.py": "KNOWN = 'pytest_llmeval.engines.fake'",
            "engines/fake.py": "from .registry import add",
        },
        {
            "a.py": "from .b import x\nfrom .c import y",
            "b.py": "from .c import y",
            "c.py": "import json",
        },
    ],
)
def test_what_can_be_loaded_in_order_is_no_cycle(files: dict[str, str]) -> None:
    assert told(cycles(package(files))) == []


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("run.py", "import pytest", "pytest is known to its face"),
        ("results/html.py", "def f():\n    from _pytest.config import Config", "pytest is known"),
        ("servers/health.py", "import httpx", "client sockets"),
        ("servers/health.py", "import http.client as h", "client sockets"),
        ("machine/environment.py", "from urllib import request", "client sockets"),
        ("running/scheduler.py", "from asyncio import open_connection as o", "client sockets"),
        ("running/scheduler.py", "loop().create_connection(P, '127.0.0.1')", "client sockets"),
        ("running/scheduler.py", "import socket as s", "the socket module"),
        ("engines/wire.py", "import asyncio\nasyncio.start_server(f)", "listening sockets"),
        ("run.py", "from multiprocessing.connection import Listener", "listening sockets"),
        ("servers/command.py", "import subprocess as sp", "processes are started"),
        ("servers/command.py", "import os\nos.kill(1, 9)", "processes are started"),
        ("run.py", "from psutil import Process", "processes are started"),
        ("machine/devices.py", "from os import getuid", "calls that only POSIX has"),
        ("run.py", "import signal as s\ns.SIGKILL", "calls that only POSIX has"),
        ("run.py", "start([], preexec_fn=f)", "calls that only POSIX has"),
        ("run.py", "try:\n    import fcntl\nexcept ImportError: ...", "calls that only POSIX has"),
        ("statistics/paired.py", "import time", "statistics and routing never wait"),
        ("statistics/paired.py", "from pathlib import Path", "statistics and routing never wait"),
        ("statistics/paired.py", "def f(p):\n    return p.read_text()", "statistics and routing"),
        ("routing/policy.py", "open('rules', 'rb')", "statistics and routing never wait"),
    ],
)
def test_what_goes_past_its_door_is_told(path: str, text: str, rule: str) -> None:
    sources = package({path: text})
    found = told(each for door in DOORS for each in beside_the_door(door, sources))
    assert any(each.startswith(f"pytest_llmeval/{path}:") and rule in each for each in found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hooks.py", "import pytest"),
        ("engines/openai.py", "import httpx, socket"),
        ("engines/llama/wire.py", "import asyncio\nasyncio.open_connection('127.0.0.1', 1)"),
        ("servers/guard.py", "import os, signal, subprocess\nos.killpg(1, signal.SIGKILL)"),
        ("servers/ports.py", "import socket"),
        ("machine/environment.py", "import subprocess"),
        ("workers.py", "from multiprocessing.connection import Client, Listener"),
        ("run.py", "import os, signal, asyncio\nos.environ, signal.SIGINT, asyncio.run(f())"),
        ("running/plan.py", "def f(subprocess):\n    return subprocess.run"),
        ("statistics/paired.py", "import math\ndef f(self):\n    return self.time, self.open"),
    ],
)
def test_what_goes_through_its_door_is_not_told(path: str, text: str) -> None:
    sources = package({path: text})
    assert told(each for door in DOORS for each in beside_the_door(door, sources)) == []


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "open('x', 'w', encoding='utf-8')",
        "open('x', mode='a', encoding='utf-8')",
        "import io\nio.open('x', 'r')",
        "from pathlib import Path\nwith Path('x').open() as file: ...",
        "Path('x').open(newline='')",
        "folder.path.open('w', encoding='utf-8')",
        "p.read_text()",
        "p.write_text('x', encoding='utf-8')",
        "p.write_text('x', 'utf-8')",
        "(p / 'x').write_text('x', newline='')",
        "import os\nos.fdopen(3, 'w', encoding='utf-8')",
        "import gzip\ngzip.open('x', 'rt')",
        "import subprocess\nsubprocess.run(['x'], text=True)",
        "import tempfile as t\nt.NamedTemporaryFile('wt')",
        "from logging import FileHandler\nimport logging\nlogging.FileHandler('x')",
    ],
)
def test_text_without_an_encoding_or_a_newline_is_told(text: str) -> None:
    (violation,) = told(without_encoding(package({"run.py": text})))
    assert "needs encoding=" in violation or "needs newline=" in violation


@pytest.mark.parametrize(
    "text",
    [
        "open('x', 'rb')",
        "open('x', mode='wb')",
        "open('x', encoding='utf-8')",
        "open('x', 'w', encoding='utf-8', newline='')",
        "p.open('ab')",
        "Ledger.open(settings)\nlane.open('first')",
        "lane.open()",
        "from pytest_llmeval.atomic import write_text\nwrite_text(p, 'x')",
        "p.read_text(encoding='utf-8')",
        "p.read_text('utf-8', 'replace')",
        "p.write_text('x', encoding='utf-8', newline='\\n')",
        "import os\nos.open('x', os.O_RDONLY)",
        "import gzip\ngzip.open('x')",
        "import subprocess\nsubprocess.run(['x'], capture_output=True)",
        "import zipfile\nzipfile.ZipFile('x')",
    ],
)
def test_bytes_and_complete_texts_are_not_told(text: str) -> None:
    assert told(without_encoding(package({"run.py": text}))) == []


@pytest.mark.parametrize("path", ["plugin.py", "__init__.py"])
def test_a_module_that_an_idle_plugin_loads_is_told(path: str) -> None:
    at_once = "import json\nimport pytest\nfrom pytest_llmeval.records import Item\nimport numpy"
    later = "\ndef f():\n    import httpx\nif TYPE_CHECKING:\n    import pandas"
    rule = "an idle plugin loads nothing but itself"
    assert told(loaded_when_idle(package({path: at_once + later}))) == [
        f"pytest_llmeval/{path}:3: {rule} (pytest_llmeval.records.Item)",
        f"pytest_llmeval/{path}:4: {rule} (numpy)",
    ]
