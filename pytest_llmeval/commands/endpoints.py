"""`llmeval doctor --llm-config FILE`: what the models of a config can do, shown by requests."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_llmeval.records import Check, CheckName
from pytest_llmeval.results.rounding import duration
from pytest_llmeval.run.examining import ExaminedModel, examine_models
from pytest_llmeval.run.settings import Options, Settings
from pytest_llmeval.visible import visible

_WIDTH = 12


def examine(
    config: str,
    overrides: Sequence[str],
    root: Path,
    *,
    say: Callable[[str], None],
    tell: Callable[[ExaminedModel], None],
) -> list[ExaminedModel]:
    """Read the config and examine its models; `tell` gets each when it is done.

    Raises InputError for a config that cannot be read. Logs of servers go with the command.
    """
    options = Options(config, root, root, root / "runs", overrides=tuple(overrides))
    settings = Settings.read(options)
    salt = f"{datetime.now(timezone.utc):%y%m%d-%H%M%S}"

    async def look(logs: Path) -> list[ExaminedModel]:
        found = []
        async for model in examine_models(settings.config, logs, salt=salt, say=say):
            found.append(model)
            tell(model)
        return found

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as logs:
        return asyncio.run(look(Path(logs)))


def text_lines(model: ExaminedModel) -> Iterator[str]:
    """One model: a line for each check, and with what is not ok the request that showed it."""
    nothing = "" if model.checks or model.trouble else ": nothing to examine"
    yield visible(f"{model.name} ({model.computes}){nothing}")
    for line in model.trouble.splitlines():
        yield visible(f"  {line}")
    if not model.checks:
        return
    for check in model.checks:
        yield from _check_lines(check, model.asked_for)
    counts = Counter(check.verdict for check in model.checks)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    took = duration(model.seconds) if model.seconds >= 1 else f"{1000 * model.seconds:.0f} ms"
    yield f"  {told}; {model.requests} requests in {took}"


def _check_lines(check: Check, asked_for: frozenset[CheckName]) -> Iterator[str]:
    note = ""
    if check.verdict == "lacking":
        wanted = check.name in asked_for
        note = "; the config asks for it" if wanted else "; only suites that need it miss it"
    yield visible(f"  {check.verdict:<8} {check.name:<{_WIDTH}} {check.found}{note}")
    if check.verdict != "ok" and check.asked:
        margin = " " * (12 + _WIDTH)
        yield visible(f"{margin}asked: {check.asked}")
        yield visible(f"{margin}came back: {check.answered}")


def as_json(models: Sequence[ExaminedModel]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {**asdict(model), "asked_for": sorted(model.asked_for), "broken": model.broken}
        for model in models
    ]
