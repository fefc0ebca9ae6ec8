"""The page in a real browser: what people see, what clicks do, what hostile text does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import ServerStartError, StateError
from pytest_llmeval.orchestrator.web.access import ASSETS
from pytest_llmeval.visible import visible
from tests.browsing import DESKTOP, PHONE
from tests.orchestrator.web.conftest import TOKEN, Opened, Served, door, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = (
    "<script>document.title = 'taken'</script>"
    "<img src=x onerror=\"document.title='taken'\"> \x1b[31mred\x1b[0m \x1b]0;title\x07"
    "\u202egnp.exe \u2066x\u2069 \u200bhidden \x00 \x9b31m &amp; </pre>"
)
SHOWN = (
    "<script>document.title = 'taken'</script>"
    "<img src=x onerror=\"document.title='taken'\"> red ⟨U+001B⟩]0;title⟨U+0007⟩"
    "⟨U+202E⟩gnp.exe ⟨U+2066⟩x⟨U+2069⟩ ⟨U+200B⟩hidden ⟨U+0000⟩ ⟨U+009B⟩31m &amp; </pre>"
)


@pytest.fixture
def tab(browser: Browser) -> Iterator[Opened]:
    with browser.new_context(viewport=DESKTOP) as context:  # type: ignore[arg-type] # a mapping
        yield Opened(context.new_page())


@pytest.fixture
def phone(browser: Browser) -> Iterator[Opened]:
    with browser.new_context(viewport=PHONE, has_touch=True) as context:  # type: ignore[arg-type]
        yield Opened(context.new_page())


def some(served: Served) -> None:
    served.instances.add_up("qwen", backend="cuda", device="CUDA0: RTX 4080", memory=6 * 2**30)
    served.instances.add("llama", model="D:\\models\\Llama-3.1-8B-Instruct-Q4_K_M.gguf")


def test_it_shows_all_instances_with_the_columns_of_the_dashboard(
    served: Served, tab: Opened
) -> None:
    some(served)
    served.instances.set("qwen", tokens_per_second=64.25, restarts=2)
    tab.open(served)
    tab.see("#connection", "live")
    tab.see("#summary", "1 of 2 ready")
    for text in ("qwen", "healthy", "cuda", "CUDA0: RTX 4080", "8080", "4711", "1 h 6 m"):
        tab.see(tab.row("qwen"), text)
    for text in ("64.3", "6.0 GiB", "2"):
        tab.see(tab.row("qwen"), text)
    tab.see(tab.row("llama"), "down")
    tab.see(tab.row("llama"), "Llama-3.1-8B-Instruct-Q4_K_M")
    assert tab.page.title() == "1 of 2 ready · llama-orch"
    assert tab.complaints == []


def test_nothing_is_asked_of_anybody_else(served: Served, tab: Opened) -> None:
    tab.open(served).see("#empty", "No instances yet")
    assert {url.removeprefix(served.url).partition("?")[0] for url in tab.asked} == {
        *ASSETS,
        "/events",
    }


def test_without_instances_it_says_how_to_make_the_first(served: Served, tab: Opened) -> None:
    tab.open(served).see("#empty", "llama-orch init --profile cpu --name my-model")
    served.instances.add("qwen")
    tab.see(tab.row("qwen"), "down")
    assert not tab.page.locator("#empty").is_visible()


def test_the_token_leaves_the_address_and_stays_with_the_tab(served: Served, tab: Opened) -> None:
    some(served)
    tab.open(served).see("#connection", "live")
    assert tab.page.url == f"{served.url}/"
    tab.page.reload()
    tab.see("#connection", "live")
    assert tab.button("llama", "start").is_enabled()
    assert tab.page.evaluate("Object.keys(localStorage).length") == 0


def test_instances_are_started_and_stopped_by_a_click(served: Served, tab: Opened) -> None:
    some(served)
    served.instances.go.clear()
    tab.open(served)
    tab.button("llama", "start").click()
    tab.see(tab.row("llama"), "starting…")
    assert tab.row("llama").get_attribute("aria-busy") == "true"
    assert tab.button("llama", "stop").is_enabled()  # a model that loads can be stopped
    served.instances.go.set()
    tab.see(tab.row("llama"), "healthy")
    tab.button("llama", "stop").click()
    tab.see(tab.row("llama"), "down")
    tab.button("qwen", "restart").click()
    tab.see(tab.row("qwen"), "4712")
    assert served.instances.calls == [("up", "llama"), ("down", "llama"), ("restart", "qwen")]


def test_one_that_was_given_up_can_be_reset(served: Served, tab: Opened) -> None:
    served.instances.add("qwen", wanted="up", health="error", detail="given up after 5", restarts=5)
    tab.open(served).see(tab.row("qwen"), "given up after 5")
    tab.button("qwen", "reset").click()
    until(lambda: served.instances.calls == [("reset", "qwen")])


def test_what_goes_wrong_is_shown_with_the_last_words(served: Served, tab: Opened) -> None:
    some(served)
    served.instances.fails["llama"] = ServerStartError("it died", log_tail=(HOSTILE, "bye"))
    tab.open(served)
    tab.button("llama", "start").click()
    tab.see("#notices", "start of llama: it died")
    tab.see("#notices", "⟨U+202E⟩gnp.exe")
    tab.see(tab.row("llama"), "down")
    assert tab.button("llama", "start").is_enabled()
    tab.page.get_by_role("button", name="Dismiss the message").click()
    assert tab.page.locator("#notices .notice").count() == 0
    assert tab.page.title() != "taken"


def test_changes_appear_by_themselves(served: Served, tab: Opened) -> None:
    some(served)
    tab.open(served).see(tab.row("qwen"), "healthy")
    served.instances.set("qwen", health="unreachable", detail="no answer in 5 s")
    tab.see(tab.row("qwen"), "no answer in 5 s")
    tab.see("#said", "qwen: unreachable")
    served.instances.trouble = StateError("state.db is locked")
    tab.see("#notices", "state.db is locked")
    served.instances.trouble = None
    served.instances.daemon = False
    tab.see("#daemon", "daemon not running")
    del served.instances.views["qwen"]
    tab.see("#summary", "0 of 1 ready")
    assert tab.row("qwen").count() == 0


def test_requests_at_the_front_door_are_shown_where_there_is_one(
    served: Served, tab: Opened
) -> None:
    some(served)
    tab.open(served).see(tab.row("qwen"), "healthy")
    assert tab.page.inner_text("#door") == ""
    served.instances.door = door(qwen=(3, 2), llama=(0, 1))
    tab.see("#door", "front door: 3 in flight, 3 waiting")
    tab.see(tab.row("qwen"), "3 in flight, 2 waiting")
    assert tab.row("llama").locator(".requests").inner_text() == "1\u00a0waiting"
    served.instances.door = door(qwen=(0, 0))
    tab.see("#door", "front door: no requests")
    assert not tab.row("qwen").locator(".requests").is_visible()


def test_a_lost_connection_is_said_and_comes_back(served: Served, tab: Opened) -> None:
    some(served)
    tab.open(served).see("#connection", "live")
    tab.page.route("**/events", lambda route: route.abort())
    served.office.feed.close()
    tab.see("#connection", "connection lost")
    assert tab.button("llama", "start").is_disabled()  # what is shown may be old
    served.office.feed._closed = False
    served.instances.add("new")
    tab.page.unroute("**/events")
    tab.see("#connection", "live")
    tab.see(tab.row("new"), "down")


def test_without_a_token_one_can_look_and_enter_it(served: Served, tab: Opened) -> None:
    some(served)
    tab.open(served, token=None).see("#key", "You can look, but not act")
    tab.see(tab.row("qwen"), "healthy")
    assert tab.button("llama", "start").is_disabled()
    tab.page.get_by_label("Token").fill(TOKEN)
    tab.page.get_by_role("button", name="Use it").click()
    tab.button("llama", "start").click()
    tab.see(tab.row("llama"), "healthy")
    assert not tab.page.locator("#key").is_visible()


def test_a_token_that_is_refused_is_asked_for_again(served: Served, tab: Opened) -> None:
    some(served)
    tab.open(served, token="of-yesterday")
    tab.button("llama", "start").click()
    tab.see("#key", "The token was refused")
    tab.see("#notices", "the token is not the one of this interface")
    assert served.instances.calls == []


def test_for_other_machines_nothing_is_shown_before_the_token(
    served_remotely: Served, tab: Opened
) -> None:
    some(served_remotely)
    tab.open(served_remotely, token=None).see("#connection", "waiting for the token")
    assert tab.page.locator("tbody tr").count() == 0
    tab.page.get_by_label("Token").fill(TOKEN)
    tab.page.keyboard.press("Enter")
    tab.see(tab.row("qwen"), "healthy")


# Logs ---------------------------------------------------------------------------------------------


def write(served: Served, text: str, stream: Any = "err") -> None:
    log = served.instances.log("qwen", stream)
    with log.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def test_a_log_follows_what_is_written(served: Served, tab: Opened) -> None:
    some(served)
    write(served, "".join(f"line {number}\n" for number in range(400)))
    write(served, "on stdout\n", "out")
    tab.open(served)
    tab.button("qwen", "log").click()
    tab.see("#log-text", "line 399")
    write(served, "and one mo")
    tab.see("#log-text", "and one mo")
    write(served, "re\n")
    tab.see("#log-text", "and one more")
    assert tab.page.locator("#log-text div").count() == 401
    log = "document.getElementById('log-text')"
    below = f"{log}.scrollHeight - {log}.scrollTop - {log}.clientHeight"
    assert tab.page.evaluate(below) < 5
    tab.page.get_by_role("button", name="stdout").click()
    tab.see("#log-text", "on stdout")
    tab.page.keyboard.press("Escape")
    assert not tab.page.locator("#log").is_visible()
    assert tab.page.evaluate("document.activeElement.dataset.action") == "log"


def test_who_reads_further_up_is_left_there(served: Served, tab: Opened) -> None:
    some(served)
    write(served, "".join(f"line {number}\n" for number in range(400)))
    tab.open(served)
    tab.button("qwen", "log").click()
    tab.see("#log-text", "line 399")
    tab.page.evaluate("document.getElementById('log-text').scrollTop = 100")
    write(served, "new\n")
    tab.see("#log-text", "new")
    assert tab.page.evaluate("document.getElementById('log-text').scrollTop") == 100
    follow = tab.page.get_by_role("button", name="Follow")
    assert follow.get_attribute("aria-pressed") == "false"


def test_hostile_text_is_shown_and_does_nothing(served: Served, tab: Opened) -> None:
    """In logs as in names, models, devices and details; with nothing hidden or turned around."""
    some(served)
    name = "<b>x</b>\u202ecod.exe"
    served.instances.add(name, wanted="up", detail=HOSTILE, model=f"/m/{HOSTILE}", device=HOSTILE)
    write(served, f"{HOSTILE}\n")
    tab.open(served)
    tab.button("qwen", "log").click()
    tab.see("#log-text", "red")
    assert tab.page.locator("#log-text div").first.inner_text() == SHOWN
    tab.see("#rows", "<b>x</b>⟨U+202E⟩cod.exe")
    tab.see("#rows", "⟨U+202E⟩gnp.exe")
    for tag in ("script:not([src])", "#rows img", "#log-text img", "#rows b", "#notices script"):
        assert tab.page.locator(tag).count() == 0
    assert tab.page.title() != "taken"
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069]", tab.page.inner_text("body"))
    assert tab.complaints == []


def test_the_browser_itself_refuses_markup_and_scripts_of_others(
    served: Served, tab: Opened
) -> None:
    """Should the page ever make a mistake, its policy still holds."""
    tab.open(served).see("#connection", "live")
    make = "(() => { const d = document.createElement('div'); d.innerHTML = '<b>x</b>'; })()"
    with pytest.raises(Exception, match="TrustedHTML"):
        tab.page.evaluate(make)


def test_the_page_spells_out_the_same_characters_as_a_terminal_is_given(
    served: Served, tab: Opened
) -> None:
    tab.open(served).see("#connection", "live")
    samples = [
        "a\u200db",
        "é\u200dé",
        "\U0001f469\u200d\U0001f467",
        "\u200c\u200c",
        "x\ufe0f\ufe0f",
    ]
    marked = tab.page.evaluate(
        """async (samples) => {
          const { visible } = await import("/words.js");
          const codes = Array.from({ length: 0x110000 }, (_, code) => code);
          const changes = (text) => visible(text) !== text;
          const changed = codes.filter((code) => changes(String.fromCodePoint(code)));
          return [changed, samples.map(changes)];
        }""",
        samples,
    )
    here = [code for code in range(0x110000) if visible(chr(code)) != chr(code)]
    assert marked == [here, [visible(text) != text for text in samples]]


# Other sizes, other hands -------------------------------------------------------------------------


def test_on_a_phone_nothing_is_wider_than_the_screen(served: Served, phone: Opened) -> None:
    some(served)
    served.instances.add(
        "a-name-that-is-rather-long-for-a-phone-and-has-no-place-to-break-it-in-two",
        wanted="up",
        health="error",
        detail="/models/" + "x" * 200,
        device="CUDA0: " + "y" * 90,
    )
    write(served, "z" * 500 + "\n")
    served.instances.fails["llama"] = ServerStartError("w" * 300)
    phone.open(served).see(phone.row("qwen"), "healthy")
    phone.button("llama", "start").tap()
    phone.see("#notices", "www")
    phone.button("qwen", "log").tap()
    phone.see("#log-text", "zzz")
    widths = phone.page.evaluate(
        "[...document.querySelectorAll('body, body *')].filter(e => e.offsetParent && "
        "!e.closest('.skip, .unseen, thead')).map(e => e.getBoundingClientRect().right)"
    )
    assert max(widths) <= PHONE["width"]
    assert phone.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    heights = phone.page.evaluate(
        "[...document.querySelectorAll('button')].filter(e => e.offsetParent)"
        ".map(e => e.offsetHeight)"
    )
    assert min(heights) >= 30


def test_a_long_reason_is_cut_and_shown_whole_where_it_is_tapped(
    served: Served, phone: Opened
) -> None:
    words = " ".join(f"word-{number}" for number in range(60))
    served.instances.add("qwen", wanted="up", health="error", detail=words)
    served.instances.add("llama", wanted="up", health="error", detail="short")
    why = phone.open(served).row("qwen").locator(".why")
    phone.see(why, "word-59")
    cut = why.evaluate("e => e.scrollHeight > e.clientHeight")
    why.tap()
    assert (cut, why.evaluate("e => e.scrollHeight > e.clientHeight")) == (True, False)
    assert why.get_attribute("tabindex") == "0"
    assert phone.row("llama").locator(".why").get_attribute("tabindex") == "-1"


def test_what_goes_wrong_is_in_sight_however_far_down_the_button_is(
    served: Served, phone: Opened
) -> None:
    for number in range(30):
        served.instances.add(f"model-{number:02}")
    served.instances.fails["model-29"] = ServerStartError("it died", log_tail=("word",) * 60)
    phone.open(served).button("model-29", "start").tap()
    message = phone.page.get_by_text("start of model-29: it died")
    phone.see(message, "it died")
    place = message.bounding_box()
    assert place is not None
    assert place["y"] >= 0
    assert place["y"] + place["height"] <= PHONE["height"] / 2
    assert phone.page.get_by_role("button", name="Dismiss the message").is_visible()


def test_everything_can_be_done_by_keyboard(served: Served, tab: Opened) -> None:
    some(served)
    tab.open(served).see(tab.row("llama"), "down")
    for _ in range(20):
        tab.page.keyboard.press("Tab")
        label = tab.page.evaluate("document.activeElement.getAttribute('aria-label')")
        if label == "Start llama":
            break
    tab.page.keyboard.press("Enter")
    tab.see(tab.row("llama"), "healthy")
    # The button has gone: the focus is still in its row.
    assert tab.page.evaluate("document.activeElement.closest('tr').dataset.name") == "llama"


def test_it_is_a_table_for_those_who_cannot_see_it(served: Served, phone: Opened) -> None:
    """On a phone too, where it looks like cards."""
    some(served)
    phone.open(served).see(phone.row("qwen"), "healthy")
    headers = phone.page.get_by_role("columnheader").all_inner_texts()
    assert len(headers) == 10
    assert phone.page.get_by_role("row").count() == 3
    assert phone.page.get_by_role("rowheader").count() == 2
    assert phone.page.get_by_role("button", name="Restart qwen").is_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(served: Served, browser: Browser, scheme: Any) -> None:
    """By the contrast that WCAG AA asks for, 4.5 to 1, in every state and in both schemes."""
    states = ("healthy", "busy", "loading", "unhealthy", "unreachable", "error", "unknown")
    for state in states:
        served.instances.add(state, wanted="up", health=state, pid=1, detail="why")
    with browser.new_context(viewport=DESKTOP, color_scheme=scheme) as context:  # type: ignore[arg-type]
        tab = Opened(context.new_page()).open(served)
        tab.see(tab.row("unknown"), "why")
        found = tab.page.evaluate(CONTRASTS)
    assert len(found) > 4 * len(states)
    assert {text: ratio for text, ratio in found if ratio < 4.5} == {}


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = ".health, .more, .name, .backend, button:enabled, th, #summary";
  return [...document.querySelectorAll(texts)]
    .filter((e) => e.offsetParent && e.textContent.trim())
    .map((e) => {
      const [one, other] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
      return [e.textContent, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)];
    });
}"""
