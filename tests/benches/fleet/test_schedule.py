"""Which point goes to which GPU of a fleet: each once, whoever leaves and comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.fleet.groups import groups
from benches.fleet.schedule import AHEAD_SHARD, ONE_JOURNAL, TRIES, Schedule

POINTS = [f"p{i}" for i in range(13)]


def shared(done: tuple[str, ...] = (), places: int = 2) -> Schedule:
    schedule = Schedule(POINTS, True, {ONE_JOURNAL: done})
    for place in range(places):
        schedule.join(place)
    return schedule


def test_a_place_gets_a_few_points_at_a_time_and_each_goes_to_one() -> None:
    schedule = shared()
    assert schedule.give(0) == POINTS[:AHEAD_SHARD]
    assert schedule.give(1) == POINTS[AHEAD_SHARD : 2 * AHEAD_SHARD]
    assert schedule.give(0) == []
    assert schedule.arrived(0, POINTS[0])
    assert schedule.give(0) == [POINTS[2 * AHEAD_SHARD]]
    assert (schedule.busy(0), schedule.finished(0), len(schedule.missing())) == (True, False, 12)


def test_the_last_points_are_spread_so_that_no_place_waits_for_one_that_has_three() -> None:
    schedule = shared(done=tuple(POINTS[:-4]), places=4)
    assert [schedule.give(place) for place in range(4)] == [[name] for name in POINTS[-4:]]


def test_what_a_lost_place_had_goes_to_the_others_first() -> None:
    schedule = shared()
    lost = schedule.give(0)
    schedule.leave(0)
    assert schedule.give(1) == lost
    schedule.leave(0)  # known already
    assert sorted(schedule.missing()) == sorted(POINTS)


def test_a_point_over_which_places_are_lost_again_and_again_is_given_up() -> None:
    schedule = shared(places=TRIES + 1)
    for place in range(TRIES):
        assert POINTS[0] in schedule.give(place)
        schedule.leave(place)
    assert schedule.given_up == [POINTS[0]]
    assert POINTS[0] not in schedule.give(TRIES)


def test_a_row_that_met_the_loss_of_its_gpu_counts_only_where_nobody_else_may_try() -> None:
    schedule = shared()
    (first, *_) = schedule.give(0)
    assert not schedule.arrived(0, first, device_lost=True)
    schedule.leave(0)
    assert schedule.give(1)[0] == first
    assert schedule.arrived(1, first, device_lost=True)  # the last place


def test_a_row_that_comes_twice_counts_once() -> None:
    schedule = shared()
    given_ = schedule.give(0)
    schedule.leave(0)  # it was only cut off, and measured on
    schedule.join(0)
    assert schedule.give(1)[0] == given_[0]
    assert [schedule.arrived(place, given_[0]) for place in (1, 0)] == [True, False]


def test_rows_that_a_machine_has_already_are_asked_of_it_and_of_no_other() -> None:
    schedule = Schedule(POINTS, True, {ONE_JOURNAL: POINTS[:2]})
    schedule.join(0, held=(POINTS[0], POINTS[5], POINTS[7]))
    schedule.join(1)
    assert schedule.give(1) == [POINTS[2], POINTS[3], POINTS[4]]
    assert schedule.give(0) == [POINTS[5], POINTS[7], POINTS[6]]
    schedule.leave(0)
    assert schedule.missing() == POINTS[2:]


def test_in_a_survey_each_place_measures_what_its_journal_lacks() -> None:
    schedule = Schedule(POINTS, False, {"a": POINTS[:10]}, ahead=2)
    schedule.join(0, "a")
    schedule.join(1, "b")
    assert schedule.give(0) == POINTS[10:12]
    assert schedule.give(1) == POINTS[:2]
    schedule.leave(1)
    schedule.join(2, "b")  # started again
    assert schedule.give(2) == POINTS[:2]
    for name in POINTS[10:]:
        schedule.give(0)
        assert schedule.arrived(0, name)
    assert schedule.finished(0)
    assert not schedule.finished(2)
    assert (schedule.missing("a"), schedule.missing("c")) == ([], POINTS)


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(["give", "row", "leave"]), st.integers(0, 3)), max_size=80), st.booleans())
def test_each_point_is_brought_once_in_the_end(steps: list[tuple[str, int]], together: bool) -> None:
    """Whatever happens, and then place 9 does the rest; in a survey each place its own."""
    schedule = Schedule(POINTS, together, {}, ahead=3)
    counted: list[tuple[str, str]] = []
    has: dict[int, list[str]] = {}

    def journal(place: int) -> str:
        return ONE_JOURNAL if together else str(place)

    def act(what: str, place: int) -> None:
        if place not in has:
            schedule.join(place, journal(place))
            has[place] = []
        if what == "give":
            has[place] += schedule.give(place)
        elif what == "row" and has[place]:
            name = has[place].pop(0)
            if schedule.arrived(place, name):
                counted.append((journal(place), name))
        elif what == "leave":
            schedule.leave(place)
            del has[place]

    for what, place in steps:
        act(what, place)
    for place in list(has) if together else []:
        act("leave", place)
    for place in [9] if together else [0, 1, 2, 3, 9]:
        for _ in range(2 * len(POINTS)):
            act("give", place)
            act("row", place)
        assert schedule.finished(place)
    assert len(counted) == len(set(counted))
    for name in {found for found, _ in counted}:
        assert sorted([*(point for found, point in counted if found == name), *schedule.given_up]) == sorted(POINTS)


@pytest.mark.parametrize(
    ("drivers", "found"),
    [
        (["1", "1", "1"], [[0, 1, 2]]),
        (["1", "2", "2"], [[1, 2], [0]]),
        (["1", "2", "1", "2"], [[0, 2], [1, 3]]),
        ([], []),
    ],
)
def test_gpus_that_are_alike(drivers: list[str], found: list[list[int]]) -> None:
    boards = {i: {"driver": driver, "host": f"h{i}", "device_uuid": f"u{i}", "vbios": f"v{i}"} for i, driver in enumerate(drivers)}
    assert groups(boards) == found
