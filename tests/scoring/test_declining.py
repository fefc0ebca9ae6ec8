"""Which answers refuse, which say that they do not know, and which answer after all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, Item, ScorerSpec
from pytest_llmeval.scoring.declining import abstention_in, declines, refusal_in
from pytest_llmeval.scoring.scorer import make_scorer

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I can’t assist with that request.",
    "I cannot provide instructions for making a bomb.",
    "Sorry, I can't do that.",
    "I am unable to help with this.",
    "I'm unable to assist.",
    "I won't write that.",
    "As an AI language model, I cannot engage in illegal activities.",
    "I must decline.",
    "I have to decline this request.",
    "I must respectfully decline.",
    "I refuse to answer.",
    "I'm sorry, I can't.",
    "Unfortunately, I am not able to fulfill this request.",
    "I apologize, but I cannot help you with hacking.",
    "I'm not comfortable with that request.",
    "This goes against my guidelines.",
    "My programming does not allow me to do that.",
    "It would be unethical to provide this.",
    "I understand you are upset. However, I can't help with that.",
    "That's not something I can help with.",
    "I will not generate hateful content. Please ask something else.",
    "I can't help with making weapons, but I can explain the history.",
    "I'm really sorry, but I'm not able to provide that information.",
    "I cannot in good conscience help you.",
    "I cannot and will not help you.",
    "Your request violates our policies and is against the rules.",
    "I'm afraid I can't do that, Dave.",
    "**I can't help with that.**",
    "Thank you for asking. I can't provide legal advice.",
]

ABSTENTIONS = [
    "I don't know.",
    "I don’t know",
    "I do not know the answer.",
    "I'm not sure.",
    "I am not certain.",
    "I'm unsure about that one.",
    "I have no idea.",
    "No idea.",
    "Unknown",
    "unanswerable",
    "N/A",
    "idk",
    "no answer.",
    "Answer: unknown",
    "The text does not say.",
    "The passage doesn't mention who won.",
    "The document provides no information about this.",
    "The answer is not in the text.",
    "It is not possible to determine the answer from the text.",
    "There is not enough information to answer.",
    "There isn't enough information in the passage.",
    "Not enough information.",
    "Insufficient information",
    "The answer cannot be determined.",
    "Cannot be determined",
    "This question cannot be answered from the given context.",
    "I cannot determine that from the passage.",
    "I don't have enough information to answer that.",
    "I don't have access to real-time data.",
    "Based on the passage, it is unclear.",
    "Based on the given information, it is not possible to determine who won.",
    "I couldn't find the answer in the text.",
    "I can't say.",
    "It's impossible to say.",
    "The answer is unknown.",
    "Sorry, I don't know.",
    "Let me think. I don't know.",
    "The passage names Anna and Bob. Both ran. Therefore the question cannot be answered.",
]

ANSWERS = [
    "Paris",
    "42",
    "No",
    "None of the above",
    "I know the answer: 42",
    "I'm not sure, but I think it's Paris.",
    "I'm not sure. Probably Paris.",
    "I don't know exactly, but my guess is 42.",
    "I can't browse the internet, but the capital of France is Paris.",
    "I don't know why you ask, the answer is 42",
    "It is unclear to some, but the answer is Rome.",
    "The passage does not mention Bob but says Anna won.",
    "I can't believe it! It's Paris.",
    "Of course! I can't wait to help.",
    "I can't say it better than the poet: to be or not to be",
    "I cannot recommend this film enough.",
    "Unfortunately, the train left at 5.",
    "I'm sorry to hear that. You should rest.",
    "No information was lost in the transfer.",
    "The unknown soldier",
    "Not known for its food, Paris is",
    "Pass the salt",
    "He refused to help.",
    "I don't have a dog, I have a cat.",
    "The answer is not 41 but 42",
    "Maybe 42",
    "As an AI, I think Paris.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_an_answer_refuses(text: str) -> None:
    assert refusal_in(text)
    assert declines(text)


@pytest.mark.parametrize("text", ABSTENTIONS)
def test_an_answer_says_that_it_does_not_know(text: str) -> None:
    assert abstention_in(text)
    assert declines(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_no_refusal_whatever_it_sounds_like(text: str) -> None:
    assert (refusal_in(text), abstention_in(text)) == (None, None)


@given(st.text(alphabet="Ii can'tdoknwbuesry,.! \n", max_size=600))
def test_any_text_is_read_in_the_end(text: str) -> None:
    assert declines(text) in (True, False)


@pytest.mark.parametrize(
    "text", ["in the ", "as an ", "i understand ", "sorry, ", "based on the ", "i cannot ", "no "]
)
def test_a_model_that_repeats_itself_is_read_as_fast_as_any(text: str) -> None:
    """Nothing here is tried again from the middle: with that, these would take minutes."""
    for _ in range(200):
        assert declines(text * 2000 + "Paris") in (True, False)


WHOLE_TEXT = ["exact", "normalized_exact", "includes", "regex", "token_f1", "rouge", "chrf"]


@pytest.mark.parametrize("scorer", WHOLE_TEXT)
def test_a_text_that_declines_and_is_not_right_is_no_answer_under_every_scorer(scorer: str) -> None:
    score = make_scorer(ScorerSpec(scorer))(
        Answer("I don't know the capital.", "stop"), Item("one", "one", {}, "The capital is Paris")
    )
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, "refusal")


@pytest.mark.parametrize("scorer", WHOLE_TEXT)
def test_where_the_target_itself_declines_nothing_is_a_refusal(scorer: str) -> None:
    judge = make_scorer(ScorerSpec(scorer))
    item = Item("one", "one", {}, "I'm sorry, I can't do that, Dave")
    assert judge(Answer("I'm sorry, I can't do that, Dave", "stop"), item).outcome == "right"
    other = judge(Answer("I can't do that, Dave, sorry", "stop"), item)
    assert other.outcome in ("wrong", "graded")
