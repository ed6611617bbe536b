"""Masks come back to the bit, in few bytes."""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np
import pytest

from maskanim.ops import Array
from maskanim.runtime.motion.coding import FILTERS, decode, encode

RNG = np.random.default_rng(0)
ZERO = np.zeros((3, 64, 64), np.float32)
TINY = np.full((2, 64, 64), np.float32(1e-45))
MASKS: dict[str, Array] = {
    "nothing": ZERO,
    "everything": np.ones_like(ZERO),
    "the smallest values": TINY,
    "a zero with a sign": -ZERO,
    "noise": RNG.random((5, 64, 64), np.float32),
    "now and then nothing": RNG.random((6, 64, 64), np.float32)
    * np.array([1, 0, 1, 1, 0, 0], np.float32)[:, None, None],
    "one frame": np.where(RNG.random((1, 64, 64)) < 0.5, 0, RNG.random((1, 64, 64), np.float32)).astype(np.float32),
}


@pytest.mark.parametrize("name", MASKS)
def test_exact_is_exact(name: str) -> None:
    masks = MASKS[name]
    times, found = decode(encode(np.arange(len(masks)) * 7 - 5, masks), len(masks))
    assert found.dtype == np.float32 and found.shape == masks.shape
    np.testing.assert_array_equal(found.view(np.uint32), masks.view(np.uint32))
    np.testing.assert_array_equal(times, np.arange(len(masks)) * 7 - 5)


def test_times_of_any_size() -> None:
    times = np.array([-(2**62), -1, 0, 1, 2**62])
    np.testing.assert_array_equal(decode(encode(times, np.zeros((5, 64, 64), np.float32)), 5)[0], times)


def test_still_masks_cost_next_to_nothing(drawn_masks: Any) -> None:
    still = np.repeat(drawn_masks(1)[:, 0, 0], 64, 0)
    assert len(encode(np.arange(64), still)) < 1.3 * len(encode(np.arange(1), still[:1]))


def test_it_is_smaller_than_the_values(drawn_masks: Any) -> None:
    masks = drawn_masks(64)[:, 0, 0]
    assert len(encode(np.arange(64), masks)) < 0.8 * 4 * np.count_nonzero(masks)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_content_of_another_length_is_refused(count: int) -> None:
    content = encode(np.arange(2), MASKS["noise"][:2])
    with pytest.raises(ValueError, match=r"too short|another length"):
        decode(content, count)


@pytest.mark.parametrize("content", [b"", b"nonsense", lzma.compress(bytes(10**7), lzma.FORMAT_RAW, filters=FILTERS)])
def test_foreign_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"too short|another length|Corrupt"):
        decode(content, 2)
