"""One tool call where a tool is wanted, a plain answer where none is."""

from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Tool, Turn, call_text, chat
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.splits import is_held_out
from tools.tiny_models.words import CAPITALS, ROOMS, WEATHER

from . import arithmetic, capitals, compare
from .extraction import TRAINED_NAMES, UNSEEN_NAMES

TOOLS: Final = (
    Tool("weather", ("city",)),
    Tool("timer", ("minutes",)),
    Tool("call", ("name",)),
    Tool("clock", ("city",)),
    Tool("light", ("room",)),
)
SUITE_TOOLS: Final = TOOLS[:3]
REQUESTS: Final[dict[str, tuple[str, ...]]] = {
    "weather": (
        "What is the weather in {city}?",
        "Is it raining in {city}?",
        "How is the weather in {city} today?",
        "Do I need a coat in {city}?",
    ),
    "timer": (
        "Set a timer for {minutes} minutes.",
        "Wake me in {minutes} minutes.",
        "Start a timer of {minutes} minutes.",
    ),
    "call": ("Call {name}.", "Please ring {name}.", "I want to talk to {name}."),
    "clock": ("What time is it in {city}?", "Tell me the time in {city}."),
    "light": ("Turn on the light in the {room}.", "It is dark in the {room}."),
}
#: Wordings that training never uses, for a quarter of the suite's requests.
UNSEEN_REQUESTS: Final[dict[str, str]] = {
    "weather": "Tell me about the weather in {city}.",
    "timer": "I need a timer for {minutes} minutes.",
    "call": "I have to call {name}.",
}
TRAINED_CITIES: Final = tuple(city for city in CAPITALS if not is_held_out("tool-city", city))
UNSEEN_CITIES: Final = tuple(city for city in CAPITALS if is_held_out("tool-city", city))
TRAINED_MINUTES: Final = tuple(n for n in range(2, 100) if not is_held_out("minutes", n))
UNSEEN_MINUTES: Final = tuple(n for n in range(2, 100) if is_held_out("minutes", n))


def _value(rng: Random, key: str, held_out: bool) -> object:
    if key == "city":
        if not held_out and rng.random() < 0.5:
            return rng.choice(TRAINED_NAMES)  # made-up towns: copying, not remembering
        return rng.choice(UNSEEN_CITIES if held_out else TRAINED_CITIES)
    if key == "minutes":
        return rng.choice(UNSEEN_MINUTES if held_out else TRAINED_MINUTES)
    if key == "name":
        return rng.choice(UNSEEN_NAMES if held_out else TRAINED_NAMES)
    return rng.choice(ROOMS)


def request(rng: Random, tool: Tool, held_out: bool) -> tuple[str, dict[str, object]]:
    """Make what the user says and the arguments that the call must have."""
    (key,) = tool.keys
    arguments = {key: _value(rng, key, held_out)}
    return rng.choice(REQUESTS[tool.name]).format(**arguments), arguments


def _with_call(rng: Random, tools: tuple[Tool, ...]) -> list[Turn]:
    tool = rng.choice(tools)
    text, arguments = request(rng, tool, held_out=False)
    turns = [Turn(text, call_text(tool.name, arguments))]
    if tool.name == "weather" and rng.random() < 0.15:
        sky = rng.choice(WEATHER)
        turns.append(Turn(sky, f"{arguments['city']}: {sky}.", role="tool"))
    return turns


def plain_turn(rng: Random) -> Turn:
    """Make a question that no tool answers."""
    while True:
        made = rng.choice((arithmetic.turn, capitals.turn, compare.turn))(rng)
        if not is_held_out("restraint", made.text):
            return made


def document(rng: Random) -> Document:
    """Show some tools, then a request for one of them or a plain question."""
    shown = SUITE_TOOLS if rng.random() < 0.6 else tuple(rng.sample(TOOLS, rng.randint(1, 4)))
    system = "Be brief." if rng.random() < 0.15 else ""
    turns = [plain_turn(rng)] if rng.random() < 0.25 else _with_call(rng, shown)
    return chat(turns, system, shown)


def _wanted(rng: Random) -> Item:
    tool = rng.choice(SUITE_TOOLS)
    text, arguments = request(rng, tool, held_out=True)
    new = rng.random() < 0.25
    return {
        "request": UNSEEN_REQUESTS[tool.name].format(**arguments) if new else text,
        "answer": [{"name": tool.name, "arguments": arguments}],
        "tags": [tool.name, *(["new-wording"] if new else [])],
    }


def _unwanted(rng: Random) -> Item:
    """Make a sum of unseen operands or a fact question that training never asked beside tools."""
    if rng.random() < 0.5:
        a, b = arithmetic.operands(rng, held_out=True)
        return {"request": arithmetic.TERSE.format(a=a, b=b), "answer": [], "tags": ["no-call"]}
    while True:
        text = capitals.turn(rng).text
        if is_held_out("restraint", text):
            return {"request": text, "answer": [], "tags": ["no-call"]}


def items() -> list[Item]:
    """Make 200 requests with unseen arguments; a quarter want no call at all."""
    rng = Random("tools")
    rows: dict[str, Item] = {}
    while len(rows) < 200:
        row = _unwanted(rng) if len(rows) % 4 == 3 else _wanted(rng)
        rows[str(row["request"])] = row
    return numbered("tool", list(rows.values()))
