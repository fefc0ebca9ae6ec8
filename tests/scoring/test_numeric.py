"""What the scorer numeric takes for the number of an answer, row by row."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, FinishReason, Item, Score, ScorerSpec
from pytest_llmeval.scoring import numbers
from pytest_llmeval.scoring.scorer import make_scorer


def judged(text: str, target: Any, finish_reason: FinishReason = "stop", **options: Any) -> Score:
    scorer = make_scorer(ScorerSpec("numeric", options))
    return scorer(Answer(text, finish_reason), Item("one", "one", {}, target))


RIGHT = [
    # plain numbers, signs, decimals
    ("42", "42"),
    (" 42.\n", "42"),
    ("42.0", "42"),
    ("042", "42"),
    (".5", "0.5"),
    ("-5", "-5"),
    ("−5", "-5"),  # U+2212
    ("+5", "5"),
    ("- 5", "-5"),  # nothing else there: a sign, not the bullet of a list
    ("x = - 5", "-5"),
    ("minus 5", "-5"),
    ("It is negative 5.", "-5"),
    ("It was -5 degrees.", "-5"),
    ("Items:\n- 5", "5"),
    # separators
    ("1,234", "1234"),
    ("1,234,567.89", "1234567.89"),
    ("1'234", "1234"),
    ("1\u202f234", "1234"),
    ("1{,}234", "1234"),
    ("12 345", "12345"),
    ("about 12 000 people", "12000"),
    # money, units, percent
    ("$1,234.50", "1234.5"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("€ 7", "7"),
    ("5kg", "5"),
    ("42 apples", "42"),
    ("50%", "0.5"),
    ("50%", "50"),
    ("50 percent", "50%"),
    ("0.5", "50%"),
    ("12.5\\%", "12.5%"),
    ("2.5 million", "2500000"),
    # fractions, powers of ten
    ("3/4", "0.75"),
    ("3/4", "6/8"),
    ("-3/4", "-0.75"),
    ("1 1/2", "1.5"),
    ("½", "0.5"),
    ("2½", "2.5"),
    ("\\frac{3}{4}", "0.75"),
    ("-\\dfrac{3}{4}", "-0.75"),
    ("1\\frac{1}{2}", "1.5"),
    ("$\\frac12$", "0.5"),
    ("1e3", "1000"),
    ("It is 1e3.", "1000"),
    ("1.5E-3", "0.0015"),
    ("2 × 10^3", "2000"),
    ("2 \\times 10^{-3}", "0.002"),
    ("6.02·10²³", "602000000000000000000000"),
    ("10^6", "1000000"),
    # where it stands: anchor, boxed, ####, last
    ("17 + 25 = 42", "42"),
    ("The answer is 42 because 40 + 2 is that.", "42"),
    ("Answer: 17 + 25 = 42, in 3 steps.", "42"),
    ("**Answer:** 42", "42"),
    ("The final answer is: **42**. I took 3 steps.", "42"),
    ("The answer is:\n\n42\n\nThis took 3 steps.", "42"),
    ("Answer: there are 3 boxes of 4, so 12 apples.\nThat took 2 steps.", "12"),
    ("The answer to question 7 is 42. Next, question 8.", "42"),
    ('{"answer": 42, "steps": 3}', "42"),
    ("<answer>42</answer> (in 3 steps)", "42"),
    ("I take 7 and get \\boxed{42}, in 3 steps.", "42"),
    ("\\boxed{x = 42}, in 3 steps", "42"),
    ("\\boxed{42\\text{ apples}}", "42"),
    ("7 * 6 is that. #### 42\nBye, 1 time.", "42"),
    ("Answer: 42. Or \\boxed{7}? #### 8", "42"),
    ("\\boxed{42} #### 8", "42"),
    ("The answer is 41. Wait. The answer is 42.", "42"),
    ("The answer is not 41 but 42.", "42"),
    ("The answer is 42, not 41.", "42"),
    ("The answer is 1/2 or 0.5.", "0.5"),  # one thing said twice
    ("Is it 5 or 6? The answer is 6.", "6"),
    ("First 17, then 25, so 42", "42"),
    # denials and corrections
    ("The answer is 42. Wait, that's wrong. It is 43.", "43"),
    ("The answer is 41. Wait, no: 42", "42"),
    ("The answer is 41. No, 41 is wrong. It is 42.", "42"),
    ("The answer is 41. I made a mistake. 42", "42"),
    ("41 is wrong. It is 42.", "42"),
    ("I don't think it is 41 but 42", "42"),
    ("The answer is 42, no doubt.", "42"),
    ("The answer is 42. Wait, let me check: 17 + 25 = 42.", "42"),
    # the opening line, what measures another number, remarks, marks
    ("42\n\nBecause 17 plus 25 makes that, after 2 steps.", "42"),
    ("**42**\n\nI took 3 steps.", "42"),
    ("1.\nAdd 17 and 25.\n2.\nSo it is 42.", "42"),
    ("42 is larger than 17", "42"),
    ("42 > 17", "42"),
    ("Between 17 and 42, 42 is larger than 17.", "42"),
    ("42 (rounded from 41.7)", "42"),
    ("The answer is 42 (17 + 25).", "42"),
    ("__42__", "42"),
    ("The answer is 42 = 17 + 25", "42"),
    ("2^10 = 1024", "1024"),
    ("7 * 6 comes to 42", "42"),
    # before an anchor
    ("42 is the answer to 17+25", "42"),
    ("**42** is the sum of 17 and 25.", "42"),
    ("42 apples are left, which is 50 less 8.\n42 is the final answer", "42"),
    ("The answer is 41. Wait, 42 is the answer.", "42"),
    ("17 is the total of the first two, so the answer is 42", "42"),
    # forms that people use
    ("\\(42\\)", "42"),
    ("$$42$$", "42"),
    ("\\boxed{\\$42}", "42"),
    ("\\boxed{42\\%}", "0.42"),
    ("\\boxed{-\\frac{1}{2}}", "-0.5"),
    ("\\boxed 42", "42"),
    ("First \\boxed{1}, then \\boxed{42}", "42"),
    ("#### 1\n#### 42", "42"),
    ("#### $42", "42"),
    ("x=42", "42"),
    ("(a) 42", "42"),
    ("~42", "42"),
    ("≈ 42", "42"),
    ("42°C", "42"),
    ("-0", "0"),
    ("–5", "-5"),  # U+2013
    ("minus   5", "-5"),
    ("negative $5", "-5"),
    ("1 / 2", "0.5"),
    ("7½", "7.5"),
    ("10^-3", "0.001"),
    ("6.022 x 10^23", "6.022e23"),
    ("The change is -42%", "-0.42"),
    ("42 %", "0.42"),
    ("1", "100%"),
    ("42", "42%"),
    ("It is 42 out of 50", "42"),
    ("The answer is 1 234", "1234"),
    ("So x = 12 345.", "12345"),
    ("Answer = 42", "42"),
    ("answer：42", "42"),
    ("The answer is forty-two (42).", "42"),
    ("It isn't 41, it's 42", "42"),
    ("42 instead of 41", "42"),
    ("I'm not sure, maybe 42", "42"),
    ("5! = 120", "120"),
    ("12/4 = 3", "3"),
    ("1. 17\n2. 25\n3. 42", "42"),
    ("```python\nprint(17 + 25)\n```\n42", "42"),
    ("٤٢", "42"),
    # LaTeX that touches what follows
    ("\\boxed{1.2\\times10^{5}}", "120000"),
    ("1.2\\cdot10^5", "120000"),
    ("$1.2\\times10^{-4}$", "0.00012"),
    ("\\quad42", "42"),
    ("\\left(42\\right)", "42"),
    ("\\boxed{1,\\!000}", "1000"),
    ("30^\\circ", "30"),
    ("\\boxed{30^{\\circ}}", "30"),
    # another number is denied, the answer stands
    ("The answer is 42. If you got 41, that is wrong.", "42"),
    ("The answer is 42. A common answer is 41, but that is incorrect.", "42"),
    ("\\boxed{42}\nNote: 41 would double count; that is incorrect.", "42"),
    ("The answer is 42.\n\nNo, you cannot get 41.", "42"),
    ("The answer is 42. It was a mistake to assume 41.", "42"),
    ("The answer is 42; it is not correct to say 43.", "42"),
    ("42\n\nSome say 41, but that is wrong.", "42"),
    ("42. If you got 41, that is wrong.", "42"),
    ("It is 42. Many people say 41.", "42"),
    ("The answer is 42. I first had 41. That was wrong.", "42"),
    ("The answer is 42. Some say 41, but this is not correct: they forget 1.", "42"),
    # the answer is stated anew
    ("The answer is 42 since 17+25 has 2 digits. That's wrong. It is 43.", "43"),
    ("The answer is 42. On second thought, it's 43.", "43"),
    ("Answer: 42. Edit: 43", "43"),
    ("The answer is 42, I mean 43.", "43"),
    ("The answer is 42, or rather 43.", "43"),
    ("The answer is 42. Wait, actually, it's 43.", "43"),
    ("The answer is 42. I changed my mind: no. Wait, no, 43.", "43"),
    ("~~41~~ 42", "42"),
    ("It is none other than 42", "42"),
    # bounds of another number are no answers
    ("The answer is 42, so 43 is larger than 42.", "42"),
    ("=> 42", "42"),
    ("-> 42", "42"),
    ("<b>42</b>", "42"),
    ("42 ± 1", "42"),
    ("$42 \\pm 1$", "42"),
    ("42 +/- 1", "42"),
    # scripts without spaces
    ("答案是42。", "42"),
    ("答えは42です", "42"),
    ("共42个", "42"),
    ("총42개", "42"),
    ("คำตอบคือ42", "42"),
    ("答案是-5。", "-5"),
    ("答案是3/4です", "0.75"),
    ("42％", "0.42"),
    # more ways of writing a number
    ("3⁄4", "0.75"),
    ("1 1⁄2", "1.5"),
    ("1 and 1/2", "1.5"),
    ("1_234_567", "1234567"),
    ("The total is 1 234 567 euros", "1234567"),
    ("2.5k", "2500"),
    ("$1M", "1000000"),
    ("2 dozen", "24"),
    ("There are 2 dozen eggs", "24"),
    ("3 hundred", "300"),
    ("10³", "1000"),
    ("3*10**8", "300000000"),
    ("42 = 6*7", "42"),
    ("x = 42 = 6*7", "42"),
    ("42, which is 6 times 7", "42"),
    # asides behind the number
    ("15 minutes (0.25 hours)", "15"),
    ("There are 42 apples left after 3 days.", "42"),
    ("He has 42 apples in 2 baskets.", "42"),
    ("There were 42 in 2023", "42"),
    ("There were 42 of them in 2023.", "42"),
    ("42, 100% sure", "42"),
    ("42. I am 100% sure.", "42"),
    ("Adding 17 and 25 results in 42 apples.", "42"),
    ("In 2023 there were 42", "42"),
    ("It began in 1939.", "1939"),
    # a percentage as it is written, where the number is 1 or more
    ("1%", "1"),
    ("200%", "2"),
    # reasoning and fences
    ("<think>17 + 25 = 43? no</think>42", "42"),
    ("17 + 25 = 43? no</think> 42", "42"),
    ("```\n42\n```", "42"),
    ("The sum:\n```text\n42\n```\n", "42"),
    # big integers are exact
    ("123456789012345678901234567890", "123456789012345678901234567890"),
    # several targets: any of them
    ("7", ["7", "8"]),
    ("8", ["7", "8"]),
    # targets that are numbers
    ("42", 42),
    ("0.1", 0.1),
]


@pytest.mark.parametrize(("text", "target"), RIGHT)
def test_the_number_of_the_answer_is_the_target(text: str, target: Any) -> None:
    score = judged(text, target)
    assert (score.outcome, score.value) == ("right", 1.0), score.stages


WRONG = [
    ("41", "42"),
    ("42.1", "42"),
    ("5", "-5"),
    ("1,234", "1.234"),
    ("3.14", "3.14159"),
    ("0.333", "1/3"),
    ("0.5%", "0.5"),  # a probability of one half is not half a percent
    ("0.5%", "50%"),
    ("1.5 million", "1.5"),
    ("123456789012345678901234567890", "123456789012345678901234567891"),
    ("The answer is 41. (40 + 2 is 42.)", "42"),
    ("<think>42</think>41", "42"),
    ("42 is larger than 17", "17"),
    ("42 > 17", "17"),
    ("3 out of 4", "4"),
    ("42 is the sum of 17 and 25", "25"),
    ("1.5k", "1.5"),
    ("1.2\\times10^{-4}", "-4"),
    ("The answer is 42. Some say 41, but this is not correct: they forget 1.", "1"),
    ("The answer is 42. On second thought, it's 43.", "42"),
    ("There are 42 apples after 3 days.", "3"),
    ("0.30000000000000004", "0.3"),
    ("1000000000000000000001", "1000000000000000000000"),
    ("The answer is 42. Wait, that's wrong. It is 43.", "42"),
]


@pytest.mark.parametrize(("text", "target"), WRONG)
def test_another_number_is_wrong(text: str, target: Any) -> None:
    score = judged(text, target)
    assert (score.outcome, score.value, score.reason) == ("wrong", 0.0, ""), score.stages


UNPARSED = [
    ("forty-two", "42"),
    ("not 42", "42"),
    ("less than 42", "42"),
    ("The answer is greater than 42", "42"),
    ("the answer is less than 42", "42"),
    ("It is more than 42.", "42"),
    ("< 42", "42"),
    ("0 < x < 42", "42"),
    ("0 < x < 42", "0"),
    ("x ≠ 42", "42"),
    ("x != 42", "42"),
    ("x ≥ 42", "42"),
    ("\\neq 42", "42"),
    ("x \\le 42", "42"),
    ("The answer is not: 42", "42"),
    ("I wouldn't say 42", "42"),
    ("I wouldn't choose 42", "42"),
    ("not quite 42", "42"),
    ("not even 42", "42"),
    ("nowhere near 42", "42"),
    ("far from 42", "42"),
    ("Anything but 42", "42"),
    ("other than 42", "42"),
    ("It's not the case that the answer is 42", "42"),
    ("It is not true that it is 42", "42"),
    ("答案不是42", "42"),
    ("The answer is 42. Wait, no.", "42"),
    ("The answer is 42. I made a mistake.", "42"),
    ("~~42~~", "42"),
    ("1M", "1"),
    ("300K", "300"),
    ("42万", "42"),
    ("第42回", "42"),
    ("2024年5月6日", "6"),
    ("42 apples in 3 boxes", "3"),
    ("The answer is not 42.", "42"),
    ("5 or 6", "6"),
    ("The answer is 5 or 6.", "5"),
    ("1.234,5", "5"),  # fits no reading: never read in part
    ("1,23", "23"),
    ("12 300 gram packs", "300"),  # 12 of 300 grams, or 12,300
    ("3,5", "5"),
    ("1.2.3", "3"),
    ("2024-05-17", "17"),
    ("17/05/2024", "2024"),
    ("at 12:30", "30"),
    ("3:4", "4"),
    ("1:2:3", "3"),
    ("The answer is 1 234 apples", "234"),
    ("1÷2", "2"),
    ("10 to 1", "1"),
    ("Infinity", "1"),
    ("42 is the wrong answer", "42"),
    ("the 3rd", "3"),
    ("B12", "12"),
    ("COVID-19", "19"),
    ("0x1F", "0"),
    ("x^2", "2"),
    ("12/4", "3"),  # a sum left undone
    ("5/0", "5"),
    ("5-3", "3"),
    ("The result of 10 minus 4", "4"),
    ("17 + 25", "25"),
    ("17 apples + 25 apples", "25"),
    ("17 -25", "-25"),
    ("2^10", "2"),
    ("2**5", "5"),
    ("4²", "4"),
    ("√16", "16"),
    ("The answer is 3 × 14", "14"),
    ("The answer is 3 times 14", "14"),
    ("42 is wrong", "42"),
    ("42 is incorrect.", "42"),
    ("42 is not the answer", "42"),
    ("42? No.", "42"),
    ("The answer cannot be 42", "42"),
    ("The answer could not possibly be 42", "42"),
    ("I don't think it is 42", "42"),
    ("The wrong answer is 42", "42"),
    ("The answer is 42. That is wrong.", "42"),
    ("The answer is 42. Wait, it might be 43.", "42"),
    ("between 41 and 43", "43"),
    ("The answer is 40 to 42", "42"),
    ("41–42", "41"),
    ("41-42", "42"),
    ("17 < 42", "42"),
    ("4\n2", "2"),
    ("0,125", "125"),  # no group of three begins with 0
    ("1e999999999", "1"),
    ("9" * 5000, "9"),
]


@pytest.mark.parametrize(("text", "target"), UNPARSED)
def test_what_is_no_number_or_left_open_is_no_answer(text: str, target: str) -> None:
    score = judged(text, target)
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, "unparsed")


@pytest.mark.parametrize(
    "text",
    ["I do not know.", "It cannot be determined.", "Sorry, I can't help with that. Call 911."],
)
def test_an_answer_that_declines_to_give_a_number_is_a_refusal(text: str) -> None:
    score = judged(text, "42")
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, "refusal")


@pytest.mark.parametrize(
    ("text", "target", "outcome", "reason"),
    [
        ("17 + 25 = 42 and", "42", "right", ""),
        ("17 + 25 = 4", "42", "no_answer", "truncated"),
        ("Let me add seven", "42", "no_answer", "truncated"),
        ("The answer is 41, because", "42", "wrong", ""),
        ("The answer is 4", "42", "no_answer", "truncated"),
        ("The answer is 42", "42", "right", ""),
        ("The answer is 12,", "12345", "no_answer", "truncated"),
        ("The answer is 17 +", "42", "no_answer", "truncated"),
        ("The answer is 4 mil", "4000000", "no_answer", "truncated"),
        ("The answer is **41**", "42", "wrong", ""),
        ("\\boxed{41} since", "42", "wrong", ""),
    ],
)
def test_a_cut_answer_is_truncated_unless_it_was_right_or_committed(
    text: str, target: str, outcome: str, reason: str
) -> None:
    score = judged(text, target, "length")
    assert (score.outcome, score.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("text", "target", "options", "outcome"),
    [
        ("3.14", "3.14159", {"tolerance": 0.01}, "right"),
        ("3.13", "3.14159", {"tolerance": 0.01}, "wrong"),
        ("10.1", "10", {"tolerance": 0.1}, "right"),  # exactly on the edge, as decimals
        ("10.2", "10", {"tolerance": 0.1}, "wrong"),
        ("102", "100", {"relative_tolerance": 0.02}, "right"),
        ("-102", "-100", {"relative_tolerance": 0.02}, "right"),
        ("103", "100", {"relative_tolerance": 0.02}, "wrong"),
        ("103", "100", {"relative_tolerance": 0.02, "tolerance": 3}, "right"),
        ("1.234,5", "1234.5", {"decimal_comma": True}, "right"),
        ("3,5", "3.5", {"decimal_comma": True}, "right"),
        ("3,5", "3,5", {"decimal_comma": True}, "right"),
        ("1.234", "1234", {"decimal_comma": True}, "right"),
        ("0,125", "0.125", {"decimal_comma": True}, "right"),
        ("125", "0.125", {"decimal_comma": True}, "wrong"),
        ("1,5", "1.5", {"decimal_comma": True}, "right"),
        ("1,234", "1,234", {"decimal_comma": True}, "right"),
        ("12 345,6 Euro", "12345.6", {"decimal_comma": True}, "right"),
        ("5 km", "5000 m", {}, "wrong"),
        ("5 km", "5000 m", {"units": True}, "right"),
        ("5 kg", "5 km", {}, "right"),
        ("5 kg", "5 km", {"units": True}, "wrong"),
        ("5", "5 km", {"units": True}, "right"),
        ("90 minutes", "1.5 h", {"units": True}, "right"),
        ("72 km/h", "20 m/s", {"units": True}, "right"),
        ("5 apples", "5 km", {"units": True}, "right"),  # no unit we know
        ("5 in total", "5 km", {"units": True}, "right"),
        ("10 kJ", "10 J", {"units": True}, "wrong"),
        ("0.01 kJ", "10 joules", {"units": True}, "right"),
        ("3.6 MJ", "1 kWh", {"units": True}, "right"),
        ("5000 Hz", "5 kHz", {"units": True}, "right"),
        ("5 Hz", "5 s", {"units": True}, "wrong"),
        ("5 kW", "5 km", {"units": True}, "wrong"),
        ("5 km/h", "5 km", {"units": True}, "wrong"),
        ("5 GPa", "5 g", {"units": True}, "wrong"),
        ("9 kg/m^3", "9 kg", {"units": True}, "wrong"),
        ("5 m/s^2", "5 m", {"units": True}, "wrong"),
        ("9 foo/m²", "9 kg", {"units": True}, "wrong"),
    ],
)
def test_options_widen_or_narrow_what_is_right(
    text: str, target: str, options: dict[str, Any], outcome: str
) -> None:
    assert judged(text, target, **options).outcome == outcome


def test_the_stages_tell_how_the_number_was_found() -> None:
    score = judged("<think>hm</think>The answer is 41.", "42")
    assert score.extracted == "41"
    assert score.stages == (
        "reasoning: stripped",
        "extract: after 'answer is'",
        "compare: 41 ≠ 42",
    )


@pytest.mark.parametrize("target", ["forty", "1 or 2", "", True, float("nan")])
def test_a_target_that_is_not_one_number_is_the_items_fault(target: Any) -> None:
    with pytest.raises(ValueError, match="of item one is not one number"):
        judged("42", target)


@pytest.mark.parametrize("unit", ["parsecs", "°C", "apples"])
def test_a_targets_unit_that_cannot_be_converted_is_refused_when_units_count(unit: str) -> None:
    with pytest.raises(
        ValueError, match=rf"the unit '{unit}' of item one's .* length, mass, .*drop"
    ):
        judged("10", f"10 {unit}", units=True)
    assert judged("10", f"10 {unit}").outcome == "right"


def test_a_target_that_is_two_numbers_under_a_decimal_comma_is_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"item one: .* '1\.500' may be 1\.5 or 1500; write"):
        judged("1,5", "1.500", decimal_comma=True)


@given(st.integers(-(10**15), 10**15))
def test_every_way_of_writing_an_integer_is_that_integer(number: int) -> None:
    for text in (f"{number}", f"{number:,}", f"**{number}**", f"${number}$", f"= {number}.00"):
        assert judged(text, str(number)).outcome == "right", text


@given(st.decimals(-1000, 1000, places=4), st.text(alphabet="abc ,.()\n*", max_size=20))
def test_words_around_a_number_do_not_change_it(number: Any, words: str) -> None:
    assert judged(f"{words} {number} {words}", str(number)).outcome == "right"


@pytest.mark.parametrize(
    "text", ["not 5 ", "5 ", "the answer is 5 or ", "minus ", "$", "5, not 6 "]
)
def test_a_model_that_repeats_itself_is_read_in_one_pass(text: str) -> None:
    """With a look at all numbers for each of them, these would take minutes."""
    assert judged(text * 20_000, "42").outcome in ("wrong", "no_answer")


FRAGMENTS = [
    *("minus", "negative", "$", "€", "(", "-", "−", "–", "+", ".", ",", "½", "1", "12", "345"),
    *("000", "%", "^", "/", ":", "=", "e3", "×10", "is", "no", "2024-05-17"),
]


@given(st.lists(st.sampled_from([*FRAGMENTS, " ", "  ", "x", "\n", "negative words " * 4])))
def test_looking_only_near_digits_finds_the_numbers_that_looking_everywhere_finds(
    parts: list[str],
) -> None:
    text = "".join(parts)
    everywhere = [match.span() for match in numbers._SCAN.finditer(text)]
    assert [match.span() for match in numbers._candidates(text)] == everywhere


@given(st.lists(st.sampled_from([*FRAGMENTS, " ", " ", "x", "million", "percent", "\n"])))
def test_a_plain_number_is_what_the_rest_of_the_pattern_would_make_of_it(parts: list[str]) -> None:
    text = "".join(parts)
    without = numbers._SCAN.pattern.replace("(?P<plain>", "(?P<plain> (?!)")
    with_plain = numbers.numbers_in(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "_SCAN", re.compile(without, re.VERBOSE))
        assert numbers.numbers_in(text) == with_plain


@given(st.text(max_size=200))
def test_no_text_makes_it_raise(text: str) -> None:
    assert judged(text, "42").outcome in ("right", "wrong", "no_answer")
