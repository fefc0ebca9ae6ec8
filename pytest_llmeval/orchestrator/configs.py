"""The configs of a home's instances: `instances/<name>/config.yaml`, or `config.json`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_llmeval.errors import (
    InputError,
    InstanceConfigError,
    OrchestratorError,
    UnknownInstanceError,
)
from pytest_llmeval.inputs.credentials import find_secrets
from pytest_llmeval.inputs.documents import Document, KeyPath, read_document
from pytest_llmeval.inputs.mistakes import Mistakes, did_you_mean
from pytest_llmeval.inputs.paths import (
    expand_variables,
    located,
    located_executable,
    variables_in,
)
from pytest_llmeval.inputs.sections import NAME, NAME_RULE, read_section
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.consistency import contradictions
from pytest_llmeval.orchestrator.home import Home

CONFIG_NAMES = ("config.yaml", "config.json")
"""What the config in an instance's folder may be called; there is one of them."""

LONGEST_NAME = 100
"""A name becomes part of names of files, which no system takes at any length."""

_PATHS = (("model", "path"), ("server", "executable"), ("log", "folder"))


@dataclass(frozen=True, slots=True)
class LoadedInstance:
    """An instance as its file says: defaults filled in, paths absolute, variables in them replaced.

    `document` is the file as it was written: it knows on which line each value stands.
    """

    name: str
    config: InstanceConfig
    path: Path
    document: Document = field(repr=False, compare=False)


def instance_names(home: Home) -> tuple[str, ...]:
    """All instances that have a config file, in the order of their names."""
    try:
        folders = sorted(home.instances.iterdir())
    except FileNotFoundError:
        return ()
    except OSError as problem:
        raise OrchestratorError(
            f"{home.instances}: cannot be read: {problem.strerror}; it is the folder that holds "
            "one folder for each instance"
        ) from problem
    return tuple(folder.name for folder in folders if config_files(folder))


def load_instance(
    home: Home, name: str, environment: Mapping[str, str] = os.environ
) -> LoadedInstance:
    """What the instance is to be.

    Raises UnknownInstanceError when there is none of this name, InstanceConfigError with every
    mistake of its file, a line each.
    """
    require_instance(home, name)
    return load_folder(home.instances / name, environment)


def require_instance(home: Home, name: str) -> None:
    """Raise UnknownInstanceError, which tells those that there are, unless this one is there."""
    names = instance_names(home)
    if name not in names:
        raise UnknownInstanceError(_unknown_words(home, name, names))


def load_folder(folder: Path, environment: Mapping[str, str] = os.environ) -> LoadedInstance:
    """The instance that has this folder, and its name; raises InstanceConfigError."""
    return load_file(find_config(folder), environment)


def find_config(folder: Path) -> Path:
    """The one config in an instance's folder; raises InstanceConfigError."""
    problem = name_problem(folder.absolute().name)
    if problem:
        raise InstanceConfigError(problem, path=folder)
    found = config_files(folder)
    if len(found) == 1:
        return found[0]
    names = " or ".join(CONFIG_NAMES)
    if found:
        raise InstanceConfigError(
            f"there are both {' and '.join(file.name for file in found)}, and nobody can tell "
            "which counts; remove one of them",
            path=folder,
        )
    raise InstanceConfigError(f"there is no {names}{_near_file(folder)}", path=folder)


def load_file(path: Path, environment: Mapping[str, str] = os.environ) -> LoadedInstance:
    """What a config file says, whatever its place; the instance has the name of its folder.

    Raises InstanceConfigError with every mistake, a line each.
    """
    loaded, mistakes = _read(path, environment)
    mistakes.raise_if_any()
    assert loaded is not None
    return loaded


def examine_file(
    path: Path, environment: Mapping[str, str] = os.environ
) -> tuple[LoadedInstance | None, tuple[InputError, ...]]:
    """What a config file says if it has no mistake, and all its mistakes, each by itself."""
    try:
        loaded, mistakes = _read(path, environment)
    except InstanceConfigError as problem:
        return None, (problem,)
    found = tuple(mistakes.in_order())
    return (None if found else loaded), found


def config_files(folder: Path) -> tuple[Path, ...]:
    """The config files in an instance's folder: one, if all is well.

    A folder that may not be looked into has one, too: whoever reads it is told why it cannot be.
    """
    try:
        return tuple(folder / name for name in CONFIG_NAMES if _is_file(folder / name))
    except OSError:
        return (folder / CONFIG_NAMES[0],)


def _is_file(path: Path) -> bool:
    """As `Path.is_file`, which tells of what it may not see in some versions of Python only."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def name_problem(name: str) -> str | None:
    """Why an instance cannot have this name, and one that it can have; None when it can."""
    if len(name) > LONGEST_NAME:
        return f"a name of {len(name)} characters is too long: at most {LONGEST_NAME}"
    if NAME.fullmatch(name):
        return None
    proposal = slug(name)
    hint = f"; {proposal!r} would do" if proposal else ""
    return f"the name {name!r} cannot be used: {NAME_RULE}{hint}"


def slug(name: str) -> str:
    """The name with what is not allowed in it replaced; "" when nothing usable is left."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")
    return plain if NAME.fullmatch(plain) else ""


def variables_in_paths(instance: LoadedInstance) -> tuple[str, ...]:
    """The variables of the environment that the paths of a config were written with."""
    data = instance.document.data
    written = (data.get(section, {}).get(key) for section, key in _PATHS)
    found = (name for text in written if text is not None for name in variables_in(text))
    return tuple(dict.fromkeys(found))


def fingerprint(config: InstanceConfig) -> str:
    """The same for two configs that say the same, however they are written.

    What an instance was started with can be kept as this, and held against its file later.
    """
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(path: Path, environment: Mapping[str, str]) -> tuple[LoadedInstance | None, Mistakes]:
    document = read_document(path, InstanceConfigError)
    mistakes = Mistakes(document, InstanceConfigError)
    # Before anything else, so that no other message can quote one.
    find_secrets(document.data, mistakes)
    config = None if mistakes else read_section(InstanceConfig, document.data, (), mistakes)
    if config is None:
        return None, mistakes
    for keys, message in contradictions(config):
        mistakes.add(keys, message)
    config = _resolved(config, path.absolute().parent, environment, mistakes)
    return LoadedInstance(path.absolute().parent.name, config, path, document), mistakes


def _resolved(
    config: InstanceConfig, folder: Path, environment: Mapping[str, str], mistakes: Mistakes
) -> InstanceConfig:
    """The config with its paths as they are on this machine, seen from its own folder."""

    def resolve(keys: KeyPath, written: str, meant: Callable[[str, Path], Path | str]) -> str:
        try:
            return str(meant(expand_variables(written, environment), folder))
        except ValueError as problem:
            mistakes.add(keys, f"{'.'.join(map(str, keys))}: {problem}")
            return written

    model = resolve(("model", "path"), config.model.path, located)
    executable = resolve(("server", "executable"), config.server.executable, located_executable)
    logs = config.log.folder and resolve(("log", "folder"), config.log.folder, located)
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"path": model}),
            "server": config.server.model_copy(update={"executable": executable}),
            "log": config.log.model_copy(update={"folder": logs}),
        }
    )


def _unknown_words(home: Home, name: str, names: tuple[str, ...]) -> str:
    problem = name_problem(name)
    folder = home.instances / name
    if problem is None and folder.is_dir():
        return f"no instance {name!r}: {folder} has no {' or '.join(CONFIG_NAMES)}" + (
            _near_file(folder)
        )
    why = f" ({problem})" if problem else ""
    if names:
        return (
            f"no instance {name!r}{did_you_mean(name, names)}{why} (there are: {', '.join(names)})"
        )
    example = name if problem is None else slug(name) or "NAME"
    return (
        f"no instance {name!r}{why}; there are none yet in {home.instances}. "
        f"Make one: llama-orch init --profile cpu --name {example}"
    )


def _near_file(folder: Path) -> str:
    """`; config.yml is there: rename it to config.yaml`, where something like it is there."""
    try:
        there = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return ""
    alike = re.compile(r"conf.*\.(ya?ml|json)", re.IGNORECASE)
    near = next(filter(alike.fullmatch, there), None)
    if near is None:
        return ""
    wanted = "config.json" if near.lower().endswith("json") else "config.yaml"
    return f"; {near} is there: rename it to {wanted}"
