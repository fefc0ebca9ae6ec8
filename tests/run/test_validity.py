"""What a run doubts of itself, and what it does not: on fake models that show one fault each."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scipy.stats import binom

from pytest_llmeval.records import (
    Answer,
    Doubt,
    Failure,
    FinishReason,
    Item,
    Message,
    Prediction,
    PromptVariant,
    Sampling,
    Score,
    ScorerSpec,
    Suite,
    ToolCall,
    Trial,
    Usage,
)
from pytest_llmeval.records.asked import Condition
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.results.significance import significance_schema
from pytest_llmeval.run import looks
from pytest_llmeval.run.looks import FLOOR, LOOKS, WORDS
from pytest_llmeval.run.validity import doubts_of, explained
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.scorer import make_scorers

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

Says = Callable[[Item], str | Answer | Failure]
OPTIONS = ["Rome", "Paris", "Oslo", "Bern"]


def suite_of(items: Sequence[Item], score: str = "exact", **keys: Any) -> Suite:
    prompt = PromptVariant("", (Message("user", keys.pop("prompt", "{{ q }}")),), "hash")
    return Suite("s", "suites/s.yaml", tuple(items), "h", (prompt,), (ScorerSpec(score),), **keys)


def items_of(count: int = 20, **keys: Any) -> list[Item]:
    """Items that differ, with targets that do."""
    fields = keys.pop("fields", {})
    return [
        Item(f"i{n}", f"i{n}", {"q": f"Question {n}?", **fields}, keys.get("target", f"answer {n}"))
        for n in range(count)
    ]


@dataclasses.dataclass
class Asked:
    """A suite, asked of a model that says what a function gives, and scored."""

    trials: list[Trial]
    predictions: dict[str, Prediction]
    scores: dict[str, tuple[Score, ...]]

    def doubts(self) -> list[Doubt]:
        return list(doubts_of(self.trials, self.predictions, self.scores))

    def kinds(self) -> list[str]:
        return [doubt.kind for doubt in self.doubts()]

    def explained(self) -> Asked:
        return Asked(
            self.trials,
            self.predictions,
            explained(self.trials, self.predictions, self.scores),
        )


def asked(suite: Suite, says: Says, repeats: int = 1) -> Asked:
    condition = Condition("m", "m", suite.prompts[0], Sampling(8), repeats=repeats)
    trials = list(trials_of(suite, condition))
    scorers = make_scorers(suite.scorers)
    predictions, scores = {}, {}
    for trial in trials:
        said = says(trial.item)
        answer = Answer(said, "stop") if isinstance(said, str) else said
        if isinstance(answer, Failure):
            predictions[trial.id] = Prediction(trial.id, None, answer)
        else:
            predictions[trial.id] = Prediction(trial.id, answer, None)
        scores[trial.id] = score_prediction(scorers, predictions[trial.id], trial.item)
    return Asked(trials, predictions, scores)


def right_but_for(wrong: Mapping[str, str | Answer | Failure]) -> Says:
    return lambda item: wrong.get(item.id, str(item.target))


# Nothing is doubted without a reason --------------------------------------------------------------


@pytest.mark.parametrize("right", [1, 10, 19])
def test_a_model_that_is_partly_right_is_believed(right: int) -> None:
    wrong = {f"i{n}": f"something {n}" for n in range(right, 20)}
    assert asked(suite_of(items_of()), right_but_for(wrong)).kinds() == []


def test_few_items_show_nothing() -> None:
    few = items_of(FLOOR - 1, fields={"options": OPTIONS}, target="Paris")
    assert asked(suite_of(few, "choice"), lambda _: "Rome").kinds() == []
    assert asked(suite_of(few), lambda _: "").kinds() == []


def test_no_trials_have_no_doubts() -> None:
    assert list(doubts_of([], {}, {})) == []


# Scores that are all alike ------------------------------------------------------------------------


def test_all_right_and_all_wrong_are_doubted() -> None:
    (doubt,) = asked(suite_of(items_of()), right_but_for({})).doubts()
    assert doubt == Doubt(
        "s",
        "m",
        "all_right",
        20,
        20,
        "s::m::i0",
        "all 20 items are right: they cannot show who is better.",
    )
    (doubt,) = asked(suite_of(items_of()), lambda item: f"no {item.id}").doubts()
    assert (doubt.kind, doubt.message[:32]) == ("all_wrong", "not one of 20 items is right. Lo")


def test_where_every_item_must_pass_all_right_is_as_it_should_be() -> None:
    suite = suite_of(items_of(), each_item="must_pass")
    assert asked(suite, right_but_for({})).kinds() == []


def test_graded_scores_that_are_all_the_same_are_doubted() -> None:
    suite = suite_of(items_of(target="the cat sat"), "token_f1")
    assert asked(suite, lambda item: f"cat {item.id}").kinds() == ["all_equal"]


def test_repeats_of_an_item_are_no_further_items() -> None:
    ten = asked(suite_of(items_of(10)), right_but_for({}), repeats=5)
    assert (len(ten.trials), ten.kinds()) == (50, [])


# Answers that say nothing -------------------------------------------------------------------------


def test_answers_that_are_empty_or_cut_off_nearly_all_are_doubted_once() -> None:
    empty = {f"i{n}": "" for n in range(18)}
    (doubt,) = asked(suite_of(items_of()), right_but_for(empty)).doubts()
    assert (doubt.kind, doubt.count, doubt.of) == ("all_empty", 18, 20)
    cut = asked(suite_of(items_of()), lambda item: Answer(f"so far {item.id}", "length"))
    assert cut.kinds() == ["all_truncated"]


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_half_of_them_are_not(finish: FinishReason) -> None:
    text = "" if finish == "stop" else "so far"
    cut = {f"i{n}": Answer(f"{text}", finish) for n in range(10)}
    assert asked(suite_of(items_of()), right_but_for(cut)).kinds() == []


def test_an_answer_that_is_right_may_have_been_cut_off() -> None:
    letters = asked(suite_of(items_of()), lambda item: Answer(str(item.target), "length"))
    assert letters.kinds() == ["all_right"]


# Choices at chance level --------------------------------------------------------------------------


def choices(right: int, n: int, k: int = 4) -> Asked:
    options = [f"option {letter}" for letter in "ABCDEFGH"[:k]]
    rng = random.Random(1)
    items = [
        Item(f"i{n}", f"i{n}", {"q": f"{n}?", "options": options}, rng.choice("ABCDEFGH"[:k]))
        for n in range(n)
    ]

    def says(item: Item) -> str:
        others = [letter for letter in "ABCDEFGH"[:k] if letter != item.target]
        return str(item.target) if int(item.id[1:]) < right else rng.choice(others)

    return asked(suite_of(items, "choice"), says)


@pytest.mark.parametrize(
    ("right", "n", "k", "doubted"),
    [
        (27, 100, 4, True),
        (32, 100, 4, True),
        (33, 100, 4, False),  # p 0.045
        (15, 100, 4, True),  # below chance is no better than chance
        (60, 100, 2, False),
        (52, 100, 2, True),
        (8, 20, 2, False),  # too few items to tell who guesses between two
        (8, 20, 4, False),  # p 0.10, and again too few
        (9, 40, 4, True),
    ],
)
def test_choices_no_better_than_guesses_are_doubted(
    right: int, n: int, k: int, doubted: bool
) -> None:
    assert choices(right, n, k).kinds() == (["chance"] if doubted else [])


def test_a_doubt_about_choices_says_the_count_and_what_guessing_gives() -> None:
    (doubt,) = choices(27, 100).doubts()
    assert (doubt.count, doubt.of, doubt.example) == (27, 100, "s::m::i27")
    assert doubt.message.startswith(
        "27 of 100 choices are right, and guessing gives 25.0, and as many in 36 % of cases (exact "
        "binomial)."
    )


def test_choices_without_known_options_are_not_held_against_chance() -> None:
    items = items_of(100, target="A")
    answers = asked(suite_of(items, "choice"), lambda item: "ABCD"[int(item.id[1:]) % 4])
    assert answers.kinds() == []


# One answer to everything -------------------------------------------------------------------------


def test_one_answer_to_everything_is_doubted_and_its_wrong_scores_say_so() -> None:
    items = [dataclasses.replace(item, target="ABCD"[n % 4]) for n, item in enumerate(items_of(40))]
    found = asked(suite_of(items), lambda _: "A")
    assert found.kinds() == ["same_answer"]
    reasons = [scores[0].reason for scores in found.explained().scores.values()]
    assert reasons == ["", "same_answer", "same_answer", "same_answer"] * 10


def test_one_answer_where_most_items_want_it_is_not() -> None:
    items = [
        dataclasses.replace(item, target="ham" if n % 3 else "spam")
        for n, item in enumerate(items_of(40))
    ]
    found = asked(suite_of(items), lambda _: "ham")
    assert found.kinds() == []
    assert found.explained().scores == found.scores


def test_calls_with_different_arguments_are_different_answers() -> None:
    def says(item: Item) -> Answer:
        call = ToolCall("weather", {"city": item.id}, json.dumps({"city": item.id}))
        return Answer("", "tool_calls", tool_calls=(call,))

    items = [
        dataclasses.replace(item, target=[{"name": "weather", "arguments": {"city": item.id}}])
        for item in items_of()
    ]
    assert asked(suite_of(items, "tool_call"), says).kinds() == ["all_right"]


# What does not belong into an answer --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("no<|im_end|>\n<|im_start|>user", "template_markers", "<|im_end|>"),
        ("<think>Hm.</think> no", "thinking_tags", "<think>"),
    ],
)
def test_one_answer_with_such_a_thing_is_enough(text: str, kind: str, found: str) -> None:
    (doubt,) = asked(suite_of(items_of()), right_but_for({"i3": text})).doubts()
    assert (doubt.kind, doubt.count, doubt.of) == (kind, 1, 20)
    assert doubt.example == "s::m::i3"
    assert f"1 of 20 answers hold {found}" in doubt.message


def test_what_stands_in_the_prompt_may_stand_in_the_answer() -> None:
    suite = suite_of(items_of(), prompt="What does <|im_end|> mean, and {{ q }}")
    assert asked(suite, right_but_for({"i3": "<|im_end|> ends a message."})).kinds() == []


# Prompts that were cut short, and other failures --------------------------------------------------


def reading(limit: int, words: Callable[[int], int], count: int = 30) -> Asked:
    """A model whose endpoint reads `limit` tokens of a prompt; a word is 1.3 tokens or so."""
    rng = random.Random(3)
    items = [Item(f"i{n}", f"i{n}", {"q": "word " * words(n)}, f"answer {n}") for n in range(count)]
    suite = suite_of(items, prompt="{{ q }}")
    length = {item.id: int(words(n) * rng.uniform(1.2, 1.5)) for n, item in enumerate(items)}

    def says(item: Item) -> Answer:
        usage = Usage(min(limit, length[item.id]), 3, None, "server")
        text = str(item.target) if length[item.id] < limit else "What?"
        return Answer(text, "stop", usage=usage)

    return asked(suite, says)


def test_long_prompts_that_all_have_one_number_of_tokens_were_cut_and_have_failed() -> None:
    found = reading(400, lambda n: 100 + 40 * n).explained()
    failed = [trial for trial in found.trials if found.scores[trial.id][0].outcome == "failure"]
    assert len(failed) >= 20
    score = found.scores[failed[-1].id][0]
    assert (score.value, score.reason) == (None, "prompt_truncated")
    (doubt,) = found.doubts()
    assert (doubt.kind, doubt.count, doubt.of) == ("prompt_truncated", len(failed), 30)
    right = [trial for trial in found.trials if trial not in failed]
    assert {found.scores[trial.id][0].outcome for trial in right} == {"right"}


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (10**6, lambda n: 100 + 40 * n),  # nothing is cut
        (30, lambda n: 10 + n),  # short prompts often have one length
        (400, lambda n: 400 + n),  # all of about one length: a fixed number of tokens was the aim
    ],
)
def test_what_may_be_by_chance_is_no_cut(limit: int, words: Callable[[int], int]) -> None:
    found = reading(limit, words).explained()
    assert {scores[0].outcome for scores in found.scores.values()} <= {"right", "wrong"}
    assert "prompt_truncated" not in found.kinds()


def test_prompts_of_which_length_says_nothing_are_believed_in_hundreds_of_suites() -> None:
    rng = random.Random(11)
    cut = 0
    for _ in range(300):
        lengths = [rng.randint(60, 400) for _ in range(200)]
        cut += bool(looks_cut([(n, int(n * rng.uniform(1.1, 1.7))) for n in lengths]))
    assert cut == 0


def looks_cut(prompts: Sequence[tuple[int, int]]) -> list[Trial]:
    """The rule on prompts of so many words and tokens."""
    items = [
        Item(f"i{n}", f"i{n}", {"q": "w " * words}, "t") for n, (words, _) in enumerate(prompts)
    ]
    tokens = {f"i{n}": count for n, (_, count) in enumerate(prompts)}
    found = asked(
        suite_of(items),
        lambda item: Answer("x", "stop", usage=Usage(tokens[item.id], 1, None, "server")),
    )
    judged = [
        looks.Judged(trial, answer, found.scores[trial.id][0])
        for trial in found.trials
        if (answer := found.predictions[trial.id].answer)
    ]
    group = looks.Group(found.trials, found.predictions, found.scores, judged, judged)
    return looks.cut_at_a_limit(group)


@pytest.mark.parametrize("reason", ["prompt_truncated", "bad_logprobs"])
def test_failures_of_a_kind_that_no_other_number_tells_are_told(reason: str) -> None:
    failure = Failure(reason, "the endpoint's words")
    found = asked(suite_of(items_of()), right_but_for({"i4": failure, "i5": "wrong"}))
    (doubt,) = found.doubts()
    assert (doubt.kind, doubt.count, doubt.of, doubt.example) == (reason, 1, 20, "s::m::i4")


# The thresholds keep what is said of them ---------------------------------------------------------


def test_the_rates_that_are_stated_hold() -> None:
    assert 0.75**FLOOR < 0.0035
    assert binom.sf(looks.MOST * FLOOR - 1, FLOOR, 0.5) < 2.5e-4
    assert binom.sf(looks.SAME * FLOOR - 1, FLOOR, looks.COMMONEST) < 2.5e-5


def test_every_kind_has_its_words_and_stands_in_the_published_shape() -> None:
    kinds = significance_schema()["$defs"]["doubt"]["properties"]["kind"]["enum"]
    assert sorted(kinds) == sorted(WORDS)
    assert len(LOOKS) == 6


# In a run -----------------------------------------------------------------------------------------


def capitals(bench: Workbench, rules: list[dict[str, Any]], **keys: Any) -> Path:
    bench.config(models={"m": bench.script(rules)})
    items = [{"id": f"i{n}", "a": n, "answer": str(n + 1)} for n in range(20)]
    return bench.suite(items=items, **keys)


def test_a_doubt_stands_in_every_report_and_in_the_manifest(bench: Workbench) -> None:
    suite = capitals(bench, [{"text": "wrong<|im_end|>"}])
    folder = bench.run(suite)
    words = "20 of 20 answers hold <|im_end|>, a token of a chat template"
    manifest = read_manifest(folder)
    assert [doubt.kind for doubt in manifest.doubts] == [
        "template_markers",
        "all_wrong",
        "same_answer",
    ]
    assert words in manifest.doubts[0].message
    told = json.loads((folder / "significance.json").read_text(encoding="utf-8"))["doubts"]
    assert [doubt["kind"] for doubt in told] == [doubt.kind for doubt in manifest.doubts]
    markdown = (folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "20 of 20 answers hold \\<\\|im\\_end\\|\\>, a token" in markdown
    html = (folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert "20 of 20 answers hold &lt;|im_end|&gt;, a token" in html
    assert "For instance sums::m::i0" in html
    rows = (folder / "m" / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert all('"wrong","template_markers"' in row for row in rows[1:])


def test_a_dry_run_doubts_nothing(bench: Workbench) -> None:
    folder = bench.run(capitals(bench, []), dry_run=True)
    assert read_manifest(folder).doubts == ()
