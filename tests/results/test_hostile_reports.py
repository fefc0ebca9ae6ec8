"""Reports of runs in which every text is hostile: it is shown, and does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.markdown import inline, markdown_report, markdown_summary
from tests.browsing import DESKTOP, PHONE, launched
from tests.results.hostile_report import full, spoiled

if TYPE_CHECKING:
    from markdown_it.token import Token
    from playwright.sync_api import Browser, Page

MARKUP = (
    "<script>window.taken=1</script><img src=x onerror=window.taken=1>"
    "\"><svg onload=window.taken=1>' onmouseover='window.taken=1' "
    "<a href=javascript:window.taken=1>x</a><style>*{display:none}</style><base href=//x.example>"
    "</title></pre></details></main><!--{{ 7 * 7 }}&lt;"
)
HOSTILE = f"{MARKUP}\x1b[31mred\x1b[0m \u202egnp.exe\u2069\u200b"
SHOWN = rf"{MARKUP}\x1b[31mred\x1b[0m \u202egnp.exe\u2069\u200b"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as one:
        yield one


class Opened:
    """A page of a file, and all it has asked for or complained of."""

    def __init__(self, page: Page, path: Path, text: str):
        self.asked: list[str] = []
        self.said: list[str] = []
        page.on("requestfinished", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(dialog.message))
        path.write_text(text, encoding="utf-8", newline="\n")
        page.goto(path.as_uri())
        self.page = page
        self.only = [path.as_uri()]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport=DESKTOP) as context:  # type: ignore[arg-type] # a mapping
        yield context.new_page()


def test_in_a_browser_every_text_is_shown_and_none_runs(
    samples: Any, page: Page, tmp_path: Path
) -> None:
    text = html_report(spoiled(full(samples.report()), HOSTILE))
    opened = Opened(page, tmp_path / "report.html", text)
    shown = page.evaluate("document.body.textContent")
    for place in (
        *(
            "2026-11-23-0412",
            "a warning",
            "tiny-l",
            "xllamacpp 2026.10",
            "CPU only",
            "suites/arithmetic.yaml",
        ),
        *("tiny-l/plain", "add-1", "17 + 25 =", "42", "more items would tell", "git commit"),
    ):
        assert place + SHOWN in shown
    assert page.title() == f"llmeval 2026-11-23-0412{SHOWN}"
    assert page.evaluate("window.taken") is None
    foreign = "script, img, a, base, iframe, link, form, main style, svg:not(.bar)"
    assert page.locator(foreign).count() == 0
    names = "[...document.querySelectorAll('*')].flatMap(one => one.getAttributeNames())"
    assert not [name for name in page.evaluate(names) if name.startswith("on") or name == "style"]
    assert (opened.asked, opened.said) == (opened.only, [])
    assert page.locator("h1").evaluate("one => getComputedStyle(one).fontSize") == "25.6px"


def test_the_policy_alone_stops_what_would_not_have_been_escaped(
    samples: Any, page: Page, tmp_path: Path
) -> None:
    text = html_report(samples.report())
    injected = (
        "<script>window.taken=1</script><img src=x onerror=window.taken=1>"
        "<svg onload=window.taken=1></svg><a id=link href='javascript:window.taken=1'>x</a>"
        "<style>h1{display:none}</style>"
        "<h2 id=styled style='display:none'>x</h2><base href='http://x.example/'>"
        "<iframe src='data:text/html,x'></iframe><link rel=stylesheet href='data:text/css,h1{}'>"
    )
    opened = Opened(page, tmp_path / "report.html", text.replace("<main>", f"<main>{injected}"))
    page.locator("#link").click()
    assert page.evaluate("window.taken") is None
    assert page.locator("h1").is_visible()
    assert page.locator("#styled").is_visible()
    assert page.evaluate("document.baseURI") == opened.only[0]
    assert opened.asked == opened.only
    assert len(opened.said) >= 8  # what the policy has refused


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_hostile_texts_do_not_widen_the_page(
    samples: Any, browser: Browser, tmp_path: Path, size: dict[str, int]
) -> None:
    text = html_report(spoiled(full(samples.report()), "x" * 300 + HOSTILE))
    with browser.new_context(viewport=size) as context:  # type: ignore[arg-type] # a mapping
        opened = Opened(context.new_page(), tmp_path / "report.html", text)
        opened.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert opened.page.evaluate("document.documentElement.scrollWidth") == size["width"]


def test_a_name_written_from_right_to_left_turns_nothing_beside_it_round(
    samples: Any, page: Page, tmp_path: Path
) -> None:
    """Of `שלום, 12 shown` the digits would stand before the name."""
    text = html_report(spoiled(samples.report(), "", "שלום"))
    opened = Opened(page, tmp_path / "report.html", text)
    summary = opened.page.locator("#wrong ~ details summary").first
    edges = (
        "one => [...one.querySelectorAll('bdi')].map(each => each.getBoundingClientRect().right)"
    )
    first, second = summary.evaluate(edges)
    assert first < second
    assert summary.evaluate("one => getComputedStyle(one).direction") == "ltr"


# Markdown -----------------------------------------------------------------------------------------

BREAKING = [
    "|x|\n| - | - |",
    "\n\n# Heading\n\n| a |\n| - |",
    "\n```\n~~~\n````",
    MARKUP,
    "![i](http://x.example/i.png) [l](javascript:x) [r]\n\n[r]: http://x.example",
    "<http://x.example> http://x.example www.x.com a@x.com @someone #12 GH-12 o/r#3",
    "\n- item\n1. item\n> quote\n\n    code\n***\n",
    "\\",
    "\\|",
    "`code` ``",
    "$x$ ~~x~~ **x** __x__ &#64; &lt;",
    "\u2028# x\r# y\x0b\x0c\x85z",
]
BEFORE = ["- ", "+ ", "1. ", "7) ", "--- ", "> ", "# ", "    ", "* ", "\n\n", "=== ", "| ", "[ ] "]
LINKING = ["image", "link_open", "html_inline", "html_block", "html_inline"]


def tokens(text: str) -> list[Token]:
    """As GitHub reads it, which makes links of bare addresses, too."""
    markdown_it = pytest.importorskip("markdown_it")
    pytest.importorskip("linkify_it")
    found: list[Token] = markdown_it.MarkdownIt("gfm-like", {"html": True}).parse(text)
    return found


def shape(found: list[Token]) -> list[tuple[str, str]]:
    return [(token.type, token.tag) for token in found]


@pytest.mark.parametrize("render", [markdown_report, markdown_summary])
@pytest.mark.parametrize(
    ("before", "behind"), [*(("", text) for text in BREAKING), *((text, "") for text in BEFORE)]
)
def test_no_text_changes_the_shape_of_markdown(
    samples: Any, render: Any, before: str, behind: str
) -> None:
    report = full(samples.report())
    found = tokens(render(spoiled(report, behind, before)))
    assert shape(found) == shape(tokens(render(spoiled(report, "x"))))
    inner = {child.type for token in found for child in token.children or ()}
    assert inner <= {"text", "strong_open", "strong_close"}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("@someone and a@x.example", "@&#8203;someone and a@&#8203;x.example"),
        ("#12 GH-12 o/r#3, c#", r"\#&#8203;12 GH-&#8203;12 o/r\#&#8203;3, c\#"),
        ("HTTPS://x.example WWW.x.example", r"HTTPS\://x.example WWW\.x.example"),
        ("1. item", r"1\. item"),
        ("- item", r"\- item"),
        ("- - -", r"\- - -"),
        ("-1.5", "-1.5"),
        ("-", "-"),
        ("+28.5", "+28.5"),
        ("a @ b, $5", r"a @ b, \$5"),
        ("\u202ex\u2069", r"\\u202ex\\u2069"),
    ],
)
def test_neither_links_nor_mentions_nor_lists_come_of_a_text(text: str, written: str) -> None:
    assert inline(text) == written
