"""Positive, negative or neutral: adjectives, negations and two clauses."""

from dataclasses import dataclass
from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import is_held_out
from tools.tiny_models.words import BAD, GOOD, NOUNS, SO_SO

ASKED: Final = "{text}\nPositive, negative or neutral?"
WORDINGS: Final = (
    ASKED,
    ASKED,
    ASKED,
    "Sentiment of: {text}",
    "{text} Is this positive, negative or neutral?",
)
LABELS: Final = {1: "positive", 0: "neutral", -1: "negative"}
ONE: Final = (
    "The {n} was {a}.",
    "The {n} was very {a}.",
    "I found the {n} {a}.",
    "We thought that the {n} was {a}.",
)
DENIED: Final = ("The {n} was not {a}.", "I did not find the {n} {a}.", "The {n} was never {a}.")
TWO: Final = ("The {n} was {a} and the {m} was {b}.", "The {n} was {a}, but the {m} was {b}.")
TWO_DENIED: Final = (
    "The {n} was {a}, but the {m} was not {b}.",
    "The {n} was not {a}, but the {m} was {b}.",
)
#: Sentences that training never uses, each with what it does to the sign of its adjective.
UNSEEN: Final = (
    ("They called the {n} {a}.", 1),
    ("Everybody found the {n} {a}.", 1),
    ("Nobody found the {n} {a}.", -1),
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with its sign and the pairs of words it is made of."""

    text: str
    sign: int
    pairs: tuple[tuple[str, str], ...]
    tag: str

    @property
    def label(self) -> str:
        """Return the word for the sign."""
        return LABELS[self.sign]


def sign_of(adjective: str) -> int:
    """Return 1 for a good word, -1 for a bad one, else 0."""
    return 1 if adjective in GOOD else -1 if adjective in BAD else 0


def _pair(rng: Random, held_out: bool) -> tuple[str, str]:
    while True:
        adjective = rng.choice(rng.choice((GOOD, GOOD, BAD, BAD, SO_SO)))
        noun = rng.choice(NOUNS)
        if is_held_out("noun-adjective", noun, adjective) is held_out:
            return noun, adjective


def sentence(rng: Random, held_out: bool) -> Sentence:
    """Make a sentence all of whose noun-adjective pairs are on the asked-for side."""
    (noun, first), (other, second) = _pair(rng, held_out), _pair(rng, held_out)
    kind = rng.choices(("one", "denied", "two", "two-denied"), (30, 25, 30, 15))[0]
    if kind in ("one", "denied") or noun == other:
        kind = "one" if kind in ("one", "two") else "denied"
        flip = 1 if kind == "one" else -1
        text = rng.choice(ONE if kind == "one" else DENIED).format(n=noun, a=first)
        return Sentence(text, flip * sign_of(first), ((noun, first),), kind)
    index = rng.randrange(2)
    signs = [sign_of(first), sign_of(second)]
    if kind == "two-denied":
        signs[1 - index] *= -1
    text = (TWO if kind == "two" else TWO_DENIED)[index].format(n=noun, a=first, m=other, b=second)
    total = max(-1, min(1, sum(signs)))
    return Sentence(text, total, ((noun, first), (other, second)), kind)


def unseen_sentence(rng: Random) -> Sentence:
    """Make a sentence of a shape and with a noun-adjective pair that were never trained."""
    noun, adjective = _pair(rng, held_out=True)
    text, flip = rng.choice(UNSEEN)
    text = text.format(n=noun, a=adjective)
    return Sentence(text, flip * sign_of(adjective), ((noun, adjective),), "new-shape")


def turn(rng: Random) -> Turn:
    """Make one trained question with its answer."""
    made = sentence(rng, held_out=False)
    return Turn(rng.choice(WORDINGS).format(text=made.text), made.label)


def document(rng: Random) -> Document:
    """Make a question alone, two in a row, or bare lines."""
    kind = rng.random()
    if kind < 0.25:
        lines = [sentence(rng, held_out=False) for _ in range(rng.randint(2, 4))]
        return drill("", [(f"{made.text} = ", made.label) for made in lines])
    if kind < 0.35:
        words = rng.sample(GOOD + BAD + SO_SO, 5)
        return drill("", [(f"{word} = ", LABELS[sign_of(word)]) for word in words])
    system = "Answer with one word." if rng.random() < 0.25 else ""
    return chat([turn(rng) for _ in range(rng.choice((1, 1, 2)))], system)


def items() -> list[Item]:
    """Make 240 sentences of unseen noun-adjective pairs, a sixth of them of unseen shape."""
    rng = Random("sentiment")
    rows: dict[str, Item] = {}
    while len(rows) < 240:
        made = unseen_sentence(rng) if len(rows) % 6 == 5 else sentence(rng, held_out=True)
        rows[made.text] = {"text": made.text, "answer": made.label, "tags": [made.tag]}
    return numbered("mood", list(rows.values()))
