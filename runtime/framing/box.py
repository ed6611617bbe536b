"""Squares in a picture: where they are, how they are said, and cutting them out."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.ops import MIN_FRAME_SIDE

CROPS = "'auto', 'center', or x,y,width,height in pixels"


class Box(NamedTuple):
    """A square of whole pixels, which may reach beyond its picture; left and top count from the picture's corner."""

    left: int
    top: int
    side: int

    @property
    def centre(self) -> tuple[float, float]:
        """x and y, in pixels; a pixel's own centre lies at one half."""
        return self.left + self.side / 2, self.top + self.side / 2

    def overlap(self, other: Box) -> float:
        """Intersection over union, in [0, 1]."""
        width = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        height = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        common = max(width, 0) * max(height, 0)
        return common / (self.side**2 + other.side**2 - common)


class Rectangle(NamedTuple):
    """What a person names: x and y of the top left corner, width and height, in pixels."""

    x: int
    y: int
    width: int
    height: int


Crop = Literal["auto", "center"] | Rectangle


def parse_crop(text: str) -> Crop:
    """Read a crop as it is typed: ``auto``, ``center``, or ``x,y,width,height``.

    Raises:
        MaskanimError: it is none of these, or smaller than 64x64.
    """
    if text == "auto":
        return "auto"
    if text == "center":
        return "center"
    if not re.fullmatch(r" *\d{1,6}( *, *\d{1,6}){3} *", text):
        raise MaskanimError(f"crop {text}", "not a crop", CROPS)
    rectangle = Rectangle(*map(int, text.split(",")))
    if min(rectangle.width, rectangle.height) < MIN_FRAME_SIDE:
        received = f"{rectangle.width}x{rectangle.height} pixels"
        raise MaskanimError(
            f"crop {text}", received, f"at least {MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}", "Name a larger one"
        )
    return rectangle


def box_at(centre: tuple[float, float], side: float) -> Box:
    """The box of whole pixels nearest to a square; its side is at least 64."""
    whole = max(round(side), MIN_FRAME_SIDE)
    return Box(round(centre[0] - whole / 2), round(centre[1] - whole / 2), whole)


def centre_box(height: int, width: int) -> Box:
    """The largest centred square, as `ops.centre_square` takes it."""
    side = min(height, width)
    return Box((width - side) // 2, (height - side) // 2, side)


def rectangle_box(rectangle: Rectangle, height: int, width: int) -> Box:
    """The smallest square around a rectangle, about its centre: nothing that was named is cut off.

    Raises:
        MaskanimError: the rectangle is not inside the picture.
    """
    x, y, wide, high = rectangle
    if x + wide > width or y + high > height:
        told = f"crop {x},{y},{wide},{high}"
        raise MaskanimError(told, f"it ends at {x + wide},{y + high}", f"one inside the {width}x{height} picture")
    side = max(wide, high)
    return Box(x + (wide - side) // 2, y + (high - side) // 2, side)


def cut(picture: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels of a box; beyond the picture its edge is repeated.

    Args:
        picture: (H, W, 3) or (H, W) uint8.
        box: it and the picture have a pixel in common.

    Returns:
        (side, side, 3) or (side, side) uint8, contiguous.

    Raises:
        MaskanimError: the box lies outside of the picture.
    """
    rows, columns = visible(box, *picture.shape[:2])
    inside = picture[rows, columns]
    if not inside.size:
        received = f"left {box.left}, top {box.top}, side {box.side}"
        raise MaskanimError("crop", received, f"one inside the {picture.shape[1]}x{picture.shape[0]} picture")
    before = rows.start - box.top, columns.start - box.left
    after = box.side - len(inside) - before[0], box.side - inside.shape[1] - before[1]
    if any((*before, *after)):
        inside = cv2.copyMakeBorder(inside, before[0], after[0], before[1], after[1], cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(inside, np.uint8)


def visible(box: Box, height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of a picture that lie in a box."""
    return (
        slice(min(max(box.top, 0), height), min(max(box.top + box.side, 0), height)),
        slice(min(max(box.left, 0), width), min(max(box.left + box.side, 0), width)),
    )
