"""The scorers json_valid, json_schema and json_fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.records import Answer, FinishReason, Item, Score, ScorerSpec
from pytest_llmeval.scoring import schemas
from pytest_llmeval.scoring.scorer import make_scorer


def judged(
    scorer: str,
    text: str,
    target: Any = None,
    finish_reason: FinishReason = "stop",
    item_fields: dict[str, Any] | None = None,
    **options: Any,
) -> Score:
    made = make_scorer(ScorerSpec(scorer, options))
    return made(Answer(text, finish_reason), Item("one", "one", item_fields or {}, target))


# json_valid ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        "[]",
        "5",
        "-0.5e-3",
        "null",
        '"text"',
        ' \n{"a": [true, {}]}\t\n',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}\n```',
        'Here it is:\n```json\n{"a": 1}\n```\nAnything else?',
        '<think>{"b":</think>{"a": 1}',
        '<answer>{"a": 1}</answer>',
        '{"a": "```"}',
        '{"a": 1, "a": 2}',
        '{"a": "</think>"}',
        '{"a": "<think>x</think>"}',
        '["<answer>", "```\\n", "</s>"]',
        '{"é": "\\u00e9"}',
    ],
)
def test_what_is_json_is_right_a_fence_or_reasoning_around_it_or_not(text: str) -> None:
    assert judged("json_valid", text).outcome == "right"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'a': 1}", "Expecting property name"),
        ("[1e999]", "1e999 is too large a number"),
        ('{"a": -1E400}', "-1E400 is too large a number"),
        ('{"a": 1,}', "line 1, column"),
        ("[1, 2", "line 1, column"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[Infinity]", "Infinity is no number of JSON"),
        ("-Infinity", "-Infinity is no number of JSON"),
        ('{"a": 01}', "line 1"),
        ('{"a": .5}', "line 1"),
        ('{"a": 1} // one', "Extra data"),
        ("{a: 1}", "Expecting property name"),
        ('{"a": True}', "Expecting value"),
        ('{"a": "two\nlines"}', "Invalid control character"),
        ('Here it is: {"a": 1}', "Expecting value"),
        ("```json\n{}\n```\nor\n```json\n[]\n```", "Extra data"),
        ("yes", "Expecting value"),
        ("[" * 100_000 + "]" * 100_000, "more than 100 lists and mappings stand inside each other"),
    ],
)
def test_what_is_not_json_to_the_letter_is_wrong_with_the_place(text: str, words: str) -> None:
    score = judged("json_valid", text)
    assert (score.outcome, score.value) == ("wrong", 0.0)
    assert words in score.stages[-1]


def test_a_key_given_twice_is_recorded_and_its_last_value_counts() -> None:
    score = judged(
        "json_fields", '{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}', {"a": 3, "b": {"c": 2}}
    )
    assert score.outcome == "right"
    assert "extract: the whole text; given twice, the last counts: 'c', 'a'" in score.stages


@pytest.mark.parametrize("scorer", ["json_valid", "json_schema", "json_fields"])
def test_json_that_was_cut_off_or_refused_is_no_answer(scorer: str) -> None:
    target = {"type": "object"}
    assert judged(scorer, '{"a": ', target, "length").reason == "truncated"
    assert judged(scorer, "I can't help with that.", target).reason == "refusal"
    assert judged(scorer, "", target).reason == "empty"
    assert judged(scorer, "<think>{}", target).reason == "unparsed"


# json_schema --------------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["a", 1]}, "uniqueItems": True},
        "kind": {"const": 1},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "outcome", "words"),
    [
        ('{"name": "Ann", "age": 30}', "right", "the schema is kept to"),
        ('{"name": "Ann", "age": 30.0}', "right", "kept"),  # a whole number is an integer
        ('{"name": "Ann", "age": true}', "wrong", "at $.age: True is not of type 'integer'"),
        ('{"name": "Ann", "age": "30"}', "wrong", "at $.age: '30' is not of type"),
        ('{"name": "Ann", "age": 30.5}', "wrong", "at $.age"),
        ('{"name": "Ann", "age": -1}', "wrong", "at $.age: -1 is less than the minimum of 0"),
        ('{"name": "Ann", "kind": 1.0}', "right", "kept"),
        ('{"name": "Ann", "kind": true}', "wrong", "at $.kind: 1 was expected"),
        ('{"name": "Ann", "tags": ["a", true]}', "wrong", "at $.tags[1]: True is not one of"),
        ('{"name": "Ann", "tags": [1, 1.0]}', "wrong", "at $.tags: [1, 1.0] has non-unique"),
        ('{"name": "ann"}', "wrong", "at $.name: 'ann' does not match"),
        ('{"age": 30}', "wrong", "at $: 'name' is a required property"),
        ('{"name": "Ann", "x": 1}', "wrong", "at $: Additional properties are not allowed"),
        ("[]", "wrong", "at $: [] is not of type 'object'"),
        ("null", "wrong", "at $: None is not of type"),
        ('```json\n{"name": "Ann"}\n```', "right", "kept"),
        ('{"name": "Ann", "age": NaN}', "wrong", "NaN is no number of JSON"),
        ("My name is Ann.", "wrong", "no JSON"),
    ],
)
def test_an_answer_keeps_to_a_schema_or_the_first_breach_is_told_with_its_place(
    text: str, outcome: str, words: str
) -> None:
    score = judged("json_schema", text, schema=PERSON)
    assert score.outcome == outcome
    assert words in score.stages[-1]


@pytest.mark.parametrize("schema", [PERSON, json.dumps(PERSON)])
def test_the_schema_may_stand_in_the_item(schema: Any) -> None:
    good, bad = '{"name": "Ann"}', '{"name": 5}'
    in_field: dict[str, Any] = {"item_fields": {"form": schema}, "schema_field": "form"}
    assert judged("json_schema", good, schema).outcome == "right"
    assert judged("json_schema", bad, schema).outcome == "wrong"
    assert judged("json_schema", good, **in_field).outcome == "right"
    assert judged("json_schema", bad, **in_field).outcome == "wrong"


def test_draft_2020_12_is_spoken() -> None:
    tuples = {"prefixItems": [{"type": "integer"}], "items": False}
    assert judged("json_schema", "[1]", schema=tuples).outcome == "right"
    assert judged("json_schema", "[1, 2]", schema=tuples).outcome == "wrong"
    within = {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}
    assert judged("json_schema", "1", schema=within).outcome == "right"
    assert judged("json_schema", '"1"', schema=within).outcome == "wrong"
    dated = {"type": "string", "format": "date"}
    assert judged("json_schema", '"someday"', schema=dated).outcome == "right"  # a remark


def test_patterns_of_keys_are_searched_too() -> None:
    schema = {"patternProperties": {"^n_": {"type": "integer"}}}
    assert judged("json_schema", '{"n_a": 1, "b": "x"}', schema=schema).outcome == "right"
    score = judged("json_schema", '{"n_a": "1"}', schema=schema)
    assert (score.outcome, score.stages[-1]) == (
        "wrong",
        "compare: at $.n_a: '1' is not of type 'integer'",
    )


def test_a_pattern_that_backtracks_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_llmeval.scoring.pattern.TIME_LIMIT", 0.05)
    with pytest.raises(TimeoutError, match=r"took longer than 0\.05 s"):
        judged("json_schema", json.dumps("a" * 60 + "!"), schema={"pattern": "(a|aa)+(b|bb)+$"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schema": {"type": "strin"}}, "no JSON Schema (Draft 2020-12): at $.type: 'strin' is"),
        ({"schema": {"pattern": "("}}, "no JSON Schema (Draft 2020-12): at $.pattern"),
        ({"schema": "object"}, "option schema of scorer json_schema must be a mapping or null"),
        ({"schema": {}, "schema_field": "form"}, "schema and schema_field exclude each other"),
    ],
)
def test_a_schema_that_is_none_is_refused_when_the_suite_is_read(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ScorerError) as caught:
        make_scorer(ScorerSpec("json_schema", options, line=3), path="suites/people.yaml")
    assert str(caught.value).startswith("suites/people.yaml:3: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        (None, {}, "item one has no target that is a schema: None; it looks like {type: object}"),
        ("{", {}, "the schema { is no JSON"),
        ({"type": 5}, {}, "no JSON Schema"),
        (None, {"schema_field": "forn"}, r"no field 'forn', .* did you mean form\?"),
        (None, {"schema_field": "form"}, "field form of item one is no schema: 5"),
    ],
)
def test_an_items_schema_that_is_none_is_the_items_fault(
    target: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        judged("json_schema", "{}", target, item_fields={"form": 5}, **options)


def test_a_reference_to_elsewhere_is_never_fetched() -> None:
    with pytest.raises(ScorerError, match=r"'http://127\.0\.0\.1:1/x', .* nothing is fetched"):
        judged("json_schema", "{}", schema={"$ref": "http://127.0.0.1:1/x"})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"items": {"$ref": "#/$defs/nope"}}}},
        {"$id": "http://x/a", "$defs": {"b": {"$id": "b", "$ref": "c"}}},
        {"maxLength": 5, "properties": {"a": {"$ref": "#/maxLength/x"}}},
        {"allOf": [{"$ref": "#/allOf/x"}]},
        {"title": "a", "properties": {"b": {"$ref": "#/title"}}},
    ],
)
def test_a_reference_to_nothing_is_told_before_anything_is_asked(schema: dict[str, Any]) -> None:
    with pytest.raises(ScorerError, match="which is not in it; nothing is fetched"):
        make_scorer(ScorerSpec("json_schema", {"schema": schema}, line=3), path="suites/a.yaml")


@pytest.mark.parametrize("draft", ["2020-12/schema", "2020-12/meta/core"])
def test_the_drafts_of_json_schema_are_known(draft: str) -> None:
    schema = {"$ref": f"https://json-schema.org/draft/{draft}"}
    assert judged("json_schema", '{"$defs": {}}', schema=schema).outcome == "right"
    assert judged("json_schema", '{"$defs": 1}', schema=schema).outcome == "wrong"


def test_references_within_a_schema_are_followed_by_path_anchor_and_id() -> None:
    schema = {
        "$id": "http://x/a",
        "$defs": {"b": {"$id": "b", "type": "integer"}, "c": {"$anchor": "c", "const": 1}},
        "allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#c"}, {"$ref": "b"}, {"$ref": "http://x/b"}],
        "enum": [1, {"$ref": "#/only/a/value"}],
    }
    assert judged("json_schema", "1", schema=schema).outcome == "right"


@pytest.mark.parametrize("where", ["file:///etc/passwd", "other.json", "#/$defs/none"])
def test_a_reference_to_a_file_is_not_read(where: str) -> None:
    with pytest.raises(ScorerError, match="which is not in it; nothing is fetched"):
        judged("json_schema", "{}", schema={"$ref": where})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("[1, 2, true, false, 0, null, [], {}, [0]]", "right"),
        ("[1, 1.0]", "wrong"),
        ('[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]', "wrong"),
        ('["1", 1, "true", true]', "right"),
        (json.dumps([{"a": number} for number in range(20_000)]), "right"),
    ],
)
def test_entries_are_unique_by_value_and_looked_at_once(text: str, outcome: str) -> None:
    """Pair by pair, the twenty thousand would take a quarter of an hour."""
    assert judged("json_schema", text, schema={"uniqueItems": True}).outcome == outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("1.0", "right"), ("true", "wrong"), ('"1"', "wrong"), ('{"b": [2.0], "a": 1}', "right")],
)
def test_a_value_is_one_of_several_by_its_value(text: str, outcome: str) -> None:
    schema = {"enum": [1, False, {"a": 1, "b": [2]}]}
    assert judged("json_schema", text, schema=schema).outcome == outcome


def test_what_is_allowed_is_looked_through_once_for_all_entries() -> None:
    """Entry by entry it takes a minute."""
    schema = {"items": {"enum": [{"a": number} for number in range(500)]}}
    many = json.dumps([{"a": 499}] * 20_000)
    assert judged("json_schema", many, schema=schema).outcome == "right"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"unevaluatedItems": False}, [1]),
        ({"unevaluatedProperties": False}, {"a": 1}),
    ],
)
def test_what_is_unevaluated_is_not_looked_for_without_end(
    schema: dict[str, Any], value: Any
) -> None:
    assert judged("json_schema", json.dumps(value), schema=schema).outcome == "wrong"
    many = dict.fromkeys(map(str, range(20_001)), 1)
    text = json.dumps(many if isinstance(value, dict) else list(many))
    with pytest.raises(ValueError, match="among too many: 20,000 in one place at most"):
        judged("json_schema", text, schema=schema)
    (key,) = schema
    for _ in range(16):  # each looks into all that it contains
        schema = {"allOf": [schema], key: False}
    with pytest.raises(ValueError, match="looked for more than 100,000 times"):
        judged("json_schema", json.dumps(type(value)()), schema=schema)


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}}]
)
def test_a_schema_that_is_only_itself_is_told(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the schema refers to itself without end"):
        judged("json_schema", "{}", schema=schema)


def test_references_that_double_are_not_followed_for_years() -> None:
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, 60)}
    schema = {"$ref": "#/$defs/a59", "$defs": {"a0": {}, **twice}}
    with pytest.raises(ValueError, match="more than 50,000 references were followed for one"):
        judged("json_schema", "{}", schema=schema)


def test_an_answer_of_many_texts_does_not_multiply_the_time_of_patterns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schemas, "_MOST_SECONDS", 0.0)
    with pytest.raises(TimeoutError, match="the patterns of the schema took longer than 0 s"):
        judged("json_schema", '["a", "b"]', schema={"items": {"pattern": "^a"}})


LETTERS: dict[str, Any] = {"patternProperties": {r"^\p{L}$": {}}}


@pytest.mark.parametrize(
    ("text", "schema", "outcome"),
    [
        ("0.3", {"multipleOf": 0.1}, "right"),
        ("19.99", {"multipleOf": 0.01}, "right"),
        ("0.35", {"multipleOf": 0.1}, "wrong"),
        ("7", {"multipleOf": 2}, "wrong"),
        ("1e300", {"multipleOf": 1e-300}, "right"),
        ('"x"', {"multipleOf": 2}, "right"),
        ('"é"', {"pattern": r"^\p{L}+$"}, "right"),
        ('"5"', {"pattern": r"^\p{L}+$"}, "wrong"),
        (
            '{"é": 1}',
            {"patternProperties": {r"^\p{L}$": {}}, "additionalProperties": False},
            "right",
        ),
        (
            '{"5": 1}',
            {"patternProperties": {r"^\p{L}$": {}}, "additionalProperties": False},
            "wrong",
        ),
        ('{"b": 1}', {"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, "wrong"),
        ('{"b": null}', {"additionalProperties": {"type": "null"}}, "right"),
        ("[]", {"additionalProperties": False}, "right"),
        ('{"a": 1}', {"properties": {"a": {}}, "unevaluatedProperties": False}, "right"),
    ],
)
def test_numbers_are_counted_by_their_digits_and_patterns_are_those_of_regex(
    text: str, schema: dict[str, Any], outcome: str
) -> None:
    score = judged("json_schema", text, schema=schema)
    assert score.outcome == outcome, score.stages


def test_a_pattern_of_properties_that_backtracks_without_end_is_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pytest_llmeval.scoring.pattern.TIME_LIMIT", 0.05)
    schema = {"additionalProperties": False, "patternProperties": {r"^(\w|\w\w|\w+)+$": {}}}
    with pytest.raises(TimeoutError, match=r"took longer than 0\.05 s"):
        judged("json_schema", json.dumps({"a" * 5000 + "!": 1}), schema=schema)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            {"allOf": [{"patternProperties": {"a": {}}}], "unevaluatedProperties": False},
            "unevaluatedProperties and patternProperties cannot be bounded in time; additional",
        ),
        (
            {"pattern": "("},
            r"no JSON Schema \(Draft 2020-12\): at \$.pattern: '\(' is not a 'regex'",
        ),
        ({"patternProperties": {"(": {}}}, "no JSON Schema"),
    ],
)
def test_a_schema_that_cannot_be_searched_is_refused_when_the_suite_is_read(
    schema: dict[str, Any], words: str
) -> None:
    with pytest.raises(ScorerError, match=words):
        make_scorer(ScorerSpec("json_schema", {"schema": schema}))


def test_fences_without_an_end_are_read_in_one_pass() -> None:
    """Tried again from every fence, this would take minutes."""
    for _ in range(5):
        assert judged("json_valid", "```json\n" * 40_000 + "x").outcome == "wrong"


# json_fields --------------------------------------------------------------------------------------

ANN = {"name": "Ann", "age": 30, "address": {"city": "Oslo", "zip": "0150"}, "pets": ["cat"]}


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 1),
        ({"more": "is no matter"}, 1),
        ({"age": 30.0}, 1),
        ({"age": "30"}, 3 / 4),
        ({"age": True}, 3 / 4),
        ({"age": None}, 3 / 4),
        ({"address": {"zip": "0150", "city": "Oslo"}}, 1),
        ({"address": {"city": "Oslo"}}, 3 / 4),
        ({"pets": ["cat", "dog"]}, 3 / 4),
        ({"name": "ann", "age": 31, "address": 0, "pets": 0}, 0),
    ],
)
def test_the_share_of_right_fields_is_the_score(changes: dict[str, Any], value: float) -> None:
    score = judged("json_fields", json.dumps({**ANN, **changes}), ANN)
    assert score.value == value
    assert score.outcome == ("right" if value == 1 else "wrong" if value == 0 else "graded")
    all_or_nothing = judged("json_fields", json.dumps({**ANN, **changes}), ANN, require="all")
    assert all_or_nothing.outcome == ("right" if value == 1 else "wrong")


@pytest.mark.parametrize(
    ("fields", "answer", "value"),
    [
        (["name", "address.city"], {"name": "Ann", "address": {"city": "Oslo"}}, 1),
        (["name", "address.city"], {"name": "Ann", "address": {"city": "Bern"}}, 1 / 2),
        (["name", "address.city"], {"name": "Ann", "address": "Oslo"}, 1 / 2),
        (["pets.0"], {"pets": ["cat", "dog"]}, 1),
        (["pets.0"], {"pets": []}, 0),
        (["pets.0"], {"pets": "cat"}, 0),
    ],
)
def test_a_path_leads_into_objects_and_lists(fields: list[str], answer: Any, value: float) -> None:
    assert judged("json_fields", json.dumps(answer), ANN, fields=fields).value == value


def test_a_key_that_has_dots_is_found_as_it_stands() -> None:
    assert judged("json_fields", '{"a.b": 1}', {"a.b": 1}).outcome == "right"
    assert judged("json_fields", '{"a.b": 2}', {"a.b": 1}).outcome == "wrong"


def test_null_is_a_value_and_nothing_is_none() -> None:
    assert judged("json_fields", '{"a": null}', {"a": None}).outcome == "right"
    score = judged("json_fields", "{}", {"a": None})
    assert (score.outcome, score.stages[-1]) == (
        "wrong",
        "compare: 0 of 1 fields right; a is missing",
    )


def test_what_is_wrong_is_recorded_field_by_field() -> None:
    score = judged("json_fields", '{"name": "Bob", "age": 30}', {"name": "Ann", "age": 30, "x": 1})
    assert score.stages == (
        "extract: the whole text",
        'compare: 1 of 3 fields right; name: "Bob" ≠ "Ann"; x is missing',
    )


def test_two_of_three_fields_are_two_thirds() -> None:
    assert judged("json_fields", '{"a": 1, "b": 2}', {"a": 1, "b": 2, "c": 3}).value == 2 / 3


def test_of_several_targets_the_one_that_fits_best_counts() -> None:
    targets = [{"a": 1, "b": 1}, {"a": 2, "b": 2}]
    assert judged("json_fields", '{"a": 2, "b": 2}', targets).outcome == "right"
    assert judged("json_fields", '{"a": 2, "b": 3}', targets).value == 1 / 2


def test_a_target_may_be_json_text_and_an_answer_that_is_no_object_has_no_field() -> None:
    assert judged("json_fields", '{"a": 1}', '{"a": 1}').outcome == "right"
    assert judged("json_fields", "[1]", '{"a": 1}').outcome == "wrong"
    assert judged("json_fields", "a is 1", '{"a": 1}').reason == "unparsed"


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("Oslo", {}, "no object with fields: 'Oslo'; it looks like"),
        ({}, {}, "no object with fields"),
        ([1], {}, "no object with fields"),
        (ANN, {"fields": ["nam"]}, r"of item one has no field 'nam'; did you mean name\?"),
        (ANN, {"fields": ["address.street"]}, r"has no field 'address\.street'"),
    ],
)
def test_a_target_without_the_fields_is_the_items_fault(
    target: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        judged("json_fields", "{}", target, **options)


def test_tags_in_the_texts_of_json_are_values_like_any() -> None:
    text = '{"name": "<think>Ann</think>"}'
    score = judged("json_fields", text, {"name": "<think>Ann</think>"})
    assert (score.outcome, score.stages[0]) == ("right", "extract: the whole text")
    assert judged("json_fields", text, {"name": ""}).outcome == "wrong"


def test_naming_no_field_is_refused() -> None:
    with pytest.raises(ScorerError, match="fields names none; leave it out"):
        make_scorer(ScorerSpec("json_fields", {"fields": []}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=3), JSON, min_size=1))
def test_every_object_has_the_fields_that_it_has(value: dict[str, Any]) -> None:
    assert judged("json_fields", json.dumps(value), value).outcome == "right"
    assert judged("json_valid", json.dumps(value)).outcome == "right"


@given(st.text(max_size=200))
def test_no_text_makes_them_raise(text: str) -> None:
    for scorer in ("json_valid", "json_schema", "json_fields"):
        assert judged(scorer, text, {"type": "object"}).outcome != "failure"
