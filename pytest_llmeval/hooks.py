"""The hooks that are registered only when an evaluation is asked for.

Each hands over in a few lines: to `collection` for nodes, to `functions` for marked tests, to
`reporting` for what is shown, to the run for everything else. `OwnerHooks` live in the process that
owns the run (pytest's own, or xdist's controller), `WorkerHooks` in xdist's workers.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval import functions, reporting
from pytest_llmeval.collection import GateTest, SuiteFile, TrialTest, attach_judgement
from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.lean import pass_over, run_lean
from pytest_llmeval.namesakes import namesake_lines
from pytest_llmeval.redaction import Redactor
from pytest_llmeval.run import Evaluation, Options, Run, Selection, Settings
from pytest_llmeval.selecting import is_suite, order_as_planned, passed_over, select
from pytest_llmeval.visible import visible
from pytest_llmeval.workers import Broker, BrokerClient, WorkerEvaluation

#: The variable by which GitHub Actions names the file whose Markdown it shows with a step.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"

#: From this many trials on, the garbage collector is kept away from the nodes.
MANY_NODES = 1000


def register(config: pytest.Config, face: Any) -> None:
    """Read the config and register the hooks; a mistake in it is a usage error (exit status 4).

    `face` is the plugin itself, which has the fixtures and the marker.
    """
    try:
        settings = Settings.read(_options(config))
    except LlmevalError as error:
        raise pytest.UsageError(visible(str(error))) from error
    gc.unfreeze()  # what an earlier session in this process kept
    workerinput = getattr(config, "workerinput", None)
    hooks: Hooks
    if workerinput is None:
        hooks = OwnerHooks(config, settings, face)
        if config.getoption("llm_plan"):
            config.option.dist = "no"  # one process plans, as for --collect-only
        if config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(ControllerHooks(hooks), "llmeval-controller")
    else:
        hooks = WorkerHooks(settings, workerinput["llmeval"])
    config.pluginmanager.register(hooks, "llmeval-hooks")


def _options(config: pytest.Config) -> Options:
    option = config.getoption
    return Options(
        config=option("llm_config"),
        overrides=tuple(option("llm_set")),
        root=config.rootpath,
        run_dir=config.rootpath / option("llm_run_dir"),
        limit=option("llm_limit"),
        parts=option("llm_parts"),
        dry_run=option("llm_dry_run"),
        resume=option("llm_resume"),
        archive=option("llm_archive"),
        accept_baselines=option("update_snapshots", False),  # syrupy's --snapshot-update
        step_summary=Path(summary) if (summary := os.environ.get(STEP_SUMMARY)) else None,
    )


class Hooks:
    """What owner and workers have in common: collecting, running and showing trials."""

    def __init__(self, evaluation: Evaluation):
        self.evaluation = evaluation
        self.deselected = False

    def pytest_deselected(self) -> None:
        """Something was left out: -k, -m, --lf and their like."""
        self.deselected = True

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
        """Collect the files that the ini key `llm_suites` names, or that are asked for by name."""
        if file_path.suffix not in {".yaml", ".yml"}:
            return None
        config = parent.config
        if not parent.session.isinitpath(file_path) and not is_suite(file_path, config):
            return None
        return SuiteFile.of(parent, file_path, self.evaluation)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Turn a marked function into one test per trial."""
        functions.generate(metafunc, self.evaluation)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Collect without the garbage collector: of 100,000 nodes it takes a third of the time."""
        was_on = gc.isenabled()
        gc.disable()
        try:
            return (yield)
        finally:
            if was_on:
                gc.enable()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the trials into the plan's order, whatever order other plugins asked for."""
        order_as_planned(items, self.evaluation.settings)
        keep_from_collector(len(items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run a trial lean where nobody needs the hooks; say nothing for a gate."""
        if isinstance(item, TrialTest):
            return run_lean(item, nextitem)
        if isinstance(item, GateTest):
            return pass_over(item, nextitem)
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the scores on the standard path."""
        report = yield
        if isinstance(item, TrialTest):
            attach_judgement(item, call, report)
        elif isinstance(item, pytest.Function):
            functions.attach_scores(item, call, report, self.evaluation)
        return report

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """`.` right, `w` wrong, `n` no answer, `a` waiting for a judge, `E` failure."""
        return reporting.status(report)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool | None:
        """Keep pytest-timeout's timer off trials: they count from the moment they are sent."""
        if not isinstance(item, TrialTest):
            return None
        item.timeout_seconds = settings.timeout
        return True


class OwnerHooks(Hooks):
    """The hooks of the process that owns the run."""

    evaluation: Run

    def __init__(self, config: pytest.Config, settings: Settings, face: Any):
        self.redactor = settings.redactor
        super().__init__(Run(settings, say=_sayer(config, self.redactor)))
        self.config = config
        self.face = face
        self.broker: Broker | None = None
        self.skipped: set[str] = set()
        self.collected: set[Path] | None = None

    def pytest_report_header(self) -> list[str]:
        """The config in force and what computes; other packages that use our names."""
        strangers = namesake_lines(self.config, self.face, self.face.MARKER)
        return [visible(line) for line in (*self.evaluation.header(), *strangers)]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep which files tests were found in; with xdist only its workers know."""
        self.collected = {item.path for item in session.items}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Send ahead while the tests run; afterwards conclude, and report the gates."""
        self.evaluation.settings.check_prompts()
        self._refuse_mistakes()
        config = session.config
        stopped_by_errors = session.testsfailed and not config.option.continue_on_collection_errors
        if runs_no_tests(config) or stopped_by_errors:
            return (yield)
        if config.getoption("llm_plan"):
            self.evaluation.plan_only(select(session.items))
            session.items.clear()
            return (yield)
        try:
            if not config.pluginmanager.hasplugin("dsession"):
                self._begin(select(session.items, deselected=self.deselected))
            result = yield
        except BaseException as error:
            if is_stop(error):
                self._conclude(stopped=str(error))
            else:
                self.evaluation.abort()
            raise
        keep_from_collector(len(session.items))
        self._conclude(stopped="")
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take secrets out of what could not be collected, and spell it out, before it is shown."""
        self._make_presentable(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Make a report fit to be shown, and take in the scores that it carries."""
        self._make_presentable(report)
        found = reporting.attached(report)
        if found is not None:
            self.evaluation.take_scores(*found)
        elif report.skipped:
            self.skipped.add(report.nodeid)

    def _make_presentable(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        reporting.redact_report(report, self.redactor)
        reporting.spell_out(report, colours=self.config.get_terminal_writer().hasmarkup)

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """What the scores are worth, and which folders were named in vain."""
        writer = terminalreporter._tw  # noqa: SLF001 - the only way to its width and colours
        lines = self.evaluation.summary(
            writer.fullwidth,
            colour=writer.hasmarkup,
            encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
        )
        for line in (*lines, *self._passed_over(exitstatus)):
            terminalreporter.write_line(self.redactor.text(line))

    def _passed_over(self, exitstatus: int) -> Iterator[str]:
        if self.collected is not None:
            return map(visible, passed_over(self.config, self.collected))
        found_none = exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
        return map(visible, passed_over(self.config, ())) if found_none else iter(())

    def pytest_unconfigure(self) -> None:
        """Whatever happened, leave no process."""
        self.evaluation.abort()
        self.evaluation.settings.close()
        if self.broker is not None:
            self.broker.close()

    def _begin(self, selection: Selection) -> None:
        self.evaluation.begin(selection)
        self._refuse_mistakes()

    def _refuse_mistakes(self) -> None:
        mistakes = self.evaluation.settings.mistakes
        if mistakes:
            # Nothing ran, so that to syrupy every snapshot would look unused, and be deleted.
            self.config.option.update_snapshots = False
            raise pytest.UsageError(*map(visible, mistakes), "llmeval: nothing was sent")

    def _conclude(self, *, stopped: str) -> None:
        self.evaluation.finish(stopped, self.skipped)
        for report in self._last_reports():
            self.config.hook.pytest_runtest_logreport(report=report)

    def _last_reports(self) -> Iterator[pytest.TestReport]:
        """What is known only after the last test: the gates, whether too much has failed, and what
        no judge could judge.
        """
        for gate, result in self.evaluation.gate_results():
            yield from reporting.gate_reports(gate.nodeid, gate.location, result)
        count = self.evaluation.failure_count()
        if count is not None:
            yield from reporting.failure_reports(count)
        words = self.evaluation.judge_failures()
        if words:
            yield from reporting.judge_failure_reports(words)


class ControllerHooks:
    """What xdist's controller has to do besides: serve the workers."""

    def __init__(self, owner: OwnerHooks):
        self._owner = owner

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the broker is."""
        owner = self._owner
        if owner.broker is None:
            owner.broker = Broker(owner.evaluation)
        node.workerinput["llmeval"] = {
            "address": list(owner.broker.address),
            "key": owner.broker.key.hex(),
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """A worker has collected, and handed over what it found: stop here if it is unusable."""
        self._owner._refuse_mistakes()  # noqa: SLF001 - the two classes are one thing


class WorkerHooks(Hooks):
    """The hooks of an xdist worker."""

    evaluation: WorkerEvaluation

    def __init__(self, settings: Settings, contact: dict[str, Any]):
        host, port = contact["address"]
        client = BrokerClient((host, port), bytes.fromhex(contact["key"]))
        super().__init__(WorkerEvaluation(settings, client))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Hand over what was collected before xdist tells the controller."""
        if runs_no_tests(session.config):
            return
        settings = self.evaluation.settings
        settings.check_prompts()
        selection = select(session.items, deselected=self.deselected)
        selection.mistakes.extend(settings.mistakes)
        # A conftest.py beside the suites has registered scorers here, and not in the controller.
        selection.scorer_versions = settings.scorer_versions(
            {trial.suite.name: trial.suite for trial in selection.trials}.values()
        )
        self.evaluation.client.begin(selection)

    def pytest_unconfigure(self) -> None:
        """Let go of the broker, and of what scorers keep."""
        self.evaluation.client.close()
        self.evaluation.settings.close()


def runs_no_tests(config: pytest.Config) -> bool:
    """Whether pytest was asked to show or set up tests only: then nothing is sent."""
    return bool(config.option.collectonly or config.getoption("setuponly", default=False))


def is_stop(error: BaseException) -> bool:
    """Whether pytest itself ends the loop early: -x, --maxfail, --stepwise.

    Its ways of saying so, and xdist's, are kinds of KeyboardInterrupt; Ctrl-C is just that.
    """
    if isinstance(error, KeyboardInterrupt):
        return type(error) is not KeyboardInterrupt
    return isinstance(error, pytest.Session.Failed)


def keep_from_collector(nodes: int) -> None:
    """Spare the garbage collector the walk over many nodes and reports, which all stay anyway.

    A later session in this process thaws them; at the exit that would cost 0.04 ms a trial.
    """
    if nodes >= MANY_NODES:
        gc.freeze()


def _sayer(config: pytest.Config, redactor: Redactor) -> Any:
    def say(line: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(visible(redactor.text(line)))

    return say
