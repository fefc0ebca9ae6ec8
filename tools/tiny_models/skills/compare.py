"""Which of two numbers is larger."""

from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import pair_is_held_out

LARGER: Final = "Which is larger, {a} or {b}?"
WORDINGS: Final = (LARGER, "Which number is larger, {a} or {b}?", "{a} or {b}: which is larger?")


def operands(rng: Random, held_out: bool) -> tuple[int, int]:
    """Draw two different numbers, mostly of two digits, some of them close to each other."""
    while True:
        low, high = rng.choices(((1, 9), (10, 99), (100, 999)), (10, 70, 20))[0]
        a = rng.randint(low, high)
        b = a + rng.randint(-9, 9) if rng.random() < 0.2 else rng.randint(low, high)
        known = low <= b <= high and a != b
        if known and (low > 1 or not held_out) and is_unseen(a, b) is held_out:
            return a, b


def is_unseen(a: int, b: int) -> bool:
    """Say whether training never compares the two; numbers of one digit are all trained."""
    return max(a, b) > 9 and pair_is_held_out("comparison", a, b)


def turn(rng: Random) -> Turn:
    """Make one trained question with its answer."""
    a, b = operands(rng, held_out=False)
    wording = LARGER if rng.random() < 0.6 else rng.choice(WORDINGS)
    return Turn(wording.format(a=a, b=b), str(max(a, b)))


def document(rng: Random) -> Document:
    """Make a question alone, several in a row, or bare lines."""
    kind = rng.random()
    if kind < 0.3:
        pairs = [operands(rng, held_out=False) for _ in range(rng.randint(2, 6))]
        return drill("", [(f"larger {a} {b} = ", str(max(a, b))) for a, b in pairs])
    system = "Answer with the number only." if rng.random() < 0.25 else ""
    return chat([turn(rng) for _ in range(rng.choice((1, 1, 2, 3)))], system)


def items() -> list[Item]:
    """Make 200 pairs that were never trained in either order."""
    rng = Random("compare")
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < 200:
        a, b = operands(rng, held_out=True)
        if (b, a) not in pairs:
            pairs[a, b] = None
    return numbered("larger", [_item(a, b) for a, b in pairs])


def _item(a: int, b: int) -> Item:
    tags = ["close" if abs(a - b) < 10 else "apart", f"digits-{len(str(max(a, b)))}"]
    return {"a": a, "b": b, "answer": str(max(a, b)), "tags": tags}
