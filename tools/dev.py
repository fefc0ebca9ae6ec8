"""The tasks of this repository, in the same words on Linux, macOS and Windows.

    python tools/dev.py demo      evaluate the two small models that come with the repository
    python tools/dev.py test      run the tests
    python tools/dev.py check     format, lint and type checks
    python tools/dev.py bench     the benchmarks
    python tools/dev.py llama-cpp build the real llama-server that some tests need
    python tools/dev.py clean     remove .venv and every cache

Needs nothing but Python: it makes `.venv`, installs into it what the task needs, and runs the task
there. When `.venv` is ready already, that costs the reading of one small file.

Only the standard library is used, and only syntax that Python 3.6 can read: a Python that is too
old must get far enough to say so.
"""

# ruff: noqa: E402 - the version is looked at before anything newer is imported

import shutil
import subprocess
import sys

OLDEST = (3, 10)


def too_old(found: "tuple[int, ...]", executable: str, newer: str) -> str:
    """Say that this Python cannot be used; `newer` is another one on this machine, or empty."""
    way_out = (
        f"A newer one is on this machine: {newer} tools/dev.py"
        if newer
        else "Get one from https://www.python.org/downloads/ or your system's packages"
    )
    version, oldest = (".".join(map(str, numbers)) for numbers in (found, OLDEST))
    return f"This is Python {version} ({executable}); {oldest} or newer is needed. {way_out}"


def newer_python() -> str:
    """Name a Python on this machine that is new enough and runs, or nothing."""
    for minor in range(19, OLDEST[1] - 1, -1):
        name = f"python3.{minor}"
        found = shutil.which(name)
        # A version manager's shim exists for versions that are not selected, and then fails.
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return name
    return ""


if sys.version_info < OLDEST:
    sys.exit(too_old(tuple(sys.version_info[:3]), sys.executable, newer_python()))

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

STAMP = "llmeval-dev.json"
INCLUDES = {"dev": ("dev", "embedded"), "embedded": ("embedded",)}
CACHES = (
    *(".hypothesis", ".llama-cpp", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    *("build", "dist"),
)
MOST_WORKERS = 4

RUNS_AND_HAS_PIP = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
IS_NEW_ENOUGH = f"import sys; sys.exit(sys.version_info < {OLDEST})"
# pip before 21.3 cannot install a package editable from a pyproject.toml alone.
PIP_IS_NEW_ENOUGH = (
    "import sys, pip; sys.exit([*map(int, pip.__version__.split('.')[:2])] < [21, 3])"
)


class Stopped(Exception):
    """The task cannot go on; the text is a complete message."""


class Runner(Protocol):
    """Runs a command in the repository's root and gives its exit status."""

    def __call__(self, command: Sequence[str], *, quiet: bool = False) -> int:
        """Run it; `quiet` throws its output away."""
        ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the tasks work, how they run commands and how they speak."""

    root: Path
    run: Runner
    say: Callable[[str], None]

    @property
    def environment(self) -> Path:
        """The repository's own virtual environment, whichever else may be active."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter inside the environment."""
        within = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return self.environment.joinpath(*within)


# The environment ----------------------------------------------------------------------------------


def prepare(place: Workplace, extra: str) -> None:
    """Make `.venv` hold the package with this extra; do nothing when it does already."""
    digest = hashlib.sha256((place.root / "pyproject.toml").read_bytes()).hexdigest()
    stamp = read_stamp(place)
    if place.python.exists() and stamp.get(extra) == digest and not has_moved(place, stamp):
        return
    if has_moved(place, stamp) or not is_usable(place):
        make_environment(place)
        stamp = {}
    install(place, extra)
    write_stamp(place, stamp | dict.fromkeys(INCLUDES[extra], digest))


def read_stamp(place: Workplace) -> dict[str, str]:
    """Give what `.venv` holds: per extra the digest of the pyproject.toml it was installed from."""
    try:
        stamp = json.loads((place.environment / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(place: Workplace, stamp: dict[str, str]) -> None:
    """Note what was installed; written last, so that an interrupted installation is repeated."""
    text = json.dumps(stamp | {"root": str(place.root)}, indent=2) + "\n"
    (place.environment / STAMP).write_text(text, encoding="utf-8", newline="\n")


def has_moved(place: Workplace, stamp: dict[str, str]) -> bool:
    """Whether the repository was moved or copied: scripts in `.venv` still name the old place."""
    return stamp.get("root", str(place.root)) != str(place.root)


def is_usable(place: Workplace) -> bool:
    """Whether `.venv` has a Python that runs, is new enough and has pip, or can be given it."""
    if not place.python.exists():
        return False
    python = str(place.python)
    if place.run([python, "-c", RUNS_AND_HAS_PIP], quiet=True) == 0:
        return True
    return (
        place.run([python, "-c", IS_NEW_ENOUGH], quiet=True) == 0
        and place.run([python, "-m", "ensurepip"], quiet=True) == 0
    )


def make_environment(place: Workplace) -> None:
    """Make `.venv` anew with the Python that runs this script."""
    if Path(sys.prefix).resolve() == place.environment.resolve():
        raise Stopped(
            f"{place.environment} must be made anew, and the Python that runs this script lives in "
            "it. Run `deactivate` (or open a new terminal) and give the command again."
        )
    missing = missing_modules()
    if missing:
        raise Stopped(cannot_make_environments(missing))
    verb = "making .venv anew: it is incomplete" if place.environment.exists() else "making .venv"
    place.say(f"{verb} (Python {sys.version.split()[0]}, {sys.executable})")
    status = place.run([sys.executable, "-m", "venv", "--clear", str(place.environment)])
    if status != 0:
        raise Stopped(
            f"{place.environment} could not be made (python -m venv ended with {status}); its "
            "message is above. Remove that folder, close programs that use it, and try again."
        )


def missing_modules() -> list[str]:
    """Name what Debian and others split off: without these no environment can be made."""
    return [name for name in ("venv", "ensurepip") if find_spec(name) is None]


def cannot_make_environments(missing: list[str]) -> str:
    """Say what this Python lacks and how to get it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"This Python ({version}, {sys.executable}) cannot make virtual environments: its module "
        f"{' and '.join(missing)} is missing. On Debian and Ubuntu: "
        f"sudo apt-get install python3-venv (or python{version}-venv). Elsewhere: install Python "
        "from https://www.python.org/downloads/. Then give the command again."
    )


def install(place: Workplace, extra: str) -> None:
    """Install the package, editable, with this extra."""
    place.say(f"installing the package with its extra [{extra}]; the first time takes minutes")
    pip = [str(place.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if place.run([str(place.python), "-c", PIP_IS_NEW_ENOUGH], quiet=True) != 0:
        run_pip(place, [*pip, "--upgrade", "pip"])
    run_pip(place, [*pip, "--editable", f".[{extra}]"])


def run_pip(place: Workplace, command: list[str]) -> None:
    """Run pip and explain its failure."""
    status = place.run(command)
    if status != 0:
        raise Stopped(
            f"pip ended with {status}; its message is above. What it had done is kept: give the "
            "command again once the cause is gone. Without access to pypi.org, PIP_INDEX_URL or "
            "PIP_FIND_LINKS name another source; behind a proxy set HTTPS_PROXY."
        )


# The tasks ----------------------------------------------------------------------------------------


def demo(place: Workplace, arguments: list[str]) -> int:
    """Evaluate the two small models that come with the repository."""
    return place.run(
        [str(place.python), "-m", "pytest", "--llm-config", "config/local.yaml", *arguments]
    )


def test(place: Workplace, arguments: list[str]) -> int:
    """Run the tests: all of them, or the paths that are named."""
    paths = [] if names_a_path(place.root, arguments) else ["tests"]
    workers = str(min(MOST_WORKERS, cores()))
    return place.run([str(place.python), "-m", "pytest", *paths, "-n", workers, *arguments])


def names_a_path(root: Path, arguments: list[str]) -> bool:
    """Whether an argument says itself which tests are meant, for instance `tests/x.py::test_y`."""
    plain = (argument.partition("::")[0] for argument in arguments if argument[:1] != "-")
    return any(path and (root / path).exists() for path in plain)


def cores() -> int:
    """Count the processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check(place: Workplace, arguments: list[str]) -> int:
    """Run every check, also after one has failed, and name those that did."""
    if arguments:
        raise Stopped(f"check takes no arguments; {' '.join(arguments)!r} was given.")
    python = str(place.python)
    checks = {
        "ruff format": [python, "-m", "ruff", "format", "--check", "."],
        "ruff check": [python, "-m", "ruff", "check", "."],
        "mypy": [python, "-m", "mypy"],
    }
    failed = [name for name, command in checks.items() if place.run(command) != 0]
    place.say(f"failed: {', '.join(failed)}" if failed else f"passed: {', '.join(checks)}")
    return 1 if failed else 0


def bench(place: Workplace, arguments: list[str]) -> int:
    """Run the benchmarks and print them side by side."""
    return place.run([str(place.python), "benchmarks/run.py", *arguments])


def llama_cpp(place: Workplace, arguments: list[str]) -> int:
    """Build llama-cpp-python and the real llama-server for the tests that need them."""
    if arguments:
        raise Stopped(f"llama-cpp takes no arguments; {' '.join(arguments)!r} was given.")
    return place.run([str(place.python), "tools/llama_cpp.py"])


def clean(place: Workplace, arguments: list[str]) -> int:
    """Remove `.venv`, caches and build outputs; results in `runs/` belong to the user and stay."""
    if arguments:
        raise Stopped(f"clean takes no arguments; {' '.join(arguments)!r} was given.")
    if Path(sys.prefix).resolve() == place.environment.resolve():
        raise Stopped("The Python that runs this script lives in .venv: run `deactivate` first.")
    removed = []
    for folder in leftovers(place):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise Stopped(f"{folder} cannot be removed: {error}. Does a program use it?") from error
        if folder.name != "__pycache__":
            removed.append(folder.name)
    kept = "; kept runs/, your results (`llmeval runs prune` removes old ones)"
    place.say(
        f"removed {', '.join(removed) or 'nothing but byte code'}"
        + (kept if (place.root / "runs").exists() else "")
    )
    return 0


def leftovers(place: Workplace) -> Iterator[Path]:
    """Give the folders that can be made again."""
    made = [place.environment, *(place.root / name for name in CACHES)]
    yield from (folder for folder in made if folder.is_dir() and not folder.is_symlink())
    yield from place.root.glob("*.egg-info")
    for folder, within, _ in os.walk(place.root):
        if folder == str(place.root):
            within[:] = [name for name in within if name not in {".git", ".venv", "runs"}]
        if "__pycache__" in within:
            within.remove("__pycache__")
            yield Path(folder, "__pycache__")


@dataclass(frozen=True, slots=True)
class Task:
    """A word of the command line. `extra` is what must be installed; None: nothing at all."""

    perform: Callable[[Workplace, list[str]], int]
    extra: str | None
    summary: str


TASKS = {
    "demo": Task(demo, "embedded", "evaluate the two small models that come with the repository"),
    "test": Task(test, "dev", "run the tests"),
    "check": Task(check, "dev", "run ruff and mypy"),
    "bench": Task(bench, "dev", "run the benchmarks"),
    "llama-cpp": Task(llama_cpp, "dev", "build the real llama-server that some tests need, once"),
    "clean": Task(clean, None, "remove .venv and every cache; keeps runs/"),
}


# The command line ---------------------------------------------------------------------------------


def main(arguments: list[str], place: Workplace) -> int:
    """Perform the task that the command line names and give its exit status."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        place.say(usage())
        return 0 if arguments else 2
    word, *rest = arguments
    try:
        task = TASKS.get(word)
        if task is None:
            place.say(unknown(word))
            return 2
        if task.extra is not None:
            prepare(place, task.extra)
        return task.perform(place, rest)
    except Stopped as stopped:
        place.say(str(stopped))
        return 1


def usage() -> str:
    """Describe the command line."""
    tasks = "\n".join(f"  {word:<10}{task.summary}" for word, task in TASKS.items())
    return (
        f"usage: python tools/dev.py TASK [ARGUMENTS]\n\n{tasks}\n\n"
        "demo and test hand their arguments to pytest, bench to benchmarks/run.py. Everything\n"
        "runs in the repository's root, with the Python in its .venv, which is made when needed."
    )


def unknown(word: str) -> str:
    """Say which tasks there are, and which one may have been meant."""
    near = difflib.get_close_matches(word, TASKS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no task {word!r}; there are {', '.join(TASKS)}.{hint}"


def run_in(root: Path) -> Runner:
    """Make the runner that starts real processes in this folder."""

    def run(command: Sequence[str], *, quiet: bool = False) -> int:
        output = subprocess.DEVNULL if quiet else None
        process = subprocess.Popen(command, cwd=root, stdout=output, stderr=output)
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:
                # The terminal sent it to the child as well, which now stops its servers in order.
                continue
            # A child ended by signal n is -n here; every shell calls that 128 + n.
            return status if status >= 0 else 128 - status

    return run


def say(text: str) -> None:
    """Print at once, so that the lines stay in order with those of the commands."""
    print(text, flush=True)


if __name__ == "__main__":
    # A Windows console may not know a letter of a path: print a mark in its place, never fail.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # it is a file
    repository = Path(__file__).resolve().parent.parent
    sys.exit(main(sys.argv[1:], Workplace(repository, run_in(repository), say)))
