"""What pytest selected, as far as the run needs to know.

It may travel from an xdist worker to the controller, so it holds records and plain data only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_llmeval.records import GateSpec, Suite, Trial


@dataclass(frozen=True, slots=True)
class SelectedGate:
    """A gate's node: its verdict is reported under this id after all scores are known."""

    nodeid: str
    location: tuple[str, int | None, str]
    suite: Suite
    gate: GateSpec


@dataclass(slots=True)
class Selection:
    """The trials in the order in which they are sent, the gates, and what else is needed.

    `fixtures` says that a test takes `llm` or `llm_server`, `deselected` that -k, -m, --lf or their
    like left something out; `tests` are the trials' ids by the node ids of their tests, as xdist's
    workers tell them; `scorer_versions` are those that the process knows which collected;
    `mistakes` are the words of whatever could not be collected, and then nothing is sent.
    """

    trials: list[Trial] = field(default_factory=list)
    gates: list[SelectedGate] = field(default_factory=list)
    fixtures: bool = False
    deselected: bool = False
    tests: dict[str, str] = field(default_factory=dict)
    scorer_versions: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
