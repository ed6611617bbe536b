"""Perturbed masks in few bytes: where they are not zero, and how the values there differ from the frame before.

``exact`` keeps every bit of the float32 values. The replayed frames are then those of the clip to the bit; but all
beyond a value's first ten bits or so is noise that nothing compresses. ``compact`` rounds to 1/255.
"""

from __future__ import annotations

import lzma
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Array
from maskanim.spec import MASK_SIZE

Precision = Literal["exact", "compact"]
Levels = NDArray[np.unsignedinteger[Any]]

PIXELS = MASK_SIZE**2
TIME = np.dtype("<i8")
LEVELS: dict[Precision, np.dtype[Any]] = {"exact": np.dtype("<u4"), "compact": np.dtype("u1")}
# A mask's value where the frame before has none: inside an object masks are bright.
USUAL = {"exact": int(np.float32(0.75).view(np.uint32)), "compact": 191}

# A block is a megabyte at most: a larger window would only cost memory.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2**20}]


def encode(times: NDArray[np.int64], masks: Array, precision: Precision) -> bytes:
    """Some frames, by themselves.

    Args:
        times: (n,) in ticks.
        masks: (n, 64, 64) float32 in [0, 1].
        precision: see above.
    """
    levels = _levels(masks.reshape(-1, PIXELS), precision)
    marked = levels != 0
    parts = (
        np.diff(times, prepend=0).astype(TIME).tobytes(),
        np.packbits(marked).tobytes(),
        _planes(_folded(levels - _expected(levels, precision))[marked]).tobytes(),
    )
    return lzma.compress(b"".join(parts), lzma.FORMAT_RAW, filters=FILTERS)


def decode(content: bytes, count: int, precision: Precision) -> tuple[NDArray[np.int64], Array]:
    """What `encode` was given: (count,) times and (count, 64, 64) float32 masks.

    Raises:
        ValueError: the content is not that of so many frames.
    """
    kind = LEVELS[precision]
    edges = np.cumsum([0, count * TIME.itemsize, count * PIXELS // 8])
    try:
        # One byte more than there can be: content that is not ours is not unpacked without end.
        raw = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress(
            content, int(edges[-1]) + count * PIXELS * kind.itemsize + 1
        )
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    if len(raw) < edges[-1]:
        raise ValueError("too short")
    times = np.cumsum(np.frombuffer(raw, TIME, count), dtype=np.int64)
    marked = np.unpackbits(np.frombuffer(raw, np.uint8, edges[2] - edges[1], edges[1])).reshape(count, PIXELS) > 0
    values = np.frombuffer(raw, np.uint8, -1, edges[2])
    if len(values) != kind.itemsize * np.count_nonzero(marked):
        raise ValueError("another length")
    residuals = np.zeros(marked.shape, kind)
    residuals[marked] = _unfolded(np.ascontiguousarray(values.reshape(kind.itemsize, -1).T).view(kind).reshape(-1))
    return times, _masks(_restored(residuals, marked, precision), precision)


def _levels(masks: Array, precision: Precision) -> Levels:
    """Masks as integers, 0 for zero alone."""
    if precision == "exact":
        return np.ascontiguousarray(masks, "<f4").view(LEVELS["exact"])
    rounded = np.where(masks != 0, np.maximum(np.rint(masks * 255), 1), 0)
    return rounded.astype(LEVELS["compact"])


def _masks(levels: Levels, precision: Precision) -> Array:
    masks = levels.view("<f4") if precision == "exact" else levels / np.float32(255)
    return masks.astype(np.float32, copy=False).reshape(-1, MASK_SIZE, MASK_SIZE)


def _expected(levels: Levels, precision: Precision) -> Levels:
    """Each pixel's value in the frame before, or the usual one where that is zero."""
    before = np.zeros_like(levels)
    before[1:] = levels[:-1]
    before[before == 0] = USUAL[precision]
    return before


def _restored(residuals: Levels, marked: NDArray[np.bool_], precision: Precision) -> Levels:
    """Levels from what `_expected` leaves of them; in place."""
    before = np.zeros(PIXELS, residuals.dtype)
    for frame, at in zip(residuals, marked, strict=True):
        before[before == 0] = USUAL[precision]
        frame += before
        frame[~at] = 0
        before = frame.copy()
    return residuals


def _folded(difference: Levels) -> Levels:
    """Differences, which wrap around, as 0, -1, 1, -2, 2 ... : small ones have zeros in their higher bytes."""
    signed = difference.view(f"<i{difference.itemsize}")
    return ((signed << 1) ^ (signed >> (8 * difference.itemsize - 1))).view(difference.dtype)


def _unfolded(folded: Levels) -> Levels:
    signed = folded.view(f"<i{folded.itemsize}")
    return ((folded >> 1).view(signed.dtype) ^ -(signed & 1)).view(folded.dtype)


def _planes(values: Levels) -> NDArray[np.uint8]:
    """All values' lowest bytes, then the next ones: noise apart from what repeats."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, values.itemsize).T)
