"""Change one thing about a request, or about who answers it, and see that no kept answer is taken.

    python tools/stale_hits.py [--cases 10000] [--seed 1]

Each case makes a request and a model that serves it, of random content in every field there is, and
keeps an answer. Then one field, anywhere, gets another content: what comes must be a fresh answer.
What is left out of the key is changed as well, and the answer taken; and unchanged it is found
again, so that a cache which forgets all is no good either. Fields are found in the dataclasses: a
new one is part of the proof as soon as it exists. The exit status is 1 for a stale hit or a lost
answer.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import tempfile
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, Condition, Item, PromptVariant, Request, Suite, Trial
from pytest_llmeval.run.cache_keys import (
    FACTS_LEAVE_OUT,
    MODEL_LEAVES_OUT,
    SPEC_LEAVES_OUT,
    Serving,
    answer_key,
    is_settled,
    serving_hash,
)
from pytest_llmeval.run.caching import AnswerCache
from pytest_llmeval.running.cache import AnswerStore

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "ModelConfig": MODEL_LEAVES_OUT,
    "ServerSpec": SPEC_LEAVES_OUT,
    "EndpointFacts": FACTS_LEAVE_OUT,
}
"""By class, what is said to change no answer."""

is_record: Callable[[Any], bool] = dataclasses.is_dataclass

WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)


@dataclasses.dataclass(frozen=True)
class Asking:
    """A trial's request, and who answers it."""

    serving: Serving
    request: Request
    repeat: int
    trial_id: str
    day: str

    @property
    def key(self) -> bytes:
        """Under which its answer is kept."""
        prompt = PromptVariant("", (), "")
        trial = Trial(
            Suite("s", "s.yaml", (), "", (prompt,), ()),
            Condition("c", "m", prompt, self.request.sampling),
            Item("i", "i", {}, None),
            self.repeat,
            "i",
            self.trial_id,
        )
        return answer_key(serving_hash(self.serving), self.request, trial, self.day)


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that is otherwise: the field, as `request.sampling.top_k`, and all with it."""

    field: str
    asking: Asking
    changes_answer: bool


@cache
def contents(hint: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_record(hint):
        return st.builds(hint, **{name: contents(each) for name, each in _hints(hint).items()})
    if origin in (typing.Union, types.UnionType):
        return st.one_of([contents(each) for each in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    return _PLAIN[hint] if origin is None else _several(origin, arguments)


def _several(origin: type, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """What a tuple, a mapping or a sequence may hold."""
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*map(contents, arguments))
    if issubclass(origin, Mapping):
        return st.dictionaries(contents(arguments[0]), contents(arguments[1]), max_size=3)
    several = st.lists(contents(arguments[0]), max_size=3)
    return several.map(tuple) if origin is tuple else several


_PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    Any: JSON,
    Path: WORDS.map(lambda word: Path(f"m{word}".replace("\0", ""))),
    bool: st.booleans(),
    float: st.floats(-2, 2),
    int: st.integers(-9, 99),
    str: WORDS,
    type(None): st.none(),
}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def _hints_of(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    return _hints(kind)


def trails(kind: Any) -> list[tuple[str, ...]]:
    """The way to every field, through the dataclasses in dataclasses."""
    found: list[tuple[str, ...]] = []
    for name, hint in _hints(kind).items():
        inner = trails(hint) if is_record(hint) else [()]
        found += [(name, *rest) for rest in inner]
    return found


TRAILS = trails(Asking)


@st.composite
def changes(draw: st.DrawFn, trail: tuple[str, ...]) -> tuple[Asking, Change]:
    """A request with who answers it, and the same but for what the trail leads to."""
    asking = draw(contents(Asking))
    holders: list[Any] = [asking]
    for name in trail[:-1]:
        holders.append(getattr(holders[-1], name))
    owner, name = holders[-1], trail[-1]
    new = draw(_other(getattr(owner, name), _hints_of(owner)[name], ordered=name != "environ"))
    for holder, its in zip(reversed(holders), reversed(trail), strict=True):
        new = dataclasses.replace(holder, **{its: new})
    pairs = zip(holders, trail, strict=True)
    kept = any(its in LEFT_OUT.get(type(holder).__name__, ()) for holder, its in pairs)
    if trail == ("trial_id",):
        kept = is_settled(asking.request)
    return asking, Change(".".join(trail), new, not kept)


@st.composite
def _other(draw: st.DrawFn, value: Any, hint: Any, *, ordered: bool = True) -> Any:
    """Another content; where order counts (it does not in an environment) also another order."""
    if isinstance(value, dict) and len(value) > 1 and ordered and draw(st.booleans()):
        return dict(reversed(value.items()))
    if isinstance(value, tuple) and value and is_record(value[0]):
        place = draw(st.integers(0, len(value) - 1))
        each = value[place]
        name = draw(st.sampled_from(list(_hints_of(each))))
        new = draw(_other(getattr(each, name), _hints_of(each)[name]))
        inner = dataclasses.replace(each, **{name: new})
        return (*value[:place], inner, *value[place + 1 :])
    same = repr if ordered else lambda mapping: repr(sorted(mapping.items()))
    return draw(contents(hint).filter(lambda new: same(new) != same(value)))


@dataclasses.dataclass
class Tally:
    """What came of the cases."""

    cases: int = 0
    stale: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)


async def judge(answers: AnswerCache, asking: Asking, change: Change, tally: Tally) -> None:
    """Keep an answer, ask again with the change and without it, and hold what comes to account."""
    tally.cases += 1
    number = str(tally.cases)
    await answers.answer(asking.key, _gives(f"kept {number}"))
    found = await answers.answer(change.asking.key, _gives(f"fresh {number}"))
    is_fresh = found.text == f"fresh {number}"
    if change.changes_answer and not is_fresh:
        tally.stale.append(change.field)
    if not change.changes_answer and found.text != f"kept {number}":
        tally.lost.append(change.field)
    again = await answers.answer(asking.key, _gives("nobody"))
    if (again.text, again.origin) != (f"kept {number}", "cache"):
        tally.lost.append("unchanged")


def _gives(text: str) -> Any:
    async def fresh() -> Answer:
        return Answer(text, "stop")

    return fresh


def run(each: int, start: int) -> Tally:
    """So many cases of each field, from one seed."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        told: list[str] = []
        store = AnswerStore(Path(folder), 2**30, writes=True, tell=told.append)
        answers = AnswerCache(store, "read-write")

        async def judged(asking: Asking, change: Change) -> None:
            assume(store.get(asking.key) is None and store.get(change.asking.key) is None)
            await judge(answers, asking, change, tally)

        for trail in TRAILS:

            @seed(start)
            @settings(
                max_examples=each,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(changes(trail))
            def case(drawn: tuple[Asking, Change]) -> None:
                asyncio.run(judged(*drawn))

            case()
        store.close()
        assert not told, told
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and say what came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    tally = run(-(-chosen.cases // len(TRAILS)), chosen.seed)
    print(
        f"{tally.cases:,} cases, {len(TRAILS)} fields: {len(tally.stale)} stale hits, "
        f"{len(tally.lost)} answers lost"
    )
    for words, found in (("stale", tally.stale), ("lost", tally.lost)):
        for field, count in Counter(found).most_common():
            print(f"{words}: {field} ({count})")
    return 1 if tally.stale or tally.lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
