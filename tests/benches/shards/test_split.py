"""Parts of a sweep: every point in exactly one, about equally long, the same whatever the order and the machine."""

from __future__ import annotations

import random

import pytest

from benches.shards.split import ShardError, parse_shard, point_seconds, shard_points, split
from benches.sweep.load import load_sweep


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7, 127])
@pytest.mark.parametrize("count", [0, 1, 2, 127, 129])
def test_a_split_is_a_balanced_partition(parts: int, count: int) -> None:
    draw = random.Random(f"{parts} {count}")
    seconds = {f"p{i}": draw.choice([0.1, draw.lognormvariate(1, 2)]) for i in range(count)}
    found = split(seconds, parts)
    assert len(found) == parts
    assert sorted(name for part in found for name in part) == sorted(seconds)
    loads = [sum(seconds[name] for name in part) for part in found]
    assert max(loads) - min(loads) <= max(seconds.values(), default=0) + 1e-3 * count  # Graham's bound, in whole milliseconds
    shuffled = list(seconds.items())
    draw.shuffle(shuffled)
    assert split(dict(shuffled), parts) == found
    assert split({name: length * (1 + 1e-12) for name, length in seconds.items()}, parts) == found  # another machine's last bits


def test_the_parts_of_a_shipped_sweep() -> None:
    sweep = load_sweep("smoke")
    parts = [[point.id for point in shard_points(sweep, f"{k}/4")] for k in (1, 2, 3, 4)]
    ids = [point.id for point in sweep.points]
    assert sorted(name for part in parts for name in part) == sorted(ids)
    assert all(part == [name for name in ids if name in set(part)] for part in parts)
    seconds = point_seconds(sweep)
    loads = [sum(seconds[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(seconds.values())


@pytest.mark.parametrize(("text", "part"), [("1/1", (1, 1)), ("3/4", (3, 4)), (" 2/3 ", (2, 3))])
def test_a_part(text: str, part: tuple[int, int]) -> None:
    assert parse_shard(text) == part


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/4/2", "1.0/4", "1/99999999"])
def test_what_is_not_a_part(text: str) -> None:
    with pytest.raises(ShardError, match="is not a part such as 1/4"):
        parse_shard(text)
