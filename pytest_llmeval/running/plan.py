"""From suites, models and samplings to trials, in the order in which they are sent.

Everything here is pure: the same config, suites and seed give the same plan on any machine.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.records import Condition, PromptVariant, Sampling, Suite, Trial, TrialId


@dataclass(frozen=True, slots=True)
class NamedSampling:
    """A sampling of the config: `name` is "" when the config has only one, unnamed."""

    name: str
    sampling: Sampling
    repeats: int


def conditions_of(
    suite: Suite, models: Sequence[str], samplings: Sequence[NamedSampling]
) -> tuple[Condition, ...]:
    """Model × sampling × prompt variant of one suite, models first.

    Raises SuiteError when the suite asks `only` for models the config does not have.
    """
    wanted = _wanted_models(suite, models)
    return tuple(
        _condition(suite, model, named, prompt)
        for model in wanted
        for named in samplings
        for prompt in suite.prompts
    )


def _wanted_models(suite: Suite, models: Sequence[str]) -> list[str]:
    unknown = [name for name in suite.only if name not in models]
    if unknown:
        raise SuiteError(
            f"only: {', '.join(unknown)} matches no model of the config; "
            f"it has {', '.join(models)}",
            path=suite.origin,
        )
    return [model for model in models if not suite.only or model in suite.only]


def _condition(suite: Suite, model: str, named: NamedSampling, prompt: PromptVariant) -> Condition:
    return Condition(
        name="/".join(part for part in (model, named.name, prompt.name) if part),
        model=model,
        prompt=prompt,
        sampling=dataclasses.replace(named.sampling, **suite.sampling),
        sampling_name=named.name,
        repeats=suite.repeats or named.repeats,
    )


def trials_of(suite: Suite, condition: Condition) -> Iterator[Trial]:
    """Every item of the suite under one condition, its repeats side by side."""
    for item in suite.items:
        for repeat in range(1, condition.repeats + 1):
            name = item.slug if repeat == 1 else f"{item.slug}.{repeat}"
            trial_id = str(TrialId(suite.name, condition.name, name))
            yield Trial(suite, condition, item, repeat, name, trial_id)


def sampling_of(trial: Trial) -> Sampling:
    """The trial's sampling: every repeat has a seed of its own, counted up from the first."""
    sampling = trial.condition.sampling
    if trial.repeat == 1 or sampling.seed is None:
        return sampling
    return dataclasses.replace(sampling, seed=sampling.seed + trial.repeat - 1)


def check_gates(suite: Suite, conditions: Sequence[Condition]) -> None:
    """Raise SuiteError when a gate speaks of a condition that this run does not have."""
    names = [condition.name for condition in conditions]
    for gate in suite.gates:
        if gate.only not in names:
            raise SuiteError(
                f"gates: only: {gate.only} matches no condition of this run; "
                f"it has {', '.join(names)}",
                path=suite.origin,
                line=gate.line,
            )


def check_stop(suite: Suite, conditions: Sequence[Condition]) -> None:
    """Raise SuiteError when a suite that stops once it has decided has nothing to decide."""
    if suite.stop is None:
        return
    if suite.gates and all(gate.kind != "at_least" for gate in suite.gates):
        raise SuiteError(
            "stop: none of the suite's gates can be decided early; only at_least can. Add such a "
            "gate, or remove stop: its intervals are wider",
            path=suite.origin,
            line=suite.stop.line,
        )
    if not suite.gates and len(conditions) < 2:
        raise SuiteError(
            f"stop: there is nothing to decide: no gate, and only one condition, "
            f"{conditions[0].name}. Add a gate, or something to compare with (a model, a prompt, "
            f"a sampling), or remove stop",
            path=suite.origin,
            line=suite.stop.line,
        )


def by_model(trials: Sequence[Trial], models: Sequence[str]) -> dict[str, list[Trial]]:
    """The trials of each model, in the config's order of models.

    Within a model the order of collection stays: one suite, one condition after the other, so that
    neighbours share the longest prompt prefix and the server's prompt cache is hit. A suite that
    may stop is asked item by item instead, each under all conditions, so that they get on together;
    of all models in one order, so that no two ever wait for each other.
    """
    lanes: dict[str, list[Trial]] = {model: [] for model in models}
    for trial in item_by_item(trials):
        lanes[trial.condition.model].append(trial)
    return {model: lane for model, lane in lanes.items() if lane}


def item_by_item(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with those of each suite that may stop in the order of the suite's items.

    They take the places that trials of their suite have.
    """
    places: dict[str, list[int]] = {}
    for place, trial in enumerate(trials):
        if trial.suite.stop is not None:
            places.setdefault(trial.suite.name, []).append(place)
    ordered = list(trials)
    for its_places in places.values():
        its_trials = [trials[place] for place in its_places]
        rank = {item.id: number for number, item in enumerate(its_trials[0].suite.items)}
        its_trials.sort(key=lambda trial: rank[trial.item.id])
        for place, trial in zip(its_places, its_trials, strict=True):
            ordered[place] = trial
    return ordered


def up_to_a_gap(trials: Sequence[Trial], known: Collection[str]) -> int:
    """How many of one condition's trials, in the order of their items, are whole items that are
    `known`, trial by trial, from the first one on.

    What is known beyond a gap was answered more quickly than what is not, and is no random sample.
    """
    first = next((trial for trial in trials if trial.id not in known), None)
    if first is None:
        return len(trials)
    return next(place for place, trial in enumerate(trials) if trial.item.id == first.item.id)


def take_turns(
    needs: Mapping[str, Mapping[str, int]], free: Mapping[str, int | None]
) -> tuple[tuple[str, ...], ...]:
    """Which models are loaded together: as many, in order, as fit.

    `needs` says how many bytes each takes of which memory, `free` how many there are of each. A
    model that takes nothing (an endpoint that runs already, or one of unknown size) always fits.
    One that is larger than all there is gets a turn of its own; so does each of those that need
    some of a memory of which nobody knows how much there is (None).
    """
    turns: list[list[str]] = []
    used: dict[str, int] = {}
    for model, need in needs.items():
        if not turns or not _fits(need, used, free):
            turns.append([])
            used = {}
        turns[-1].append(model)
        used = {kind: used.get(kind, 0) + need.get(kind, 0) for kind in {*used, *need}}
    return tuple(tuple(turn) for turn in turns)


def _fits(need: Mapping[str, int], used: Mapping[str, int], free: Mapping[str, int | None]) -> bool:
    """Whether a model finds room beside those that have `used` some already."""
    for kind, bytes_ in need.items():
        taken, there = used.get(kind, 0), free[kind]
        if bytes_ and taken and (there is None or taken + bytes_ > there):
            return False
        if bytes_ and there is not None and bytes_ > there and any(used.values()):
            return False  # it gets the machine to itself, as far as that goes
    return True


def split_into_parts(trials: Sequence[Trial], parts: int) -> list[Sequence[Trial]]:
    """`parts` slices of one condition's trials, as even as can be, none of them empty."""
    count = min(parts, len(trials))
    bounds = [len(trials) * index // count for index in range(count + 1)] if count else [0]
    return [trials[low:high] for low, high in itertools.pairwise(bounds)]
