"""The checksums of FITS (standard 4.0, appendix J)."""

from __future__ import annotations

import io
from typing import IO

import numpy as np

_CHUNK = 1 << 20
_PUNCTUATION = {*range(0x3A, 0x41), *range(0x5B, 0x61)}  # what an encoded checksum may not hold


def sum_of(data: bytes, total: int = 0) -> int:
    """Add bytes, as big-endian numbers of 32 bits, to a ones' complement sum; what is missing of the last is 0."""
    words = np.frombuffer(data + b"\0" * (-len(data) % 4), ">u4")
    total += int(words.sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def sum_in(file: IO[bytes], start: int, end: int) -> int:
    """Return the sum of a part of a file, without holding it."""
    total = 0
    file.seek(start, io.SEEK_SET)
    for position in range(start, end, _CHUNK):
        total = sum_of(file.read(min(_CHUNK, end - position)), total)
    return total


def encoded(total: int) -> str:
    """Return the 16 letters that bring an HDU whose sum is `total`, with sixteen zeros in their place, to -0."""
    value = 0xFFFFFFFF - total
    letters = [0] * 16
    for place, byte in enumerate(value.to_bytes(4, "big")):
        four = [byte // 4 + byte % 4 + 0x30, *[byte // 4 + 0x30] * 3]
        while _PUNCTUATION & set(four):
            for one in (0, 2):
                if _PUNCTUATION & set(four[one : one + 2]):
                    four[one] += 1
                    four[one + 1] -= 1
        letters[place::4] = four
    return "".join(map(chr, letters[-1:] + letters[:-1]))
