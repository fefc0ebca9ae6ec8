"""Templates that were written to do harm: no way to Python, and none to fill the machine.

Each of those that are refused would take gigabytes, or hours, without the bound: a bound that does
not hold is noticed.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import SuiteError, TemplateError
from pytest_llmeval.inputs.prompts import check, make_variant, render
from pytest_llmeval.inputs.suites import load_suite
from pytest_llmeval.records import Item, Message

LONG = "a value would have more than 4 Mi characters or entries, the most here"
LARGE = "a number would have more than 10,000 bits, the most here"
WIDE = "a width or a count is more than 100,000, the most here"
SPENT = (
    "the template computes too much: 1,048,576 turns of loops, or 16 Mi characters on the way, are "
    "the most for one rendering"
)
NO_LISTS = "sum adds numbers here; write lists together with +"
ENDLESS = "the template calls itself without end, or is nested too deep"

END = "{% endfor %}"
DOUBLED = (
    "{%% set n = namespace(a='aa') %%}{%% for i in range(40) %%}%s{%% endfor %%}{{ n.a|length }}"
)
# Each holds the one before it twice: nothing to hold, and no end to look at.
TREES = (
    "{% set n = namespace(a=(1,), b=(1,)) %}"
    "{% for i in range(40) %}{% set n.a = (n.a, n.a) %}{% set n.b = (n.b, n.b) %}{% endfor %}"
)

DEEP = (
    "{% set n = namespace(x=range(90000)|list * 8) %}"
    "{% for i in range(190) %}{% set n.x = [n.x] %}{% endfor %}"
)

ROWS = "{% set r = namespace(x=[{'id': 1, 'name': 'a name'}] * 3000) %}"


def rendered(template: str, **fields: Any) -> str:
    item = Item("i", "i", {"q": "x", **fields}, None)
    (message,) = render(make_variant("", [Message("user", template)], 1), item)
    return message.content


def refusal(template: str) -> str:
    with pytest.raises(TemplateError) as caught:
        rendered(template, n=1 << 4_000_000)
    words = str(caught.value)
    return words.removeprefix("cannot be rendered for the item 'i': ").rpartition("; its fields")[0]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ q|attr('__class__') }}",
        "{{ [q]|map(attribute='__class__')|first }}",
        "{{ '{0.__class__}'.format(q) }}",
        "{{ '{a.__class__}'.format_map({'a': q}) }}",
        "{{ '{0[0].__class__}'.format([q]) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ joiner('x').__init__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ dict.mro() }}",
        "{{ range.__class__ }}",
        "{{ self._TemplateReference__context }}",
        "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
        "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
        "{{ q.encode.__self__ }}",
        "{% set x = [] %}{{ x.append(1) }}",
        "{{ {}.update({1: 2}) }}",
        "{{ q.encode() }}",
        "{{ (5).to_bytes(2, 'big') }}",
        "{{ (5).from_bytes([1, 2], 'big') }}",
    ],
)
def test_no_attribute_leads_to_python(template: str) -> None:
    assert "unsafe" in refusal(template)


@pytest.mark.parametrize(
    "statement", ["include 'x'", "import 'x' as x", "from 'x' import y", "extends 'x'"]
)
def test_no_template_loads_another_file(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "s.yaml"
    text = f'items: [{{q: x, id: a}}]\nscore: exact\nprompt: "{{% {statement} %}}"\n'
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises((SuiteError, TemplateError)) as caught:
        load_suite(path, "s.yaml")
    word = "import" if "import" in statement else statement.split(maxsplit=1)[0]
    assert f"{word!r} is not available: a template stands alone" in str(caught.value)
    bare = make_variant("", [Message("user", f"{{% {statement} %}}")], 1)
    with pytest.raises(TemplateError, match="no loader"):
        render(bare, Item("i", "i", {"q": "x"}, None))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ 'a' * 10**9 }}", LONG),
        ("{{ 10**9 * 'a' }}", LONG),
        ("{{ ['a'] * 10**9 }}", LONG),
        ("{{ 2 ** (10**9) }}", LARGE),
        ("{{ 10**2000 * 10**2000 }}", LARGE),
        ("{{ ('f' * 4000000)|int(0, 16) // ('e' * 2000000)|int(0, 16) > 5 }}", LARGE),
        ("{{ n // 7 }}", LARGE),
        ("{{ 7 / n }}", LARGE),
        ("{{ 0 - n }}", LARGE),
        ("{{ q.ljust(10**9) }}", WIDE),
        ("{{ 1|round(-1000000000) }}", WIDE),
        ("{{ '{0:>{1:b}}'.format(q, 1023) }}", WIDE),
        ("{{ '{0:>{1}{2}}'.format(q, 99999, 9999) }}", WIDE),
        ("{{ '{0:>9{1}}'.format(q, 99999) }}", WIDE),
        ("{{ '{0:>\u0669\u0669\u0669\u0669\u0669\u0669\u0669}'.format(q) }}", WIDE),
        ("{{ '{0[}]:>999999999}'.format({'}': q}) }}", WIDE),
        ("{{ '%(a(b))999999999d' % {'a(b)': 5} }}", WIDE),
        ("{{ '%%(%60000000d)' % 1 }}", WIDE),
        ("{{ '%%(%60000000d' % 1 }}", WIDE),
        ("{{ '%(a)%(%9999999d' % {'a': 1} }}", WIDE),
        ("{{ '{:{a}{b}}'.format(q, a='9', b='00000000') }}", WIDE),
        ("{{ '{:{a[0]}}'.format(q, a=[99999999]) }}", WIDE),
        ("{{ '{:{a}}'.format(1.0, a=99999999.0) }}", WIDE),
        ("{{ '{:99999999}{'.format(1.0) }}", WIDE),
        ("{{ q.zfill(10**9) }}", WIDE),
        ("{{ q|center(10**9) }}", WIDE),
        ("{{ [q]|batch(10**9, 'a')|list }}", WIDE),
        ("{{ [q]|slice(10**9)|list }}", WIDE),
        ("{{ '%1000000000d' % 5 }}", WIDE),
        ("{{ '%(n)01000000000d' % {'n': 5} }}", WIDE),
        ("{{ '%*d' % (10**9, 5) }}", WIDE),
        ("{{ '%.1000000000f'|format(5) }}", WIDE),
        ("{{ '{:>1000000000}'.format(q) }}", WIDE),
        ("{{ '{:>{w}}'.format(q, w=10**9) }}", WIDE),
        ("{{ '{:{w}}'.format(q, w='>1000000000') }}", WIDE),
        ("{{ '{q:>{w}}'.format_map({'q': q, 'w': 10**9}) }}", WIDE),
        ("{{ 'a\tb'.expandtabs(10**9) }}", LONG),
        ("{{ 'a\nb'|indent(10**9) }}", LONG),
        ("{{ ('\n' * 100000)|indent('x' * 100000) }}", LONG),
        ("{{ [q]|tojson(10**9) }}", LONG),
        ("{{ ('x' * 100000).replace('x', 'y' * 100000) }}", LONG),
        ("{{ ('x' * 100000)|replace('x', 'y' * 100000) }}", LONG),
        ("{{ range(99999)|join('x' * 100000) }}", LONG),
        ("{{ (['a' * 1000000] * 1000)|join }}", LONG),
        ("{{ ''.join(['a' * 1000000] * 1000) }}", LONG),
        ("{{ [['a' * 1000000] * 1000] }}", LONG),
        ("{{ [['a' * 1000000] * 1000]|string }}", LONG),
        ("{{ [['a' * 1000000] * 1000]|upper }}", LONG),
        ("{{ [[0] * 1000000] * 1000000 }}", LONG),
        ("{{ ([[0] * 1000000] * 1000000)|sum(start=[]) }}", LONG),
        ("{{ ('{0}' * 1000).format('a' * 1000000) }}", LONG),
        ("{{ ('{0:>99999}' * 400000).format(q) }}", LONG),
        ("{{ ('{0:>{1}}' * 400000).format(q, 99999) }}", LONG),
        ("{{ ('%(q)99999s' * 300000) % {'q': q} }}", LONG),
        ("{{ ('%*d' * 1000) % ((99999, 1) * 1000) }}", LONG),
        ("{{ ('%s' * 1000) % (('a' * 1000000,) * 1000) }}", LONG),
        ("{{ range(99999)|map('string')|join('x' * 100000) }}", LONG),
        ("{{ ('x' * 100000).join(range(99999)|map('string')) }}", LONG),
        ("{{ ('x' * 100000).join(dict.fromkeys(range(99999)|map('string'))) }}", LONG),
        ("{{ range(99999)|map(attribute='a', default='x' * 100000)|join }}", SPENT),
        ("{{ range(999)|map(attribute='a', default=[1])|sum(start=[]) }}", NO_LISTS),
        ("{{ ('a\n' * 100000)|wordwrap(1, wrapstring='x' * 100000) }}", LONG),
        ("{{ ('a.org ' * 100000)|urlize(rel='x' * 100000) }}", LONG),
        ("{{ ('a' * 100000).translate({97: 'x' * 100000}) }}", LONG),
        ("{{ ([q] * 100000)|tojson('x' * 100000) }}", LONG),
        (TREES + "{{ n.a == n.b }}", LONG),
        (TREES + "{{ n.a in [n.b] }}", LONG),
        (TREES + "{{ n.a is lt n.b }}", LONG),
        (TREES + "{{ [n.a, n.b]|sort }}", LONG),
        (TREES + "{{ [n.a].count(n.b) }}", LONG),
        (TREES + "{{ {n.a: 1} }}", LONG),
        (TREES + "{{ {}[n.a] }}", LONG),
        (TREES + "{{ {}.get(n.a) }}", LONG),
        ("{{ ('a' * 2000000).strip('b' * 2000000 ~ 'a') }}", SPENT),
        ("{{ ('a' * 2000000)|trim('b' * 2000000 ~ 'a') }}", SPENT),
        ("{{ (['a' * 2000] * 1000)|trim('b' * 2000000 ~ 'a[]') }}", SPENT),
        ("{{ ('a' * 2000000).rfind('ab' ~ 'a' * 1000000) }}", SPENT),
        ("{{ ('a' * 2000000).rsplit('ab' ~ 'a' * 1000000) }}", SPENT),
        ("{{ ('a' * 4000000)|wordwrap(1) }}", SPENT),
        ("{{ ('<>' * 2000000)|striptags }}", SPENT),
        ("{{ ('http://a.b/' ~ '(' * 2000000 ~ ')' * 2000000)|urlize }}", SPENT),
        (DEEP + "{{ n.x|pprint }}", SPENT),
        ("{{ ('a\u00a0' * 2000000)|wordwrap(1) }}", SPENT),
        (
            "{{ 'a'|center(99999)|replace(' ', 'a'|center(40)|replace(' ', 'a'))|wordwrap(1) }}",
            SPENT,
        ),
        ("{{ range(99999)|map(attribute='real.' * 800000 ~ 'real')|list }}", SPENT),
        ("{{ range(99999)|sort(attribute='real,' * 800000 ~ 'real') }}", SPENT),
        ("{{ range(0, 99999 * (2**61-1), 2**61-1)|unique|list }}", SPENT),
        ("{{ {}.fromkeys(range(0, 99999 * (2**61-1), 2**61-1)) }}", SPENT),
        ("{% set s = [0] * 4000000 %}{% for i in range(99999) %}{% set y = s[1:] %}" + END, SPENT),
        (
            "{% set s = 'A' * 4000000 %}{% for i in range(99999) %}{{ s is upper }}" + END,
            SPENT,
        ),
        (
            "{% set s = [0] * 1000000 %}{% for i in range(99999) %}{{ ''.format(*s) }}" + END,
            SPENT,
        ),
        (
            "{% macro m() %}{{ varargs|length }}{% endmacro %}{% set s = [0] * 1000000 %}"
            "{% for i in range(99999) %}{{ m(*s) }}" + END,
            SPENT,
        ),
        (
            "{% set s = ['a' * 4000000] %}{% for i in range(99999) %}{{ s|wordcount }}" + END,
            SPENT,
        ),
        (DEEP + "{{ [n.x[0][0]]|tojson(1000) }}", LONG),
        ("{% set r = range(99999)|list %}{{ r|select('in', r)|list }}", SPENT),
        (DOUBLED % "{% set n.a = n.a + n.a %}", LONG),
        (DOUBLED % "{% set n.a = n.a ~ n.a %}", LONG),
        (DOUBLED % "{% set x %}{{ n.a }}{{ n.a }}{% endset %}{% set n.a = x %}", SPENT),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", SPENT),
        (
            "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}" + END,
            SPENT,
        ),
        (f"{{% for i in range(99999) %}}{'long ' * 1000}{{% endfor %}}", SPENT),
        (f"{{% for i in range(99999) %}}{{{{ '{'long ' * 1000}' }}}}{{% endfor %}}", SPENT),
        ("{% macro f(n) %}{{ f(n-1) ~ f(n-1) if n }}{% endmacro %}{{ f(60) }}", SPENT),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", ENDLESS),
        ("{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}", ENDLESS),
        (
            "{{ range(10**9)|list }}",
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)",
        ),
    ],
)
def test_what_would_fill_the_machine_is_refused_in_words(template: str, words: str) -> None:
    assert refusal(template) == words


def test_a_bound_has_the_place_of_its_template(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    text = "items: [{q: x, id: a}]\nscore: exact\nprompt: |\n  One.\n  {{ q * 10**9 }}\n"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(TemplateError) as caught:
        load_suite(path, "s.yaml")
    assert str(caught.value).startswith(f"{path}:5: cannot be rendered for the item 'a': {LONG}")


def test_each_rendering_has_a_budget_of_its_own() -> None:
    template = "{% for i in range(99999) %}{{ i }},{% endfor %}"
    assert len({rendered(template) for _ in range(20)}) == 1


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ '=' * 20 }}{{ [1] * 2 }}{{ 2 ** 8 }}{{ 7 % 4 }}", "=" * 20 + "[1, 1]2563"),
        ("{% for i in [1, 2] %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 "),
        ("{% for i in [1, 2]|select %}{{ loop.last }} {% endfor %}", "false true "),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% else %}-{% endfor %}", "a1"),
        ("{% for i in [] %}{% else %}none{% endfor %}", "none"),
        (
            "{% for i in [[1], 2] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %}",
            "12",
        ),
        ("{{ q ~ 1 ~ none ~ [1] }}", "x1None[1]"),
        ("{{ '{:,} {:>10} %'.format(83000000, q) }}", "83,000,000          x %"),
        ("{{ '%d of %5.2f' % (83000000, 2) }}", "83000000 of  2.00"),
        ("{{ '%-*s|' % (12, '1234567890') }}", "1234567890  |"),
        ("{{ 'Of 1234567 words: %s' % q }}", "Of 1234567 words: x"),
        ("{{ '{:>{w}}'.format(q, w=3) }}", "  x"),
        ("{{ '{:>{w}.{p}f}|{:>{w}.2f}'.format(1.5, 2, w=8, p=2) }}", "    1.50|    2.00"),
        ("{{ '{:0{w}d}|{:{a}{w}}'.format(5, q, w=3, a='>') }}", "005|  x"),
        (
            "{{ '%(c)s has 1500000 people, %(n)5.1f' % {'c': q, 'n': 2} }}",
            "x has 1500000 people,   2.0",
        ),
        ("{{ ([{'t': 'a' * 6000, 'b': [1]}] * 60)|tojson(4)|length }}", "364142"),
        (
            "{% for i in range(600) %}{{ ('a' * 4000)|trim|replace('b', 'c') }}{% endfor %}",
            "a" * 2400000,
        ),
        ("{{ [{'id': 1}, {'id': 2}, {'id': 1}]|unique(attribute='id')|list|length }}", "2"),
        ("{{ {'a': 1, 'b': 2}.items()|unique|list|length }}", "2"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{{ m(2) }}", "<1><2>"),
        ("{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}{{ q }}{% endcall %}", "(x)"),
        ("{% filter upper %}abc {{ q }}{% endfilter %}", "ABC X"),
        ("{{ 'a\nb'|indent(2) }}{{ 'ab'.center(4) }}{{ 5|string|center(3) }}", "a\n  b ab  5 "),
        ("{{ [3, 1]|sort|join(', ') }}{{ [1, 2]|sum }}{{ 'abc'|replace('b', 'xx') }}", "1, 33axxc"),
        ("{{ 123456789|string }} {{ 1234567.891|round(1) }}", "123456789 1234567.9"),
        ("{{ [{'a': 1}, {'a': 2}]|map(attribute='a')|list|tojson }}", "[1, 2]"),
        ("{{ q == 'x' and 1 in [1, 2] and 2 < 3 and q is in ['x'] }}", "true"),
        ("{{ {q: 1}['x'] }}{{ {'a': 2}.get('a') }}{{ [1, 1].count(1) }}", "122"),
        ("{{ ' a '.strip() }}{{ 'xax'|trim('x') }}{{ 'a.b.c'.rsplit('.', 1)|last }}", "aac"),
        ("{{ ('<p>a</p> ' * 20000)|striptags|length }}{{ [1, [2]]|pprint }}", "39999[1, [2]]"),
        ("{{ ('word ' * 100000)|wordwrap|length }}", "499999"),
        ("{{ 7 // 2 }} {{ 7 / 2 }} {{ 7 - 2 }}", "3 3.5 5"),
        (
            "{{ 'abc'[1:] }}{{ [1, 2, 3][:2] }}{{ 'aB' is lower }}{{ 'AB' is upper }}",
            "bc[1, 2]falsetrue",
        ),
        (
            "{{ [2, 1, 2]|unique|join }}{{ {}.fromkeys([1]) }}{{ 1234|round(-2) }}",
            "21{1: None}1200",
        ),
        ("{{ ('word (x) ' * 5000)|urlize|length }}", "45000"),
        (ROWS + "{{ r.x|pprint|length }}", "89999"),
        ("{{ (('x' * 20000 ~ ' ') * 50)|wordwrap(79, true)|length }}", "1012705"),
        ("{{ 'ab'.translate({97: 'x'}) }}{{ 'a b'|wordwrap(1) }}", "xba\nb"),
        ("{{ {'a': 1, 'b': 2}.values()|join('+') }}{{ [1, 2]|map('string')|first }}", "1+21"),
    ],
)
def test_what_prompts_do_is_as_it_was(template: str, text: str) -> None:
    assert rendered(template) == text


@given(st.text(), st.text(), st.integers(-1000, 1000))
def test_fields_of_any_kind_are_inserted_as_they_are(q: str, other: str, n: int) -> None:
    template = "{{ q }}|{{ q ~ other }}|{{ q + other }}|{{ n }}|{{ n * 2 }}"
    assert rendered(template, q=q, other=other, n=n) == f"{q}|{q}{other}|{q}{other}|{n}|{n * 2}"


def test_a_prompt_is_checked_within_its_budget_too() -> None:
    variant = make_variant("", [Message("user", "{{ q * 10**9 }}")], 1)
    with pytest.raises(TemplateError, match="a value would have more than 4 Mi"):
        check(variant, [Item("i", "i", {"q": "x"}, None)])
