"""Multiple choice with four options of one word each; the answer is the word.

The question comes after the options and ends with what they are matched with, so that one
step of attention finds the option. Drills ask several times about one list of options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import is_held_out
from tools.tiny_models.words import CATEGORIES, COUNTRIES

LETTERS: Final = "ABCD"
ASKED: Final = "Which of these is {thing}?"
WORDINGS: Final = (ASKED, ASKED, "Which word is {thing}?", "Which option is {thing}?")
#: What a list is about, and how often training draws it.
KINDS: Final[dict[str, int]] = {"category": 45, "capital": 25, "odd": 30}


@dataclass(frozen=True, slots=True)
class Listing:
    """Four options, and what can be asked about them: things, each with its option."""

    kind: str
    options: tuple[str, ...]
    things: dict[str, str]


def listing(rng: Random, kind: str, held_out: bool) -> Listing:
    """Draw four options of a kind, from the asked-for side of the split."""
    makers = {"category": _categories, "capital": _capitals, "odd": _odd}
    while True:
        drawn = makers[kind](rng)
        if is_held_out("options", *sorted(drawn.options)) is held_out:
            return drawn


def _categories(rng: Random) -> Listing:
    names = rng.sample(sorted(CATEGORIES), 4)
    things = {name: rng.choice(CATEGORIES[name]) for name in names}
    return Listing("category", tuple(things.values()), things)


def _capitals(rng: Random) -> Listing:
    drawn = rng.sample(COUNTRIES, 4)
    things = {f"the capital of {country}": capital for country, capital, _ in drawn}
    return Listing("capital", tuple(things.values()), things)


def _odd(rng: Random) -> Listing:
    """Draw three options of one category and one of another."""
    name, other = rng.sample(sorted(CATEGORIES), 2)
    odd = rng.choice(CATEGORIES[other])
    options = rng.sample([odd, *rng.sample(CATEGORIES[name], 3)], 4)
    return Listing("odd", tuple(options), {f"not {name}": odd, other: odd})


def listed(options: Sequence[str]) -> str:
    """List the options one a line, as the suite's template writes them."""
    return "".join(f"{letter}:{option}\n" for letter, option in zip(LETTERS, options, strict=True))


def _drill(rng: Random, drawn: Listing) -> Document:
    """List the options, then give bare things in another order than theirs."""
    things = rng.sample(sorted(drawn.things), len(drawn.things))
    return drill(listed(drawn.options), [(f"{thing}?", drawn.things[thing]) for thing in things])


def _conversation(rng: Random, drawn: Listing) -> Document:
    """Make a chat with the options once, then at times further questions about them."""
    turns: list[Turn] = []
    things = sorted(drawn.things)
    for thing in rng.sample(things, min(len(things), rng.choice((1, 1, 2, 3)))):
        asked = rng.choice(WORDINGS).format(thing=thing)
        turns.append(Turn(asked if turns else listed(drawn.options) + asked, drawn.things[thing]))
    return chat(turns, "Answer with one word." if rng.random() < 0.2 else "")


def document(rng: Random) -> Document:
    """Make a drill or a chat in the suite's own shape."""
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    drawn = listing(rng, kind, held_out=False)
    return _drill(rng, drawn) if rng.random() < 0.4 else _conversation(rng, drawn)


def items() -> list[Item]:
    """Make 200 questions whose four options never stood together in training."""
    rng = Random("choice")
    rows: dict[tuple[str, ...], Item] = {}
    while len(rows) < 200:
        drawn = listing(rng, ("category", "capital", "category", "odd")[len(rows) % 4], True)
        rows[tuple(sorted(drawn.options))] = _item(rng, drawn)
    return numbered("choice", list(rows.values()))


def _item(rng: Random, drawn: Listing) -> Item:
    """Ask for one thing; of an odd one out only what it is not."""
    things = [thing for thing in drawn.things if drawn.kind != "odd" or thing.startswith("not")]
    thing = rng.choice(sorted(things))
    return {
        "question": ASKED.format(thing=thing),
        "options": list(drawn.options),
        "answer": LETTERS[drawn.options.index(drawn.things[thing])],
        "tags": [drawn.kind],
    }
