"""Squares: how they are said, where they lie, what they cut out."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import centre_square
from maskanim.runtime.framing.box import Box, Rectangle, centre_box, cut, parse_crop, rectangle_box


def test_crops_as_they_are_typed() -> None:
    assert parse_crop("auto") == "auto" and parse_crop("center") == "center"
    assert parse_crop("10, 20,300,400") == Rectangle(10, 20, 300, 400)


@pytest.mark.parametrize(
    "text", ["", "centre", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,100,100", "1.5,0,100,100", "9" * 40]
)
def test_what_is_no_crop(text: str) -> None:
    with pytest.raises(MaskanimError, match=r"not a crop; expected 'auto', 'center', or x,y,width,height in pixels\.$"):
        parse_crop(text)


def test_a_crop_that_is_too_small() -> None:
    with pytest.raises(MaskanimError, match="63x100 pixels; expected at least 64x64"):
        parse_crop("0,0,63,100")


@pytest.mark.parametrize(
    ("rectangle", "box"),
    [
        (Rectangle(10, 20, 100, 100), Box(10, 20, 100)),
        (Rectangle(100, 20, 70, 100), Box(85, 20, 100)),  # as wide again as it is high, about the same centre
        (Rectangle(0, 0, 400, 100), Box(0, -150, 400)),
    ],
)
def test_the_square_of_a_rectangle(rectangle: Rectangle, box: Box) -> None:
    assert rectangle_box(rectangle, 300, 400) == box


def test_a_rectangle_beyond_the_picture() -> None:
    with pytest.raises(MaskanimError, match="it ends at 401,100; expected one inside the 400x300 picture"):
        rectangle_box(Rectangle(301, 0, 100, 100), 300, 400)


@pytest.mark.parametrize("size", [(70, 70), (71, 100), (100, 71)])
def test_the_centre_is_that_of_the_networks(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_array_equal(cut(picture, centre_box(*size)), centre_square(picture))


def test_beyond_the_edge_the_edge_is_repeated() -> None:
    picture = np.arange(80 * 90, dtype=np.uint32).view(np.uint8).reshape(80, 90, 4)[..., :3]
    for box in (Box(5, 6, 64), Box(-20, -30, 70), Box(60, 50, 64), Box(-10, -10, 120)):
        rows = np.clip(np.arange(box.top, box.top + box.side), 0, 79)
        columns = np.clip(np.arange(box.left, box.left + box.side), 0, 89)
        found = cut(picture, box)
        np.testing.assert_array_equal(found, picture[np.ix_(rows, columns)])
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(cut(picture[..., 0], box), found[..., 0])


@pytest.mark.parametrize("box", [Box(90, 0, 64), Box(0, -64, 64)])
def test_a_box_outside_the_picture(box: Box) -> None:
    with pytest.raises(MaskanimError, match="one inside the 90x80 picture"):
        cut(np.zeros((80, 90, 3), np.uint8), box)


def test_overlap() -> None:
    box = Box(10, 10, 100)
    assert box.overlap(box) == 1
    assert box.overlap(Box(60, 10, 100)) == pytest.approx(50 / 150)
    assert box.overlap(Box(35, 35, 50)) == Box(35, 35, 50).overlap(box) == 0.25
    assert box.overlap(Box(110, 10, 100)) == box.overlap(Box(300, 300, 64)) == 0
