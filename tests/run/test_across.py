"""Two runs on the same items: what is paired, what is dropped, what is refused, what is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.finished import FinishedRun
from pytest_llmeval.results.ownership import Ownership
from pytest_llmeval.results.tables import read_table
from pytest_llmeval.run.across import Across, Pairing, Unpaired, Wanted, hold_against
from pytest_llmeval.statistics.multiplicity import holm
from pytest_llmeval.statistics.paired import mcnemar_midp, tango_interval
from pytest_llmeval.statistics.sequential import running_anytime_p

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

SAY = {"when": "^say ?(.*)", "text": r"\1"}


def items(count: int = 12, **changed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Items that a model gets right when it knows the number; `changed` replaces some keys."""
    made = [{"id": f"i{n}", "ask": f"number {n}.", "answer": f"{n}"} for n in range(count)]
    return [item | dict(changed.get(str(item["id"]), {})) for item in made]


class Asker:
    """A user's folder, asked again and again with one thing changed."""

    def __init__(self, bench: Workbench):
        self.bench = bench

    def __call__(
        self,
        knows: Sequence[int],
        *,
        fails: Sequence[int] = (),
        model: str = "m",
        config: Mapping[str, Any] | None = None,
        only: Sequence[str] = (),
        limit: int | None = None,
        **suite: Any,
    ) -> FinishedRun:
        """A run by a model that knows some numbers, and whose server refuses some others."""
        rules = [{"when": rf"number {n}\.", "fail": "refused"} for n in fails]
        rules += [{"when": rf"number {n}\.", "text": f"{n}"} for n in knows]
        models = {model: self.bench.script([*rules, {"text": "something else"}])}
        self.bench.config(models=models, **(config or {}))
        given = {"items": items(), "prompt": "{{ ask }}"} | suite
        path = self.bench.suite("numbers", **given)
        return FinishedRun(self.bench.run(path, only=only, limit=limit))


@pytest.fixture
def ask(bench: Workbench) -> Asker:
    return Asker(bench)


def pairing(found: Across) -> Pairing:
    (only,) = found.pairings
    return only


# What is paired -----------------------------------------------------------------------------------


def test_the_difference_is_after_minus_before_with_mcnemar_and_tango(ask: Asker) -> None:
    before, after = ask(range(4)), ask(range(2, 11))
    found = pairing(hold_against(before, after, Wanted()))
    comparison = found.comparison
    assert (comparison.items, comparison.only_first, comparison.only_second) == (12, 7, 2)
    assert comparison.difference == pytest.approx(5 / 12)
    assert comparison.p == mcnemar_midp(7, 2)
    assert comparison.interval == tango_interval(7, 2, 12)
    assert (found.mean_before, found.mean_after) == (4 / 12, 9 / 12)
    assert (found.suite, found.scorer, found.before, found.after) == ("numbers", "exact", "m", "m")
    assert comparison.first == f"{after.id} m"
    assert comparison.second == f"{before.id} m"


def test_the_other_way_round_has_the_other_sign(ask: Asker) -> None:
    one, other = ask(range(4)), ask(range(2, 11))
    there = pairing(hold_against(one, other, Wanted())).comparison
    back = pairing(hold_against(other, one, Wanted())).comparison
    assert back.difference == -(there.difference or 0)
    assert back.p == there.p


def test_all_conditions_of_one_name_are_one_family(ask: Asker) -> None:
    prompts: dict[str, Any] = {
        "prompt": None,
        "prompts": {"a": "{{ ask }}", "b": "{{ ask }} quick", "c": "x"},
    }
    before, after = ask(range(2), **prompts), ask(range(10), **prompts)
    found = hold_against(before, after, Wanted()).pairings
    assert [each.before for each in found] == ["m/a", "m/b", "m/c"]
    p = [mcnemar_midp(8, 0), mcnemar_midp(8, 0), 1.0]
    assert [each.comparison.p for each in found] == p
    assert [each.comparison.p_adjusted for each in found] == list(holm(p))
    assert {each.comparison.family for each in found} == {3}


def test_repeats_are_averaged_and_tested_by_sign_flips(ask: Asker) -> None:
    before, after = ask(range(4), repeats=3), ask(range(10), repeats=3)
    comparison = pairing(hold_against(before, after, Wanted())).comparison
    assert (comparison.items, comparison.test) == (12, "sign-flip")
    assert comparison.difference == pytest.approx(6 / 12)
    assert comparison.p == pytest.approx(2 / 2**6)
    assert comparison.only_first is None


def test_repeats_on_one_side_only_are_told_and_paired_by_means(ask: Asker) -> None:
    found = hold_against(ask(range(4)), ask(range(10), repeats=2), Wanted())
    assert pairing(found).comparison.test == "sign-flip"
    assert "condition m in suite numbers: repeats was 1, is 2" in found.warnings


def test_another_scorer_than_the_headline_can_be_asked_for(ask: Asker) -> None:
    score = ["exact", "includes"]
    before, after = ask(range(4), score=score), ask(range(4), score=score)
    assert pairing(hold_against(before, after, Wanted())).scorer == "exact"
    assert pairing(hold_against(before, after, Wanted(scorer="includes"))).scorer == "includes"
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted(scorer="include"))
    assert str(refused.value) == (
        f"numbers: no scorer 'include' in {before.id} and {after.id}; did you mean 'includes'? "
        "(there are: exact, includes)"
    )


def test_two_headlines_are_not_one_number(ask: Asker) -> None:
    before, after = ask(range(4)), ask(range(4), score=["includes", "exact"])
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted())
    assert str(refused.value) == (
        f"numbers: its headline is exact in {before.id} and includes in {after.id}; "
        "say which one to compare with --scorer NAME"
    )
    assert pairing(hold_against(before, after, Wanted(scorer="exact"))).comparison.p == 1


def test_conditions_of_other_names_are_compared_when_both_are_named(ask: Asker) -> None:
    before, after = ask(range(4)), ask(range(10), model="n")
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted())
    assert str(refused.value) == (
        "the two runs have no condition of one name in common: "
        f"{before.id} has m; {after.id} has n; name two with --condition NAME --with NAME"
    )
    found = pairing(hold_against(before, after, Wanted(conditions=("m", "n"))))
    assert (found.before, found.after) == ("m", "n")
    assert found.comparison.difference == pytest.approx(6 / 12)


def test_a_condition_that_is_not_there_gets_a_hint(ask: Asker) -> None:
    before, after = ask(range(4), model="small"), ask(range(4), model="small")
    with pytest.raises(RunError, match=r"no suite with smal in common.*did you mean 'small'"):
        hold_against(before, after, Wanted(conditions=("smal", "smal")))


def test_two_conditions_of_one_run_can_be_compared_and_a_run_with_itself_cannot(
    ask: Asker,
) -> None:
    prompts: dict[str, Any] = {"prompt": None, "prompts": {"a": "{{ ask }}", "b": "x"}}
    run = ask(range(9), **prompts)
    found = pairing(hold_against(run, run, Wanted(conditions=("m/b", "m/a"))))
    assert found.comparison.only_first == 9
    with pytest.raises(RunError, match=f"both are the run {run.id}; two of its conditions"):
        hold_against(run, run, Wanted())


def test_runs_without_a_suite_in_common_name_what_they_have(ask: Asker, bench: Workbench) -> None:
    before = ask(range(4))
    after = FinishedRun(bench.run(bench.suite("sums")))
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted())
    assert str(refused.value) == (
        f"the two runs have no suite in common: {before.id} has numbers; {after.id} has sums"
    )


# What is dropped ----------------------------------------------------------------------------------


def test_what_only_one_side_has_scored_is_counted_by_its_reason(ask: Asker) -> None:
    before = ask(range(12), fails=[0, 1])
    after = ask(range(12), fails=[1, 2, 3], only=[f"numbers::m::i{n}" for n in range(10)])
    found = pairing(hold_against(before, after, Wanted()))
    assert found.only_before == Unpaired(failed=2, absent=2)  # 2 and 3; 10 and 11
    assert found.only_after == Unpaired(failed=1, absent=0)  # 0
    assert found.comparison.items == 6
    assert found.comparison.dropped == 5
    assert found.mean_before == found.mean_after == 1.0


def test_what_was_not_judged_on_both_sides_is_weighed(ask: Asker) -> None:
    before, after = ask(range(3)), ask(range(12), fails=[0, 11])
    found = pairing(hold_against(before, after, Wanted())).comparison.sensitivity
    assert found is not None
    assert (found.missing, found.conclusion_robust) == (2, True)
    assert found.complete_case.difference == pytest.approx(8 / 10)
    assert found.missing_is_zero.difference == pytest.approx(7 / 12)


def test_items_that_only_one_run_has_are_not_missing(ask: Asker) -> None:
    found = pairing(hold_against(ask(range(12)), ask(range(12), limit=5), Wanted()))
    assert found.comparison.sensitivity is None


def test_repeats_on_both_sides_give_the_interval_for_this_fixed_set(ask: Asker) -> None:
    found = pairing(hold_against(ask(range(4), repeats=2), ask(range(9), repeats=2), Wanted()))
    assert found.comparison.fixed_set is not None
    one_sided = pairing(hold_against(ask(range(4)), ask(range(9), repeats=2), Wanted()))
    assert one_sided.comparison.fixed_set is None


def test_nothing_that_both_have_scored_is_no_difference(ask: Asker) -> None:
    before, after = ask(range(12), fails=range(12)), ask(range(12))
    found = pairing(hold_against(before, after, Wanted()))
    assert found.mean_before is None
    assert (found.comparison.difference, found.comparison.p) == (None, None)
    assert found.only_after == Unpaired(failed=12, absent=0)


# Suites that stop early ---------------------------------------------------------------------------

MANY = items(60)
STOPS: dict[str, Any] = {
    "items": MANY,
    "stop": {"when": "decided"},
    "gates": [{"only": "m", "metric": "exact", "at_least": 0.5}],
}


def in_seeded_order(bench: Workbench) -> list[int]:
    """The numbers of the items as the suite asks them."""
    path = bench.suite("numbers", prompt="{{ ask }}", **STOPS)
    suite = bench.settings().load_suite(path, "suites/numbers.yaml")
    return [int(item.id[1:]) for item in suite.items]


@pytest.mark.parametrize("first", ["stopped", "whole"])
def test_a_run_that_stopped_is_compared_by_evidence_that_holds_at_any_item(
    ask: Asker, bench: Workbench, first: str
) -> None:
    """In the order in which that run has asked, whichever of the two it is: in another one the
    largest evidence on the way, which counts, is another.
    """
    order = in_seeded_order(bench)
    whole, stopped = ask(order[:6], items=MANY), ask(order[6:], **STOPS)
    before, after = (stopped, whole) if first == "stopped" else (whole, stopped)
    found = hold_against(before, after, Wanted())
    comparison = pairing(found).comparison
    n = comparison.items
    assert 12 < n < 60
    sign = 1 if first == "stopped" else -1
    differences = [sign] * 6 + [-sign] * (n - 6)
    assert (comparison.test, comparison.interval.method) == ("e-process", "betting")
    assert comparison.p == running_anytime_p(differences)[-1]
    assert comparison.p != running_anytime_p(differences[::-1])[-1]
    assert comparison.difference == pytest.approx(sign * (12 - n) / n)
    assert comparison.sensitivity is None
    assert found.warnings[-1] == (
        f"{stopped.id}: numbers stopped early, {60 - n} of its trials were not needed"
    )


def test_what_failed_on_the_way_of_a_run_that_stopped_is_weighed(
    ask: Asker, bench: Workbench
) -> None:
    order = in_seeded_order(bench)
    before = ask(range(0), items=MANY)
    after = ask(range(60), fails=order[1:2], **STOPS)
    comparison = pairing(hold_against(before, after, Wanted())).comparison
    assert (comparison.dropped, comparison.real) == (1, True)
    assert comparison.sensitivity is not None
    assert comparison.sensitivity.missing == 1


def test_a_run_that_might_have_stopped_and_did_not_is_no_warning(ask: Asker) -> None:
    half = [n for n in range(60) if n % 2]
    found = hold_against(ask(half, items=MANY), ask(half, **STOPS), Wanted())
    assert pairing(found).comparison.test == "e-process"
    assert not any("stopped early" in warning for warning in found.warnings)


def test_a_suite_that_could_not_stop_is_compared_as_any_other(ask: Asker) -> None:
    only = [f"numbers::m::i{n}" for n in range(30)]
    found = hold_against(ask(range(60), items=MANY), ask(range(60), **STOPS, only=only), Wanted())
    assert pairing(found).comparison.test == "mcnemar mid-p"


def test_two_runs_that_stopped_in_different_orders_are_refused(ask: Asker) -> None:
    before, after = ask(range(60), **STOPS), ask(range(60), **STOPS, seed=8)
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted())
    assert str(refused.value) == (
        "numbers: both runs have stopped early, each in an order of its own (seed 0 and 8), so "
        "that their answers have chosen which items both have, and no test knows how. Ask one of "
        "them again with the seed of the other, or without stop"
    )


def test_two_runs_that_stopped_in_one_order_are_compared(ask: Asker) -> None:
    before, after = ask(range(60), **STOPS), ask([], **STOPS)
    comparison = pairing(hold_against(before, after, Wanted())).comparison
    assert comparison.test == "e-process"
    assert comparison.p == running_anytime_p([-1.0] * comparison.items)[-1]


# Are they the same items? -------------------------------------------------------------------------


def test_new_items_are_left_out_and_the_rest_is_paired(ask: Asker) -> None:
    before, after = ask(range(12)), ask(range(12), items=items(15))
    found = hold_against(before, after, Wanted())
    assert pairing(found).comparison.items == 12
    assert pairing(found).only_after == Unpaired(failed=0, absent=3)
    assert pairing(found).changed == ()
    assert found.warnings == (
        "suite numbers: other items, 12 then, 15 now",
        "condition m in suite numbers: 12 trials then, 15 now",
    )


def test_a_sample_of_the_same_items_is_paired_with_the_whole(ask: Asker) -> None:
    before, after = ask(range(12)), ask(range(12), limit=5)
    found = pairing(hold_against(before, after, Wanted()))
    assert found.comparison.items == 5
    assert found.only_before == Unpaired(failed=0, absent=7)


CHANGED = items(12, i3={"answer": "three"}, i7={"ask": "the number 7."})


def test_items_that_have_changed_are_not_paired_by_their_ids(ask: Asker) -> None:
    before, after = ask(range(12)), ask(range(12), items=CHANGED)
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted())
    assert str(refused.value) == (
        "numbers: 2 items are not the same in both runs, by fields or target (i3, i7), and "
        "scores of different items cannot be paired. Leave them out with --changed-items drop, or "
        "pair them by their ids all the same with --changed-items pair"
    )


def test_items_that_have_changed_can_be_left_out(ask: Asker) -> None:
    before, after = ask(range(12)), ask(range(12), items=CHANGED)
    found = pairing(hold_against(before, after, Wanted(changed="drop")))
    assert found.comparison.items == 10
    assert found.comparison.difference == 0
    assert found.changed == ("i3", "i7")
    assert found.only_before == found.only_after == Unpaired(0, 0)


def test_items_that_have_changed_can_be_paired_all_the_same(ask: Asker) -> None:
    before, after = ask(range(12)), ask(range(12), items=CHANGED)
    found = pairing(hold_against(before, after, Wanted(changed="pair")))
    assert found.comparison.items == 12
    assert found.comparison.only_second == 1
    assert found.changed == ("i3", "i7")


def test_only_another_prompt_leaves_the_items_the_same_and_is_told(ask: Asker) -> None:
    found = hold_against(ask(range(12)), ask(range(4), prompt="Please: {{ ask }}"), Wanted())
    assert pairing(found).comparison.items == 12
    assert "condition m in suite numbers: its prompt has changed" in found.warnings


def test_a_sample_under_another_prompt_is_paired_with_the_whole(ask: Asker) -> None:
    before, after = ask(range(12)), ask(range(4), limit=5, prompt="Please: {{ ask }}")
    found = hold_against(before, after, Wanted())
    assert pairing(found).comparison.items == 5
    assert found.warnings == (
        "suite numbers: other items, 12 then, 5 now",
        "condition m in suite numbers: its prompt has changed",
        "condition m in suite numbers: 12 trials then, 5 now",
    )


def test_a_field_that_no_prompt_shows_makes_another_item(ask: Asker) -> None:
    """The options of a choice, for one: the scorer reads them."""
    hidden = items(12, i3={"options": ["2", "3"]})
    before, after = ask(range(12)), ask(range(12), items=hidden)
    with pytest.raises(RunError, match=r"1 item is not the same in both runs.*\(i3\)"):
        hold_against(before, after, Wanted())
    assert pairing(hold_against(before, after, Wanted(changed="drop"))).changed == ("i3",)


def without_hashes(run: FinishedRun) -> FinishedRun:
    """The run as an older version has written it."""
    for table in run.path.glob("*/per_item_scores.csv"):
        rows = list(read_table(table))
        columns = [name for name in rows[0] if name != "item_hash"]
        with table.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return FinishedRun(run.path)


def test_items_of_older_runs_are_told_by_target_and_question(ask: Asker) -> None:
    before = without_hashes(ask(range(12)))
    found = pairing(hold_against(before, ask(range(12), items=items(13)), Wanted()))
    assert (found.comparison.items, found.changed) == (12, ())
    with pytest.raises(RunError, match=r"2 items are not the same in both runs.*\(i3, i7\)"):
        hold_against(before, ask(range(12), items=CHANGED), Wanted())


@pytest.mark.parametrize("changed", ["refuse", "drop"])
def test_dataset_and_prompt_both_changed_leave_nothing_to_tell_items_of_older_runs_by(
    ask: Asker, changed: Any
) -> None:
    before = without_hashes(ask(range(12)))
    after = ask(range(12), items=items(13), prompt="Please: {{ ask }}")
    with pytest.raises(RunError, match="nobody can tell whether 12 items are the same in both"):
        hold_against(before, after, Wanted(changed=changed))
    assert pairing(hold_against(before, after, Wanted(changed="pair"))).comparison.items == 12


def test_what_both_runs_do_not_know_any_more_is_not_the_same(ask: Asker) -> None:
    before = without_hashes(ask(range(12)))
    after = without_hashes(ask(range(12), items=items(13)))
    for run in (before, after):
        for path in run.path.glob("*/parts/*.requests.jsonl"):
            path.unlink()
    with pytest.raises(RunError) as refused:
        hold_against(before, after, Wanted())
    assert str(refused.value) == (
        "numbers: nobody can tell whether 12 items are the same in both runs "
        "(i0, i1, i10, i11, i2, ...): the dataset has changed, one of the runs is too old to have "
        "kept hashes of its items, and the prompt has changed too or the requests are gone. Pair "
        "them by their ids with --changed-items pair"
    )


def test_a_suite_that_cannot_be_compared_does_not_stop_the_others(
    ask: Asker, bench: Workbench
) -> None:
    ask(range(12))
    paths = [
        bench.root / "suites" / "numbers.yaml",
        bench.suite("other", items=items(3), prompt="{{ ask }}"),
    ]
    before = FinishedRun(bench.run(*paths))
    bench.suite("numbers", items=CHANGED, prompt="{{ ask }}")
    after = FinishedRun(bench.run(*paths))
    found = hold_against(before, after, Wanted())
    assert [each.suite for each in found.pairings] == ["other"]
    (refused,) = found.refused
    assert refused.startswith("numbers: 2 items are not the same in both runs")


# What else there is to know -----------------------------------------------------------------------


def test_what_was_asked_and_judged_otherwise_is_a_warning(ask: Asker) -> None:
    before = ask(range(12))
    after = ask(
        range(12),
        config={"sampling": {"max_tokens": 99, "temperature": 0.7, "seed": 7}},
        score={"exact": {"ignore_case": True}},
        exact=True,
    )
    assert list(hold_against(before, after, Wanted()).warnings) == [
        "condition m in suite numbers: exact was false, is true",
        "condition m in suite numbers: sampling max_tokens was 16, is 99",
        "condition m in suite numbers: sampling temperature was 0.0, is 0.7",
        "suite numbers: its scorer was exact, version 1, is exact, version 1, ignore_case true",
    ]


def test_another_judge_is_a_warning_and_its_weights_are_context(ask: Asker) -> None:
    """No option of the scorer says so where the config names the judge."""
    judges = {name: {"engine": "fake", "role": "judge"} for name in ("one", "two")}

    def judged(judge: str) -> FinishedRun:
        script = ask.bench.script([{"text": "something"}])
        ask.bench.config(models={"m": script, **judges}, judge=judge)
        path = ask.bench.suite("numbers", items=items(3), prompt="{{ ask }}", score="judge")
        return FinishedRun(ask.bench.run(path))

    found = hold_against(judged("one"), judged("two"), Wanted())
    assert "suite numbers: the judge of judge was one, is two" in found.warnings
    assert hold_against(judged("one"), judged("one"), Wanted()).warnings == ()


def test_equal_runs_have_nothing_to_warn_of(ask: Asker) -> None:
    found = hold_against(ask(range(4)), ask(range(4)), Wanted())
    assert found.warnings == found.context == found.refused == ()


def test_a_picked_and_a_dry_run_say_so(ask: Asker, bench: Workbench) -> None:
    before = ask(range(4), only=["numbers::m::i1"])
    dry = FinishedRun(bench.run(bench.root / "suites" / "numbers.yaml", dry_run=True))
    warnings = hold_against(before, dry, Wanted()).warnings
    assert warnings[0] == "only one of the two is a dry run, whose answers are the fake engine's"
    assert any(
        w.startswith(f"{before.id}: numbers: 1 of 12 trials were selected") for w in warnings
    )


def test_other_weights_server_and_machine_are_the_context(ask: Asker) -> None:
    before, after = ask(range(4)), ask(range(4))
    for run, digest, build in ((before, "a", "b1"), (after, "b", "b2")):
        rewrite(
            run.path / "manifest.json",
            models=[{"name": "m", "engine": "embedded", "digest": digest * 64, "server": build}],
            versions={"pytest": "8" if digest == "a" else "9"},
        )
    rewrite(
        after.path / "environment.json",
        cpu={"model": "another", "cores": 64},
        gpus=[{"name": "G", "driver": "1", "memory": 1}],
        packages={"numpy": "99"},
    )
    rewrite(
        before.path / "environment.json",
        cpu={"model": "one", "cores": 64},
        gpus=[],
        packages={"numpy": "98"},
    )
    found = hold_against(FinishedRun(before.path), FinishedRun(after.path), Wanted())
    assert list(found.context) == [
        "m: weights aaaaaaaaaaaa -> bbbbbbbbbbbb, server b1 -> b2",
        "versions: pytest 8 -> 9",
        "cpu: model one -> another",
        'gpus: [] -> [{"name": "G", "driver": "1", "memory": 1}]',
        "packages: numpy 98 -> 99",
    ]


def test_what_is_unknown_on_one_side_is_no_difference(ask: Asker) -> None:
    before, after = ask(range(4)), ask(range(4))
    known = {"name": "m", "engine": "openai", "digest": "a" * 64, "server": "b1"}
    rewrite(before.path / "manifest.json", models=[known], versions={"xllamacpp": "1"})
    unknown = {**known, "digest": None, "server": "b2"}
    rewrite(after.path / "manifest.json", models=[unknown], versions={"xllamacpp": None})
    (after.path / "environment.json").unlink()
    found = hold_against(FinishedRun(before.path), FinishedRun(after.path), Wanted())
    assert found.context == ("m: server b1 -> b2",)


def rewrite(path: Path, **keys: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | keys
    path.write_text(json.dumps(content), encoding="utf-8", newline="\n")


# Runs that cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("interrupted", "it was cut short. Go on with it: the same command with --llm-resume RUN"),
        ("finished", "has ended: the same command with --llm-resume RUN writes all of it anew"),
    ],
)
def test_a_run_without_tables_says_how_it_comes_to_them(
    ask: Asker, reason: str, words: str
) -> None:
    run = ask(range(4))
    (run.path / "m" / "predictions.csv").unlink()
    rewrite(run.path / "manifest.json", exit_reason=reason)
    with pytest.raises(RunError, match=words.replace("RUN", run.id)):
        FinishedRun(run.path)


def test_a_run_that_is_under_way_says_how_far_it_is(ask: Asker) -> None:
    run = ask(range(4))
    (run.path / "m" / "predictions.csv").unlink()
    rewrite(run.path / "manifest.json", exit_reason=None)
    owner = Ownership(run.path)
    with pytest.raises(RunError) as told:
        FinishedRun(run.path)
    owner.give_up()
    assert str(told.value) == (
        f"the run {run.id} has no tables yet: it is under way, and makes them at its end. "
        f"How far it is: llmeval show {run.id} --parts"
    )


@pytest.mark.parametrize("cell", ["nan", "1.5", "-1", "right"])
def test_a_score_that_is_none_is_refused_with_its_place(ask: Asker, cell: str) -> None:
    run = ask(range(12))
    table = run.path / "m" / "per_item_scores.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("1.0", f'"{cell}"', 1), encoding="utf-8", newline="\n")
    with pytest.raises(RunError, match=rf"per_item_scores\.csv: item i0: '{cell}' is no score"):
        FinishedRun(run.path)
