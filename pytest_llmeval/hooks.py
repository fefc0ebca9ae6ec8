"""The hooks that are registered only when an evaluation is asked for.

Each hands over in a few lines: to `collection` for nodes, to `functions` for marked tests, to
`reporting` for what is shown, to the run for everything else. `OwnerHooks` live in the process that
owns the run (pytest's own, or xdist's controller), `WorkerHooks` in xdist's workers.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval import functions, reporting
from pytest_llmeval.collection import GateTest, SuiteFile, TrialTest, attach_judgement
from pytest_llmeval.controller import ControllerHooks
from pytest_llmeval.distribution import refusal, version_refusal
from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.lean import pass_over, run_lean
from pytest_llmeval.namesakes import namesake_lines
from pytest_llmeval.redaction import Redactor, shown_error
from pytest_llmeval.reporting import EndedWorkers
from pytest_llmeval.run import Evaluation, Options, Run, Selection, Settings
from pytest_llmeval.selecting import (
    is_suite,
    order_as_planned,
    passed_over,
    select,
    trials_by_test,
)
from pytest_llmeval.visible import visible
from pytest_llmeval.workers import BrokerClient, Heart, WorkerEvaluation

#: The variable by which GitHub Actions names the file whose Markdown it shows with a step.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"

#: From this many trials on, the garbage collector is kept away from the nodes.
MANY_NODES = 1000


def register(config: pytest.Config, face: Any) -> None:
    """Read the config and register the hooks; a mistake in it is a usage error (exit status 4).

    `face` is the plugin itself, which has the fixtures and the marker.
    """
    contact = getattr(config, "workerinput", {}).get("llmeval")
    if contact is not None:
        _refuse_version(contact["version"])
    try:
        settings = Settings.read(_options(config))
    except LlmevalError as error:
        raise pytest.UsageError(visible(shown_error(error, os.environ))) from error
    gc.unfreeze()  # what an earlier session in this process kept
    workerinput = getattr(config, "workerinput", None)
    hooks: Hooks
    if workerinput is None:
        hooks = OwnerHooks(config, settings, face)
        if config.getoption("llm_plan"):
            config.option.dist = "no"  # one process plans, as for --collect-only
        if config.pluginmanager.hasplugin("xdist"):
            _refuse_distribution(config)
            config.pluginmanager.register(hooks.controller, "llmeval-controller")
    else:
        hooks = WorkerHooks(settings, workerinput)
    config.pluginmanager.register(hooks, "llmeval-hooks")


def _refuse_version(controller: str) -> None:
    words = version_refusal(controller)
    if words is not None:
        raise pytest.UsageError(words)


def _refuse_distribution(config: pytest.Config) -> None:
    if config.option.collectonly:
        return
    words = refusal(config.getoption("dist"), config.getoption("tx"))
    if words is not None:
        raise pytest.UsageError(f"{words}\nllmeval: nothing was started")


def _options(config: pytest.Config) -> Options:
    option = config.getoption
    return Options(
        config=option("llm_config"),
        overrides=tuple(option("llm_set")),
        root=config.rootpath,
        here=config.invocation_params.dir,
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
        say = _sayer(config, self.redactor)
        super().__init__(Run(settings, say=say))
        self.config = config
        self.face = face
        self.controller = ControllerHooks(self.evaluation, say, self._refuse_mistakes)
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
        self._conclude(stopped=self.controller.cut_short())
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Take secrets out of a warning, which pytest shows at the end, and spell it out."""
        words = str(warning_message.message)
        shown = visible(self.redactor.text(words))
        if shown != words:
            warning_message.message = shown

    def _make_presentable(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        reporting.redact_report(report, self.redactor)
        has_terminal = self.config.pluginmanager.has_plugin("terminalreporter")
        colours = has_terminal and self.config.get_terminal_writer().hasmarkup
        reporting.spell_out(report, colours=colours)

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
        with contextlib.ExitStack() as stack:
            stack.callback(self.controller.close)
            stack.callback(self.evaluation.settings.close)
            self.evaluation.abort()

    def _begin(self, selection: Selection) -> None:
        self.evaluation.begin(selection)
        self._refuse_mistakes()

    def _refuse_mistakes(self) -> None:
        mistakes = self.evaluation.settings.mistakes
        if mistakes:
            # Nothing ran, so that to syrupy every snapshot would look unused, and be deleted.
            self.config.option.update_snapshots = False
            words = [visible(self.redactor.text(each)) for each in mistakes]
            raise pytest.UsageError(*words, "llmeval: nothing was sent")

    def _conclude(self, *, stopped: str) -> None:
        self.evaluation.finish(stopped, self.skipped, self.controller.crashes.trials())
        for report in self._last_reports():
            self.config.hook.pytest_runtest_logreport(report=report)

    def _last_reports(self) -> Iterator[pytest.TestReport]:
        """What is known only after the last test: the gates, whether too much has failed, what no
        judge could judge, and what could not be written.
        """
        for nodeid, words in self.controller.crashes.unsettled():
            yield from reporting.crash_reports(nodeid, words)
        for gate, result in self.evaluation.gate_results():
            yield from reporting.gate_reports(gate.nodeid, gate.location, result)
        count = self.evaluation.failure_count()
        if count is not None:
            yield from reporting.failure_reports(count)
        words = self.evaluation.judge_failures()
        if words:
            yield from reporting.judge_failure_reports(words)
        troubles = self.evaluation.troubles()
        if troubles:
            yield from reporting.trouble_reports(troubles)


class WorkerHooks(Hooks):
    """The hooks of an xdist worker."""

    evaluation: WorkerEvaluation

    def __init__(self, settings: Settings, workerinput: Mapping[str, Any]):
        contact = workerinput["llmeval"]
        host, port = contact["address"]
        key = bytes.fromhex(contact["key"])
        client = BrokerClient((host, port), key)
        super().__init__(WorkerEvaluation(settings, client))
        self._heart = Heart((host, port), key, workerinput["workerid"])
        self._heart.beat(client)

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
        selection.tests = trials_by_test(session.items)
        self.evaluation.client.begin(selection)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """As without xdist, but that pytest has its say about a test that ended workers."""
        if isinstance(item, TrialTest) or functions.trial_of(item) is not None:
            self._heart.at = item.nodeid, time.perf_counter()
            if self.evaluation.client.is_withdrawn(item.nodeid):
                return None
        return super().pytest_runtest_protocol(item, nextitem)

    def pytest_runtest_logfinish(self) -> None:
        """It is at no test any more."""
        self._heart.at = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Do not run a test again that has ended two workers."""
        words = self.evaluation.client.withdrawn.get(item.nodeid)
        if words is not None:
            raise EndedWorkers(words, pytrace=False)

    def pytest_unconfigure(self) -> None:
        """Let go of the broker, and of what scorers keep."""
        self._heart.stop()
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
