"""The scorer math: the answer's formula or number is worth the same as the target's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import (
    Finding,
    Reading,
    brief,
    judge,
    read,
    targets_of,
    text_of,
)
from pytest_llmeval.scoring.extras import check_installed
from pytest_llmeval.scoring.math_process import MATH
from pytest_llmeval.scoring.scorer import register

#: What it cannot work without; to import them takes seconds, and the process does it.
_MODULES = ("math_verify", "latex2sympy2_extended", "antlr4", "sympy")

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MATHEMATICS = re.compile(r"[\d$\\]")
#: What is said not to be the answer.
_DENIED = re.compile(
    r"""\b(?: not | never | (?:is|was|are|ca|wo|should|would|could|does|do)n['’]t )
        (?:\s+(?:be|equal(?:\s+to)?|exactly|simply|just))? \s*[:=]?\s*
        (?: \$+ [^$\n]{1,300} \$+ | \\boxed\{[^{}\n]{0,300}\} | \\\( [^\n]{1,300}? \\\)
          | [-+−]? \d [\d.,/]* %? )""",
    re.IGNORECASE | re.VERBOSE,
)


@register("math")
@dataclass(frozen=True, slots=True)
class Math:
    r"""The mathematics of an answer equals the target's, by the package math-verify.

    It takes the formula from \boxed{}, after "the final answer is", between $ signs, or the last
    number, and compares with sympy: 1/2 is 0.5 is \frac{1}{2}, x + 1 is 1 + x, {1, 2} is {2, 1}.
    An answer or a target that is a formula as a whole needs no $ signs. Of several boxes the last
    counts, and what is said not to be the answer ("it is not 42") is passed over.

    It works in a process of its own (see `math_worker`). A comparison that takes longer than
    `time_limit` seconds raises TimeoutError, which is a failure of the scorer, never a wrong
    answer; the next one gets a new process.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    time_limit: float = 10

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_limit) and self.time_limit > 0):
            raise ValueError(f"time_limit must be more than 0 seconds, got {self.time_limit!r}")
        check_installed(*_MODULES, package="math-verify", scorer=self.name)

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [text_of(target) for target in targets_of(item)]
        if not all(map(_holds_anything, targets)):
            raise ValueError(f"item {item.id} has a target without any number or letter")

        def find(reading: Reading) -> Finding[bool] | None:
            text = _stated(reading.text)
            if not _holds_anything(text):
                return None
            reply = MATH.compare(targets, text, self.time_limit)
            if "unread" in reply:
                what = f"the target {brief(reply['unread'])} of item {item.id}"
                raise ValueError(f"{what} is no mathematics that math-verify reads")
            if reply["found"] is None:
                return None
            committed = _BOX.search(reading.text) is not None
            return Finding(reply["right"], reply["found"], "math-verify", committed=committed)

        return judge(self.name, read(answer), find, bool, targets)

    def close(self) -> None:
        """End the process; a later answer would start another one."""
        MATH.close()


def _holds_anything(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _stated(text: str) -> str:
    """What a text states: its last box, or else all of it but what it denies."""
    stated = _DENIED.sub(" ", text)
    boxes = list(_BOX.finditer(stated))
    if boxes:
        return _box(stated, boxes[-1])
    # Of a denial without any mathematics beside it nothing is left but words.
    return stated if stated == text or _MATHEMATICS.search(stated) else ""


def _box(text: str, opening: re.Match[str]) -> str:
    """A box as a formula of its own; what is in it, to the end, where no brace closes it."""
    depth = 1
    for place in range(opening.end(), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return f"${text[opening.start() : place + 1]}$"
    return f"${text[opening.end() :]}$"
