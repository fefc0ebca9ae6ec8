"""What preflight asks an endpoint: each request is made so that a weak model can show as much with
it as a strong one. Pure.
"""

from __future__ import annotations

import dataclasses

from pytest_llmeval.records import Answer, Message, Request, Sampling

QUESTION = "What is the capital of France?"

EXTRA = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
"""Words in front of the question: a prompt that has them is longer, in every vocabulary."""

LEAST_RISE = 4
"""So many prompt tokens are more than none, and fewer than `EXTRA` has in any vocabulary: one whose
tokens hold several words, as they do in few, puts at most four into one.
"""

WORD = "lighthouse"
"""A word that answers nothing that is asked: it comes from what the server holds the answer to."""

SCHEMA = {
    "type": "object",
    "properties": {"checked": {"type": "string", "enum": [WORD]}},
    "required": ["checked"],
    "additionalProperties": False,
}
"""What only one object obeys."""

CALL = "weather"
_ROOM = 16
_LONGEST_TRIED = 262_144
_SHORTENED = 100


def plain() -> Request:
    """The plainest request there is."""
    return _asked(Message("user", QUESTION))


def cut() -> Request:
    """The same with room for one token only."""
    return _asked(Message("user", QUESTION), max_tokens=1)


def longer(salt: str) -> Request:
    """The same question with more words before it.

    `salt` begins what is longer, so that no earlier preflight has left it in a prompt cache: some
    endpoints do not count what they find there.
    """
    return _asked(Message("user", f"{salt} {EXTRA}. {QUESTION}".strip()), max_tokens=1)


def conversation(salt: str) -> Request:
    """The same question at the end of a conversation."""
    earlier = (
        Message("user", f"{salt} {EXTRA}.".strip()),
        Message("assistant", "sixteen seventeen."),
    )
    return _asked(*earlier, Message("user", QUESTION), max_tokens=1)


def with_system(salt: str) -> Request:
    """The same question after a system message."""
    system = Message("system", f"{salt} {EXTRA}.".strip())
    return _asked(system, Message("user", QUESTION), max_tokens=1)


def overlong(context: int, salt: str) -> Request | None:
    """A prompt that no context of so many tokens can hold; None where that would take too long."""
    if context > _LONGEST_TRIED:
        return None
    words = " ".join(str(number % 10) for number in range(context + 1))
    # With the plain request's room, so that nothing but its length can be refused.
    return _asked(Message("user", f"{salt} {words}".strip()))


def roomier(request: Request) -> Request:
    """The same with the plain request's room for an answer."""
    sampling = dataclasses.replace(request.sampling, max_tokens=_ROOM)
    return dataclasses.replace(request, sampling=sampling)


def with_stop(stop: str) -> Request:
    """The plain request with a stop string."""
    return _asked(Message("user", QUESTION), stop=(stop,))


def stop_within(text: str) -> str:
    """A piece of an answer that is not its beginning, to stop the same answer at; "" if it has none
    that could be told.
    """
    for start in range(max(1, len(text) // 2), len(text)):
        for size in (3, 2, 1):
            piece = text[start : start + size]
            if len(piece) == size and not any(map(str.isspace, piece)) and text.find(piece) > 0:
                return piece
    return ""


def with_seed(seed: int) -> Request:
    """Something to which no two answers are likely to be alike."""
    asked = Message("user", "Write ten random words.")
    return Request((asked,), Sampling(24, temperature=1.0, seed=seed))


def with_schema() -> Request:
    """A question whose answer is held to a JSON Schema that has nothing to do with it."""
    sampling = Sampling(64, temperature=0.0)
    user = (Message("user", QUESTION),)
    return Request(user, sampling, json_schema=SCHEMA)


def with_grammar() -> Request:
    """The same held to a grammar."""
    sampling = Sampling(32, temperature=0.0)
    user = (Message("user", QUESTION),)
    return Request(user, sampling, grammar=f'root ::= "{WORD}"')


def with_logprobs() -> Request:
    """A question with the log probabilities of its answer's tokens."""
    sampling = Sampling(4, temperature=0.0)
    return Request((Message("user", QUESTION),), sampling, top_logprobs=2)


def with_continuations() -> Request:
    """How likely two continuations of a sentence are."""
    return Request(
        (Message("user", "The capital of France is"),),
        Sampling(1, temperature=0.0),
        form="completion",
        continuations=(" Paris", f" {WORD}"),
    )


def with_tools(salt: str) -> Request:
    """What plainly wants the one tool there is."""
    function = {
        "name": CALL,
        "description": f"{salt} The weather in a city.".strip(),
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
    tool = {"type": "function", "function": function}
    sampling = Sampling(64, temperature=0.0)
    user = (Message("user", "What is the weather in Oslo?"),)
    return Request(user, sampling, tools=(tool,))


def without_tools() -> Request:
    """The same without the tool."""
    return _asked(Message("user", "What is the weather in Oslo?"), max_tokens=1)


def _asked(*messages: Message, max_tokens: int = _ROOM, stop: tuple[str, ...] = ()) -> Request:
    return Request(messages, Sampling(max_tokens, temperature=0.0, stop=stop))


# In words -----------------------------------------------------------------------------------------


def request_words(request: Request) -> str:
    """A request, shortened: its messages and what is special about it."""
    told = [f"{message.role}: {shortened(message.content)}" for message in request.messages]
    sampling = request.sampling
    told += [f"max_tokens {sampling.max_tokens}"]
    told += [f"stop {list(sampling.stop)}"] if sampling.stop else []
    told += [] if sampling.seed is None else [f"temperature {sampling.temperature:g}"]
    told += [] if sampling.seed is None else [f"seed {sampling.seed}"]
    told += ["a tool"] if request.tools else []
    told += ["a JSON Schema"] if request.json_schema is not None else []
    told += [f"grammar {request.grammar}"] if request.grammar is not None else []
    told += [] if request.top_logprobs is None else [f"top_logprobs {request.top_logprobs}"]
    told += [f"continuations {list(request.continuations)}"] if request.continuations else []
    return ", ".join(told)


def answer_words(answer: Answer) -> str:
    """An answer, shortened: its text, its calls, how it ended and what was counted."""
    told = [repr(shortened(answer.text))]
    told += [f"{call.name}({shortened(call.raw)})" for call in answer.tool_calls]
    told += ["reasoning"] if answer.reasoning else []
    told += [answer.finish_reason]
    counts = answer.usage.prompt, answer.usage.completion
    shown = ["?" if count is None else str(count) for count in counts]
    return f"{', '.join(told)}, {shown[0]} + {shown[1]} tokens"


def shortened(text: str) -> str:
    """A text on one line, its middle left out where it is long."""
    text = " ".join(text.split())
    if len(text) <= _SHORTENED:
        return text
    half = _SHORTENED // 2
    return f"{text[:half]} … ({len(text):,} characters) … {text[-half // 2 :]}"
