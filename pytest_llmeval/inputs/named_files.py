"""Files that a suite names: where they may lie, and what they may be.

A suite may come from somebody else, and what it reads goes into prompts, so to whatever endpoint
the config names. So a file that it names lies below the rootdir, links followed, unless the config
says otherwise, and it is a plain file: no folder, no pipe, no device. What only Windows takes for a
device, a stream, a drive or another machine is refused everywhere: suites travel.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from pytest_llmeval.errors import InputError
from pytest_llmeval.inputs.documents import Document

WAY_OUT = (
    "copy it there, or name its folder in the config: data: {roots: [FOLDER]} "
    "(llmeval rescore: --data-root FOLDER)"
)

_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"}
)


def named_file(document: Document, name: str, error: type[InputError]) -> Path:
    """The file that `document` names: from its folder, below one of its roots.

    A file that does not exist is returned as it is: who reads it says so. Raises `error`, without
    a place, telling the path as given, where it may lie and the way out.
    """
    oddity = _oddity(name, document.roots)
    if oddity:
        raise error(f"{name!r} is not read: {oddity}")
    path = document.path.parent / name
    real, roots = _real(path, name, error), roots_of(document)
    if not any(real.is_relative_to(root) for root in roots):
        raise error(f"{name!r} is not read: {_outside(real, document, path, roots)}; {WAY_OUT}")
    kind = _kind(real)
    if kind:
        raise error(f"{name!r} is not read: it is {kind}, and no file")
    return path


def roots_of(document: Document) -> tuple[Path, ...]:
    """The folders below which the files lie that `document` may name, links followed.

    A document outside of all of them was named by the user, as on the command line: what lies
    beside it belongs to it.
    """
    folder = Path(os.path.abspath(document.path.parent))  # noqa: PTH100  # links stay
    inside = any(folder.is_relative_to(root) for root in document.roots)
    return tuple(
        dict.fromkeys(Path(os.path.realpath(each)) for each in _all(document, folder, inside))
    )


def _all(document: Document, folder: Path, inside: bool) -> Iterable[Path]:
    return document.roots if inside else (folder, *document.roots)


def _oddity(name: str, roots: Sequence[Path]) -> str:
    """What Windows would make of a path that is no path of a file, or nothing."""
    if "\0" in name:
        return "it holds the character U+0000"
    if name.startswith(("\\\\", "//")):
        within = any(PureWindowsPath(name).is_relative_to(PureWindowsPath(r)) for r in roots)
        return "" if within else f"a path on another machine or a device; {WAY_OUT}"
    drive = _DRIVE.match(name)
    rest = name[drive.end() :] if drive else name
    if drive and not rest.startswith(("\\", "/")):
        return (
            f"{drive[0]} without a slash behind it depends on where that drive stands; "
            f"write {drive[0]}/..."
        )
    if ":" in rest:
        return "behind a colon Windows looks for a stream inside the file; rename it"
    device = next((part for part in re.split(r"[\\/]", rest) if _is_device(part)), None)
    return f"{device!r} is a device on Windows; rename it" if device else ""


def _is_device(part: str) -> bool:
    return part.partition(".")[0].rstrip(" ").upper() in _DEVICES


def _real(path: Path, name: str, error: type[InputError]) -> Path:
    try:
        return Path(os.path.realpath(path))
    except OSError as problem:  # a loop of links, on some systems
        raise error(f"{name!r} is not read: {problem.strerror}") from None


def _outside(real: Path, document: Document, path: Path, roots: Sequence[Path]) -> str:
    """Said with the place itself, since `..` and links are easily misread."""
    plain = Path(os.path.abspath(path))  # noqa: PTH100  # links stay
    linked = any(plain.is_relative_to(root) for root in (*roots, *document.roots))
    where = " and ".join(map(str, roots))
    leads = "a link leads" if linked else "it leads"
    return f"{leads} to {real}, and files that a suite names lie below {where}"


def _kind(path: Path) -> str:
    """What stands there in place of a file; nothing for a file, and for nothing at all."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "a device"),
    )
    return next((word for is_kind, word in kinds if is_kind(mode)), "")
