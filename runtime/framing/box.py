"""Squares in a picture: where they are, how they are typed, cutting them out and putting them back."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.ops import MIN_FRAME_SIDE, Array, Frame

FEATHER = 1 / 12  # of the box's side: how far the soft border of what is put back reaches inwards
CROPS = "'auto', 'center', or x,y,width,height in pixels"


class Box(NamedTuple):
    """A square of whole pixels, which may reach beyond its picture; left and top count from the picture's corner."""

    left: int
    top: int
    side: int

    @property
    def centre(self) -> tuple[float, float]:
        """X and y, in pixels; a pixel's own centre lies at one half."""
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
        received, wanted = f"{rectangle.width}x{rectangle.height} pixels", f"at least {MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}"
        raise MaskanimError(f"crop {text}", received, wanted, "Name a larger one")
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


class Paste:
    """Puts animated squares into the picture from which the source was cut, in any order.

    Every pixel outside the box keeps the picture's value to the bit. The frame fades in from the box's border inwards;
    where the box reaches the edge of the picture there is no seam to hide, and it is whole up to the edge.

    Args:
        picture: (H, W, 3) uint8 RGB; not to be changed afterwards.
        box: where the source was cut out; it has a pixel in common with the picture.
    """

    def __init__(self, picture: Frame, box: Box) -> None:
        self.picture, self.box = picture, box
        self._where = rows, columns = visible(box, *picture.shape[:2])
        self._inside = (
            slice(rows.start - box.top, rows.stop - box.top),
            slice(columns.start - box.left, columns.stop - box.left),
        )
        self._below = np.ascontiguousarray(picture[self._where])
        # How much of the frame shows in each of the box's visible pixels, in [0, 1].
        axes = zip((box.top, box.left), self._inside, picture.shape[:2], strict=True)
        down, across = (_ramp(box.side, start > 0, start + box.side < length)[inside] for start, inside, length in axes)
        self._weight = np.outer(down, across)
        self._rest = 1 - self._weight

    def __call__(self, frame: Frame) -> Frame:
        """The full picture with one animated frame in it.

        Args:
            frame: (S, S, 3) uint8 RGB, of any size.

        Returns:
            (H, W, 3) uint8 RGB, an array of its own.
        """
        side = self.box.side
        interpolation = cv2.INTER_AREA if side < len(frame) else cv2.INTER_CUBIC
        square = np.ascontiguousarray(cv2.resize(frame, (side, side), interpolation=interpolation)[self._inside])
        pasted = self.picture.copy()
        pasted[self._where] = cv2.blendLinear(square, self._below, self._weight, self._rest)
        return pasted


def _ramp(side: int, soft_start: bool, soft_end: bool) -> Array:
    """From 0 to 1, a raised cosine at each soft end."""
    rise = np.arange(side) / (FEATHER * side)
    to_seam = np.minimum(rise if soft_start else 1.0, rise[::-1] if soft_end else 1.0)
    return np.broadcast_to((1 - np.cos(np.pi * np.clip(to_seam, 0, 1))) / 2, side).astype(np.float32)
