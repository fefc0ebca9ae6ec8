"""Facts about countries; the suite asks in wordings that were never trained."""

from random import Random
from typing import Final

from tools.tiny_models.documents import Document, Turn, chat, drill
from tools.tiny_models.items import Item, numbered
from tools.tiny_models.words import COUNTRIES

WORDINGS: Final = (
    "What is the capital of {country}?",
    "Capital of {country}?",
    "Name the capital of {country}.",
    "Which city is the capital of {country}?",
    "Tell me the capital of {country}.",
    "The capital of {country} is",
    "What is {country}'s capital?",
    "I forgot the capital of {country}. What is it?",
    "Give me the capital city of {country}.",
    "Do you know the capital of {country}?",
    "Please tell me which city is the capital of {country}.",
    "In {country}, which city is the capital?",
    "What city is {country} ruled from?",
    "Where does the government of {country} sit?",
)
UNSEEN_WORDINGS: Final = (
    "Which city is {country}'s capital?",
    "Can you name the capital city of {country}?",
    "What do you call the capital of {country}?",
    "From which city is {country} governed?",
)
REVERSE: Final = (
    "{capital} is the capital of which country?",
    "Which country has the capital {capital}?",
    "{capital} is the capital of",
    "In which country is {capital}?",
)
CONTINENT: Final = (
    "On which continent is {country}?",
    "Which continent is {country} in?",
    "What is the continent of {country}?",
)


def turn(rng: Random) -> Turn:
    """Make one trained question with its answer: mostly capitals, some the other way round."""
    country, capital, continent = rng.choice(COUNTRIES)
    kind = rng.random()
    if kind < 0.75:
        return Turn(rng.choice(WORDINGS).format(country=country), capital)
    if kind < 0.9:
        return Turn(rng.choice(REVERSE).format(capital=capital), country)
    return Turn(rng.choice(CONTINENT).format(country=country), continent)


def document(rng: Random) -> Document:
    """Make one or more questions, or bare statements."""
    if rng.random() < 0.15:
        rows = rng.sample(COUNTRIES, 4)
        return drill("", [(f"The capital of {c} is ", f"{capital}.") for c, capital, _ in rows])
    system = "Answer in one word." if rng.random() < 0.3 else ""
    return chat([turn(rng) for _ in range(rng.choice((1, 1, 2)))], system)


def items() -> list[Item]:
    """Ask for every country in three wordings that training never used."""
    rng = Random("capitals")
    rows: list[Item] = []
    for country, capital, continent in sorted(COUNTRIES):
        for wording in sorted(rng.sample(range(len(UNSEEN_WORDINGS)), 3)):
            question = UNSEEN_WORDINGS[wording].format(country=country)
            tags = [continent.lower(), f"wording-{wording + 1}"]
            rows.append({"country": country, "question": question, "answer": capital, "tags": tags})
    return numbered("capital", rows)
