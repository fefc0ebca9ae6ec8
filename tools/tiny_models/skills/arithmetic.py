"""Sums of two-digit numbers, answer only."""

from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import pair_is_held_out

PLAIN: Final = "{a} + {b} ="
TERSE_SYSTEM: Final = "Answer with the number only."
TERSE: Final = "What is {a} plus {b}?"
WORDINGS: Final = (PLAIN, TERSE, "{a} + {b}", "What is {a} + {b}?", "Add {a} and {b}.")


def operands(rng: Random, held_out: bool) -> tuple[int, int]:
    """Draw two numbers of two digits, from the asked-for side of the split."""
    while True:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        if pair_is_held_out("sum", a, b) is held_out:
            return a, b


def turn(rng: Random, wording: str | None = None) -> Turn:
    """Make one trained question with its answer."""
    a, b = operands(rng, held_out=False)
    chosen = wording or rng.choice((PLAIN, PLAIN, TERSE, TERSE, *WORDINGS))
    return Turn(chosen.format(a=a, b=b), str(a + b))


def document(rng: Random) -> Document:
    """Make a question alone, several in a row, or bare lines of sums."""
    kind = rng.random()
    if kind < 0.35:
        pairs = [operands(rng, held_out=False) for _ in range(rng.randint(2, 7))]
        return drill("", [(f"{a} + {b} = ", str(a + b)) for a, b in pairs])
    if kind < 0.65:
        wording = rng.choice((PLAIN, TERSE))
        return chat([turn(rng, wording) for _ in range(rng.randint(1, 3))], _system(rng))
    return chat([turn(rng)], _system(rng))


def _system(rng: Random) -> str:
    return TERSE_SYSTEM if rng.random() < 0.4 else ""


def _short_operands(rng: Random) -> tuple[int, int]:
    """Draw a number of two digits and one of one digit, a shape that training never shows."""
    while True:
        a, b = rng.randint(10, 99), rng.randint(1, 9)
        if pair_is_held_out("sum", a, b):
            return a, b


def items() -> list[Item]:
    """Make 200 sums whose operands were never trained; a tenth have a number of one digit."""
    rng = Random("arithmetic")
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < 200:
        short = len(pairs) % 10 == 9
        pairs[_short_operands(rng) if short else operands(rng, held_out=True)] = None
    return numbered("add", [_item(a, b) for a, b in pairs])


def _item(a: int, b: int) -> Item:
    tags = ["carry" if a % 10 + b % 10 > 9 else "no-carry", *(["one-digit"] if b < 10 else [])]
    return {"a": a, "b": b, "answer": str(a + b), "tags": tags}
