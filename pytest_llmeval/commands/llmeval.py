"""The command `llmeval`: look at an installation, at its runs, and at what models answered.

Evaluations are started by pytest itself: `pytest --llm-config config/local.yaml`.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import sys
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pytest_llmeval import __version__
from pytest_llmeval.commands.batch import app as batch_app
from pytest_llmeval.commands.cache import app as cache_app
from pytest_llmeval.commands.faults import faults
from pytest_llmeval.commands.saying import say, say_error
from pytest_llmeval.errors import LlmevalError

RunDir = Annotated[
    Path, typer.Option("--run-dir", metavar="DIR", help="Where runs are kept, as --llm-run-dir.")
]
DEFAULT_RUN_DIR = Path("runs")


class _Group(TyperGroup):
    """Our own errors are messages for the user: no traceback, exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LlmevalError as error:
            say_error(f"llmeval: {error}")
            raise typer.Exit(1) from error


class SchemaName(str, Enum):
    """The files that have a published shape."""

    config = "config"
    suite = "suite"
    significance = "significance"
    instance = "instance"


class ChangedItemsChoice(str, Enum):
    """What `llmeval compare` does with items that are not the same in both runs."""

    refuse = "refuse"
    drop = "drop"
    pair = "pair"


app = typer.Typer(
    cls=_Group, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
runs_app = typer.Typer(
    no_args_is_help=True, help="List the runs there are, or clear old ones away."
)
app.add_typer(runs_app, name="runs")
app.add_typer(batch_app, name="batch")
app.add_typer(cache_app, name="cache")
app.command()(faults)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"llmeval {__version__}")
        raise typer.Exit


@app.callback()
def llmeval(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which, and leave."),
    ] = False,
) -> None:
    """Look at an installation, at the runs it made, and at what models answered in them.

    Evaluations are started by pytest: pytest --llm-config config/local.yaml
    """


@app.command()
def doctor(
    config: Annotated[
        str | None,
        typer.Option("--llm-config", metavar="FILE", help="Examine the models of this config."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--llm-set", metavar="KEY=VALUE", help="Override a key of the config."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Say what is installed, which engines can run here, and what each missing piece needs.

    With a config: start or find its models and see by small requests what each can do. Exit status
    1 when something that the config asks for is not there.
    """
    if config is not None:
        _examine_endpoints(config, overrides or [], as_json)
        return
    if overrides:
        raise typer.BadParameter("--llm-set needs --llm-config, whose keys it overrides")
    from pytest_llmeval.commands import doctor as checks

    report = checks.examine()
    say(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(report.lines()))


def _examine_endpoints(config: str, overrides: list[str], as_json: bool) -> None:
    from pytest_llmeval.commands import endpoints

    def progress(line: str) -> None:
        say(line, err=True)

    def tell(model: Any) -> None:
        if not as_json:
            say("\n".join(endpoints.text_lines(model)))

    found = endpoints.examine(config, overrides, Path.cwd(), say=progress, tell=tell)
    if as_json:
        say(json.dumps(endpoints.as_json(found), indent=2))
    if any(model.broken for model in found):
        raise typer.Exit(1)


@app.command()
def calibrate(
    simulations: Annotated[
        int, typer.Option(min=100, help="How often each simulated setting is drawn.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Where the random numbers start.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Measure the statistics of the reports where the truth is known. Takes about a minute.

    How often do intervals hold the true value, tests see what is not there, gates decide wrongly?
    Exit status 1 when a rate is outside what is promised.
    """
    from pytest_llmeval.commands import calibrate as calibrating

    rates = calibrating.measure(simulations, seed)
    if as_json:
        measured = list(rates)
        found = calibrating.as_json(measured, simulations, seed)
        say(json.dumps(found, indent=2))
    else:
        measured = []
        for line in calibrating.lines(rates, measured):
            say(line)
    if calibrating.broken(measured):
        raise typer.Exit(1)


@app.command()
def power(
    points: Annotated[float, typer.Option(help="The difference to be seen, in points.")] = 2,
    disagreement: Annotated[
        float | None,
        typer.Option(help="On what share of the items the two will disagree, such as 0.1."),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Take it from a run: its id, its path, or: last")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="How often each item is to be asked.")
    ] = None,
    wanted: Annotated[
        float, typer.Option("--power", help="The chance to see it if it is there.")
    ] = 0.8,
    alpha: Annotated[float, typer.Option(help="The chance to see it if it is not.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Say how many items it takes to see a difference, and what items you have can show.

    llmeval power --points 2 --run last
    """
    from pytest_llmeval.commands import pilot, planning
    from pytest_llmeval.commands import power as telling
    from pytest_llmeval.results.folder import find_run

    wish = planning.Wish(points, wanted, alpha, repeats)
    problem = telling.problem_of(wish, disagreement)
    if run is not None and disagreement is not None:
        problem = "give --run or --disagreement, not both: a run tells how often its pairs disagree"
    if problem:
        raise typer.BadParameter(problem)
    if run is not None:
        path = find_run(run_dir, run)
        plans = [planning.plan_of(wish, pair) for pair in pilot.pairs_of(path)]
        lines = telling.pilot_lines(wish, path.name, plans)
        found = telling.pilot_json(wish, path.name, plans)
    else:
        shares = planning.disagreements_of(wish) if disagreement is None else [disagreement]
        lines = telling.general_lines(wish, shares)
        found = telling.general_json(wish, shares)
    say(json.dumps(found, indent=2) if as_json else "\n".join(lines))


@app.command()
def schema(
    name: Annotated[SchemaName, typer.Argument(help="Which file's schema to print.")],
) -> None:
    """Print the JSON Schema of a config, a suite, significance.json, or llama-orch's instances.

    Editors complete and check YAML by it, for instance with a first line that says
    # yaml-language-server: $schema=config.schema.json
    """
    if name is SchemaName.significance:
        from pytest_llmeval.results.significance import significance_schema

        found = significance_schema()
    elif name is SchemaName.suite:
        from pytest_llmeval.inputs.schema import suite_schema

        found = suite_schema()
    elif name is SchemaName.instance:
        from pytest_llmeval.inputs.sections import file_schema
        from pytest_llmeval.orchestrator.config import InstanceConfig

        found = file_schema(InstanceConfig, "llama-orch instance")
    else:
        from pytest_llmeval.engines.engine import offered
        from pytest_llmeval.inputs.schema import config_schema

        found = config_schema(offered())
    say(json.dumps(found, indent=2))


@runs_app.command("list")
def runs_list(run_dir: RunDir = DEFAULT_RUN_DIR) -> None:
    """List the runs, the newest last: when, how large, and whether they came to their end."""
    from pytest_llmeval.commands import runs

    say("\n".join(runs.list_lines(run_dir)))


@runs_app.command("prune")
def runs_prune(
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", help="The newest N stay.")
    ] = None,
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Only what is older goes."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Show which runs would go, and delete them with --yes. With both limits, both must hold.

    A run that is being written stays, and so does every folder that is no run.
    """
    from pytest_llmeval.commands import runs

    if keep is None and older_than is None:
        raise typer.BadParameter("say what may go: --keep N, --older-than DAYS, or both")
    chosen = runs.to_prune(
        runs.look_at(run_dir), keep=keep, older_than=older_than, now=datetime.now(timezone.utc)
    )
    for line in runs.prune_lines(chosen, deleting=yes):
        say(line)
    if yes:
        runs.delete(chosen)


@app.command()
def show(  # noqa: PLR0913, PLR0917 - the options of a command are its arguments
    run: Annotated[str, typer.Argument(help="A run's id, its path, or: last")] = "last",
    wrong: Annotated[bool, typer.Option("--wrong", help="Wrong or only partly right.")] = False,
    no_answer: Annotated[bool, typer.Option("--no-answer", help="Nothing to judge.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="The machinery broke.")] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="A line for each part instead, also while it runs.")
    ] = False,
    suite: Annotated[str | None, typer.Option(help="Of this suite only.")] = None,
    condition: Annotated[str | None, typer.Option(help="Of this condition only.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Show what was asked and answered in a run. Without a filter everything, right ones too.

    llmeval show last --wrong --suite arithmetic
    """
    from pytest_llmeval.commands import show as showing
    from pytest_llmeval.results.folder import find_run

    flags = {"wrong": wrong, "no_answer": no_answer, "failed": failed}
    path = find_run(run_dir, run)
    if parts:
        say("\n".join(showing.lines_of_parts(path, condition)))
        return
    wanted = showing.Wanted(frozenset(f for f, on in flags.items() if on), suite, condition, limit)
    found = showing.find(path, wanted)
    for line in showing.json_lines(found) if as_json else showing.text_lines(found):
        say(line)


@app.command("judge-check")
def judge_check(
    config: Annotated[
        str, typer.Option("--llm-config", metavar="FILE", help="As given, or in config/.")
    ],
    judge: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model of it; else the one it calls judge.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Have a judge judge answers whose verdict is known, and say how far it can be trusted.

    108 answers alone and 36 pairs in both orders: 180 questions in all.
    """
    from pytest_llmeval.commands import judge_check as checking

    report = checking.examine(config, judge, Path.cwd(), lambda line: say(line, err=True))
    if as_json:
        say(json.dumps(checking.as_json(report), indent=2, allow_nan=False))
    else:
        for line in checking.lines(report):
            say(line)
    if checking.is_useless(report):
        raise typer.Exit(1)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(metavar="RUN", help="The run before: id, path or last")],
    after: Annotated[str, typer.Argument(metavar="RUN", help="The run after.")],
    scorer: Annotated[
        str | None, typer.Option(metavar="NAME", help="By this scorer; else by the headline.")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of this condition only.")
    ] = None,
    other: Annotated[
        str | None, typer.Option("--with", metavar="NAME", help="What it is called after.")
    ] = None,
    changed_items: Annotated[
        ChangedItemsChoice,
        typer.Option(help="What to do with items that are not the same in both runs."),
    ] = ChangedItemsChoice.refuse,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Compare two runs on the items that both have, condition by condition, and say what is real.

    llmeval compare 2026-11-23-0412 last
    """
    from pytest_llmeval.commands import compare as comparing
    from pytest_llmeval.run.across import Wanted

    if other and not condition:
        raise typer.BadParameter("--with needs --condition, the one to hold it against")
    conditions = (condition, other or condition) if condition else None
    wanted = Wanted(scorer, conditions, changed_items.value)
    found = comparing.compare(run_dir, before, after, wanted)
    if as_json:
        say(json.dumps(comparing.as_json(found), indent=2, allow_nan=False))
        return
    for line in comparing.text_lines(found):
        say(line)


@app.command()
def rescore(
    run: Annotated[str, typer.Argument(help="A run's id, its path, or: last")] = "last",
    scorers: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.py", help="Scorers of your own, such as conftest.py."),
    ] = None,
    suite_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="In place of the run's suite of that name."),
    ] = None,
    data_root: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Suites may name files below it, too."),
    ] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Judge the answers of a run again, with the suites' scorers and gates as they are now.

    No model is asked. The result is a run of its own; the first one stays as it is. Suites are
    found from the current folder, which is to be the one that pytest was run in.
    """
    from pytest_llmeval.commands import rescore as rescoring

    done = rescoring.rescore_run(
        run,
        run_dir=run_dir,
        root=Path.cwd(),
        suite_files=suite_file or (),
        scorer_files=scorers or (),
        data_roots=data_root or (),
    )
    for line in rescoring.lines(
        done,
        shutil.get_terminal_size().columns,
        colour=sys.stdout.isatty(),
        encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
    ):
        typer.echo(line)  # with colours of our own
    if rescoring.fails(done):
        raise typer.Exit(1)


@app.command()
def cassette(
    run: Annotated[str, typer.Argument(help="A run's id, its path, or: last")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as cassettes/smoke.jsonl")],
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Keep what a run was answered as one file, which a repository can hold.

    Played with --llm-set replay=FILE its answers are scored and held to gates without any model.
    """
    from pytest_llmeval.commands.cassette import record

    say(record(run, file, run_dir=run_dir))


def main() -> None:
    """Run the command; the entry point of `llmeval` and of `python -m`."""
    multiprocessing.freeze_support()
    for stream in (sys.stdout, sys.stderr):
        # A Windows console or pipe may have an encoding that lacks what a model wrote.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # text streams here
    try:
        app()
    except OSError as error:
        # Windows' word for a reader that went away, `llmeval show last | more`; elsewhere the
        # library below has dealt with it.
        if os.name != "nt" or error.errno != errno.EINVAL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
