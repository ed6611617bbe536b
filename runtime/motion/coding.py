"""Perturbed masks in few bytes: where they are not zero, and how the values there differ from the frame before.

Every bit of the float32 values is kept, so that the replayed frames are those of the clip to the bit; all beyond a
value's first ten bits or so is noise that nothing compresses.
"""

from __future__ import annotations

import lzma

import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Array
from maskanim.spec import MASK_SIZE

Bits = NDArray[np.uint32]  # of float32 values

PIXELS = MASK_SIZE**2
TIME, VALUE = np.dtype("<i8"), np.dtype("<u4")
# A mask's value where the frame before has none: inside an object masks are bright.
USUAL = np.float32(0.75).view(np.uint32)

# A block is a megabyte at most: a larger window would only cost memory.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2**20}]


def encode(times: NDArray[np.int64], masks: Array) -> bytes:
    """Some frames, by themselves.

    Args:
        times: (n,) in ticks.
        masks: (n, 64, 64) float32 in [0, 1].
    """
    bits = np.ascontiguousarray(masks.reshape(-1, PIXELS), "<f4").view(VALUE)
    marked = bits != 0
    expected = np.zeros_like(bits)
    expected[1:] = bits[:-1]
    expected[expected == 0] = USUAL
    # Differences, which wrap around, as 0, -1, 1, -2, 2 ... : small ones have zeros in their higher bytes.
    signed = (bits - expected)[marked].view("<i4")
    folded = ((signed << 1) ^ (signed >> 31)).view(VALUE)
    # All values' lowest bytes, then the next ones: noise apart from what repeats.
    planes = np.ascontiguousarray(folded.view(np.uint8).reshape(-1, VALUE.itemsize).T)
    parts = np.diff(times, prepend=0).astype(TIME), np.packbits(marked), planes
    return lzma.compress(b"".join(part.tobytes() for part in parts), lzma.FORMAT_RAW, filters=FILTERS)


def decode(content: bytes, count: int) -> tuple[NDArray[np.int64], Array]:
    """What `encode` was given: (count,) times and (count, 64, 64) float32 masks.

    Raises:
        ValueError: the content is not that of so many frames.
    """
    edges = np.cumsum([0, count * TIME.itemsize, count * PIXELS // 8])
    try:
        # One byte more than there can be: content that is not ours is not unpacked without end.
        raw = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress(
            content, int(edges[-1]) + count * PIXELS * VALUE.itemsize + 1
        )
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    if len(raw) < edges[-1]:
        raise ValueError("too short")
    times = np.cumsum(np.frombuffer(raw, TIME, count), dtype=np.int64)
    marked = np.unpackbits(np.frombuffer(raw, np.uint8, edges[2] - edges[1], edges[1])).reshape(count, PIXELS) > 0
    planes = np.frombuffer(raw, np.uint8, -1, edges[2])
    if len(planes) != VALUE.itemsize * np.count_nonzero(marked):
        raise ValueError("another length")
    folded = np.ascontiguousarray(planes.reshape(VALUE.itemsize, -1).T).view(VALUE).reshape(-1)
    bits = np.zeros(marked.shape, VALUE)
    bits[marked] = (folded >> 1) ^ -(folded & 1)
    return times, _summed(bits, marked).view("<f4").astype(np.float32, copy=False).reshape(-1, MASK_SIZE, MASK_SIZE)


def _summed(differences: Bits, marked: NDArray[np.bool_]) -> Bits:
    """Values from their differences to the frame before; in place."""
    before = np.zeros(PIXELS, VALUE)
    for frame, at in zip(differences, marked, strict=True):
        before[before == 0] = USUAL
        frame += before
        frame[~at] = 0
        before = frame.copy()
    return differences
