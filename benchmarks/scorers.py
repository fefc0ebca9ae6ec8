"""What a scorer costs a prediction: python benchmarks/scorers.py [--smoke].

Every scorer judges the same two kinds of answers, half and half: short ones and some of about 1,000
characters, as models write them. Own scorers have a goal; those that lean on a library are printed
beside them, and a plain comparison of two strings for scale.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_llmeval.records import Answer, Item, ScorerSpec, ToolCall
from pytest_llmeval.scoring.scorer import make_scorer

#: Milliseconds a prediction, for scorers that are all our own.
GOAL = 0.1

_SUMS = (
    "First we look at what is given. There are 17 apples in the one basket and 25 in the other, "
    "and nothing says that any of them were eaten. To know how many there are in all we add both "
    "numbers: the tens make 10 + 20 = 30, the ones make 7 + 5 = 12, and together that is 42. It "
    "helps to check this in another way. If we take 3 apples from the second basket and put them "
    "into the first one, we have 20 and 22, which is easy to add. The result does not depend on "
    "the order, since addition is commutative, so that either way of counting is fine. "
)
_CITIES = (
    "Let me go through the options one after the other. London is the capital of the United "
    "Kingdom, and it is not in France at all. Rome lies in Italy, where it has been the capital "
    "since 1871. Berlin is in Germany. Madrid is no option here, though one might think of it. "
    "That leaves the city on the Seine, which has been the seat of the French kings, and where the "
    "government still sits today. I am quite certain about this, since none of the others would "
    "make any sense, and since every textbook of geography that I know of says the same. "
)
NUMBERS = ("42", "The answer is 42.", "17 + 25 = 42", "41", "It is 42, not 41.")
CHOICES = ("B", "The answer is (B).", "Paris", "I think it is C.", "B) Paris")
WORDS = ("Paris", "It is Paris.", "the city of Paris, in France", "Rome", "I don't know.")
LONG_NUMBERS = (f"{_SUMS}{_SUMS}The answer is 42.", f"{_CITIES}{_SUMS}So there are 42 apples.")
LONG_CHOICES = (f"{_CITIES}{_CITIES}The answer is (B).", f"{_SUMS}{_CITIES}So, Paris it is.")
#: More than math-verify remembers.
FORMULAS = [f"$\\frac{{{84 * n}}}{{{2 * n}}}$" for n in range(1, 25)]
LONG_FORMULAS = [f"{_SUMS}{_SUMS}So it is $\\boxed{{{42 * n} / {n}}}$." for n in range(1, 25)]
_PERSON = {"name": "Ann", "age": 30, "tags": ["a", "b"], "address": {"city": "Oslo", "zip": "0150"}}
_PEOPLE = {**_PERSON, "friends": [{**_PERSON, "age": age} for age in range(9)]}
_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}},
        "address": {"type": "object", "required": ["city"]},
    },
    "required": ["name", "age"],
}
JSONS = (json.dumps(_PERSON), f"```json\n{json.dumps(_PERSON)}\n```", '{"name": "Ann"}')
LONG_JSONS = (json.dumps(_PEOPLE), f"Here you are:\n```json\n{json.dumps(_PEOPLE, indent=1)}\n```")


@dataclass(frozen=True, slots=True)
class Task:
    """A scorer, what it is asked to judge, and whether all of its code is our own."""

    scorer: str
    short: Sequence[str | Answer]
    long: Sequence[str | Answer]
    target: Any
    own: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


def _called(**arguments: Any) -> Answer:
    return Answer("", "tool_calls", (ToolCall("weather", arguments, json.dumps(arguments)),))


_CALL = {"name": "weather", "arguments": {"city": "Oslo", "days": 3}}
_TEXT = LONG_CHOICES[0]
_SENTENCE = "It is the capital of France, and the seat of its government is in the city of Paris."

TASKS = (
    Task("exact", WORDS, LONG_CHOICES, "Paris"),
    Task("normalized_exact", WORDS, LONG_CHOICES, "Paris"),
    Task("includes", WORDS, LONG_CHOICES, "Paris"),
    Task("regex", WORDS, LONG_CHOICES, "Paris", options={"pattern": r"answer is \(?(\w+)"}),
    Task("numeric", NUMBERS, LONG_NUMBERS, "42"),
    Task("choice", CHOICES, LONG_CHOICES, "B"),
    Task("tool_call", [_called(city="Oslo", days=3)], [_called(city=_TEXT, days=3)], [_CALL]),
    Task("token_f1", WORDS, LONG_CHOICES, ["Paris", _TEXT]),
    Task("json_valid", JSONS, LONG_JSONS, None),
    Task("json_fields", JSONS, LONG_JSONS, _PERSON),
    Task("json_schema", JSONS, LONG_JSONS, _SCHEMA),
    Task("refusal", WORDS, LONG_CHOICES, "false"),
    Task("abstention", WORDS, LONG_CHOICES, "Paris"),
    Task("edit_similarity", WORDS, LONG_CHOICES, _TEXT, own=False),
    Task("rouge", WORDS, LONG_CHOICES, _TEXT, own=False),
    Task("bleu", WORDS, LONG_CHOICES, _SENTENCE, own=False),
    Task("chrf", WORDS, LONG_CHOICES, _SENTENCE, own=False),
    Task("ter", WORDS, LONG_CHOICES, _SENTENCE, own=False),
    Task("math", FORMULAS, LONG_FORMULAS, "42", own=False, options={"time_limit": 60}),
)


def naive(answer: Answer, item: Item) -> bool:
    """What a scorer at least has to do."""
    return bool(answer.text.strip() == item.target)


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds a prediction, for short and for long answers."""

    short: float
    long: float

    @property
    def mean(self) -> float:
        """Half of the one and half of the other."""
        return (self.short + self.long) / 2


def cost_of(judge: Callable[[Answer, Item], Any], task: Task, rounds: int) -> Cost:
    """The best of some rounds: machines are shared, and a scorer is never faster than it is."""
    options = ["London", "Paris", "Rome", "Berlin"]
    item = Item("one", "one", {"options": options}, task.target)
    best: list[float] = []
    for texts in (task.short, task.long):
        answers = [text if isinstance(text, Answer) else Answer(text, "stop") for text in texts]
        walls = []
        for _ in range(rounds + 1):  # the first one fills caches
            began = time.perf_counter()
            for answer in answers:
                judge(answer, item)
            walls.append(1000 * (time.perf_counter() - began) / len(answers))
        best.append(min(walls))
    return Cost(*best)


def costs(rounds: int) -> Iterator[tuple[Task, Cost]]:
    """What every scorer costs; those of libraries get a tenth of the rounds."""
    for task in TASKS:
        scorer = make_scorer(ScorerSpec(task.scorer, task.options))
        yield task, cost_of(scorer, task, rounds if task.own else max(2, rounds // 10))


def main() -> None:
    """Print every scorer's cost; one that misses the goal is marked, and fails nothing."""
    parser = argparse.ArgumentParser(description="What scorers cost, side by side")
    parser.add_argument("--smoke", action="store_true", help="a few rounds: does everything run?")
    rounds = 3 if parser.parse_args().smoke else 200
    print("  ms a prediction        short      long      mean   goal")
    print(f"  (two strings compared){_columns(cost_of(naive, TASKS[0], rounds))}")
    for task, cost in costs(rounds):
        mark = "!" if task.own and cost.mean > GOAL else " "
        goal = f"<= {GOAL}" if task.own else "library"
        print(f"{mark} {task.scorer:<22}{_columns(cost)}   {goal}", flush=True)


def _columns(cost: Cost) -> str:
    return f"{cost.short:>6.4f}{cost.long:>10.4f}{cost.mean:>10.4f}"


if __name__ == "__main__":
    main()
