"""The dashboard by its keys, and by what stands on the screen."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from pytest_llmeval.errors import ServerStartError, StateError
from pytest_llmeval.orchestrator.dashboard.help_view import KEYS, MEANINGS, HelpView
from pytest_llmeval.orchestrator.dashboard.log_view import LogView
from pytest_llmeval.orchestrator.dashboard.screen import Dashboard, Progress
from pytest_llmeval.orchestrator.showing import MARKS
from pytest_llmeval.orchestrator.views import InstanceView
from tests.orchestrator.orch_instances import ALL, NOW, QWEN, HeldInstances

EMPTY = "No instances yet: llama-orch init"


class Seen:
    """A dashboard that runs, and what stands on it."""

    def __init__(self, pilot: Pilot[None], instances: HeldInstances, progress: Progress) -> None:
        self.pilot = pilot
        self.instances = instances
        self.progress = progress

    @property
    def app(self) -> Dashboard:
        assert isinstance(self.pilot.app, Dashboard)
        return self.pilot.app

    @property
    def table(self) -> DataTable[object]:
        return self.app.screen_stack[0].query_one(DataTable)

    def text(self, part: str) -> str:
        return str(self.app.screen_stack[0].query_one(f"#{part}", Static).render())

    def news(self) -> str:
        """What happened last, without the time at which it did."""
        return self.text("news").partition("  ")[2]

    def titles(self) -> list[str]:
        return [str(column.label) for column in self.table.ordered_columns]

    def cells(self, name: str) -> list[str]:
        return [str(cell) for cell in self.table.get_row(name)]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, true: Callable[[], object]) -> None:
        for _ in range(1000):
            if true():
                return
            await self.pilot.pause(0.02)
        pytest.fail(f"it never came; the screen says {self.news()!r}")


def play(
    folder: Path,
    script: Callable[[Seen], Awaitable[None]],
    *,
    views: tuple[InstanceView, ...] = ALL,
    colours: bool = True,
    size: tuple[int, int] = (120, 30),
    look_seconds: float = 0.05,
) -> HeldInstances:
    """Run a dashboard on instances in memory, and a script on it once it has looked."""
    instances = HeldInstances(folder, views)

    async def run() -> None:
        progress: Progress = queue.SimpleQueue()
        app = Dashboard(
            instances,
            empty=EMPTY,
            progress=progress,
            colours=colours,
            clock=lambda: NOW,
            look_seconds=look_seconds,
        )
        async with app.run_test(size=size) as pilot:
            seen = Seen(pilot, instances, progress)
            await seen.until(lambda: "instance" in seen.text("top"))
            await seen.until(lambda: len(seen.table.rows) == len(views))
            await script(seen)
            instances.held.set()

    asyncio.run(run())
    return instances


def test_every_instance_has_a_row_with_all_that_is_known(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        assert seen.titles() == [
            *("Name", "PID", "Port", "Backend", "Device", "Model", "Health", "Uptime"),
            *("Restarts", "tokens/s", "Memory"),
        ]
        cells = seen.cells("qwen")
        assert [cells[0], cells[1], cells[2], cells[3]] == ["qwen", "51234", "9931", "vulkan"]
        assert cells[6:] == ["+ healthy", "3 h 05 m", "2", "48.3", "9.2 GiB"]
        assert "4 instances: 1 healthy, 1 waiting, 1 error, 1 down; 9.2 GiB" in seen.text("top")

    play(tmp_path, script)


@pytest.mark.parametrize(("width", "count"), [(200, 11), (122, 11), (80, 7), (50, 3), (20, 2)])
def test_a_narrow_terminal_has_fewer_columns_and_no_bar_to_scroll(
    tmp_path: Path, width: int, count: int
) -> None:
    async def script(seen: Seen) -> None:
        assert len(seen.titles()) == count
        if width >= 50:
            assert seen.table.virtual_size.width <= width

    play(tmp_path, script, size=(width, 24))


@pytest.mark.parametrize(("colours", "style"), [(True, "bold red"), (False, "")])
def test_marks_have_colours_unless_nobody_wants_them(
    tmp_path: Path, colours: bool, style: str
) -> None:
    async def script(seen: Seen) -> None:
        cell = seen.table.get_cell("broken", "Health")
        assert isinstance(cell, Text)
        assert (cell.plain, cell.style) == ("x error", style)

    play(tmp_path, script, colours=colours)


def test_a_terminal_that_is_resized_gets_the_columns_that_fit(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        await seen.press("down", "down")
        await seen.pilot.resize_terminal(80, 24)
        await seen.until(lambda: len(seen.titles()) == 7)
        await seen.pilot.resize_terminal(140, 24)
        await seen.until(lambda: len(seen.titles()) == 11)
        assert seen.table.cursor_row == 2

    play(tmp_path, script, look_seconds=3600)


def test_it_looks_by_itself_again_and_again(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        looks = seen.instances.looks
        await seen.until(lambda: seen.instances.looks > looks + 1)

    play(tmp_path, script)


def test_r_looks_at_once(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        looks = seen.instances.looks
        await seen.press("r")
        await seen.until(lambda: seen.instances.looks == looks + 1)

    play(tmp_path, script, look_seconds=3600)


def test_arrows_select_and_the_reason_of_the_selected_one_is_told(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        assert seen.text("detail").startswith("broken: given up after 5 restarts")
        await seen.press("down", "down", "down")
        await seen.until(lambda: seen.text("detail") == "qwen: ok")
        await seen.press("up")
        await seen.until(lambda: seen.text("detail") == "")

    play(tmp_path, script)


def test_u_brings_the_selected_one_up_and_says_where(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        await seen.press("down", "down", "u")
        await seen.until(lambda: "at http" in seen.news())
        assert seen.news() == "embedder-for-search is healthy at http://127.0.0.1:9931"
        await seen.until(lambda: "+ healthy" in seen.cells("embedder-for-search"))

    assert play(tmp_path, script).asked == ["up embedder-for-search"]


def test_what_happened_is_told_with_its_time(tmp_path: Path) -> None:
    """The line stays, and its server may have died since."""

    async def script(seen: Seen) -> None:
        await seen.press("u")
        await seen.until(lambda: "at http" in seen.news())
        time_of_day = seen.text("top").split()[1]
        assert seen.text("news") == f"{time_of_day}  broken is healthy at http://127.0.0.1:9931"

    play(tmp_path, script)


def test_d_brings_it_down(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        await seen.press("down", "down", "down", "d")
        await seen.until(lambda: seen.news() == "qwen is down")
        await seen.until(lambda: "- down" in seen.cells("qwen"))

    assert play(tmp_path, script).asked == ["down qwen"]


def test_a_great_r_restarts_it_and_a_small_one_does_not(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        await seen.press("down", "down", "down", "r", "R")
        await seen.until(lambda: "qwen is healthy" in seen.news())

    assert play(tmp_path, script).asked == ["restart qwen"]


def test_what_takes_long_blocks_nothing_and_is_not_asked_for_twice(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        seen.instances.held.clear()
        await seen.press("u")
        await seen.until(lambda: seen.instances.asked)
        assert seen.news() == "broken: up ..."
        await seen.press("u")
        assert seen.news() == "broken: up is still under way"
        seen.progress.put(("broken", "loading tensors"))
        seen.progress.put(("qwen", "nobody waits for this one"))
        await seen.until(lambda: seen.news() == "broken: loading tensors")
        await seen.press("down", "down", "d")
        looks = seen.instances.looks
        await seen.until(lambda: seen.instances.looks > looks)
        seen.instances.held.set()
        await seen.until(lambda: "+ healthy" in seen.cells("broken"))

    asked = play(tmp_path, script).asked
    assert asked == ["up broken", "down embedder-for-search"]


def test_who_leaves_does_not_wait_for_what_takes_long(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        seen.instances.held.clear()
        await seen.press("u")
        await seen.until(lambda: seen.instances.asked)
        await seen.press("q")
        await seen.until(lambda: not seen.app.is_running or seen.app._exit)

    play(tmp_path, script)


def test_an_error_is_told_in_a_line_that_steers_no_terminal(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        seen.instances.deed_error = ServerStartError("broken: it ended\x1b[2J:\n exit code 1")
        await seen.press("u")
        await seen.until(lambda: seen.news().startswith("up broken"))
        assert seen.news() == "up broken: broken: it ended: exit code 1"
        assert seen.app.query_one("#news").has_class("error")

    play(tmp_path, script)


def test_a_look_that_fails_is_told_and_the_next_one_may_do(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        seen.instances.look_error = StateError("state.db is locked")
        await seen.until(lambda: seen.news() == "cannot look: state.db is locked")
        assert len(seen.table.rows) == 4
        seen.instances.look_error = None
        await seen.until(lambda: seen.news() == "")

    play(tmp_path, script)


def test_an_instance_that_comes_or_goes_leaves_the_selection_where_it_is(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        await seen.press("down", "down", "down")
        del seen.instances.views["crashing"]
        await seen.until(lambda: len(seen.table.rows) == 3)
        assert seen.table.cursor_row == 2
        await seen.press("d")
        await seen.until(lambda: seen.instances.asked == ["down qwen"])

    play(tmp_path, script)


def test_where_there_is_nothing_it_says_how_to_begin(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        assert seen.app.query_one("#empty").display
        assert seen.text("empty") == EMPTY
        await seen.press("u", "l")
        assert seen.news() == "there is no instance to select yet"
        seen.instances.views["qwen"] = QWEN
        await seen.until(lambda: len(seen.table.rows) == 1)
        assert not seen.app.query_one("#empty").display

    play(tmp_path, script, views=())


def test_h_tells_every_key_and_every_mark(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        await seen.press("h")
        assert isinstance(seen.app.screen, HelpView)
        told = str(seen.app.screen.query_one(Static).render())
        keys = {key for key in seen.app._bindings.key_to_bindings if len(key) == 1}
        assert keys <= {key for key, _ in KEYS}
        assert all(key in told for key in keys)
        assert seen.app.screen.query_one("#help").border_subtitle == "h closes this page"
        await seen.press("d")  # not while the page is open
        await seen.press("q")
        assert not isinstance(seen.app.screen, HelpView)

    assert play(tmp_path, script, size=(80, 24)).asked == []
    assert {state for state, _ in MEANINGS} == set(MARKS)


def log_lines(seen: Seen) -> list[str]:
    return [line.text.rstrip() for line in seen.app.screen.query_one(RichLog).lines]


def test_l_follows_the_log_and_o_shows_the_other_stream(tmp_path: Path) -> None:
    errors = tmp_path / "broken.err.log"
    errors.write_text("first\n[bold]no markup[/bold]\n", encoding="utf-8", newline="\n")
    (tmp_path / "broken.out.log").write_text("of stdout\n", encoding="utf-8", newline="\n")

    async def script(seen: Seen) -> None:
        await seen.press("l")
        assert isinstance(seen.app.screen, LogView)
        await seen.until(lambda: log_lines(seen) == ["first", "[bold]no markup[/bold]"])
        with errors.open("a", encoding="utf-8", newline="\n") as log:
            log.write("later\n")
        await seen.until(lambda: log_lines(seen)[-1:] == ["later"])
        await seen.press("o")
        await seen.until(lambda: log_lines(seen) == ["of stdout"])
        await seen.press("u")  # not from here
        await seen.press("l")
        assert not isinstance(seen.app.screen, LogView)

    assert play(tmp_path, script).asked == []


def test_a_log_that_cannot_be_found_is_told_where_it_would_stand(tmp_path: Path) -> None:
    async def script(seen: Seen) -> None:
        del seen.instances.views["broken"]
        await seen.press("l")
        await seen.until(lambda: log_lines(seen))
        assert log_lines(seen) == ["llama-orch: no instance is called broken"]

    play(tmp_path, script, look_seconds=3600)  # or its row would go before the key comes


@pytest.mark.parametrize("keys", [["q"], ["ctrl+c"], ["h", "ctrl+c"], ["l", "q", "q"]])
def test_q_leaves_and_ctrl_c_from_wherever_one_is(tmp_path: Path, keys: list[str]) -> None:
    async def script(seen: Seen) -> None:
        await seen.press(*keys)
        await seen.until(lambda: seen.app._exit)

    play(tmp_path, script)
