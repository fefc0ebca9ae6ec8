"""Which instances the daemon brings up when it starts, in that order: `autostart.json`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from filelock import FileLock

from pytest_llmeval.atomic import write_json
from pytest_llmeval.errors import InstanceConfigError, OrchestratorError
from pytest_llmeval.inputs.documents import read_document
from pytest_llmeval.inputs.mistakes import Mistakes, did_you_mean
from pytest_llmeval.inputs.sections import Section, read_section
from pytest_llmeval.orchestrator.configs import require_instance
from pytest_llmeval.orchestrator.home import VARIABLE, Home


class _File(Section):
    instances: list[str]


def read_autostart(home: Home) -> tuple[str, ...]:
    """Their names, each once; some may have no config any more.

    No file means none. Raises InstanceConfigError for a file that says something else.
    """
    try:
        home.autostart.stat()
    except FileNotFoundError:
        return ()
    except OSError:
        pass  # which is told by reading it
    document = read_document(home.autostart, InstanceConfigError)
    mistakes = Mistakes(document, InstanceConfigError)
    file = read_section(_File, document.data, (), mistakes)
    mistakes.raise_if_any()
    assert file is not None
    return tuple(dict.fromkeys(file.instances))


def write_autostart(home: Home, names: Iterable[str]) -> None:
    """Put these names into the file, in place of whatever it held."""
    home.root.mkdir(parents=True, exist_ok=True)
    write_json(home.autostart, {"instances": list(dict.fromkeys(names))})


def add_autostart(home: Home, names: Iterable[str]) -> tuple[str, ...]:
    """Have these brought up too, after the others; gives all there are now.

    Raises UnknownInstanceError when one of them has no config, and then changes nothing.
    """
    names = tuple(names)
    for name in names:
        require_instance(home, name)
    with _changing(home):
        now = (*read_autostart(home), *names)
        write_autostart(home, now)
    return tuple(dict.fromkeys(now))


def remove_autostart(home: Home, names: Iterable[str]) -> tuple[str, ...]:
    """Have these not brought up any more; gives those that are left.

    Raises OrchestratorError when one of them is not in the file, and then changes nothing.
    """
    gone = tuple(names)
    with _changing(home):
        now = read_autostart(home)
        for name in gone:
            if name not in now:
                listed = f"those that are: {', '.join(now)}" if now else "none is"
                raise OrchestratorError(
                    f"{name!r} is not brought up when the daemon starts"
                    f"{did_you_mean(name, now)} ({listed})"
                )
        left = tuple(name for name in now if name not in gone)
        write_autostart(home, left)
    return left


@contextlib.contextmanager
def _changing(home: Home) -> Iterator[None]:
    """Two that change the file at once must not undo each other's change."""
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        with FileLock(home.autostart.with_suffix(".lock")):
            yield
    except OSError as error:
        raise OrchestratorError(
            f"{home.autostart}: cannot be written: {error.strerror or error}; its folder must be "
            f"yours to write, or name another home with --home or {VARIABLE}"
        ) from error
