"""Multiple choice with four options of one word each.

Looking up the letter of an option is the hard part for a small model, so most of the
documents are drills that ask several times about one list of options.
"""

from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import is_held_out
from tools.tiny_models.words import CATEGORIES, COUNTRIES

LETTERS: Final = "ABCD"
CATEGORY: Final = "Which of these is {category}?"
CAPITAL: Final = "Which of these is the capital of {country}?"
ENDING: Final = "Answer with the letter."
WORD_ENDING: Final = "Answer with the word."
BOTH_ENDING: Final = "Answer with word and letter."

_WORDS: Final = tuple(word for words in CATEGORIES.values() for word in words)

#: What an option answers to, and the option.
Pick = tuple[str, str]


def picks(rng: Random, capitals: bool, held_out: bool) -> list[Pick]:
    """Draw four options with what each is the answer to, from the asked-for side of the split."""
    while True:
        if capitals:
            drawn = [(country, capital) for country, capital, _ in rng.sample(COUNTRIES, 4)]
        else:
            names = rng.sample(sorted(CATEGORIES), 4)
            drawn = [(name, rng.choice(CATEGORIES[name])) for name in names]
        if is_held_out("options", *sorted(option for _, option in drawn)) is held_out:
            return drawn


def listed(options: list[str]) -> str:
    """List the options one a line, as the suite's template writes them."""
    return "".join(f"{option} {letter}\n" for letter, option in zip(LETTERS, options, strict=False))


def question(capitals: bool, key: str) -> str:
    """Ask for the option that answers to the key."""
    return CAPITAL.format(country=key) if capitals else CATEGORY.format(category=key)


def turn(rng: Random) -> Turn:
    """Make one trained question in the suite's own wording."""
    capitals = rng.random() < 0.35
    drawn = picks(rng, capitals, held_out=False)
    right = rng.randrange(4)
    asked = question(capitals, drawn[right][0])
    options = listed([option for _, option in drawn])
    return Turn(f"{asked}\n{options}{ENDING}", LETTERS[right])


def _short(key: str) -> str:
    return key.rsplit(" ", maxsplit=1)[-1]


def _lookups(rng: Random) -> Document:
    """List options with letters, or with any words, then ask for what stands beside one.

    Words beside the options teach the lookup sooner than letters do: a guess among four
    letters is nearly as good as knowing, a guess among a hundred words is not.
    """
    capitals = rng.random() < 0.35
    drawn = picks(rng, capitals, held_out=False)
    marks = list(LETTERS) if rng.random() < 0.5 else rng.sample(_WORDS, 4)
    lines: list[tuple[str, str]] = []
    for mark, (key, option) in zip(marks, drawn, strict=True):
        lines += [(word, f" {mark}") for word in (_short(key), option)]
    rng.shuffle(lines)
    options = "".join(f"{option} {mark}\n" for mark, (_, option) in zip(marks, drawn, strict=True))
    return drill(options, lines[: 6 if capitals else 8])


def _members(rng: Random) -> Document:
    names = rng.choices(sorted(CATEGORIES), k=5)
    return drill("", [(f"{rng.choice(CATEGORIES[name])} is", f" {name}") for name in names])


def _conversation(rng: Random) -> Document:
    """Make a chat with the options once, then further questions about the same list."""
    capitals = rng.random() < 0.35
    drawn = picks(rng, capitals, held_out=False)
    order = rng.sample(range(4), 3)
    options = listed([option for _, option in drawn])
    turns = []
    for count, right in enumerate(order):
        asked = question(capitals, drawn[right][0])
        text = asked if count else f"{asked}\n{options}{ENDING}"
        turns.append(Turn(text, LETTERS[right]))
    return chat(turns)


def document(rng: Random) -> Document:
    """Ask mostly several questions about one list; a third the suite's own shape."""
    kind = rng.random()
    if kind < 0.4:
        return _lookups(rng)
    if kind < 0.45:
        return _members(rng)
    if kind < 0.7:
        return _conversation(rng)
    system = "Answer with one letter." if rng.random() < 0.2 else ""
    return chat([turn(rng)], system)


def _picked(rng: Random, ending: str) -> Turn:
    """Make a question whose answer is the letter, the word, or the option's whole line."""
    capitals = rng.random() < 0.3
    drawn = picks(rng, capitals, held_out=False)
    right = rng.randrange(4)
    key, option = drawn[right]
    options = listed([option for _, option in drawn])
    answers = {
        ENDING: LETTERS[right],
        WORD_ENDING: option,
        BOTH_ENDING: f"{option} {LETTERS[right]}",
    }
    return Turn(f"{question(capitals, key)}\n{options}{ending}", answers[ending])


def finishing_document(rng: Random) -> Document:
    """Ask in the suite's shape for word, letter or both: the word leads to its letter."""
    kind = rng.random()
    if kind < 0.15:
        return _lookups(rng)
    ending = WORD_ENDING if kind < 0.5 else BOTH_ENDING if kind < 0.7 else ENDING
    system = "Answer briefly." if rng.random() < 0.1 else ""
    return chat([_picked(rng, ending)], system)


def items() -> list[Item]:
    """Make 200 questions whose four options never stood together in training."""
    rng = Random("choice")
    rows: dict[tuple[str, ...], Item] = {}
    while len(rows) < 200:
        capitals = len(rows) % 2 == 1
        drawn = picks(rng, capitals, held_out=True)
        right = rng.randrange(4)
        options = [option for _, option in drawn]
        rows[tuple(sorted(options))] = {
            "question": question(capitals, drawn[right][0]),
            "options": options,
            "answer": LETTERS[right],
            "tags": ["capital" if capitals else "category"],
        }
    return numbered("choice", list(rows.values()))
