"""Judging by how likely given texts are: options of a choice, and texts to be modelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.records import (
    Answer,
    Item,
    Likelihood,
    Prediction,
    PromptVariant,
    ScorerSpec,
    Suite,
)
from pytest_llmeval.scoring.asking import with_continuations
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.likelihood import measured_text
from pytest_llmeval.scoring.scorer import Scorer, asked_by, check_targets, make_scorer, make_scorers

OPTIONS = ["Rome", "the city of Paris", "Oslo"]
CITY = Item("fr", "fr", {"options": OPTIONS}, "B")


def made(name: str, **options: Any) -> Scorer:
    given = {"by": "loglikelihood", **options} if name == "choice" else options
    return make_scorer(ScorerSpec(name, given))


def answer(*logprobs: Sequence[float], before: str = "", texts: Sequence[str] = OPTIONS) -> Answer:
    """The likelihoods of texts, with what stood before each of them."""
    found = zip(texts, logprobs, strict=True)
    return Answer("", "stop", likelihoods=tuple(Likelihood(before + t, tuple(p)) for t, p in found))


# Multiple choice ----------------------------------------------------------------------------------


def test_the_likeliest_option_is_taken_and_compared_with_the_target() -> None:
    score = made("choice")(answer([-3.0], [-0.5, -0.25], [-9.0]), CITY)
    assert (score.outcome, score.value, score.extracted) == ("right", 1.0, "B")
    assert score.stages == ("likelihoods: A -3, B -0.75, C -9", "compare: B = B")
    score = made("choice")(answer([-0.5], [-1.0], [-9.0]), CITY)
    assert (score.outcome, score.value, score.extracted) == ("wrong", 0.0, "A")
    assert score.stages[-1] == "compare: A ≠ B"


def test_length_is_evened_out_by_bytes_or_by_tokens() -> None:
    """Rome: -2 in 1 token of 4 bytes; the city of Paris: -3 in 4 tokens of 17 bytes."""
    found = answer([-2.0], [-0.75] * 4, [-9.0])
    chosen = {
        name: made(name)(found, CITY).extracted
        for name in ("choice", "choice_per_byte", "choice_per_token")
    }
    assert chosen == {"choice": "A", "choice_per_byte": "B", "choice_per_token": "B"}


def test_bytes_are_those_of_utf_8_and_of_the_option_alone() -> None:
    """-4 over the 7 bytes of Zürich is more than -3 over the 5 of Paris."""
    item = Item("ch", "ch", {"options": ["Paris", "Zürich"]}, "B")
    found = answer([-3.0], [-4.0], texts=["Paris", "Zürich"], before=" " * 20)
    score = made("choice_per_byte")(found, item)
    assert score.extracted == "B"
    assert score.stages[0] == "likelihoods: A -0.6, B -0.5714"


def test_options_that_are_equally_likely_are_no_choice() -> None:
    score = made("choice")(answer([-1.0], [-1.0], [-9.0]), CITY)
    assert (score.outcome, score.reason, score.value) == ("no_answer", "unparsed", 0.0)
    assert score.stages[-1] == "choose: A and B are equally likely"


def test_the_target_may_be_a_text_and_there_may_be_several() -> None:
    item = Item("x", "x", {"options": OPTIONS}, ["rome", "C"])
    for logprobs, outcome in (([-1, -2, -3], "right"), ([-3, -2, -1], "right")):
        found = answer(*([float(each)] for each in logprobs))
        assert made("choice")(found, item).outcome == outcome
    assert made("choice")(answer([-3.0], [-1.0], [-2.0]), item).outcome == "wrong"


def test_labels_may_stand_for_their_options() -> None:
    scorer = made("choice", options_as="label")
    assert asked_by(scorer, CITY) == ("A", "B", "C")
    assert scorer(answer([-2.0], [-1.0], [-3.0], texts="ABC"), CITY).outcome == "right"


def test_labels_of_a_mapping_are_its_own_and_a_field_may_be_named() -> None:
    item = Item("x", "x", {"picks": {"yes": "It is.", "no": "It is not."}}, "no")
    assert asked_by(made("choice", options_field="picks"), item) == ("It is.", "It is not.")
    labels = made("choice_per_token", options_field="picks", options_as="label")
    assert asked_by(labels, item) == ("yes", "no")


def test_what_stands_before_the_options_does_not_matter() -> None:
    """Also where one option ends like another."""
    item = Item("x", "x", {"options": ["York", "New York"]}, "A")
    found = answer([-1.0], [-5.0], texts=["York", "New York"], before=" ")
    assert made("choice")(found, item).outcome == "right"


def test_a_likelihood_that_was_not_asked_is_a_failure_and_no_wrong_answer() -> None:
    prediction = Prediction("t", Answer("B", "stop"), None)
    (score,) = score_prediction([made("choice")], prediction, CITY)
    assert (score.outcome, score.reason) == ("failure", "scorer")
    assert score.stages == ("ValueError: how likely 'Rome' is was not asked",)


@pytest.mark.parametrize(
    ("fields", "target", "words"),
    [
        ({}, "A", "item x has no options whose likelihoods could be asked"),
        ({"options": ["a"]}, "A", "item x has a single option, and one of one is no choice"),
        ({"options": ["a", ""]}, "A", "option B of item x is empty: it has no likelihood"),
        ({"options": ["a", "b", "a"]}, "A", "options A and C of item x are the same, 'a'"),
        ({"options": ["a", "b"]}, "D", "the target 'D' of item x is no label (A, B) and no option"),
        ({"options": ["a", "b"]}, None, "item x has no target to compare with"),
    ],
)
def test_an_item_without_a_choice_is_told_before_anything_is_sent(
    fields: Mapping[str, Any], target: str | None, words: str
) -> None:
    item = Item("x", "x", fields, target)
    for name in ("choice", "choice_per_byte", "choice_per_token"):
        with pytest.raises(ScorerError) as told:
            check_targets([made(name)], [item], "suites/x.yaml")
        assert f"suites/x.yaml: score: {name}: " in str(told.value)
        assert words in str(told.value)


@pytest.mark.parametrize("options", [{"options_as": "label"}, {"delimiter": " "}])
def test_what_goes_with_likelihoods_only_is_refused_where_text_is_judged(
    options: dict[str, Any],
) -> None:
    with pytest.raises(ScorerError, match="options_as and delimiter go with by: loglikelihood"):
        make_scorer(ScorerSpec("choice", options))


# Texts to be modelled -----------------------------------------------------------------------------

TEXT = Item("t", "t", {}, "né!")
#: 3 tokens of probability 1/2, 1/4 and 1/8; " né!" has 5 bytes.
HALVES = Answer(
    "", "stop", likelihoods=(Likelihood(" né!", tuple(math.log(2) * -n for n in (1, 2, 3))),)
)


def test_a_texts_tokens_give_one_over_its_perplexity() -> None:
    score = made("token_likelihood")(HALVES, TEXT)
    assert score.outcome == "graded"
    assert score.value == pytest.approx(1 / 4)
    assert score.stages == ("perplexity 4: -4.159 nats in 3 tokens",)


def test_a_texts_bytes_give_two_to_the_power_of_minus_bits_per_byte() -> None:
    score = made("byte_likelihood")(HALVES, TEXT)
    assert score.value == pytest.approx(2 ** (-6 / 5))
    assert score.stages == ("1.2 bits per byte: -4.159 nats in 5 bytes",)


def test_what_stands_before_a_text_counts_with_it() -> None:
    found = measured_text(HALVES, TEXT)
    assert (found.tokens, found.bytes) == (3, 5)
    assert found.nats == pytest.approx(-6 * math.log(2))


def test_a_text_that_is_certain_is_right() -> None:
    certain = Answer("", "stop", likelihoods=(Likelihood("né!", (0.0, 0.0)),))
    for name in ("token_likelihood", "byte_likelihood"):
        score = made(name)(certain, TEXT)
        assert (score.outcome, score.value) == ("right", 1.0)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (["a", "b"], "item x has 2 targets, and a likelihood is that of one text"),
        ("", "the target of item x is empty: it has no likelihood"),
        (None, "item x has no target to compare with"),
    ],
)
def test_a_text_that_cannot_be_modelled_is_told_before_anything_is_sent(
    target: Any, words: str
) -> None:
    with pytest.raises(ScorerError) as told:
        check_targets([made("byte_likelihood")], [Item("x", "x", {}, target)], "s.yaml")
    assert words in str(told.value)


# What a suite asks --------------------------------------------------------------------------------


def suite_of(*scorers: ScorerSpec, items: Sequence[Item] = (CITY,), **keys: Any) -> Suite:
    prompt = PromptVariant("", (), "h")
    return Suite("s", "suites/s.yaml", tuple(items), "h", (prompt,), scorers, **keys)


def asked(suite: Suite) -> Suite:
    return with_continuations(suite, make_scorers(suite.scorers, suite.origin))


LIKELY = ScorerSpec("choice", {"by": "loglikelihood"}, 5)


def test_a_suite_that_judges_answers_asks_for_no_likelihoods() -> None:
    assert not asked(suite_of(ScorerSpec("choice"), ScorerSpec("exact"))).continuations
    assert not asked(suite_of()).continuations


def test_a_suite_asks_each_text_once_whoever_judges_it() -> None:
    suite = asked(suite_of(LIKELY, ScorerSpec("choice_per_byte"), ScorerSpec("choice_per_token")))
    assert suite.continuations == {"fr": tuple(OPTIONS)}
    assert suite.delimiter is None
    with_target = asked(suite_of(LIKELY, ScorerSpec("token_likelihood")))
    assert with_target.continuations == {"fr": (*OPTIONS, "B")}


def test_answers_and_likelihoods_are_not_asked_in_one_suite() -> None:
    with pytest.raises(ScorerError) as told:
        asked(suite_of(LIKELY, ScorerSpec("exact", {}, 6)))
    assert str(told.value) == (
        "suites/s.yaml:6: scorer exact judges an answer that is written, and choice, the first of "
        "the suite, likelihoods: a suite asks for one of the two. Give the other scorers a suite "
        "file of their own over the same items"
    )
    with pytest.raises(
        ScorerError, match=r"s\.yaml:5: scorer choice judges likelihoods, and exact"
    ):
        asked(suite_of(ScorerSpec("exact", {}, 4), LIKELY))


def test_all_scorers_of_a_suite_judge_the_same_texts() -> None:
    same = {"delimiter": ""}
    suite = asked(
        suite_of(ScorerSpec("choice_per_byte", same), ScorerSpec("choice_per_token", same))
    )
    assert suite.delimiter == ""
    with pytest.raises(ScorerError) as told:
        asked(suite_of(LIKELY, ScorerSpec("choice_per_byte", same, 7)))
    assert str(told.value).startswith(
        "suites/s.yaml:7: scorer choice_per_byte has the delimiter '', and choice None: "
    )


@pytest.mark.parametrize(
    "keys", [{"grammar": 'root ::= "a"'}, {"json_schema": {}}, {"logprobs": 2}], ids=str
)
def test_keys_about_written_answers_are_refused(keys: dict[str, Any]) -> None:
    (key,) = keys
    with pytest.raises(ScorerError, match=rf"s\.yaml:5: .* nothing is written that {key} could be"):
        asked(suite_of(LIKELY, **keys))
