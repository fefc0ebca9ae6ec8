"""Build llama-cpp-python together with the real llama-server, and unpack both into .llama-cpp/.

    python tools/llama_cpp.py

One pip build gives one wheel with the library and llama.cpp's programs. It takes 370 s on two
cores (670 CPU-seconds), so the wheel is kept in a folder of the user's, named by all that shapes
it, and taken from there the next time. Tests use what stands in `.llama-cpp/` of the repository;
without it they are skipped, with this command as their reason.

Environment: LLMEVAL_WHEELS names another folder for the wheels, CMAKE_BUILD_PARALLEL_LEVEL another
number of compilers at a time than there are cores; pip obeys its own variables.

Exit status: 0 all is there, 1 the build failed, 3 there is no compiler. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

VERSION = "0.3.36"

FLAGS = (
    "-DGGML_NATIVE=OFF",  # the wheel may be kept for another machine of this kind
    "-DLLAVA_BUILD=OFF",  # LLAMA_BUILD_TOOLS builds the same library, and CMake refuses two
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_TOOLS_INSTALL=ON",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # it would be downloaded
    "-DLLAMA_OPENSSL=OFF",
    # So that bin/llama-server finds lib/ where both lie; Windows looks beside the program anyway.
    "-DCMAKE_INSTALL_RPATH="
    + ("@loader_path/../lib" if sys.platform == "darwin" else "$ORIGIN/../lib"),
)

READY, FAILED, NO_COMPILER = 0, 1, 3

FOLDER = ".llama-cpp"
STAMP = "llmeval-wheel.txt"
TAIL_LINES = 25
COMPILERS = ("c++", "g++", "clang++", "cl")

HOW_TO_GET_ONE = {
    "win32": "install the Visual Studio Build Tools with the workload for C++ "
    "(winget install Microsoft.VisualStudio.2022.BuildTools)",
    "darwin": "xcode-select --install",
}
HOW_TO_GET_ONE_ELSEWHERE = (
    "apt-get install build-essential cmake, dnf install gcc-c++ cmake, "
    "or the like of your distribution"
)


class Stopped(Exception):
    """The tool cannot go on; the text is a complete message, `status` the exit status."""

    def __init__(self, message: str, status: int):
        self.status = status
        super().__init__(message)


class Runner(Protocol):
    """Runs a command with an environment, its output going to a file; gives its exit status."""

    def __call__(self, command: list[str], environ: Mapping[str, str], log: Path) -> int:
        """Run it to its end."""
        ...


@dataclass(frozen=True)
class Outside:
    """What the tool touches: the repository, the environment, processes, the terminal."""

    root: Path
    environ: Mapping[str, str]
    run: Runner
    say: Callable[[str], None]
    which: Callable[[str], str | None] = shutil.which


# Where things are ---------------------------------------------------------------------------------


def wheels_folder(environ: Mapping[str, str], platform: str, home: Path) -> Path:
    """Where wheels are kept: LLMEVAL_WHEELS, else in the system's folder for a user's caches."""
    named = environ.get("LLMEVAL_WHEELS")
    if named:
        return Path(named).expanduser().absolute()
    if platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "pytest-llmeval" / "wheels"


def build_name(version: str, flags: tuple[str, ...], platform_tag: str) -> str:
    """The name of a build's folder: version, what it was built with, and for what."""
    digest = hashlib.sha256("\0".join(flags).encode("utf-8")).hexdigest()[:12]
    return f"llama_cpp_python-{version}-{digest}-{platform_tag}"


def platform_tag() -> str:
    """This Python and this machine, for instance `cp311-linux_x86_64`."""
    system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"{sys.implementation.name[:2]}{sys.version_info.major}{sys.version_info.minor}-{system}"


def only_wheel(folder: Path) -> Path | None:
    """The wheel that a folder holds; None when there is none."""
    return next(iter(sorted(folder.glob("*.whl"))), None)


# The build ----------------------------------------------------------------------------------------


def kept_or_built(outside: Outside, wheels: Path) -> Path:
    """The wheel: the one that was kept, else a new one. Raises Stopped."""
    kept = wheels / build_name(VERSION, FLAGS, platform_tag())
    wheel = only_wheel(kept)
    if wheel is not None:
        outside.say(f"kept from an earlier build: {wheel}")
        return wheel
    require_compiler(outside)
    wheels.mkdir(parents=True, exist_ok=True)
    # Beside its final place, and moved there whole: an interrupted build is none.
    building = Path(tempfile.mkdtemp(prefix="building-", dir=wheels))
    try:
        build(outside, building, wheels / f"{kept.name}.log")
        kept.parent.mkdir(exist_ok=True)
        if only_wheel(kept) is None:  # somebody else may have been quicker
            building.replace(kept)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    wheel = only_wheel(kept)
    assert wheel is not None, "it has just been moved there"
    return wheel


def require_compiler(outside: Outside) -> None:
    """Raise Stopped when nothing here can compile C++."""
    named = outside.environ.get("CXX")
    if named or any(map(outside.which, COMPILERS)) or visual_studio(outside.environ).exists():
        return
    way_out = HOW_TO_GET_ONE.get(sys.platform, HOW_TO_GET_ONE_ELSEWHERE)
    raise Stopped(
        f"llama-cpp-python {VERSION} cannot be built: there is no C++ compiler "
        f"({', '.join(COMPILERS)}) on PATH and CXX names none. Get one: {way_out}. "
        "Without it the tests that need the real llama-server are skipped.",
        NO_COMPILER,
    )


def visual_studio(environ: Mapping[str, str]) -> Path:
    """The program that tells CMake where Visual Studio's compiler is: it is on no PATH."""
    base = environ.get("ProgramFiles(x86)", r"C:\Program Files (x86)")
    return Path(base, "Microsoft Visual Studio", "Installer", "vswhere.exe")


def build(outside: Outside, folder: Path, log: Path) -> None:
    """Have pip build the wheel into a folder. Raises Stopped with the end of its log."""
    cores = str(usable_cores())
    environ = {
        **outside.environ,
        "CMAKE_ARGS": " ".join(FLAGS),
        "CMAKE_BUILD_PARALLEL_LEVEL": outside.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or cores,
    }
    # pip's own cache of wheels knows nothing of CMAKE_ARGS, and may hold one without llama-server.
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--verbose"]
    command += ["--disable-pip-version-check", "--no-binary", "llama-cpp-python"]
    command += ["--wheel-dir", str(folder), f"llama-cpp-python=={VERSION}"]
    outside.say(
        f"building llama-cpp-python {VERSION} with llama-server, "
        f"{environ['CMAKE_BUILD_PARALLEL_LEVEL']} compilers at a time; 6 minutes on two cores, "
        f"once. Its log: {log}"
    )
    began = time.monotonic()
    status = outside.run(command, environ, log)
    wheel = only_wheel(folder)
    if status != 0 or wheel is None:
        raise Stopped(build_failure(f"pip ended with {status}", log), FAILED)
    if not any(is_server(name) for name in zipfile.ZipFile(wheel).namelist()):
        raise Stopped(build_failure("the wheel holds no llama-server", log), FAILED)
    outside.say(f"built in {time.monotonic() - began:.0f} s: {wheel.name}")


def build_failure(reason: str, log: Path) -> str:
    """What to say of a build that failed: the reason, the end of the log, where all of it is."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        lines = []
    return "\n".join(
        [
            f"llama-cpp-python {VERSION} could not be built: {reason}. The end of its log:",
            *(f"    {line}" for line in lines),
            f"All of it: {log}",
        ]
    )


def is_server(name: str) -> bool:
    """Whether a file of the wheel is the server's executable."""
    return name in {"bin/llama-server", "bin/llama-server.exe"}


def usable_cores() -> int:
    """Count the processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


# Unpacking ----------------------------------------------------------------------------------------


def unpack(wheel: Path, folder: Path) -> bool:
    """Unpack a wheel so that its programs run; whether there was anything to do.

    zipfile forgets which files are executable.
    """
    stamp = folder / STAMP
    identity = f"{wheel.parent.name}/{wheel.name} {wheel.stat().st_size}\n"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == identity:
        return False
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(fresh)
        for program in (fresh / "bin").iterdir():
            program.chmod(0o755)
        (fresh / STAMP).write_text(identity, encoding="utf-8", newline="\n")
        fresh.chmod(0o755)  # mkdtemp's own is for its maker alone
        if folder.exists():
            shutil.rmtree(folder)
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return True


def require_server(outside: Outside, folder: Path) -> Path:
    """The unpacked llama-server, after seeing it run. Raises Stopped."""
    suffix = ".exe" if sys.platform == "win32" else ""
    server = folder / "bin" / f"llama-server{suffix}"
    log = folder / "llama-server-version.txt"
    status = outside.run([str(server), "--version"], outside.environ, log)
    if status != 0:
        words = log.read_text(encoding="utf-8", errors="replace").strip()
        raise Stopped(f"{server} does not run (exit status {status}): {words}", FAILED)
    return server


# The command line ---------------------------------------------------------------------------------


def main(outside: Outside) -> int:
    """Make `.llama-cpp/` hold the library and the server; the exit status."""
    wheels = wheels_folder(outside.environ, sys.platform, Path.home())
    folder = outside.root / FOLDER
    try:
        wheel = kept_or_built(outside, wheels)
        began = time.monotonic()
        if unpack(wheel, folder):
            outside.say(f"unpacked in {time.monotonic() - began:.1f} s")
        server = require_server(outside, folder)
    except Stopped as stopped:
        outside.say(str(stopped))
        return stopped.status
    outside.say(f"ready: {server}\n       {folder / 'llama_cpp'} (put {folder} on PYTHONPATH)")
    return READY


def run_logged(command: list[str], environ: Mapping[str, str], log: Path) -> int:
    """Run a real process, its output going to a file."""
    with log.open("wb") as output:
        process = subprocess.run(
            command, env=dict(environ), stdout=output, stderr=subprocess.STDOUT, check=False
        )
    return process.returncode


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(Outside(Path(__file__).resolve().parents[1], os.environ, run_logged, say)))
