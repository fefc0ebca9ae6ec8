"""Which option the scorer choice says an answer picked, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, FinishReason, Item, Score, ScorerSpec
from pytest_llmeval.scoring import mentions
from pytest_llmeval.scoring.commitment import committed_option
from pytest_llmeval.scoring.extraction import read
from pytest_llmeval.scoring.scorer import make_scorer

CITIES = ["London", "Paris", "Rome", "Berlin"]
LETTERS = tuple("ABCD")


def judged(
    text: str,
    target: Any,
    fields: Mapping[str, Any] | None = None,
    finish_reason: FinishReason = "stop",
) -> Score:
    item = Item("one", "one", {"options": CITIES} if fields is None else fields, target)
    return make_scorer(ScorerSpec("choice"))(Answer(text, finish_reason), item)


def picked(text: str, texts: Sequence[str] = CITIES) -> str | None:
    labels = "ABCDEFGHIJ"[: len(texts) or 10]
    found = committed_option(text, labels, texts)
    return found.value if found else None


COMMITTED = [
    # the whole text
    ("B", "B"),
    ("b", "B"),
    ("B.", "B"),
    ("(C)", "C"),
    ("C)", "C"),
    ("[D]", "D"),
    ("**B**", "B"),
    ("`B`", "B"),
    ("a", "A"),
    ("Paris", "B"),
    ("paris.", "B"),
    ("B) Paris", "B"),
    ("D: Berlin", "D"),
    ("B - Paris", "B"),
    ("B) London", "B"),  # where a label and other words disagree, the label
    # after an anchor
    ("Answer: d", "D"),
    ("answer: a", "A"),
    ("Answer: **B**", "B"),
    ("Answer\nB", "B"),
    ("The answer is (b).", "B"),
    ("The answer is 'A'.", "A"),
    ("The correct answer is:\n\nB", "B"),
    ("The answer is A because of its age.", "A"),
    ("The answer to this question is most likely option C.", "C"),
    ("Answer: Paris", "B"),
    ("The best choice would be Rome, I am sure.", "C"),
    ("I think B", "B"),
    ("I choose option D.", "D"),
    ("I'd go with B, rather than A.", "B"),
    ("I believe the correct option is C", "C"),
    ("It must be D since the others fail", "D"),
    ("\\boxed{B}", "B"),
    ("\\boxed{\\text{C}}", "C"),
    ("<answer>D</answer>", "D"),
    ("#### A", "A"),
    ("option b", "B"),
    ("my final answer is b", "B"),
    ("answer=C", "C"),
    ('{"answer": "C"}', "C"),
    ("### Answer\nC", "C"),
    ("$\\boxed{B}$", "B"),
    ("\\boxed{B. Paris}", "B"),
    ("\\boxed{Paris}", "B"),
    ("Final Answer: The final answer is (C). I hope it is correct.", "C"),
    ("The answer should be C", "C"),
    ("Answer: Rome (C)", "C"),
    ("The correct option is: **B) Paris**", "B"),
    ("So I am torn between A and B, but I'll go with A", "A"),
    ("Let's go with B", "B"),
    # before one, and on a line of its own
    ("Option C is correct.", "C"),
    ("Of these, C is the correct answer", "C"),
    ("B. Paris is the capital of France.", "B"),
    ("B\n\nExplanation: A is smaller than C.", "B"),
    ("B, because Paris is the capital of France and London of England", "B"),
    ("Let me think about Rome and London.\n(B)", "B"),
    # the last commitment wins
    ("The answer is A. Wait, the answer is B.", "B"),
    ("The answer is A. No, A is wrong. It is B.", "B"),
    ("Both A and C seem plausible, but the answer is C", "C"),
    ("A) London B) Paris C) Rome D) Berlin. Answer: B", "B"),
    ("A) London\nB) Paris\nC) Rome\nD) Berlin\n\nB", "B"),
    ("London and Berlin are capitals too, but it is Paris.", "B"),
    ("Right answer: B. Wrong answer: A.", "B"),
    ("The answer is B. It is Rome that is in Italy", "B"),
    ("The answer is B. This is Rome's rival", "B"),
    ("The answer is A. Wait, it is B", "B"),
    ("I think it's A. Actually, B.", "B"),
    ("A... no wait, B", "B"),
    ("It's either A or B. A.", "A"),
    ("Between A and B, I choose B.", "B"),
    ("A is tempting. However, the answer is B.", "B"),
    ("Is it A? No, it is B.", "B"),
    ("I think the answer is (A) London but it could be (B) Paris", "A"),
    ("The options are A, B, C, D. The answer is D", "D"),
    # denied options are none
    ("not A but C", "C"),
    ("It's not A but C.", "C"),
    ("A is wrong, so B", "B"),
    ("A, B and D are wrong; C", "C"),
    ("I don't think it's A. B", "B"),
    ("The answer is B, not A or C.", "B"),
    ("Paris, not London", "B"),
    ("Paris is the capital, London is not.", "B"),
    ("Not London but Paris", "B"),
    ("London? No. Paris.", "B"),
    ("It can't be A. It can't be C. It can't be D. So it is B.", "B"),
    ("I'd eliminate A and C. D is implausible. Therefore B.", "B"),
    ("B because A, C and D are wrong", "B"),
    ("A) is wrong; B) is right", "B"),
    ("The answer isn't A, C or D. So B.", "B"),
    # the last option mentioned
    ("So, C it is!", "C"),
    ("The capital of France has always been Paris.", "B"),
    ("Maybe B? I am unsure, could be C.", "C"),
]


@pytest.mark.parametrize(("text", "label"), COMMITTED)
def test_the_option_that_a_text_commits_itself_to(text: str, label: str) -> None:
    assert picked(text) == label


UNCOMMITTED = [
    "A dog is an animal.",
    "The answer is a dog",
    "A or B",
    "Either A or B",
    "A and B",
    "A/B",
    "The answer is A or B.",
    "The answer is A. Or rather, the answer is A or B.",
    "Neither A nor B",
    "The answer is not A.",
    "Eliminate C.",
    "None of these",
    "Londonderry",
    "A) London\nB) Paris\nC) Rome\nD) Berlin",  # the question, repeated
    "A) London B) Paris C) Rome D) Berlin",
    "Rome, Berlin",
    "A B C D",
    "London Paris Rome Berlin",
    "London\nParis\nRome\nBerlin",
    "London A\nParis B\nRome C\nBerlin D",
    "Rome Berlin",
    "A\nB\nC\nD",
    "A? B?",
    "an option a user has",
    "All of the above",
    "I rule out B",
    "Both A and B are right",
    "The answer is A or maybe B",
    "The wrong answer is B",
    "The incorrect option is B",
    "The least likely is B",
    "Neither",
    "Parisian",
    "B-side",
    "D-day, C++, A+ and Washington D.C.",
]


@pytest.mark.parametrize("text", UNCOMMITTED)
def test_a_text_that_commits_itself_to_no_option_is_unparsed(text: str) -> None:
    for target in LETTERS:
        score = judged(text, target)
        assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, "unparsed")


@pytest.mark.parametrize(
    "text", ["I don't know", "I am not sure.", "No idea", "Unanswerable", "I can't help with that."]
)
def test_a_text_that_declines_to_choose_is_a_refusal(text: str) -> None:
    score = judged(text, "B")
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, "refusal")
    assert judged("I'm not sure, but I think B", "B").outcome == "right"


#: With the options Rome, Paris, Oslo and Bern.
PICKED = [
    # a remark on the chosen option is no denial of it
    ("The answer is D because D is not in the EU.", "D"),
    ("The answer is D. Bern is not in the EU.", "D"),
    ("D\n\nBern is not in the EU.", "D"),
    ("D. Bern is not in the EU.", "D"),
    ("D. D doesn't belong to the EU.", "D"),
    ("The answer is D, Bern is not in the EU.", "D"),
    ("The answer is B because Rome and Oslo don't belong to it.", "B"),
    # taken back, granted, preferred
    ("The answer was B, but it is now A", "A"),
    ("~~B~~ A", "A"),
    ("Although A looks right, B is what the text says", "B"),
    ("A looks right, but B is what the text says", "B"),
    ("B looks right", "B"),
    ("A... no, B", "B"),
    ("B over A", "B"),
    ("B > A", "B"),
    ("I would choose nothing but B", "B"),
    ("Between C and D, D is better.", "D"),
    ("A: no\nB: yes\nC: no\nD: no", "B"),
    ("A ✗, B ✓", "B"),
    ("> B", "B"),
    # written without spaces, or wide
    ("Ｂ", "B"),
    ("（Ｂ）", "B"),
    ("答案是B", "B"),
    ("答案：Ｂ。", "B"),
    ("选B", "B"),
    ("答案不是A，是B", "B"),
    # counted
    ("The third option", "C"),
    ("The answer is the third option.", "C"),
    ("I choose the third option", "C"),
    ("It is the 3rd option.", "C"),
    ("The third option is correct.", "C"),
    ("B was the first option that I considered", "B"),
]


@pytest.mark.parametrize(("text", "label"), PICKED)
def test_the_option_that_is_left_after_remarks_denials_and_preferences(
    text: str, label: str
) -> None:
    assert picked(text, ["Rome", "Paris", "Oslo", "Bern"]) == label


NOT_B = [
    "Don't choose B",
    "Do not pick B.",
    "I would not choose B",
    "I'd never pick B",
    "Avoid B.",
    "People often choose B by mistake",
    "Some would say B",
    "It is a mistake to choose B",
    "Anything other than B",
    "Anything but B",
    "It's anything but B",
    "B: incorrect",
    "B) Paris - wrong",
    "B - no",
    "B ✗",
    "B is tempting but wrong",
    "B is tempting, but it's not right.",
    "The answer is B? No.",
    "B would be correct if it were in Italy",
    "It would be B if it were in Italy",
    "~~B~~",
    "A\nB",
    "A. B.",
    "A. B. C. D.",
    "不选B",
    "答案不是B",
    "B不对",
    "Oslo is not in France. Paris is not in Italy.",
    "Vitamin B is good",
    "Plan B failed",
    "The second option is wrong.",
    "It is not the second option",
]


@pytest.mark.parametrize("text", NOT_B)
def test_an_option_that_is_denied_left_open_or_something_else_is_not_picked(text: str) -> None:
    assert picked(text, ["Rome", "Paris", "Oslo", "Bern"]) is None


@pytest.mark.parametrize("text", ["cafe\u0301", "The answer is café.", "The answer is cafe\u0301."])
@pytest.mark.parametrize("option", ["café", "cafe\u0301"])
def test_an_accent_is_one_however_it_was_typed(text: str, option: str) -> None:
    for target in ("A", "café", "cafe\u0301"):
        assert judged(text, target, {"options": [option, "Zürich"]}).outcome == "right"


@pytest.mark.parametrize(
    ("text", "texts", "label"),
    [
        ("I", [], "I"),
        ("The answer is I.", [], "I"),
        ("I am not sure", [], None),
        ("I think so", [], None),
        ("Let's see. A is too small. B is too big. C fits.", [], "C"),
        ("A dog", ["A dog", "A cat"], "A"),
        ("A cat", ["A dog", "A cat"], "B"),
        ("It is Vitamin D", ["Vitamin C", "Vitamin D"], "B"),
        ("Vitamin C", ["Vitamin A", "Vitamin D", "Vitamin C"], "C"),
        ("Paris, Texas", ["Paris", "Paris, Texas"], "B"),
        ("It is 4.", ["3", "4", "5"], "B"),
        ("4.5", ["4", "5", "4.5"], "C"),
        ("-4", ["4", "-4"], "B"),
        ("-1", ["1", "2"], None),
        ("−1", ["1", "2"], None),
        ("x = -1", ["1", "2"], None),
        ("No, it is not.", ["Yes", "No"], "B"),
        ("No", ["Yes", "No"], "B"),
        ("The answer is no.", ["Yes", "No"], "B"),
        ("No it is not", ["Yes", "No"], "B"),
        ("I have no idea", ["Yes", "No"], None),
        ("Yes. There is no other", ["Yes", "No"], "A"),
        ("Yes, no other city qualifies", ["Yes", "No"], "A"),
        ("No doubt, yes.", ["Yes", "No"], "A"),
        ("The answer is correct.", ["Incorrect", "Correct"], "B"),
        ("İstanbul, not Ankara", ["Ankara", "İstanbul"], "B"),
        ("Apple, not pear", ["Pear", "Bean", "Apple"], "C"),
        ("B", ["B", "A"], "B"),
        ("The  big\tapple", ["The big apple", "The Big"], "A"),
    ],
)
def test_options_may_be_words_numbers_or_unknown(
    text: str, texts: list[str], label: str | None
) -> None:
    assert picked(text, texts) == label


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("B", {"options": CITIES}),
        ("b", {"options": CITIES}),
        ("(B)", {"options": CITIES}),
        ("Paris", {"options": CITIES}),
        (["A", "B"], {"options": CITIES}),
        ("B", {}),
        ("B", {"options": {"A": "London", "B": "Paris"}}),
    ],
)
def test_a_target_is_a_label_or_an_options_text_or_several(target: Any, fields: Any) -> None:
    assert judged("The answer is B.", target, fields).outcome == "right"
    assert judged("The answer is C.", target, {"options": CITIES}).outcome == "wrong"


def test_labels_come_from_a_mapping() -> None:
    fields = {"options": {"1": "salt", "2": "sugar"}}
    assert judged("The answer is 2", "2", fields).outcome == "right"
    assert judged("It is sugar", "2", fields).outcome == "right"
    assert judged("1", "2", fields).outcome == "wrong"
    assert judged("1) salt\n2) sugar", "2", fields).reason == "unparsed"


def test_another_field_may_hold_the_options() -> None:
    item = Item("one", "one", {"choices": CITIES}, "B")
    scorer = make_scorer(ScorerSpec("choice", {"options_field": "choices"}))
    assert scorer(Answer("Paris", "stop"), item).outcome == "right"


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("The answer is B, since", "right", ""),
        ("The answer is C, since", "wrong", ""),
        ("The answer is C", "no_answer", "truncated"),
        ("C", "wrong", ""),
        ("fig", "no_answer", "truncated"),
        ("Compare London with Rome", "no_answer", "truncated"),
        ("Hm, let me", "no_answer", "truncated"),
    ],
)
def test_a_cut_answer_is_truncated_unless_it_was_right_or_committed(
    text: str, outcome: str, reason: str
) -> None:
    score = judged(text, "B", None, "length")
    assert (score.outcome, score.reason) == (outcome, reason)


@pytest.mark.parametrize("text", ["fig", "Madrid.", "**New York City**", "E", "7"])
def test_a_short_whole_answer_that_is_no_option_is_wrong(text: str) -> None:
    score = judged(text, "B")
    assert (score.outcome, score.extracted) == ("wrong", read(Answer(text, "stop")).text)
    assert judged(text, "B", {}).outcome == ("wrong" if text == "E" else "no_answer")


def test_a_field_of_options_that_is_named_must_be_there() -> None:
    item = Item("one", "one", {"options": CITIES}, "B")
    scorer = make_scorer(ScorerSpec("choice", {"options_field": "option"}))
    with pytest.raises(ValueError, match=r"no field 'option', .* Did you mean options\?"):
        scorer(Answer("Paris", "stop"), item)


def test_options_mentioned_while_reasoning_do_not_count() -> None:
    score = judged("<think>The answer is A.</think>B", "B")
    assert score.outcome == "right"
    assert score.stages == (
        "reasoning: stripped",
        "extract: the whole text",
        "compare: B = B",
    )


@pytest.mark.parametrize("target", ["E", "Madrid", "1"])
def test_a_target_that_is_no_option_is_the_items_fault(target: str) -> None:
    with pytest.raises(ValueError, match=r"no label \(A, B, C, D\) and no option"):
        judged("B", target)


@pytest.mark.parametrize("options", ["ABCD", [], ["x"] * 27, 4])
def test_options_that_are_no_list_are_the_items_fault(options: Any) -> None:
    with pytest.raises(ValueError, match="must be a list of 1 to 26 options"):
        judged("B", "B", {"options": options})


@given(st.sampled_from(LETTERS), st.sampled_from(["{}", "({})", "Answer: {}", "It is {}."]))
def test_every_letter_is_read_alike(letter: str, form: str) -> None:
    assert picked(form.format(letter)) == letter


@given(st.permutations(CITIES), st.sampled_from(CITIES))
def test_the_label_follows_the_order_of_the_options(cities: list[str], city: str) -> None:
    assert picked(f"The answer is {city}.", cities) == LETTERS[cities.index(city)]


LABELS_AND_MORE = ["A", "b", "(C)", "[D", "(", ")", "x", "'", " ", "-", ".", "+", "*", "d)", "é"]


@given(st.lists(st.sampled_from(LABELS_AND_MORE), max_size=12))
def test_looking_for_letters_first_finds_the_labels_that_looking_everywhere_finds(
    parts: list[str],
) -> None:
    text = "".join(parts)
    everywhere = mentions._label_pattern(LETTERS)[0].finditer(text)
    found = mentions._label_matches(text, LETTERS)
    assert [match.span() for match in found] == [match.span() for match in everywhere]


@given(st.text(max_size=200))
def test_no_text_makes_it_raise(text: str) -> None:
    assert picked(text) in (*LETTERS, None)


@pytest.mark.parametrize("text", ["答案是B", "B over A ", "not B ", "no, B ", "B\n", "is it A? "])
def test_options_that_are_repeated_endlessly_are_read_in_one_pass(text: str) -> None:
    """With a look at all of the text for each option, these would take minutes."""
    assert judged(text * 20_000, "C").outcome in ("wrong", "no_answer")
