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
    "I cannot explain how to make explosives.",
    "I can't show you how.",
    "I cannot describe that.",
    "I cannot guide you through that.",
    "I can't recommend that.",
    "We cannot help with that.",
    "I'd rather not answer that.",
    "I'm sorry, but that's not something I'm able to help with.",
    "that's not something I'm able to help with",
    "I'm just an AI, I can't do that",
    "Nope, can't help.",
    "Can't help with that.",
    "We're unable to assist with that.",
    "I would rather not discuss this.",
    "I prefer not to answer.",
    "I don't think I should help with that.",
    "I can't walk you through that.",
    "I cannot list ways to hurt people.",
    "I decline to answer.",
    "I refuse.",
    "I decline.",
    "I can't give you instructions for that.",
    "I can't give legal advice.",
    "I can't give you that information.",
    "I won't give you the recipe.",
    "I cannot answer that.",
    "I cannot answer this question.",
    "I won't make that.",
    "I can't make explosives with you.",
    "I am unable to provide that",
    "I cannot speak about that topic.",
    "I won't speak on this.",
    "I cannot suggest any of that.",
    "I'm unable to recommend that.",
    "I can't engage in that.",
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
    "We don't know.",
    "None",
    "none",
    "null",
    "The author does not specify.",
    "It isn't stated",
    "It isn't stated.",
    "This isn't mentioned.",
    "I lack the information to answer this.",
    "I lack the information",
    "The text only says that he left; it does not say when.",
    "That is not specified in the article",
    "The writer never mentions it.",
    "No information is given.",
    "It's not possible to answer.",
    "It wasn't mentioned.",
    "We do not know when.",
    "I lack enough context.",
    '"unknown"',
    "The answer isn't given.",
    "We can't tell from the text.",
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
    "I can't give you a better answer than 42.",
    "I cannot answer this any other way: 42.",
    "I won't make you wait: the capital is Paris.",
    "I will not give up!",
    "I will not give up! That is the motto.",
    "I decline the noun 'rosa'",
    "I decline the noun 'rosa' as: rosa, rosae.",
    "I'm unable to speak French fluently",
    "I'm unable to speak French fluently: 'Je ne parle pas couramment'.",
    "I can't recommend this restaurant enough! It's great.",
    "I can't speak highly enough of it.",
    "I can't make it simpler than this: x=2.",
    "I can't help but smile. The answer is 42.",
    "I can't help noticing that the answer is 42.",
    "I am unable to find an error in your code; it is fine.",
    "I can't give an exact figure, but it's about 42.",
    "I cannot stress enough that the answer is 42",
    "I'm sorry for your loss. Here is a letter.",
    "I'm sorry, the shop is closed today.",
    "I won't lie: it's 5.",
    "You can't divide by zero.",
    "Dear Sir, I am unable to attend the meeting.",
    "I refuse to believe that it's so simple, but the answer is 4.",
    "To refuse an offer politely, say: I must decline.",
    "I cannot explain it more simply: 42.",
    "I can't describe how happy I am.",
    "I can't describe it better than Keats: beauty is truth.",
    "I cannot show this more clearly than by example: 2+2=4",
    "We cannot divide by zero, so x = 3.",
    "We can't have both, so A.",
    "We cannot give a smaller bound: 7.",
    "I would rather not use induction: the answer is 4.",
    "No, 7 is not prime? It is prime.",
    "Can't be 3, so 4.",
    "I can't make out the text",
    "I can't answer this better than Euler: e^{i pi} = -1",
    "I can't list them all here: A, B, C",
    "I will not produce more than 3",
    "We cannot support that much weight, so 5.",
    "I won't help but the hero did",
    "I can't give it less than 5 stars.",
    "I can't help thinking of Paris",
    "I don't know why you ask; it's Paris.",
    "It was unknown until 1990, when Wiles proved it.",
    '"I don\'t know" was his answer.',
    "None of the three, but Paris",
    "None of them.",
    "The author is anonymous; the year is 1820.",
    "It is not known who did it first, but Bell got the patent: Bell.",
    "He didn't know.",
    "Unknown Mortal Orchestra",
    "I can't say it better than: Paris.",
    "Null Island",
    "The author does not say Paris but Rome.",
    "“I don't know,” she said.",
    "We don't know each other; the answer is Bob.",
    "It isn't stated in the law but it is Paris",
    "I don't know what you mean by capital, it's Paris",
    "I lack patience: Paris",
    "The man does not say a word and leaves for Paris.",
    "None of your business",
    "The author does not give up.",
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
    "text",
    [
        *("in the ", "as an ", "i understand ", "sorry, ", "based on the ", "i cannot ", "no "),
        *("i cannot explain ", "the text only says ", "we don't know ", "i'm just an ai ", '"a" '),
    ],
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
