"""Prompts: rendered, checked against items, hashed."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import TemplateError
from pytest_llmeval.inputs.prompts import Place, check, literal, make_variant, render
from pytest_llmeval.records import Item, Message, PromptVariant


def item(id_: str = "x", **fields: Any) -> Item:
    return Item(id_, id_, fields, None)


def asking(template: str, *, system: str | None = None) -> PromptVariant:
    messages = [Message("system", system)] if system is not None else []
    return make_variant("plain", [*messages, Message("user", template)], 5)


def rendered(template: str, **fields: Any) -> str:
    return render(asking(template), item(**fields))[-1].content


def refusal(template: str, *items: Item, by_line: bool = True) -> str:
    with pytest.raises(TemplateError) as caught:
        check(asking(template), items, [Place(Path("s.yaml"), 10, by_line)])
    return str(caught.value)


# Rendering ----------------------------------------------------------------------------------------


def test_every_message_is_rendered_with_the_items_fields() -> None:
    messages = render(
        asking("{{ a }} + {{ b }} =", system="Be {{ how }}."), item(a=1, b=2, how="brief")
    )
    assert messages == (Message("system", "Be brief."), Message("user", "1 + 2 ="))


def test_text_is_neither_escaped_nor_trimmed() -> None:
    assert rendered("\n<{{ a }}> \n", a="<b> & 'c' {{ d }}") == "\n<<b> & 'c' {{ d }}> \n"


def test_tojson_writes_plain_json() -> None:
    assert rendered("{{ a | tojson }}", a={"z": "<ü>", "a": None}) == '{"z": "<ü>", "a": null}'


def test_two_variants_of_the_same_hash_are_not_mistaken_for_each_other() -> None:
    one = PromptVariant("", (Message("user", "{{ a }}"),), "same")
    two = PromptVariant("", (Message("user", "{{ b }}"),), "same")
    assert [render(v, item(a=1, b=2))[0].content for v in (one, two)] == ["1", "2"]


def test_rendering_an_item_that_cannot_be_names_it() -> None:
    with pytest.raises(
        TemplateError, match="cannot be rendered for the item 'x': 'a' is undefined; its"
    ):
        render(asking("{{ a }}"), item(b=1))


def test_a_field_may_have_the_name_of_a_helper() -> None:
    check(asking("{{ range }}"), [item(range="1 to 3")])
    assert rendered("{{ range }}", range="1 to 3") == "1 to 3"


@given(st.text(alphabet="{}%#-' a\n"))
def test_a_literal_renders_to_itself(text: str) -> None:
    assert rendered(literal(text)) == text


def test_the_hash_knows_roles_and_texts_and_nothing_else() -> None:
    messages = [Message("system", "a"), Message("user", "b")]
    first = make_variant("plain", messages, 1)
    assert first.hash == make_variant("other", messages, 9).hash
    others = [[Message("user", "a"), messages[1]], [messages[0]], [messages[1], messages[0]]]
    assert len({first.hash, *(make_variant("plain", other, 1).hash for other in others)}) == 4
    assert first.hash == "73957faf47129a699ee68a11842ac241436e43ba38046e226b8ac5b7f20f8727"


# Checking -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        *("no name at all", "{{ a }}", "{% for x in many %}{{ loop.index }}{{ x }}{% endfor %}"),
        *("{% set z = 1 %}{{ z }}", "{{ range(3) | join }}", "{{ hint or '' }}"),
        *("{% if hint is not none %}{{ hint }}{% endif %}", "{{ many[0] | upper }}"),
    ],
)
def test_a_template_that_all_items_can_fill_passes(template: str) -> None:
    check(asking(template), [item(a=1, many=["p"], hint=None), item(a=2, many=["q"], hint="h")])


def test_a_name_that_only_some_items_have_passes_where_the_template_asks_for_it() -> None:
    items = [item(a=1), item(a=2, hint="h")]
    check(asking("{{ a }}{% if hint is defined %}{{ hint }}{% endif %}"), items)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            "x\n{{ qestion }}",
            (
                "s.yaml:11: 'qestion' is undefined: no item has such a field; fields: answer, "
                "question; did you mean 'question'?"
            ),
        ),
        (
            "{% if hint is defined %}{{ hint }}{% endif %}",
            "s.yaml:10: 'hint' is undefined: no item has such a field; fields: answer, question",
        ),
        ("\n{{ question", "s.yaml:11: unexpected end of template"),
        ("{% if question %}", "s.yaml:10: Unexpected end of template"),
        ("{{ question | uper }}", "s.yaml:10: No filter named 'uper'."),
        ("{{ question is odd_ }}", "s.yaml:10: No test named 'odd_'."),
        ("{{ question | random }}", "s.yaml:10: No filter named 'random'."),
        ("{{ lipsum() }}", "s.yaml:10: 'lipsum' is undefined"),
        (
            "a\nb\n{% include 'x' %}",
            "s.yaml:12: 'include' is not available: a template stands alone",
        ),
        ("{% from 'x' import y %}", "s.yaml:10: 'import' is not available"),
        ("{% extends 'x' %}", "s.yaml:10: 'extends' is not available"),
        (
            "\n\n{{ question.text }}",
            (
                "s.yaml:12: cannot be rendered for the item 'one': 'str object' has no attribute "
                "'text'; its fields: question, answer"
            ),
        ),
        ("{{ question + 1 }}", "s.yaml:10: cannot be rendered for the item 'one': can only"),
        (
            "\n{{ question.__class__ }}",
            (
                "s.yaml:11: cannot be rendered for the item 'one': access to attribute '__class__' "
                "of 'str' object is unsafe;"
            ),
        ),
        (
            "{{ range(10**9) | list }}",
            "s.yaml:10: cannot be rendered for the item 'one': Range too big",
        ),
    ],
)
def test_each_mistake_has_its_line_and_words(template: str, words: str) -> None:
    found = refusal(template, item("one", question="q", answer="a"))
    assert found.lower().startswith(words.lower())


def test_the_first_item_that_lacks_a_field_is_named() -> None:
    items = [item("one", a=1), item("two", b=1), item("three", c=1)]
    words = refusal("{{ a }}", *items)
    assert (
        words == "s.yaml:10: cannot be rendered for the item 'two': 'a' is undefined; its fields: b"
    )


def test_a_null_is_not_written_as_none() -> None:
    words = refusal("{{ a }}", item("one", a=1), item("two", a=None))
    assert words.startswith("s.yaml:10: cannot be rendered for the item 'two': a value is null")


def test_the_first_item_that_a_template_chokes_on_is_named() -> None:
    words = refusal("{{ a[0] }}", item("one", a=["x"]), item("two", a=[]))
    assert "the item 'two'" in words


def test_a_folded_template_is_blamed_as_a_whole() -> None:
    assert refusal("x\n\n{{ b }}", item(a=1), by_line=False).startswith("s.yaml:10: ")


def test_an_item_cannot_be_changed_by_a_template() -> None:
    words = refusal("{{ a.append(1) }}", item("one", a=[]))
    assert "access to attribute 'append' of 'list' object is unsafe" in words


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ q.items }}", "the method or helper 'items', and no text; a field of that name"),
        ("{{ q.items }}", "inside the field q is written q['items'], not q.items"),
        ("{{ a.title }}", "the method or helper 'title'"),
        ("{{ dict }}", "the method or helper 'dict'"),
        ("{{ a | map('upper') }}", "a value is a generator, and no text; add |list or |join"),
        ("{{ l | reverse }}", "and no text; add |list or |join"),
        ("{% set c = cycler(1, 2) %}{{ c }}", "a value is a Cycler, and no text"),
    ],
)
def test_what_python_shows_by_its_address_is_refused(template: str, words: str) -> None:
    one = item(a="b", q={"items": [1]}, l=[1, 2])
    assert words in refusal(template, one)
    with pytest.raises(TemplateError, match="and no text"):
        render(asking(template), one)


def test_what_was_refused_has_a_way_out() -> None:
    assert rendered("{{ q['items'] }}", q={"items": "x"}) == "x"
    assert rendered("{{ a | map('upper') | join(', ') }}", a="bc") == "B, C"
    assert rendered("{{ range }}", range="1 to 5") == "1 to 5"


def test_a_boolean_is_written_as_in_json() -> None:
    assert rendered("{{ a }} {{ b }} {{ 1 == 2 }} {{ n }}", a=True, b=False, n=1) == (
        "true false false 1"
    )
