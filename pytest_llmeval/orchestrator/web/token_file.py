"""The token that changing calls carry: made once, kept in a file that only its owner may read."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from pytest_llmeval.errors import OrchestratorError

SHORTEST = 16
"""A token that somebody has chosen must not be guessed; ours has 43 characters."""


def kept_token(path: Path) -> str:
    """The token in the file; a new one where there is none, or where others could read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            return _read(path) or _make(path)
    except OSError as error:
        raise OrchestratorError(
            f"the token of the interface cannot be kept in {path}: {error}. "
            "Give one by --token-env NAME, or another folder by --home DIR."
        ) from error


def given_token(variable: str, environ: Mapping[str, str], option: str = "--token-env") -> str:
    """The token that a variable of the environment holds; `option` names the variable."""
    token = environ.get(variable, "")
    if not token:
        raise OrchestratorError(
            f"{option} {variable}: the environment has no such variable, or it is empty; "
            f"it must hold a token of at least {SHORTEST} characters"
        )
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise OrchestratorError(
            f"{option} {variable}: the token has {len(token)} characters; it needs at least "
            f"{SHORTEST}, of ASCII and without spaces. A good one: {secrets.token_urlsafe(32)}"
        )
    return token


def _read(path: Path) -> str | None:
    """None where there is none to be trusted."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    # Windows keeps others out by the profile's folder; its modes say nothing.
    if os.name != "nt" and stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return text if len(text) >= SHORTEST else None


def _make(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    write_private(path, f"{token}\n")
    return token


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, not even while it is written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
