"""What the command line and the config say, without asking a model."""

from __future__ import annotations

import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_llmeval.errors import ConfigError, LlmevalError, ScorerError, SuiteError
from pytest_llmeval.records import ScorerSpec
from pytest_llmeval.run.settings import version_of

if TYPE_CHECKING:
    from pytest_llmeval.scoring.scorer import Scorer
    from tests.run.conftest import Make, Workbench

TWO_PROMPTS = {"plain": "{{ a }} + 1 =", "loud": "{{ a }} + 1 = !"}


@pytest.mark.parametrize("option", ["limit", "parts"])
def test_a_count_below_one_is_refused_by_its_options_name(bench: Workbench, option: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--llm-{option} 0: it must be at least 1$"):
        bench.settings(**{option: 0})


def test_an_unknown_model_is_told_with_the_nearest_one_there_is(bench: Workbench) -> None:
    bench.config(models={"tiny-l": {"engine": "fake"}, "tiny-s": {"engine": "fake"}})
    settings = bench.settings()
    assert settings.check_model("tiny-l") == "tiny-l"
    with pytest.raises(ConfigError) as refusal:
        settings.check_model("tiny-m")
    words = str(refusal.value)
    assert words.startswith(str(bench.root / "local.yaml"))
    assert "tiny-m" in words
    assert "tiny-l, tiny-s" in words


def test_keys_of_the_sampling_can_be_changed_for_one_request(bench: Workbench) -> None:
    changed = bench.settings().sampling_with({"max_tokens": 3, "stop": ("\n",)})
    assert (changed.max_tokens, changed.stop) == (3, ("\n",))
    assert (changed.temperature, changed.seed) == (0, 7)


def test_a_sampling_key_that_does_not_exist_is_told_with_those_that_do(bench: Workbench) -> None:
    with pytest.raises(LlmevalError) as refusal:
        bench.settings().sampling_with({"max_token": 3})
    assert "'max_token'" in str(refusal.value)
    assert "max_tokens" in str(refusal.value)


def test_the_first_sampling_of_several_is_the_one_of_the_llm_fixture(bench: Workbench) -> None:
    bench.config(sampling={"greedy": {"max_tokens": 5}, "warm": {"max_tokens": 9}})
    assert bench.settings().sampling_with({}).max_tokens == 5


def test_two_suites_of_one_name_are_refused_by_both_files(bench: Workbench) -> None:
    settings = bench.settings()
    bench.trials(settings, bench.suite("sums"))
    with pytest.raises(SuiteError) as refusal:
        bench.trials(settings, bench.suite("more/sums"))
    assert "suites/more/sums.yaml" in str(refusal.value)
    assert "suites/sums.yaml" in str(refusal.value)


def test_a_suite_may_be_read_twice(bench: Workbench) -> None:
    settings, path = bench.settings(), bench.suite()
    assert len(bench.trials(settings, path, path)) == 8


def test_a_scorer_that_does_not_exist_is_refused_when_the_suite_is_read(bench: Workbench) -> None:
    with pytest.raises(ScorerError, match="exat"):
        bench.trials(bench.settings(), bench.suite(score="exat"))


def test_only_the_chosen_prompts_are_asked(bench: Workbench) -> None:
    settings = bench.settings(overrides=("prompts=loud",))
    two = bench.suite("two", prompt=None, prompts=TWO_PROMPTS)
    trials = bench.trials(settings, two, bench.suite("unnamed"))
    assert {trial.condition.name for trial in trials} == {"m/loud", "m"}
    settings.check_prompts()
    assert not settings.mistakes


def test_a_chosen_prompt_that_no_suite_has_is_a_mistake(bench: Workbench) -> None:
    settings = bench.settings(overrides=("prompts=lout",))
    bench.trials(settings, bench.suite(prompt=None, prompts=TWO_PROMPTS))
    settings.check_prompts()
    (mistake,) = settings.mistakes
    assert "prompts=lout" in mistake
    assert "loud" in mistake


def test_a_gate_must_speak_of_a_condition_unless_prompts_were_chosen(bench: Workbench) -> None:
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.5}
    path = bench.suite(prompt=None, prompts=TWO_PROMPTS, gates=[gate])
    assert bench.trials(bench.settings(overrides=("prompts=loud",)), path)
    assert bench.trials(bench.settings(), path)
    bench.config(models={"other": {"engine": "fake"}})
    with pytest.raises(SuiteError, match="m/plain matches no condition of this run"):
        bench.trials(bench.settings(), path)


def test_a_limit_takes_the_same_items_every_time(bench: Workbench) -> None:
    path = bench.suite()
    chosen = [
        [trial.item.id for trial in bench.trials(bench.settings(limit=2), path)] for _ in range(2)
    ]
    assert len(chosen[0]) == 2
    assert chosen[0] == chosen[1]


def test_a_trial_of_another_process_is_judged_like_an_own_one(
    bench: Workbench, make: type[Make]
) -> None:
    """The controller of xdist scores what a crashed worker has left."""
    here, there = bench.settings(), bench.settings()
    (first, *_) = bench.trials(there, bench.suite())
    arrived = pickle.loads(pickle.dumps(first))
    right, wrong = make.answer(first.id, "2"), make.answer(first.id, "3")
    assert here.score(arrived, right) == there.score(first, right)
    assert here.score(arrived, right)[0].outcome == "right"
    assert here.score(arrived, wrong)[0].outcome == "wrong"


def test_scorers_have_their_versions_in_a_process_that_has_not_read_the_suite(
    bench: Workbench,
) -> None:
    here, there = bench.settings(), bench.settings()
    (first, *_) = bench.trials(there, bench.suite(score=["exact", "includes"]))
    versions = here.scorer_versions([pickle.loads(pickle.dumps(first)).suite])
    assert versions == there.scorer_versions([first.suite])
    assert versions.keys() == {"exact", "includes"}


def test_a_scorer_that_is_not_known_here_hides_no_other_s_version(bench: Workbench) -> None:
    settings = bench.settings()
    (first, *_) = bench.trials(bench.settings(), bench.suite())
    strange = replace(first.suite, scorers=(ScorerSpec("exotic"), ScorerSpec("exact")))
    assert settings.scorer_versions([strange]) == {"exact": "1"}
    settings.told_versions.update(exotic="7", exact="2")
    assert settings.scorer_versions([strange]) == {"exact": "2", "exotic": "7"}


def test_a_version_is_kept_as_text_and_none_as_unknown() -> None:
    assert version_of(cast("Scorer", SimpleNamespace(version=2))) == "2"
    assert version_of(cast("Scorer", SimpleNamespace())) == ""


def test_a_failure_is_judged_as_a_failure(bench: Workbench, make: type[Make]) -> None:
    settings = bench.settings()
    (first, *_) = bench.trials(settings, bench.suite())
    (score,) = settings.score(first, make.failure(first.id))
    assert (score.outcome, score.value) == ("failure", None)


@pytest.mark.parametrize(("share", "tolerated"), [(None, False), ("0%", False), ("5%", True)])
def test_single_failures_are_tolerated_if_the_config_allows_some(
    bench: Workbench, share: str | None, *, tolerated: bool
) -> None:
    bench.config(failures={"at_most": share} if share else {})
    assert bench.settings().tolerate_failures is tolerated
