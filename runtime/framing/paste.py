"""The animated square back in the full picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Array, Frame
from maskanim.runtime.framing.box import Box, visible

FEATHER = 1 / 12  # of the box's side: how far the soft border reaches inwards


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
        self._weight = self._feather()
        self._rest = 1 - self._weight

    def __call__(self, frame: Frame) -> Frame:
        """The full picture with one animated frame in it.

        Args:
            frame: (S, S, 3) uint8 RGB, of any size.

        Returns:
            (H, W, 3) uint8 RGB, an array of its own.
        """
        side = self.box.side
        how = cv2.INTER_AREA if side < len(frame) else cv2.INTER_CUBIC
        square = np.ascontiguousarray(cv2.resize(frame, (side, side), interpolation=how)[self._inside])
        pasted = self.picture.copy()
        pasted[self._where] = cv2.blendLinear(square, self._below, self._weight, self._rest)
        return pasted

    def _feather(self) -> Array:
        """How much of the frame shows in each of the box's visible pixels, in [0, 1]."""
        axes = zip((self.box.top, self.box.left), self._inside, self.picture.shape[:2], strict=True)
        rows, columns = (
            _ramp(self.box.side, start > 0, start + self.box.side < length)[inside] for start, inside, length in axes
        )
        return np.outer(rows, columns)


def keep_alpha(frame: Frame, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame with its source's alpha, which stays as it is: it does not follow what moves.

    Args:
        frame: (H, W, 3) uint8 RGB, an animated square or the full picture.
        alpha: (h, w) uint8 of the same part of the picture, in any size: as it was read, or as `cut` with the box.

    Returns:
        (H, W, 4) uint8 RGBA.
    """
    height, width = frame.shape[:2]
    if alpha.shape != (height, width):
        how = cv2.INTER_AREA if height < len(alpha) else cv2.INTER_LINEAR
        alpha = np.asarray(cv2.resize(alpha, (width, height), interpolation=how), np.uint8)
    return np.dstack([frame, alpha])


def _ramp(side: int, soft_start: bool, soft_end: bool) -> Array:
    """From 0 to 1, a raised cosine at each soft end."""
    rise = np.arange(side) / (FEATHER * side)
    to_seam = np.minimum(rise if soft_start else 1.0, rise[::-1] if soft_end else 1.0)
    return np.broadcast_to((1 - np.cos(np.pi * np.clip(to_seam, 0, 1))) / 2, side).astype(np.float32)
