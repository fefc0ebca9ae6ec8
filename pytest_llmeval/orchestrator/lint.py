"""All that can be said about configs of instances before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pytest_llmeval.errors import InstanceConfigError
from pytest_llmeval.orchestrator.autostart import read_autostart
from pytest_llmeval.orchestrator.configs import (
    LoadedInstance,
    config_files,
    examine_file,
    find_config,
    instance_names,
)
from pytest_llmeval.orchestrator.findings import Finding, from_mistake, in_order
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.lint_facts import Machine, find_facts, this_machine
from pytest_llmeval.orchestrator.lint_rules import RULES
from pytest_llmeval.orchestrator.lint_together import RULES_TOGETHER, Together
from pytest_llmeval.orchestrator.rows import InstanceRow


def validate(path: Path, environment: Mapping[str, str]) -> tuple[int, tuple[Finding, ...]]:
    """How many configs there are, and their mistakes.

    `path` is a config file, an instance's folder or a folder of such folders. Raises
    InstanceConfigError when no config is to be found.
    """
    if not path.exists():
        return 1, _read_file(path, None, environment)[1]
    if path.is_file():
        return 1, _read_file(path, path.absolute().parent.name, environment)[1]
    folders = [path] if config_files(path) else _instance_folders(path)
    if not folders:
        raise InstanceConfigError(
            "there is no config here: expected a config file, the folder that holds it, or a "
            "folder of such folders",
            path=path,
        )
    found = [each for folder in folders for each in _read_folder(folder, environment)[1]]
    return len(folders), in_order(found)


def lint(
    home: Home,
    environment: Mapping[str, str],
    rows: Mapping[str, InstanceRow],
    machine: Callable[[Mapping[str, str]], Machine] = this_machine,
) -> tuple[Finding, ...]:
    """What is wrong or doubtful about the instances of a home; nothing is started or changed.

    `rows` is what the daemon knows of them, by name.
    """
    here = machine(environment)
    names = instance_names(home)
    read = [_read_folder(home.instances / name, environment) for name in names]
    instances = [instance for instance, _ in read if instance is not None]
    facts = {each.name: find_facts(each, home, here, rows.get(each.name)) for each in instances}
    autostart, found = _autostart(home)
    together = Together(instances, facts, here, names, autostart, home.autostart)
    found += [mistake for _, mistakes in read for mistake in mistakes]
    found += _folders_without_config(home)
    found += [
        finding
        for instance in instances
        for rule in RULES
        for finding in rule(instance, facts[instance.name], here)
    ]
    found += [finding for rule in RULES_TOGETHER for finding in rule(together)]
    return in_order(found)


def _instance_folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if config_files(each))


def _read_folder(
    folder: Path, environment: Mapping[str, str]
) -> tuple[LoadedInstance | None, tuple[Finding, ...]]:
    name = folder.absolute().name
    try:
        path = find_config(folder)
    except InstanceConfigError as problem:
        return None, (from_mistake(name, problem),)
    return _read_file(path, name, environment)


def _read_file(
    path: Path, name: str | None, environment: Mapping[str, str]
) -> tuple[LoadedInstance | None, tuple[Finding, ...]]:
    instance, mistakes = examine_file(path, environment)
    return instance, tuple(from_mistake(name, mistake) for mistake in mistakes)


def _autostart(home: Home) -> tuple[tuple[str, ...], list[Finding]]:
    try:
        return read_autostart(home), []
    except InstanceConfigError as problem:
        return (), [from_mistake(None, problem, "autostart")]


def _folders_without_config(home: Home) -> Iterator[Finding]:
    """Those in which somebody may have meant to have one."""
    if not home.instances.is_dir():
        return
    for folder in sorted(home.instances.iterdir()):
        hidden = folder.name.startswith(".")
        if hidden or config_files(folder) or not folder.is_dir():
            continue
        try:
            find_config(folder)
        except InstanceConfigError as problem:
            yield replace(from_mistake(folder.name, problem), severity="warning")
