"""Pytest's face of the package: options, the marker, the fixtures, and one switch.

Without --llm-config nothing else of the package is imported. With it, `pytest_configure` registers
the hooks of `pytest_llmeval.hooks`, which do the work.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syrupy.assertion import SnapshotAssertion

    from pytest_llmeval.fixtures import LlmChat, LlmRun, LlmServer
    from pytest_llmeval.probes.faults import FaultProxy
    from pytest_llmeval.records import Item, Prediction, Trial

MARKER = (
    "llmeval(items, prompt, ...): ask a model every item; the test takes llm_item and "
    "llm_prediction and judges the answer (pytest-llmeval)"
)

IDLE = "needs a model: run pytest with --llm-config FILE (pytest-llmeval)"

NEEDS_SYRUPY = "llm_snapshot needs the plugin syrupy, which is switched off in this session"

NEEDS_MARK = "llm_item and llm_prediction need @pytest.mark.llmeval(items=..., prompt=...)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Nine options; everything else belongs in the config file."""
    group = parser.getgroup("llmeval", "evaluation of local language models")
    add = group.addoption
    add(
        "--llm-config",
        metavar="FILE",
        help="evaluate: models and servers (as given, or in config/)",
    )
    add(
        "--llm-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the config, for instance sampling.max_tokens=8; prompts=terse "
        "keeps only that prompt variant",
    )
    add("--llm-limit", metavar="N", type=int, help="at most N items per suite, a seeded sample")
    add("--llm-parts", metavar="N", type=int, default=1, help="split each condition into N parts")
    add("--llm-plan", action="store_true", help="say what would run, and send nothing")
    add("--llm-dry-run", action="store_true", help="the whole pipeline on the fake engine")
    add("--llm-resume", metavar="RUN", help="continue a run: its id, its folder, or last")
    add("--llm-archive", action="store_true", help="zip the run's folder at the end")
    add("--llm-run-dir", metavar="DIR", default="runs", help="where runs are kept (default: runs)")
    parser.addini("llm_suites", "which files are suites (globs)", "args", ["suites/**/*.yaml"])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the working hooks only if an evaluation is asked for."""
    config.addinivalue_line("markers", MARKER)
    if config.getoption("llm_config") is None:
        _refuse_options_without_config(config)
    else:
        from pytest_llmeval.hooks import register

        register(config, sys.modules[__name__])


def _refuse_options_without_config(config: pytest.Config) -> None:
    for option in ("resume", "plan", "dry_run", "limit", "set", "archive"):
        if config.getoption(f"llm_{option}"):
            name = f"--llm-{option.replace('_', '-')}"
            raise pytest.UsageError(f"{name} needs --llm-config FILE, which was not given")


def _evaluation(request: pytest.FixtureRequest) -> Any:
    hooks = request.config.pluginmanager.get_plugin("llmeval-hooks")
    if hooks is None:
        pytest.skip(f"{request.fixturename} {IDLE}")
    return hooks.evaluation


@pytest.fixture
def llm_trial(request: pytest.FixtureRequest) -> Trial:
    """The trial of a test marked with llmeval."""
    trial: Trial | None = getattr(request, "param", None)
    if trial is None:
        _evaluation(request)
        pytest.fail(f"{NEEDS_MARK} on the test", pytrace=False)
    return trial


@pytest.fixture
def llm_item(llm_trial: Trial) -> Item:
    """The item this test is about: `.id`, `.fields`, `.target`, `.tags`."""
    return llm_trial.item


@pytest.fixture
def llm_prediction(request: pytest.FixtureRequest, llm_trial: Trial) -> Prediction:
    """What the model answered: `.text`, `.answer` with finish reason, tokens and tool calls.

    When the machinery broke the test is an error with the server's own words.
    """
    from pytest_llmeval.fixtures import answered_prediction

    return answered_prediction(request.node, _evaluation(request), llm_trial)


@pytest.fixture
def llm_score(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Record a score of your own: `llm_score("politeness", 0.8)`, a value in [0, 1]."""
    _evaluation(request)
    from pytest_llmeval.fixtures import score_recorder

    return score_recorder(request.node)


@pytest.fixture
def llm_snapshot(request: pytest.FixtureRequest) -> SnapshotAssertion:
    """Accepted scores: `assert {"item": 1, ...} == llm_snapshot` fails when they became worse.

    Significantly so, by a paired test; --snapshot-update accepts new ones. Needs no model.
    """
    if not request.config.pluginmanager.hasplugin("syrupy"):
        pytest.fail(NEEDS_SYRUPY, pytrace=False)
    from pytest_llmeval.snapshots import LlmevalSnapshotExtension

    snapshot: SnapshotAssertion = request.getfixturevalue("snapshot")
    return snapshot.use_extension(LlmevalSnapshotExtension)


@pytest.fixture
def llm_faults() -> Iterator[Callable[..., FaultProxy]]:
    """Stand between a test and an endpoint: `llm_faults(url, "rate_limit:times=2", seed=7).url`.

    `llmeval faults --list` names the faults. Closed at the end of the test; needs no model.
    """
    from contextlib import ExitStack

    from pytest_llmeval.errors import LlmevalError
    from pytest_llmeval.probes.faults import FaultProxy

    with ExitStack() as proxies:

        def stand_before(url: str, *faults: str, seed: int = 0) -> FaultProxy:
            __tracebackhide__ = True
            try:
                return proxies.enter_context(FaultProxy(url, *faults, seed=seed))
            except LlmevalError as error:  # of a traceback the user needs the own line
                raise error.with_traceback(None) from None

        yield stand_before


@pytest.fixture(scope="session")
def llm(request: pytest.FixtureRequest) -> LlmChat:
    """The first model of the config: `llm.chat("…").text`; `llm.on("name")` is another."""
    from pytest_llmeval.fixtures import LlmChat

    return LlmChat(_evaluation(request))


@pytest.fixture(scope="session")
def llm_server(request: pytest.FixtureRequest) -> LlmServer:
    """The first model's server: `.url`, `.healthy()`, `.log()`."""
    from pytest_llmeval.fixtures import LlmServer, in_words

    return in_words(LlmServer, _evaluation(request))


@pytest.fixture(scope="session")
def llm_run(request: pytest.FixtureRequest) -> LlmRun:
    """The run: `.id`, `.folder`, `.models`."""
    from pytest_llmeval.fixtures import LlmRun, in_words

    return in_words(LlmRun, _evaluation(request))
