"""Fields of a sentence as compact JSON; the suite's names were never trained."""

import json
from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import is_held_out
from tools.tiny_models.words import CAPITALS, NAMES

ASKED: Final = "{text}\nGive {keys} as JSON."

#: A sentence, and the keys that are asked for in their order.
SHAPES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("{name} is {age} and lives in {city}.", ("name", "age", "city")),
    ("{name} from {city} is {age} years old.", ("name", "age", "city")),
    ("{name} moved to {city}.", ("name", "city")),
    ("My friend {name} turned {age}.", ("name", "age")),
    ("{name} works with {friend} in {city}.", ("name", "friend", "city")),
    ("{friend} said that {name} is {age}.", ("name", "age")),
    ("{friend} left {city}, but {name} stayed.", ("name", "city")),
)
TRAINED_NAMES: Final = tuple(name for name in NAMES if not is_held_out("name", name))
UNSEEN_NAMES: Final = tuple(name for name in NAMES if is_held_out("name", name))


def _values(rng: Random, names: tuple[str, ...]) -> dict[str, object]:
    name, friend = rng.sample(names, 2)
    return {
        "name": name,
        "friend": friend,
        "age": rng.randint(10, 99),
        "city": rng.choice(CAPITALS),
    }


def _row(rng: Random, names: tuple[str, ...], shape: int) -> tuple[str, str, str]:
    """Return the sentence, the keys as the prompt names them, and the JSON."""
    text, keys = SHAPES[shape]
    values = _values(rng, names)
    answer = json.dumps({key: values[key] for key in keys}, separators=(",", ":"))
    listed = ", ".join(keys[:-1]) + f" and {keys[-1]}"
    return text.format(**values), listed, answer


def turn(rng: Random) -> Turn:
    """Make one trained question with its answer."""
    text, keys, answer = _row(rng, TRAINED_NAMES, rng.randrange(len(SHAPES)))
    return Turn(ASKED.format(text=text, keys=keys), answer)


def _copies(rng: Random) -> Document:
    """Say names again: the drill that teaches copying of pairs never seen."""
    names = rng.sample(TRAINED_NAMES, rng.randint(3, 5))
    order = rng.sample(names, len(names))
    if rng.random() < 0.5:
        return drill("Names: " + " ".join(order) + "\n", [("Again: ", " ".join(order))])
    return drill("", [(f'{name} = "', f'{name}"') for name in names])


def document(rng: Random) -> Document:
    """Make a question alone, or a copying drill."""
    if rng.random() < 0.3:
        return _copies(rng)
    system = "Answer with JSON only." if rng.random() < 0.25 else ""
    return chat([turn(rng)], system)


def items() -> list[Item]:
    """Make 200 sentences about people whose names were never trained."""
    rng = Random("json")
    rows: dict[str, Item] = {}
    while len(rows) < 200:
        shape = len(rows) % len(SHAPES)
        text, keys, answer = _row(rng, UNSEEN_NAMES, shape)
        template, asked = SHAPES[shape]
        other = "{friend}" in template and "friend" not in asked
        tags = [f"fields-{len(asked)}", *(["somebody-else"] if other else [])]
        rows[text] = {"text": text, "keys": keys, "answer": answer, "tags": tags}
    return numbered("json", list(rows.values()))
