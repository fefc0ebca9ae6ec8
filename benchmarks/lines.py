"""A figure with its goal, as every benchmark prints it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One figure with its goal."""

    what: str
    figure: str
    goal: str
    reached: bool

    def show(self, *, judged: bool) -> None:
        """Print it; a goal that is missed is marked when it is judged, and fails nothing."""
        mark = " " if self.reached or not judged else "!"
        print(f"{mark} {self.what:<66} {self.figure:>32}   {self.goal}", flush=True)
