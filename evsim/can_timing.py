"""How long a classic CAN frame with an 11-bit id occupies the bus, stuff bits counted exactly."""

from __future__ import annotations

import functools

#: After five equal bits a transmitter stuffs one of the other kind.
_STUFF_AFTER = 5
#: CRC delimiter, acknowledge slot and delimiter, end of frame, interframe space: never stuffed.
_TRAILER_BITS = 1 + 2 + 7 + 3
_CRC15 = 0x4599  # the polynomial of ISO 11898-1


def shortest_frame_bits(length: int) -> int:
    """Return the bits of a frame with `length` data bytes and no stuff bit, with interframe."""
    return 47 + 8 * length


def longest_frame_bits(length: int) -> int:
    """Return the bits of the worst-stuffed frame with `length` data bytes (Davis et al., 2007)."""
    return shortest_frame_bits(length) + (34 + 8 * length - 1) // 4


@functools.lru_cache(maxsize=4096)
def frame_bits(arbitration_id: int, data: bytes, length: int, *, remote: bool = False) -> int:
    """Return the bits of a frame on the wire, interframe space included.

    :param length: the data length code; a remote frame has one, but no data.
    """
    bits = [0]  # start of frame
    bits += _bits(arbitration_id, 11)
    bits += [int(remote), 0, 0]  # remote transmission request, 11-bit id, reserved
    bits += _bits(length, 4)
    if not remote:
        for byte in data:
            bits += _bits(byte, 8)
    bits += _bits(_crc(bits), 15)
    return len(bits) + _stuff_bits(bits) + _TRAILER_BITS


def _bits(number: int, width: int) -> list[int]:
    return [number >> place & 1 for place in range(width - 1, -1, -1)]


def _crc(bits: list[int]) -> int:
    crc = 0
    for bit in bits:
        feedback = bit ^ (crc >> 14)
        crc = (crc << 1) & 0x7FFF
        if feedback:
            crc ^= _CRC15
    return crc


def _stuff_bits(bits: list[int]) -> int:
    """Count the stuff bits; a stuff bit begins a new run itself."""
    stuffed, run, last = 0, 0, -1
    for bit in bits:
        run = run + 1 if bit == last else 1
        last = bit
        if run == _STUFF_AFTER:
            stuffed += 1
            last, run = 1 - bit, 1
    return stuffed
