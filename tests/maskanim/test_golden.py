"""Golden pairs: a picture that goes round, and what it says of results that are not those."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskanim import pipeline
from maskanim.errors import MaskanimError
from maskanim.golden import Animated, Golden, agreement, golden, pack, unpack
from maskanim.ops import Frame

RNG = np.random.default_rng(0)


def images(count: int) -> list[Frame]:
    return list(RNG.integers(0, 256, (count, 256, 256, 3), np.uint8))


def animated() -> Animated:
    mask, image = (1, 1, 64, 64), (1, 3, 256, 256)
    made = [RNG.random(shape, np.float32) for shape in (mask, mask, mask, mask, image, image)]
    return Animated(made[0], pipeline.Animation(*made[1:]))


@pytest.fixture(scope="module")
def results() -> dict[int, Animated]:
    return {i: animated() for i in range(2)}


@pytest.fixture(scope="module")
def pairs(results: dict[int, Animated]) -> list[Golden]:
    return [golden(*images(2), found) for found in results.values()]


def test_the_picture_goes_round(pairs: list[Golden]) -> None:
    for got, given in zip(unpack(pack(pairs)), pairs, strict=True):
        for name, array in got._asdict().items():
            np.testing.assert_array_equal(array, getattr(given, name), err_msg=name)


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(MaskanimError, match="golden pairs: no picture; expected one of 1024 pixels by 320 a pair"):
        unpack(content)


def test_what_was_recorded_agrees_to_8_bits(pairs: list[Golden], results: dict[int, Animated]) -> None:
    turns = iter(results.values())
    found = agreement(pairs, lambda source, driving: next(turns))
    assert list(found) == ["m", "r", "l", "h"] and all(58 < value < 60 for value in found.values())


@pytest.mark.parametrize(
    ("network", "step"), [("m", "source_mask"), ("m", "mask"), ("r", "refined"), ("l", "coarse"), ("h", "frame")]
)
@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_black_or_broken_step_is_that_networks(
    pairs: list[Golden], results: dict[int, Animated], network: str, step: str, value: float
) -> None:
    def spoilt(found: Animated) -> Animated:
        if step == "source_mask":
            return found._replace(source_mask=np.full_like(found.source_mask, value))
        steps = {**vars(found.animation), step: np.full_like(getattr(found.animation, step), value)}
        return found._replace(animation=pipeline.Animation(**steps))

    turns = iter([results[0], spoilt(results[1])])  # the worst of all pairs counts
    found = agreement(pairs, lambda source, driving: next(turns))
    for name, told in found.items():
        assert (math.isnan(told) if math.isnan(value) else told < 10) if name == network else told > 58
