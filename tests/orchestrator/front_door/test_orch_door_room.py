"""Who makes room for another: never one that is asked, the longest unused first, no more than
needed, and nobody where nobody can tell.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.orchestrator.front_door.room import Occupant, Room, make_room, to_unload

names = st.sampled_from([f"m{number}" for number in range(8)])
occupants = st.lists(
    st.builds(Occupant, names, st.integers(0, 5).map(float), st.booleans()),
    unique_by=lambda each: each.name,
    max_size=8,
)
sizes = st.dictionaries(names | st.just("new"), st.integers(0, 10))


def fits_into(capacity: int, sizes: dict[str, int]):  # type: ignore[no-untyped-def] # a closure
    return lambda together: sum(sizes.get(name, 1) for name in together) <= capacity


@given(occupants, sizes, st.integers(0, 40))
def test_what_is_unloaded_is_the_shortest_row_of_idle_ones_by_age(
    there: list[Occupant], sizes: dict[str, int], capacity: int
) -> None:
    fits = fits_into(capacity, sizes)
    everybody = {each.name for each in there} | {"new"}
    idle = sorted((each for each in there if each.idle), key=lambda e: (e.last_used, e.name))
    gone = to_unload("new", there, fits)
    if gone is None:
        assert not fits(everybody - {each.name for each in idle})
        return
    assert list(gone) == [each.name for each in idle[: len(gone)]]
    assert fits(everybody - set(gone))
    assert not any(fits(everybody - set(gone[:fewer])) for fewer in range(len(gone)))


@given(occupants)
def test_nobody_goes_where_nobody_can_tell(there: list[Occupant]) -> None:
    assert make_room("new", there, lambda _: None) == Room()


@given(occupants, sizes, st.integers(0, 40))
def test_busy_ones_are_waited_for_only_where_that_helps(
    there: list[Occupant], sizes: dict[str, int], capacity: int
) -> None:
    fits = fits_into(capacity, sizes)
    room = make_room("new", there, fits)
    by_name = {each.name: each for each in there}
    assert not (room.unload and room.drain)
    assert all(by_name[name].idle for name in room.unload)
    assert not any(by_name[name].idle for name in room.drain)
    if room == Room():
        assert fits({*by_name, "new"}) or not fits({"new"})
    elif room.drain:
        idle = {each.name for each in there if each.idle}
        assert fits({*by_name, "new"} - idle - set(room.drain))


def test_the_longest_unused_goes_first_and_one_is_enough() -> None:
    there = [
        Occupant("young", 9.0, True),
        Occupant("old", 1.0, True),
        Occupant("in use", 0.0, False),
    ]
    assert to_unload("new", there, lambda names: len(names) <= 3) == ("old",)
    assert to_unload("new", there, lambda names: len(names) <= 2) == ("old", "young")
    assert make_room("new", there, lambda names: len(names) <= 1) == Room(drain=("in use",))
