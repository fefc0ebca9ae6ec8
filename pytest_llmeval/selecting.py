"""Which files are suites, what the selected nodes need of the run, and in what order they stand."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pytest_llmeval import functions
from pytest_llmeval.collection import GateTest, TrialTest
from pytest_llmeval.run import SelectedGate, Selection, Settings

_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_suite(path: Path, config: pytest.Config) -> bool:
    """Whether the ini key `llm_suites` names this file."""
    try:
        relative = path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return False
    return any(_regex(pattern).fullmatch(relative) for pattern in config.getini("llm_suites"))


def passed_over(config: pytest.Config, collected: Collection[Path]) -> Iterator[str]:
    """A line for each folder named on the command line that holds .yaml files, none of them a
    suite, and of which nothing was collected.
    """
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return
    here = config.invocation_params.dir
    globs = " ".join(config.getini("llm_suites"))
    for named in dict.fromkeys(arg.partition("::")[0] for arg in config.args):
        folder = Path(os.path.normpath(here / named))
        if not folder.is_dir() or any(path.is_relative_to(folder) for path in collected):
            continue
        files = list(_yaml_files(folder, config))
        if files and not any(is_suite(path, config) for path in files):
            file = Path(named, files[0].relative_to(folder)).as_posix()
            yield (
                f"llmeval: nothing was collected from {named}: suites are the files that "
                f"llm_suites matches ({globs}) and files named on the command line, as in: "
                f"pytest --llm-config {config.getoption('llm_config')} {file}"
            )


def _yaml_files(folder: Path, config: pytest.Config) -> Iterator[Path]:
    """The .yaml files in a folder where pytest would look for tests, but for configs."""
    never = config.getini("norecursedirs")
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not any(fnmatch(f, each) for each in never))
        for name in sorted(files):
            if name.endswith((".yaml", ".yml")) and not _is_config(Path(place, name), config):
                yield Path(place, name)


def _is_config(path: Path, config: pytest.Config) -> bool:
    return path.parent == config.rootpath / "config" or path == Path(
        os.path.normpath(config.rootpath / config.getoption("llm_config"))
    )


@functools.lru_cache
def _regex(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression.

    `*` and `?` stop at a slash, `**/` stands for folders of any depth, and none; `[ab]` and
    `[!ab]` are as ever.
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^]/]*\])", pattern)
    return re.compile("".join(_WILD.get(part) or _literal(part) for part in parts))


def _literal(part: str) -> str:
    if len(part) > 2 and part.startswith("[") and part.endswith("]"):
        negated = part.startswith("[!")
        inside = re.sub(r"([\\\[\]&~|^])", r"\\\1", part[2 if negated else 1 : -1])
        return f"[^/{inside}]" if negated else f"[{inside}]"
    return re.escape(part)


def select(items: Sequence[pytest.Item], *, deselected: bool = False) -> Selection:
    """What the selected nodes need of the run; `deselected` says that there were others."""
    selection = Selection(deselected=deselected)
    for item in items:
        if item.get_closest_marker("skip"):
            continue
        if isinstance(item, TrialTest):
            selection.trials.append(item.trial)
        elif isinstance(item, GateTest):
            gate = SelectedGate(item.nodeid, item.location, item.suite, item.gate)
            selection.gates.append(gate)
        else:
            functions.select(item, selection)
    selection.mistakes += functions.equal_variants(items)
    # A function that is parametrized beside its mark has several tests for one trial.
    selection.trials = list({trial.id: trial for trial in selection.trials}.values())
    return selection


def trials_by_test(items: Sequence[pytest.Item]) -> dict[str, str]:
    """The ids of trials by the node ids of their tests."""
    found = ((item, getattr(item, "trial", None) or functions.trial_of(item)) for item in items)
    return {item.nodeid: trial.id for item, trial in found if trial is not None}


def order_as_planned(items: list[pytest.Item], settings: Settings) -> None:
    """Sort the trials among the places that trials have: by model, then as they were collected."""
    places = [place for place, item in enumerate(items) if isinstance(item, TrialTest)]
    trials = [item for item in items if isinstance(item, TrialTest)]
    suites = {item.trial.suite.name: item.trial.suite for item in trials}
    rank = {model: number for number, model in enumerate(settings.turn_order(suites.values()))}
    trials.sort(key=lambda item: (rank[item.trial.condition.model], item.number))
    for place, item in zip(places, trials, strict=True):
        items[place] = item
