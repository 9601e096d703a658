"""What boards report at the start and the end of a run that one or several of them measure, resumed and put together."""

from __future__ import annotations

from typing import Any

import pytest

from benches.run import board
from benches.shards.merge import shared_environment

NAMED = {"device_kind": "simulated", "gpus": [{"uuid": "a"}, {"uuid": "b"}]}


@pytest.fixture(autouse=True)
def _facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each board reports its own name and the moment."""
    monkeypatch.setattr(
        board, "facts", lambda kind, uuid, ended=False: None if kind == "cpu" else f"{uuid} {'later' if ended else 'first'}"
    )


def pair(start: Any, end: Any) -> dict[str, Any]:
    return {"start": start, "end": end}


@pytest.mark.parametrize(
    ("about", "begun", "measured", "ended"),
    [
        ({"device_kind": "cpu"}, {}, [], {}),
        (
            {"device_kind": "cuda", "device_uuid": "a"},
            {"board": pair("a first", None)},
            [],
            {"board": pair("a first", "a later")},
        ),
        (
            {"device_kind": "cuda", "device_uuid": "a", "gpus": [{"uuid": "a"}]},
            {"board": pair("a first", None)},
            ["a"],
            {"board": pair("a first", "a later")},
        ),
        (
            NAMED,
            {"boards": {"a": pair("a first", None), "b": pair("b first", None)}},
            ["b"],
            {"boards": {"a": pair("a first", None), "b": pair("b first", "b later")}},
        ),
    ],
)
def test_one_board_is_the_runs_and_several_are_by_uuid(
    about: dict[str, Any], begun: dict[str, Any], measured: list[str], ended: dict[str, Any]
) -> None:
    assert board.begun(about) == begun
    assert board.ended(about | begun, measured) == ended


def of(uuid: str, start: Any, end: Any) -> dict[str, Any]:
    return {"gpus": [{"uuid": uuid}], "board": pair(start, end)}


@pytest.mark.parametrize(
    ("abouts", "expected"),
    [
        ([{}, {}], {}),
        ([{"gpus": [{"uuid": "a"}]}], {}),
        ([of("a", 1, 2), of("a", 3, None)], {"board": pair(1, 2)}),
        ([of("a", 1, 2), of("a", 3, 4)], {"board": pair(1, 4)}),
        ([of("a", 1, 2), of("b", 3, 4)], {"board": None, "boards": {"a": pair(1, 2), "b": pair(3, 4)}}),
        ([NAMED | {"boards": {"a": pair(1, 2)}}, of("b", 3, 4)], {"board": None, "boards": {"a": pair(1, 2), "b": pair(3, 4)}}),
        ([NAMED | {"boards": 5}, {"gpus": [{"uuid": "b"}], "board": "x"}], {"board": None}),
    ],
)
def test_parts_keep_the_first_start_and_the_last_end_of_each_board(abouts: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert board.joined(abouts) == expected


def test_parts_that_name_no_gpu_have_no_board_together() -> None:
    parts = [{"host": "x", "board": pair(1, 2)}, {"host": "y", "board": pair(3, 4)}]
    assert shared_environment(parts)["board"] is None
    assert shared_environment(parts[:1])["board"] == pair(1, 2)
