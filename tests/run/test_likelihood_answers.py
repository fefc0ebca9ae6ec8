"""The answer to a question for likelihoods: the likeliest text, and what all of them took."""

from __future__ import annotations

from pytest_llmeval.records import Likelihood, Usage
from pytest_llmeval.run.likelihood_answers import answer_of


def test_the_answer_to_likelihoods_is_the_likeliest_text_and_what_all_took_together() -> None:
    found = (
        Likelihood(" Rome", (-2.0, -1.0), Usage(10, 0, 0, "server"), 2.0),
        Likelihood(" Paris", (-0.5,), Usage(11, 0, 9, "server"), 0.5),
    )
    answer = answer_of(found)
    assert (answer.text, answer.finish_reason) == (" Paris", "stop")
    assert answer.likelihoods == found
    assert answer.usage == Usage(21, 0, 9, "server")
    assert answer.service_ms == 2.5
    assert answer.first_token_ms is None


def test_what_one_of_them_does_not_tell_is_unknown_of_all() -> None:
    answer = answer_of(
        [Likelihood("a", (-1.0,), Usage(10, 0, 0, "server"), 2.0), Likelihood("b", (-2.0,))]
    )
    assert answer.usage == Usage()
    assert answer.service_ms is None
