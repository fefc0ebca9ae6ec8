"""The grammar of a trial's id, which is the `custom_id` of requests and results.

    id = suite "::" condition "::" name

`condition` is `model/sampling/prompt` as far as these have names, `name` the item's slug, with `.2`
behind it for the second repeat. A judge's trial is called after the one that it judges, with the
scorer behind an `@`, which no slug has, and for two orders their number: `fr.2@pairwise.1`. Neither
is empty or holds a `::`; a suite may, since it may be called after something that does. So an id is
taken apart from its end, and one way only.
"""

from __future__ import annotations

from dataclasses import dataclass

BETWEEN = "::"


@dataclass(frozen=True, slots=True)
class TrialId:
    """The parts of a trial's id; `str()` gives the id."""

    suite: str
    condition: str
    name: str

    def __str__(self) -> str:
        return BETWEEN.join((self.suite, self.condition, self.name))


def parse_trial_id(text: str) -> TrialId:
    """Take an id apart; raises ValueError for what is none, for instance somebody else's."""
    return TrialId(*_parts(text))


def condition_of(trial_id: str) -> str:
    """The condition that an id names, and nothing else of it: asked of every prediction."""
    return _parts(trial_id)[1]


def is_of_judge(trial_id: str) -> bool:
    """Whether an id is that of a judge's trial."""
    return "@" in trial_id.rpartition(BETWEEN)[2]


def _parts(text: str) -> list[str]:
    parts = text.rsplit(BETWEEN, 2)
    if len(parts) != 3 or not all(parts):
        raise ValueError(
            f"{text!r} is no trial's id: expected suite::condition::item, "
            f"such as capitals::tiny-l/plain::fr"
        )
    return parts
