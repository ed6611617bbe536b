"""Pasting back: outside of the box not a bit changes, inside the frame fades in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskanim.ops import Frame
from maskanim.runtime.framing.box import FEATHER, Box, Paste, cut

BOXES = [Box(50, 40, 100), Box(-30, -20, 120), Box(150, 110, 90), Box(-40, -70, 300), Box(0, 0, 180), Box(60, 100, 80)]


@pytest.fixture
def picture() -> Frame:
    return np.random.default_rng(0).integers(0, 256, (180, 220, 3), np.uint8)


@pytest.fixture
def frame() -> Frame:
    return np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)


def inside(picture: Frame, box: Box) -> np.ndarray:
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return (x >= box.left) & (x < box.left + box.side) & (y >= box.top) & (y < box.top + box.side)


@pytest.mark.parametrize("box", BOXES)
def test_every_pixel_outside_the_box_is_untouched(picture: Frame, frame: Frame, box: Box) -> None:
    before = picture.copy()
    pasted = Paste(picture, box)(frame)
    assert pasted.shape == picture.shape and pasted.dtype == np.uint8
    where = inside(picture, box)
    np.testing.assert_array_equal(pasted[~where], picture[~where])
    assert (pasted != picture).any(2)[where].mean() > 0.7
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("box", BOXES)
def test_within_the_soft_border_the_frame_is_whole(picture: Frame, frame: Frame, box: Box) -> None:
    pasted = Paste(picture, box)(frame)
    how = cv2.INTER_AREA if box.side < 256 else cv2.INTER_CUBIC
    resized = cv2.resize(frame, (box.side, box.side), interpolation=how)
    depth = int(np.ceil(FEATHER * box.side))
    for y in range(max(box.top, 0), min(box.top + box.side, 180), 7):
        for x in range(max(box.left, 0), min(box.left + box.side, 220), 7):
            # Where the box reaches the picture's edge there is no seam on that side.
            to_seam = min(
                y - box.top if box.top > 0 else depth,
                x - box.left if box.left > 0 else depth,
                box.top + box.side - 1 - y if box.top + box.side < 180 else depth,
                box.left + box.side - 1 - x if box.left + box.side < 220 else depth,
            )
            shown, given = pasted[y, x].astype(int), resized[y - box.top, x - box.left].astype(int)
            if to_seam >= depth:
                assert np.abs(shown - given).max() <= 1  # blendLinear divides by the sum of the weights
            elif to_seam == 0:
                np.testing.assert_array_equal(shown, picture[y, x])


def test_the_seam_is_soft() -> None:
    """White into black: the brightness never falls, and rises by a twentieth of the whole a pixel at most."""
    pasted = Paste(np.zeros((400, 400, 3), np.uint8), Box(20, 20, 360))(np.full((256, 256, 3), 255, np.uint8))
    profile = pasted[200, 20:200, 0].astype(int)
    steps = np.diff(profile)
    assert profile[0] == 0 and profile[-1] == 255 and steps.min() >= 0
    assert steps.max() <= 255 * np.pi / 2 / (360 * FEATHER) + 1  # the cosine's steepest, and a rounding


def test_what_was_cut_out_goes_back_as_it_was() -> None:
    y, x = np.mgrid[:200, :300]
    picture = np.stack([x / 2, y, (x + y) / 3], -1).astype(np.uint8)
    box = Box(30, -20, 180)
    square = cv2.resize(cut(picture, box), (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.abs(Paste(picture, box)(square).astype(int) - picture).max() <= 2  # a smooth picture, resized twice
