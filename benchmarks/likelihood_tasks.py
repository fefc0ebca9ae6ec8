"""What the likelihood benchmark asks: three tasks of generated items, the same for a seed.

The small models know the words; what counts is that the texts are cut into one token and into many,
are likely and unlikely, and hold letters that the vocabulary has in bytes only. Prompts are as
short as what these models were trained on, or (`long`) one in four has some hundred tokens.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pytest_llmeval.records import Message, Request, Sampling

SEED = 20_261_124

CAPITALS = (
    "Paris France, Rome Italy, Madrid Spain, Berlin Germany, Oslo Norway, Stockholm Sweden, "
    "Helsinki Finland, Warsaw Poland, Vienna Austria, Budapest Hungary, Athens Greece, "
    "Lisbon Portugal, Dublin Ireland, Brussels Belgium, Cairo Egypt, Nairobi Kenya, Accra Ghana, "
    "Dakar Senegal, Tokyo Japan, Beijing China, Hanoi Vietnam, Amman Jordan, Lima Peru, Havana Cuba"
)

CITIES, COUNTRIES = zip(*(entry.split(" ") for entry in CAPITALS.split(", ")), strict=True)
THINGS = ("lemon", "train", "snow", "ear", "tin", "white", "three", "soup", "room", "song")
ADJECTIVES = ("very", "good", "poor", "plain", "great", "quite", "bad", "lovely", "awful", "fine")
KINDS = ("colour", "fruit", "number", "metal", "animal", "capital", "word")
RARE = ("Zürich", "São Paulo", "東京", "naïve", "crème brûlée", "Łódź", "🎈", "42 €")


@dataclass(frozen=True, slots=True)
class Task:
    """A name and its requests, one an item."""

    name: str
    requests: tuple[Request, ...]


def tasks(items: int, *, long: bool = False, seed: int = SEED) -> tuple[Task, ...]:
    """Multiple choice with several tokens, one-token choices, and free text."""
    makers = {"choice": _choice, "one token": _one_token, "text": _text}
    return tuple(
        Task(name, tuple(make(random.Random(f"{seed} {name} {n}"), long) for n in range(items)))
        for name, make in makers.items()
    )


def _choice(rng: random.Random, long: bool) -> Request:
    country = rng.choice(COUNTRIES)
    options = [_phrase(rng) for _ in range(4)]
    question = f"Which of these is true of {country}, and of its {rng.choice(KINDS)}?"
    return _chat(_before(rng, long) + question, options)


def _one_token(rng: random.Random, long: bool) -> Request:
    options = rng.sample(THINGS, 2) + rng.sample(CITIES, 2)
    rng.shuffle(options)
    listed = "\n".join(f"{letter}:{option}" for letter, option in zip("ABCD", options, strict=True))
    return _chat(f"{_before(rng, long)}{listed}\nWhich of these is a {rng.choice(KINDS)}?", options)


def _text(rng: random.Random, long: bool) -> Request:
    opening = f"{_before(rng, long)}The {rng.choice(THINGS)} was {rng.choice(ADJECTIVES)}."
    # " " stands between, as a suite would have it.
    text = f" {' '.join(_phrase(rng) for _ in range(rng.randint(1, 3)))}"
    return Request(
        (Message("user", opening),), Sampling(1), form="completion", continuations=(text,)
    )


def _before(rng: random.Random, long: bool) -> str:
    """A long text before one item in four, as worked examples would be, or nothing."""
    count = rng.randint(8, 24) if long and rng.random() < 0.25 else 0
    return "".join(f"{_phrase(rng)}.\n" for _ in range(count))


def _phrase(rng: random.Random) -> str:
    forms = (
        f"the capital of {rng.choice(COUNTRIES)} is {rng.choice(CITIES)}",
        f"a {rng.choice(ADJECTIVES)} {rng.choice(THINGS)} from {rng.choice(CITIES)}",
        f"{rng.randint(1, 999)} and {rng.randint(1, 99)} is {rng.randint(1, 1999)}",
        f"{rng.choice(CITIES)}, {rng.choice(ADJECTIVES)} {rng.choice(ADJECTIVES)}",
        f"{rng.choice(THINGS)} or {rng.choice(RARE)}",
    )
    # Letters beyond ASCII, one phrase in ten.
    return forms[4] if rng.random() < 0.1 else rng.choice(forms[:4])


def _chat(question: str, options: list[str]) -> Request:
    unique = tuple(dict.fromkeys(options))
    return Request((Message("user", question),), Sampling(1), continuations=unique)
