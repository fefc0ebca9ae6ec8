"""Suite files and markers, read into one record."""

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import DatasetError, InputError, SuiteError, TemplateError
from pytest_llmeval.inputs.datasets import dataset_hash
from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.inputs.suites import load_suite, suite_from_marker
from pytest_llmeval.records import GateSpec, Message, ScorerSpec, StopSpec, Suite

ITEMS = "items: [{id: one, a: 1, answer: 010}, {id: two, a: 2, answer: 2.50}]\n"
BASE = f"{ITEMS}target: answer\nscore: exact\n"
ASKED = f'{BASE}prompt: "{{{{ a }}}}?"\n'


def load(folder: Path, text: str, *, limit: int | None = None) -> Suite:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path, "suites/some.yaml", limit=limit)


def refusal(folder: Path, text: str, error: type[InputError] = SuiteError) -> str:
    """The words of the error, the file's folder left out."""
    with pytest.raises(error) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}", "")[1:].replace("\\", "/")


def texts(suite: Suite, item: int = 0) -> list[tuple[str, str]]:
    messages = render(suite.prompts[0], suite.items[item])
    return [(message.role, message.content) for message in messages]


# What is read -------------------------------------------------------------------------------------


def test_the_suite_of_the_blueprint(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    row = {"id": "add-0017", "a": 17, "b": 25, "answer": "42", "tags": ["carry"]}
    (tmp_path / "data" / "arithmetic.jsonl").write_text(json.dumps(row), encoding="utf-8")
    suite = load(
        tmp_path,
        """\
items: data/arithmetic.jsonl
target: answer
prompts:
  plain: "{{ a }} + {{ b }} ="
  terse:
    - {system: "Answer with the number only."}
    - {user: "What is {{ a }} plus {{ b }}?"}
sampling: {max_tokens: 8}
score: numeric
tags: [maths, smoke]
gates:
  - {only: tiny-l/plain, metric: numeric, at_least: 0.85}
""",
    )
    assert (suite.name, suite.origin) == ("some", "suites/some.yaml")
    (item,) = suite.items
    assert (item.id, item.target, item.tags) == ("add-0017", "42", ("carry",))
    assert [(variant.name, variant.line) for variant in suite.prompts] == [
        ("plain", 4),
        ("terse", 5),
    ]
    assert render(suite.prompts[1], item) == (
        Message("system", "Answer with the number only."),
        Message("user", "What is 17 plus 25?"),
    )
    assert suite.scorers == (ScorerSpec("numeric", {}, 9),)
    assert suite.gates == (GateSpec("tiny-l/plain", "numeric", 0.85, 12),)
    assert suite.sampling == {"max_tokens": 8}
    assert suite.tags == ("maths", "smoke")
    assert (suite.only, suite.tools, suite.repeats) == ((), (), None)
    assert (suite.each_item, suite.exact, suite.is_function) == ("may_fail", False, False)
    assert suite.dataset_hash == dataset_hash(suite.items)


def test_inline_targets_are_text_as_written(tmp_path: Path) -> None:
    assert [item.target for item in load(tmp_path, ASKED).items] == ["010", "2.50"]


def test_every_other_key(tmp_path: Path) -> None:
    suite = load(
        tmp_path,
        ASKED + "repeats: 3\nonly: tiny-l\neach_item: must_pass\nexact: true\ntags: a, b\n"
        "sampling: {temperature: null, stop: x}\n",
    )
    assert (suite.repeats, suite.only, suite.each_item, suite.exact) == (
        3,
        ("tiny-l",),
        "must_pass",
        True,
    )
    assert suite.tags == ("a", "b")
    assert suite.sampling == {"stop": ("x",), "temperature": None}


@pytest.mark.parametrize(
    ("score", "scorers"),
    [
        ("exact", [("exact", {})]),
        ("{numeric: {tolerance: 0.1}}", [("numeric", {"tolerance": 0.1})]),
        ("[exact, {regex: {pattern: x}}]", [("exact", {}), ("regex", {"pattern": "x"})]),
        ("{exact: }", [("exact", {})]),
        ("{choice: loglikelihood}", [("choice", {"by": "loglikelihood"})]),
        ("[{choice: loglikelihood}]", [("choice", {"by": "loglikelihood"})]),
        (
            "[{choice: {by: text}}, choice_per_byte]",
            [("choice", {"by": "text"}), ("choice_per_byte", {})],
        ),
    ],
)
def test_the_forms_of_a_score(tmp_path: Path, score: str, scorers: list[tuple[str, Any]]) -> None:
    suite = load(tmp_path, ASKED.replace("score: exact", f"score: {score}"))
    assert [(scorer.name, scorer.options) for scorer in suite.scorers] == scorers


@pytest.mark.parametrize("text", ['{"type": "object"}', "type: object\n"])
def test_the_schema_of_a_scorer_may_stand_in_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "answer.json").write_text(text, encoding="utf-8")
    score = "{json_schema: {schema: {file: answer.json}}}"
    suite = load(tmp_path, f"items: [{{q: x}}]\nprompt: x\nscore: {score}\n")
    assert suite.scorers[0].options == {"schema": {"type": "object"}}
    (tmp_path / "answer.json").unlink()
    words = refusal(tmp_path, f"items: [{{q: x}}]\nprompt: x\nscore: {score}\n")
    assert words == "some.yaml:3: the file answer.json of json_schema: no such file"


def test_tools_are_passed_on_as_they_are(tmp_path: Path) -> None:
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
    assert load(tmp_path, f"{ASKED}tools: [{json.dumps(tool)}]").tools == (tool,)


def test_a_prompt_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ask.txt").write_bytes(b"\xef\xbb\xbfOne\r\n{{ a }}\r\n")
    suite = load(tmp_path, BASE + "prompt: [{system: hi}, {user: {file: prompts/ask.txt}}]")
    assert texts(suite) == [("system", "hi"), ("user", "One\n1")]
    assert texts(load(tmp_path, BASE + "prompt: {file: prompts/ask.txt}")) == [("user", "One\n1")]


def test_few_shot_by_hand_alternates_user_and_assistant(tmp_path: Path) -> None:
    suite = load(tmp_path, BASE + 'prompt: [{user: "3?"}, {assistant: "3"}, {user: "{{ a }}?"}]')
    assert texts(suite) == [("user", "3?"), ("assistant", "3"), ("user", "1?")]


# Limits, splits, choice of prompts ----------------------------------------------------------------

MANY = "".join(f"- {{id: q-{n:03d}, a: {n}}}\n" for n in range(100))
MANY_ASKED = f'items:\n{MANY}score: exact\nprompt: "{{{{ a }}}}?"\n'


def ids(suite: Suite) -> list[str]:
    return [item.id for item in suite.items]


def test_a_limit_is_a_seeded_sample_and_the_smaller_limit_holds(tmp_path: Path) -> None:
    five = ids(load(tmp_path, MANY_ASKED, limit=5))
    assert five == ["q-010", "q-023", "q-037", "q-043", "q-080"]
    assert ids(load(tmp_path, MANY_ASKED + "limit: 5")) == five
    assert ids(load(tmp_path, MANY_ASKED + "limit: 5", limit=50)) == five
    assert ids(load(tmp_path, MANY_ASKED + "limit: 50", limit=5)) == five
    assert ids(load(tmp_path, MANY_ASKED + "seed: 7", limit=5)) != five


def test_a_split_asks_one_part_and_a_limit_is_taken_from_it(tmp_path: Path) -> None:
    text = MANY_ASKED + "split: {part: test, of: {train: 0.9, test: 0.1}}\n"
    test = ids(load(tmp_path, text))
    assert test == ["q-017", "q-026", "q-040", "q-045", "q-083", "q-089", "q-093"]
    assert set(ids(load(tmp_path, text, limit=3))) < set(test)


def test_the_hash_is_of_the_items_that_are_asked(tmp_path: Path) -> None:
    whole, part = load(tmp_path, MANY_ASKED), load(tmp_path, MANY_ASKED, limit=5)
    assert whole.dataset_hash != part.dataset_hash == dataset_hash(part.items)


# Few-shot -----------------------------------------------------------------------------------------

DEV = "[{id: d1, a: 7, answer: 07}, {id: d2, a: '{{ 8 }}', answer: ['{% x', y]}]"


def test_few_shot_examples_are_asked_and_answered_before_the_question(tmp_path: Path) -> None:
    prompt = 'prompt: [{system: hi}, {user: "{{ a }}?"}]\n'
    suite = load(tmp_path, f"{BASE}{prompt}few_shot: {{items: {DEV}, count: 2}}")
    assert texts(suite) == [
        *[("system", "hi"), ("user", "7?"), ("assistant", "07")],
        *[("user", "{{ 8 }}?"), ("assistant", "{% x"), ("user", "1?")],
    ]


def test_few_shot_examples_are_part_of_the_prompts_hash(tmp_path: Path) -> None:
    other = DEV.replace("07", "08")
    suites = [
        load(tmp_path, f"{ASKED}few_shot: {{items: {dev}, count: 2}}") for dev in (DEV, other)
    ]
    assert len({suite.prompts[0].hash for suite in [*suites, load(tmp_path, ASKED)]}) == 3


def test_no_item_is_its_own_example(tmp_path: Path) -> None:
    dev = "[{id: other, a: 1, answer: 010}, {id: d1, a: 7, answer: 07}]"
    suite = load(tmp_path, f"{ASKED}few_shot: {{items: {dev}, count: 1}}")
    assert [texts(suite, n)[0] for n in (0, 1)] == [("user", "7?")] * 2


def test_a_split_leaves_its_other_parts_for_examples_whatever_the_limit(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"id": f"q-{n:03d}", "a": n, "answer": n}) + "\n" for n in range(100)),
        encoding="utf-8",
    )
    text = (
        'items: q.jsonl\ntarget: answer\nscore: exact\nprompt: "{{ a }}"\n'
        "split: {part: test, of: {train: 0.9, test: 0.1}}\nfew_shot: {items: q.jsonl, count: 3}\n"
    )
    suite = load(tmp_path, text)
    shown = {message.content for message in suite.prompts[0].messages}
    assert not shown & {str(item.fields["a"]) for item in suite.items}
    assert load(tmp_path, text, limit=2).prompts == suite.prompts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"{ASKED}few_shot: {{items: [{{id: d, a: 1, answer: 010}}], count: 1}}",
            "some.yaml:5: few_shot asks for 1 examples, but only 0 of 1 are not asked by the suite",
        ),
        (
            f"{ASKED.replace('target: answer', '')}few_shot: {{items: {DEV}, count: 1}}",
            "some.yaml:5: few_shot needs the key 'target' for its answers",
        ),
        (
            (
                f'{BASE}prompt: [{{user: "{{{{ a }}}}"}}, {{assistant: "It is"}}]\n'
                f"few_shot: {{items: {DEV}, count: 1}}"
            ),
            "some.yaml:5: few_shot needs a prompt that ends with a user message, not assistant",
        ),
        (
            f"{ASKED}few_shot: {{items: 7, count: 1}}",
            "some.yaml:5: few_shot.items: expected a data file or a list, found 7",
        ),
        (f"{ASKED}few_shot: {{items: {DEV}}}", "some.yaml:5: the key 'count' is missing"),
    ],
)
def test_each_mistake_of_few_shot_has_its_words(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text).startswith(words)


# What is refused ----------------------------------------------------------------------------------

FORMS = "expected a text, a list such as [{system: ...}, {user: ...}], or {file: prompts/x.txt}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"targt: answer\n{ASKED}",
            "some.yaml:1: unknown key 'targt'; did you mean 'target'? (allowed: items, id, ",
        ),
        ('prompt: "x"\nscore: exact', "some.yaml:1: the key 'items' is missing"),
        (f'{ITEMS}prompt: "x"', "some.yaml:1: the key 'score' is missing"),
        (
            BASE,
            "some.yaml:1: the key 'prompt' is missing (or 'prompts' for several with a name each)",
        ),
        (f"{ASKED}prompts: {{a: x}}", "some.yaml:5: 'prompt' and 'prompts' are both given"),
        (
            f"{BASE}prompts: [a]",
            "some.yaml:4: prompts: expected a mapping of names to prompts, found",
        ),
        (f"{BASE}prompts: {{}}", "some.yaml:4: prompts: expected a mapping of names to prompts"),
        (
            f"{BASE}prompts:\n  two words: x",
            "some.yaml:5: the prompt name 'two words' cannot be used",
        ),
        (f"{BASE}prompt:", f"some.yaml:4: {FORMS}, found nothing"),
        (f"{BASE}prompt: 7", f"some.yaml:4: {FORMS}, found 7"),
        (f"{BASE}prompt: []", f"some.yaml:4: {FORMS}, found an empty list"),
        (f"{BASE}prompt: ''", "some.yaml:4: the text of a message is empty"),
        (f"{BASE}prompt: {{user: x}}", f"some.yaml:4: {FORMS}, found a mapping: put a dash before"),
        (f"{BASE}prompt: [{{system: x}}]", "some.yaml:4: a prompt needs at least one user message"),
        (
            f"{BASE}prompt:\n- {{user: x}}\n- {{usr: y}}",
            "some.yaml:6: unknown role 'usr'; did you mean 'user'? (allowed: system, user, ",
        ),
        (f"{BASE}prompt: [x]", "some.yaml:4: expected one role and its text, such as {user: "),
        (
            f"{BASE}prompt: {{file: nowhere.txt}}",
            "some.yaml:4: the prompt's file nowhere.txt: no such file",
        ),
        (
            f"{BASE}prompt: {{{{ a }}}}",
            "some.yaml:4: a key must be a text; a text with {{ }} or {% %}",
        ),
        (
            ASKED.replace("score: exact", "score: []"),
            "some.yaml:3: score: expected a scorer's name, ",
        ),
        (
            ASKED.replace("score: exact", "score: {exact: , numeric: }"),
            (
                "some.yaml:3: score: expected a scorer's name, {name: {option: value}}, or a list "
                "of these, found a mapping"
            ),
        ),
        (
            ASKED.replace("score: exact", "score:\n- exact\n- exact"),
            "some.yaml:5: the scorer 'exact' is given twice",
        ),
        (
            f"{ASKED}sampling: {{repeats: 2}}",
            "some.yaml:5: unknown key 'repeats' (allowed: max_tokens",
        ),
        (
            f"{ASKED}tags: [two words]",
            "some.yaml:5: the tag 'two words' cannot be used with pytest -m",
        ),
        (f"{ASKED}repeats: 0", "some.yaml:5: repeats: expected at least 1, found 0"),
        (f"{ASKED}limit: 0", "some.yaml:5: limit: expected at least 1, found 0"),
        (f"{ASKED}seed: x", "some.yaml:5: seed: expected a whole number, found 'x'"),
        (
            f"{ASKED}each_item: must",
            (
                "some.yaml:5: each_item: unknown value 'must'; did you mean 'must_pass'? "
                "(allowed: may_fail, must_pass)"
            ),
        ),
        (
            f"{ASKED}gates:\n- {{only: m, metric: exakt, at_least: 0.5}}",
            "some.yaml:6: unknown metric 'exakt'; did you mean 'exact'? (allowed: exact)",
        ),
        (
            f"{ASKED}gates:\n- {{only: m, metric: exact, at_leats: 0.5}}",
            "some.yaml:6: unknown key 'at_leats'; did you mean 'at_least'? (allowed: only, metric,",
        ),
        (
            f"{ASKED}gates:\n- {{only: m, metric: exact, at_least: 85}}",
            "some.yaml:6: gates.0.at_least: expected a fraction from 0 to 1 or a percentage",
        ),
        (
            f"{ASKED}gates:\n" + "- {only: m, metric: exact, at_least: 0.5}\n" * 2,
            "some.yaml:7: a gate named 'm.at_least' stands on line 6 already",
        ),
        (
            f"{ASKED}split: {{part: tets, of: {{train: 0.5, test: 0.5}}}}",
            "some.yaml:5: unknown part 'tets'; did you mean 'test'? (allowed: train, test)",
        ),
        (
            f"{ASKED}split: {{part: test, of: {{train: 0.5, test: 0.4}}}}",
            "some.yaml:5: the parts must add up to 1, found 0.9",
        ),
        (
            f"{ASKED}split: {{part: test, of: {{train: 0.999999, test: 0.000001}}}}",
            "some.yaml:5: no item falls into the part 'test'",
        ),
        (f"{ASKED}tools: {{}}", "some.yaml:5: tools: expected a list, found a mapping"),
        (f"{ASKED}tools: [{{name: x}}]", "some.yaml:5: the key 'type' is missing"),
        (
            f"{ASKED}tools:\n- {{type: function, function: {{name: a b}}}}",
            (
                "some.yaml:6: tools.0.function.name: expected 1 to 64 letters, digits, '_' or '-', "
                "found 'a b'"
            ),
        ),
        (
            f"{ASKED}tools:\n" + "- {type: function, function: {name: x}}\n" * 2,
            "some.yaml:7: the tool 'x' is given twice",
        ),
        (
            ASKED.replace(ITEMS, "items: 7\n"),
            "some.yaml:1: items: expected a data file or a list, found 7",
        ),
    ],
)
def test_each_mistake_of_a_suite_has_its_place_and_its_words(
    tmp_path: Path, text: str, words: str
) -> None:
    assert refusal(tmp_path, text).startswith(words)


def test_all_mistakes_of_a_suite_are_told_at_once(tmp_path: Path) -> None:
    words = refusal(tmp_path, "items: x.jsonl\nprompt: 7\nscore: []\nlimit: 0\nmore: 1\n")
    assert [line.split(": ")[0][-1] for line in words.splitlines()] == ["2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ASKED.replace(ITEMS, "items: []\n"), "some.yaml: the dataset is empty"),
        (
            ASKED.replace(ITEMS, "items:\n- {id: x, answer: 1}\n- 7\n"),
            "some.yaml:3: expected an object",
        ),
        (
            ASKED.replace(ITEMS, "items:\n- {id: x, answer: 1}\n- {id: x, answer: 2}\n"),
            "some.yaml:3: the id 'x' is given on line 2 already; ids must be unique",
        ),
        (
            ASKED.replace(ITEMS, "items:\n- {id: x, anser: 1}\n"),
            "some.yaml:2: no field 'answer', which is the target; the row has: anser, id; did you",
        ),
        (ASKED.replace(ITEMS, "items: data/nowhere.jsonl\n"), "data/nowhere.jsonl: no such file"),
    ],
)
def test_each_mistake_of_its_items_has_its_place(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text, DatasetError).startswith(words)


def test_a_mistake_in_a_template_has_its_own_line(tmp_path: Path) -> None:
    words = refusal(tmp_path, BASE + "prompt:\n- user: |\n    One\n    {{ aa }}\n", TemplateError)
    assert words.startswith("some.yaml:7: 'aa' is undefined: no item has such a field; fields: a, ")
    (tmp_path / "ask.txt").write_text("One\nTwo {{ aa }}", encoding="utf-8")
    words = refusal(tmp_path, BASE + "prompt: {file: ask.txt}", TemplateError)
    assert words.startswith("ask.txt:2: 'aa' is undefined")


# Markers ------------------------------------------------------------------------------------------


def marked(folder: Path, *positional: Any, limit: int | None = None, **arguments: Any) -> Suite:
    return suite_from_marker(
        arguments,
        path=folder / "test_x.py",
        origin="tests/test_x.py::test_capitals",
        positional=positional,
        line=12,
        limit=limit,
    )


def test_a_marker_describes_a_suite(tmp_path: Path) -> None:
    (tmp_path / "capitals.csv").write_text("id,country\nfr,France\nes,Spain\n", encoding="utf-8")
    suite = marked(
        tmp_path,
        items="capitals.csv",
        prompt="What is the capital of {{ country }}?",
        tags=("facts",),
    )
    assert (suite.name, suite.origin) == ("test_capitals", "tests/test_x.py::test_capitals")
    assert suite.is_function
    assert (suite.scorers, suite.tags) == ((), ("facts",))
    assert texts(suite, 1) == [("user", "What is the capital of Spain?")]
    assert suite.prompts[0].line == 12


def test_a_marker_takes_pythons_own_values(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "x", "a": 1}', encoding="utf-8")
    assert len(marked(tmp_path, items=tmp_path / "q.jsonl", prompt="{{ a }}").items) == 1
    suite = marked(
        tmp_path,
        items=({"id": 7, "a": 1, "answer": 2.5}, {"id": 8, "a": 2, "answer": True}),
        prompts={"plain": "{{ a }}", "chat": [{"system": "hi"}, {"user": "{{ a }}"}]},
        target="answer",
        score=["exact", {"numeric": {"tolerance": 1}}],
        sampling={"max_tokens": 3, "stop": ("x",)},
        repeats=2,
        only="tiny-l",
        limit=1,
    )
    assert [item.id for item in suite.items] == ["8"]
    assert suite.items[0].target == "true"
    assert [scorer.name for scorer in suite.scorers] == ["exact", "numeric"]
    assert suite.sampling == {"max_tokens": 3, "stop": ("x",)}
    assert (suite.repeats, suite.only) == (2, ("tiny-l",))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": "x"}, "12: the key 'items' is missing"),
        ({"items": [{"a": 1}]}, "12: the key 'prompt' is missing"),
        ({"items": [{"a": 1}], "promt": "x"}, "12: unknown key 'promt'; did you mean 'prompt'?"),
        ({"items": [{"a": 1}], "prompt": "x", "gates": []}, "12: unknown key 'gates'"),
        (
            {"items": object(), "prompt": "x"},
            "12: items: expected a data file or a list, found <obj",
        ),
        (
            {"items": [{"a": 1}, {"a": 1}], "prompt": "x"},
            "12: the same row stands on line 12 already",
        ),
        ({"items": [{"a": {1}}], "prompt": "x"}, "12: a value that JSON cannot hold"),
        ({"items": [{"a": 1}], "prompt": "{{ b }}"}, "12: 'b' is undefined"),
    ],
)
def test_each_mistake_of_a_marker_has_its_place(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        marked(tmp_path, **arguments)
    assert str(caught.value).startswith(f"{tmp_path / 'test_x.py'}:{words}")


def test_a_marker_takes_keywords_only(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="llmeval takes keyword arguments only, found 'capitals"):
        marked(tmp_path, "capitals.csv", prompt="x")


@pytest.mark.parametrize(
    ("keys", "limit", "seeds"),
    [
        ("seed: 3\n", None, {}),
        ("seed: 3\nlimit: 2\n", None, {"items": 3}),
        ("seed: 3\n", 1, {"items": 3}),
        ("seed: 3\nstop: {when: decided}\n", None, {"order": 3}),
        ("seed: 3\nlimit: 1\nstop: {when: decided}\n", None, {"items": 3, "order": 3}),
    ],
)
def test_a_suite_tells_by_which_seed_its_items_were_chosen(
    tmp_path: Path, keys: str, limit: int | None, seeds: dict[str, int]
) -> None:
    path = tmp_path / "s.yaml"
    items = "items: [{q: a, answer: x}, {q: b, answer: y}]\n"
    rest = 'target: answer\nscore: exact\nprompt: "{{ q }}"\n'
    path.write_text(items + rest + keys, encoding="utf-8")
    assert load_suite(path, "suites/s.yaml", limit=limit).seeds == seeds


STOP = "stop: {when: decided}\n"
ROWS = [f"{{id: i{n}, a: {n}, answer: x}}" for n in range(20)]
REST = 'target: answer\nscore: exact\nprompt: "{{ a }}"\n'
TWENTY_ASKED = f"items: [{', '.join(ROWS)}]\n{REST}"


def test_a_suite_that_may_stop_has_its_items_in_a_random_order(tmp_path: Path) -> None:
    plain, stopping = load(tmp_path, TWENTY_ASKED), load(tmp_path, TWENTY_ASKED + STOP)
    assert stopping.stop == StopSpec(0.05, "decided", line=5)
    assert ids(plain) == [f"i{n}" for n in range(20)] != ids(stopping)
    assert sorted(ids(plain)) == sorted(ids(stopping))
    assert plain.dataset_hash == stopping.dataset_hash
    assert ids(load(tmp_path, TWENTY_ASKED + STOP + "seed: 1\n")) != ids(stopping)


def test_the_order_does_not_depend_on_that_of_the_file_nor_on_a_limit(tmp_path: Path) -> None:
    stopping = load(tmp_path, TWENTY_ASKED + STOP)
    turned = load(tmp_path, f"items: [{', '.join(ROWS[::-1])}]\n{REST}{STOP}")
    assert ids(turned) == ids(stopping)
    few = load(tmp_path, TWENTY_ASKED + STOP, limit=7)
    assert ids(few) == [name for name in ids(stopping) if name in ids(few)]


def test_the_order_is_another_choice_than_the_limit(tmp_path: Path) -> None:
    """Else the first items asked would be those that a smaller limit takes."""
    few = load(tmp_path, TWENTY_ASKED, limit=7)
    assert set(ids(load(tmp_path, TWENTY_ASKED + STOP))[:7]) != set(ids(few))


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        ("{when: bored}", "stop.when: unknown value 'bored' (allowed: decided)"),
        ("{alpha: 0.1}", "the key 'when' is missing"),
        ("{when: decided, alpha: 0}", "stop.alpha: expected more than 0"),
        ("{when: decided, alpha: 0.6}", "stop.alpha: expected at most 0.5"),
        ("{when: decided, beta: 1}", "unknown key 'beta' (allowed: when, alpha)"),
        ("decided", "stop: expected a mapping"),
    ],
)
def test_a_stop_that_means_nothing_is_refused(tmp_path: Path, stop: str, words: str) -> None:
    assert words in refusal(tmp_path, f"{ASKED}stop: {stop}\n")


def test_a_marker_cannot_stop_early_for_its_test_is_the_judge(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="unknown key 'stop'"):
        marked(tmp_path, items=[{"q": "a"}], prompt="x", stop={"when": "decided"})
