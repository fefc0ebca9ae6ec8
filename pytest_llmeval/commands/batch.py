"""`llmeval batch`: requests written on one machine, asked on another, brought together on any."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.saying import say
from pytest_llmeval.errors import RunError

if TYPE_CHECKING:
    from pytest_llmeval.run.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Write requests to files, ask them where the model is, and bring the results together.",
)
Config = Annotated[
    str, typer.Option("--llm-config", metavar="FILE", help="As given, or in config/.")
]


@app.command()
def build(
    config: Config,
    place: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder.")],
    suites: Annotated[
        list[Path] | None, typer.Argument(metavar="SUITES", help="Files or folders; else suites/")
    ] = None,
    parts: Annotated[int, typer.Option(min=1, help="Split each condition into so many.")] = 1,
) -> None:
    """Write all that suites ask to DIR: the folder of a run, with nothing asked yet.

    llmeval batch build --llm-config local.yaml suites/capitals.yaml -o capitals --parts 4
    """
    from pytest_llmeval.results.part_words import part_lines
    from pytest_llmeval.run.batch_build import build as build_folder

    settings = _settings(config, parts=parts)
    built = build_folder(
        settings, suites or [Path("suites")], place.absolute(), datetime.now(timezone.utc)
    )
    for line in part_lines(built):
        say(line)
    say(f"ask them where the models are: llmeval batch run --llm-config {config} {place}")


@app.command()
def run(
    config: Config,
    places: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILES", help="A built folder, or JSONL files.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="On the fake engine, into a copy of the folder.")
    ] = False,
) -> None:
    """Ask the requests of a folder or of files, OpenAI's batch files too; go on where it stopped.

    Servers are started and their slots kept full, as in a run. Each result is appended at once:
    begin again with the same command, and only what has no answer is asked. Exit status 1 when
    requests failed.
    """
    from pytest_llmeval.results.part_words import part_lines
    from pytest_llmeval.run.batch_folder import run_folder
    from pytest_llmeval.run.batch_loose_files import run_files

    settings = _settings(config, dry_run=dry_run)
    folder, only = _folder_of([place.absolute() for place in places])
    try:
        if folder is not None:
            ran = run_folder(settings, folder, say, only)
        else:
            ran = run_files(settings, places, say)
    except KeyboardInterrupt:
        say("llmeval: stopped; the same command goes on where it was", err=True)
        raise typer.Exit(2) from None
    for line in part_lines(ran.parts, ran.asked):
        say(line)
    if ran.failed:
        raise typer.Exit(1)


@app.command()
def combine(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the results.")],
) -> None:
    """Hold the results in a folder against its requests, and write results_combined.jsonl.

    Exit status 1 when in is not out: what is missing, comes twice or was never asked is named.
    """
    from pytest_llmeval.results.folder import MANIFEST
    from pytest_llmeval.results.part_words import part_lines
    from pytest_llmeval.run.batch_combine import combine as bring_together

    found = bring_together(folder.absolute(), datetime.now(timezone.utc))
    for line in part_lines(found.parts):
        say(line)
    for path in found.written:
        say(f"written: {path}")
    if not found.is_balanced:
        say("llmeval: in is not out: see the lines above", err=True)
        raise typer.Exit(1)
    if (folder / MANIFEST).is_file():
        say(f"score it, in the folder of its suites: llmeval rescore {folder}")


def _settings(config: str, *, parts: int = 1, dry_run: bool = False) -> Settings:
    from pytest_llmeval.run.settings import Options, Settings

    root = Path.cwd()
    return Settings.read(Options(config, root, root, root / "runs", parts=parts, dry_run=dry_run))


def _folder_of(places: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """The run's folder that is meant, and which requests of it; None for files by themselves."""
    from pytest_llmeval.results.folder import MANIFEST
    from pytest_llmeval.results.results_file import REQUESTS

    folders = [place for place in places if place.is_dir()]
    if folders:
        if len(places) > 1:
            raise RunError("give one folder, or files; not both, and not several folders")
        if not (folders[0] / MANIFEST).is_file():
            raise RunError(
                f"{folders[0]} has no {MANIFEST}, so it is no folder of a run: name its files"
            )
        return folders[0], []
    runs = {place: place.parents[2] for place in places if len(place.parents) > 2}
    runs = {place: run for place, run in runs.items() if (run / MANIFEST).is_file()}
    if not runs:
        return None, []
    if len(runs) < len(places) or len(set(runs.values())) > 1:
        raise RunError("give parts of one folder, or files by themselves; not both")
    for place in places:
        if not place.name.endswith(REQUESTS):
            raise RunError(f"{place} holds no requests: name files that end in {REQUESTS}")
    return runs[places[0]], list(places)
