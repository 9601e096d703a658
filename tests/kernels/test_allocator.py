"""The caching allocator's rounding: a table worked out by hand from its rules, and its invariants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.allocator import MIB, block_bytes, held_bytes, most_rounding, segment_bytes

HAND = [
    # requested, block, segment, held
    (0, 0, 0, 0),
    (1, 512, 2 * MIB, 512),
    (512, 512, 2 * MIB, 512),
    (513, 1024, 2 * MIB, 1024),
    (127 * 129 * 4, 65536, 2 * MIB, 65536),  # 65,532 in 128 blocks of 512
    (MIB, MIB, 2 * MIB, MIB),  # the largest of the small pool
    (MIB + 1, MIB + 512, 20 * MIB, MIB + 512),
    (10 * MIB - 512, 10 * MIB - 512, 20 * MIB, 10 * MIB - 512),
    (10 * MIB, 10 * MIB, 10 * MIB, 10 * MIB),
    (10 * MIB + 1, 10 * MIB + 512, 12 * MIB, 10 * MIB + 512),  # 2 MiB − 512 are left: cut off
    (11 * MIB, 11 * MIB, 12 * MIB, 12 * MIB),  # exactly 1 MiB is left: stays with the block
    (11 * MIB - 512, 11 * MIB - 512, 12 * MIB, 11 * MIB - 512),  # 512 bytes more are left: cut off
    (4097 * 4097 * 2, 33571328, 34 * MIB, 33571328),  # 33,570,818 in 65,569 blocks; 34 MiB − that is over 1 MiB
    (4096 * 4224 * 2, 33 * MIB, 34 * MIB, 34 * MIB),
    (8192 * 8192 * 2, 128 * MIB, 128 * MIB, 128 * MIB),
]


@pytest.mark.parametrize(("requested", "block", "segment", "held"), HAND)
def test_by_hand(requested: int, block: int, segment: int, held: int) -> None:
    assert (block_bytes(requested), segment_bytes(requested), held_bytes(requested)) == (block, segment, held)


@given(st.integers(1, 2**36))
def test_a_tensor_holds_what_it_asked_for_and_little_more(requested: int) -> None:
    assert requested <= block_bytes(requested) <= held_bytes(requested) <= segment_bytes(requested)
    assert held_bytes(requested) - requested <= most_rounding(1)
    assert held_bytes(requested) % 512 == 0
