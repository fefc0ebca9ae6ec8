"""What the keys and the marks of the dashboard mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from pytest_llmeval.orchestrator.showing import MARKS

KEYS = (
    ("up, down", "select an instance"),
    ("u", "bring it up"),
    ("d", "bring it down"),
    ("R", "restart it at once, with its config as it is now"),
    ("l", "follow its log; o for stdout or stderr, l to come back"),
    ("r", "look now; otherwise once a second"),
    ("h", "this page"),
    ("q", "leave; instances go on running"),
)

MEANINGS = (
    ("healthy", "it answers well"),
    ("busy", "every slot is taken, or it computes"),
    ("loading", "it was started and reads its weights"),
    ("waiting", "it ended, and is started again soon"),
    ("unreachable", "it runs and gives no answer, not yet for long"),
    ("unhealthy", "it hangs, and is restarted"),
    ("error", "it cannot start, or was given up; u tries again"),
    ("unknown", "no daemon watches it, or it was not asked yet"),
    ("down", "it does not run, as it is wanted"),
)


class HelpView(ModalScreen[None]):
    """A page over the table; most keys close it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("h,q,escape,enter,space", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll(id="help") as page:
            page.border_subtitle = "h closes this page"
            yield Static(help_text(), markup=False)


def help_text() -> str:
    """The page in words."""
    keys = [f"{key:<10}{meaning}" for key, meaning in KEYS]
    states = [f"{MARKS[state]} {state:<13}{meaning}" for state, meaning in MEANINGS]
    return "\n".join([*keys, "", *states])
