"""`llmeval cache`: what is kept of models' answers, and letting it go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from filelock import Timeout

from pytest_llmeval.commands.runs import shown_size
from pytest_llmeval.commands.saying import say
from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.inputs.paths import cache_folder
from pytest_llmeval.inputs.sections import size_in_bytes
from pytest_llmeval.running.cache_file import (
    ANSWERS,
    FILE_NAME,
    WAIT_SECONDS,
    Stock,
    aside,
    removed,
    shrink,
    stock_of,
)
from pytest_llmeval.sqlite import TROUBLE, connected, is_damage

app = typer.Typer(no_args_is_help=True, help="See which answers are kept, or let them go.")


@app.command()
def stats() -> None:
    """Say how many answers are kept from run to run, and where."""
    path = answers_file()
    say(f"file      {path}")
    for line in stock_lines(_looked_at(path)):
        say(line)


@app.command()
def prune(
    size: Annotated[str, typer.Argument(metavar="SIZE", help="Such as 200MB, or 1GiB")],
) -> None:
    """Let go of the answers that were not used for longest, until they take no more than SIZE."""
    path = answers_file()
    try:
        most = size_in_bytes(size)
    except ValueError as error:
        raise LlmevalError(f"SIZE: {error}") from None
    if not path.exists():
        say("no answers are kept")
        return
    with _in_words(path), contextlib.closing(connected(path, "rw", WAIT_SECONDS)) as connection:
        gone = shrink(connection, most)
        left = stock_of(connection)
    say(f"{gone:,} answers let go; {left.answers:,} are left in {shown_size(left.size)}")


@app.command()
def clear() -> None:
    """Let go of all answers: every run asks anew. A damaged file goes as well."""
    path = answers_file()
    with _in_words(path):
        count = _count(path)
        if count == 0 and aside(path).exists():
            count = None
        removed(path)
    say("no answers are kept" if count == 0 else f"{_answers(count)} let go")


def answers_file() -> Path:
    """Where answers are kept."""
    return cache_folder() / ANSWERS / FILE_NAME


def stock_lines(stock: Stock | None) -> Iterator[str]:
    """What is kept, a line for each fact."""
    if stock is None or stock.oldest is None or stock.newest is None:
        yield "answers   0"
        return
    yield f"answers   {stock.answers:,} in {shown_size(stock.size)}"
    yield f"last use  {_hour(stock.newest)}; of the one that goes first: {_hour(stock.oldest)}"


def _looked_at(path: Path) -> Stock | None:
    if not path.exists():
        return None
    with _in_words(path), contextlib.closing(connected(path, "ro", WAIT_SECONDS)) as connection:
        return stock_of(connection)


def _count(path: Path) -> int | None:
    """How many there are; None where the file cannot tell."""
    if not path.exists():
        return 0
    try:
        with contextlib.closing(connected(path, "ro", WAIT_SECONDS)) as connection:
            return stock_of(connection).answers
    except TROUBLE:
        return None


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except TROUBLE as error:
        way_out = "llmeval cache clear begins a new one" if is_damage(error) else "try again later"
        raise LlmevalError(f"{path}: {error}: {way_out}") from error
    except PermissionError as error:
        raise LlmevalError(
            f"{path} cannot be removed: {error.strerror}. End the runs that use it, and try again"
        ) from error
    except (OSError, Timeout) as error:
        raise LlmevalError(f"{path}: {error}") from error


def _answers(count: int | None) -> str:
    return "all answers" if count is None else f"{count:,} answers"


def _hour(seconds: int) -> str:
    """A use is written down once an hour, so it may have been used again since."""
    return (
        f"within the hour from {datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"
    )
