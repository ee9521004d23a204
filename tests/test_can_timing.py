"""Frame lengths: between the formula's bounds, and right where it can be counted by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evsim.can_timing import frame_bits, longest_frame_bits, shortest_frame_bits


def test_the_formula_of_the_literature() -> None:
    assert shortest_frame_bits(8) == 111
    assert longest_frame_bits(8) == 135
    assert longest_frame_bits(0) == 55


@given(st.integers(0, 0x7FF), st.binary(max_size=8))
def test_each_frame_is_within_the_formula(arbitration_id: int, data: bytes) -> None:
    bits = frame_bits(arbitration_id, data, len(data))
    assert shortest_frame_bits(len(data)) <= bits <= longest_frame_bits(len(data))


def test_a_frame_counted_by_hand() -> None:
    # Id 0, no data: 19 zeros and a CRC of 15 zeros, 34 equal bits. Stuffed after 5, and then
    # after each 4, for the stuff bit breaks the run and the zeros begin anew: after bits 5, 10,
    # 15, 20, 25 and 30.
    assert frame_bits(0, b"", 0) == 34 + 6 + 13


def test_a_remote_frame_has_a_length_but_no_data() -> None:
    assert frame_bits(0x300, b"", 2, remote=True) <= longest_frame_bits(0)
