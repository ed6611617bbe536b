"""The object is found by the mask alone: plain ones exactly, held-out puppets nearly always."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame
from maskanim.runtime.framing.box import cut
from maskanim.runtime.framing.finder import EXTENT, find_object

# A hundredth of an ellipse's mass, which does not count, lies in the outermost twenty-eighth of its axis, at each end.
NEAR = 0.08


@pytest.mark.parametrize(
    ("size", "centre", "axes"),
    [
        ((300, 300), (150, 150), (180, 240)),  # as it is in training
        ((300, 400), (90, 200), (60, 130)),
        ((720, 1280), (1000, 300), (150, 220)),  # a larger picture is searched in a smaller copy
        ((400, 250), (125, 210), (150, 380)),  # higher than the picture is wide
        ((300, 300), (30, 40), (90, 120)),  # cut by the picture's edge: what is left of it
        ((90, 600), (480, 45), (50, 80)),
    ],
)
def test_a_plain_object(
    spot: Any, brightness: Any, size: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]
) -> None:
    box = find_object(spot(*size, centre, axes), brightness).box
    low, high = (
        np.clip([c - sign * a / 2 for c, a in zip(centre, axes, strict=True)], 0, size[::-1]) for sign in (1, -1)
    )
    side = max(high - low) / EXTENT
    assert abs(box.side - side) <= NEAR * side
    assert np.abs(box.centre - (low + high) / 2).max() <= NEAR * side


def test_it_costs_few_masks_where_it_is_easy(spot: Any, brightness: Any) -> None:
    shown: list[Frame] = []

    def counted(square: Frame) -> Array:
        shown.append(square)
        return brightness(square)

    picture = spot(300, 300, (150, 150), (180, 240))
    found = find_object(picture, counted)
    assert len(shown) <= 5
    shown.clear()
    assert find_object(picture, counted, near=found).box.overlap(found.box) > 0.95 and len(shown) <= 4


def test_a_picture_without_an_object(brightness: Any) -> None:
    with pytest.raises(MaskanimError, match=r"shows no object; expected one of the kind it knows\. Use crop 'center'"):
        find_object(np.zeros((120, 200, 3), np.uint8), brightness)


def test_held_out_puppets_off_centre_at_half_size(brightness: Any, placed: Any) -> None:
    """64 of them, in four sizes of picture, seen as a model that knows them perfectly would."""
    overlaps = []
    for number in range(64):
        size = ((256, 256), (384, 512), (720, 405), (600, 900))[number % 4]
        shown = placed(number, *size, time=0.37 * number)
        overlaps.append(find_object(shown.picture, brightness).box.overlap(shown.frame))
    print(f"overlap: median {np.median(overlaps):.3f}, least {min(overlaps):.3f}")
    assert np.mean(np.array(overlaps) >= 0.5) >= 0.9 and np.median(overlaps) >= 0.7


def test_the_figure_is_whole_in_its_square(brightness: Any, placed: Any) -> None:
    shown = placed(3, 384, 512, scale=0.4)
    box = find_object(shown.picture, brightness).box
    left, top, right, bottom = shown.figure
    assert box.left <= left and right <= box.left + box.side and box.top <= top and bottom <= box.top + box.side
    assert brightness(cut(shown.picture, box)).max() > 0.5
