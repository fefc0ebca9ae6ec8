"""A run's folder with all that is to be asked and nothing that was: to be asked elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from pytest_llmeval.errors import RunError, SuiteError
from pytest_llmeval.records import Trial
from pytest_llmeval.results.parts import PartFacts
from pytest_llmeval.run.assembly import refuse_the_impossible
from pytest_llmeval.run.opening import open_ledger
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.plan import by_model

#: How such a run has ended so far.
BUILT = "built, and not asked yet"


def build(
    settings: Settings, suites: Sequence[Path], place: Path, now: datetime
) -> tuple[PartFacts, ...]:
    """Write the requests of some suites, files or folders of them, to `place`; the parts.

    It is the folder of a run, which `--llm-resume` and `llmeval rescore` understand. Raises
    InputError, RunError.
    """
    trials = list(_trials(settings, suite_files(suites)))
    settings.check_prompts()
    if settings.mistakes:
        raise RunError("; ".join(settings.mistakes))
    refuse_the_impossible(settings, trials)
    ordered = [trial for its in by_model(trials, settings.models).values() for trial in its]
    ledger = open_ledger(settings, ordered, now, place=place)
    ledger.seal_requests()
    ledger.close({}, now, BUILT)
    return ledger.manifest.parts


def suite_files(places: Iterable[Path]) -> list[Path]:
    """The files that are named, and every .yaml file in the folders that are."""
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found += sorted(path for path in place.rglob("*.yaml") if path.is_file())
        else:
            found.append(place)
    if not found:
        named = ", ".join(map(str, places)) or "no suite"
        raise SuiteError(f"there is no suite in {named}: name files or folders with .yaml files")
    return list(dict.fromkeys(found))


def _trials(settings: Settings, files: Iterable[Path]) -> Iterator[Trial]:
    root = settings.options.root
    for path in files:
        absolute = path.absolute()
        shown = absolute.relative_to(root) if absolute.is_relative_to(root) else path
        suite = settings.load_suite(absolute, shown.as_posix())
        for condition in settings.conditions(suite):
            yield from settings.trials(suite, condition)
