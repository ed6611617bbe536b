"""A few frames of a video, small and compressed, for the page that a person looks at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Frame

SIDE = 128
MOST = 12  # frames that are kept; beyond, every other one goes
QUALITY = 85


class Strip:
    """Frames of the driver and of each method at evenly spaced times, whatever the video's length, in little memory.

    Args:
        source: (256, 256, 3) uint8 RGB, what was animated; None if it is not known.
    """

    def __init__(self, source: Frame | None = None) -> None:
        self._source = None if source is None else _packed(source)
        self._rows: dict[str, dict[int, bytes]] = {}
        self._step = 1

    def add(self, row: str, first: int, frames: Sequence[Frame]) -> None:
        """Keep some of the frames of a row, the first of which has the number `first`."""
        numbered: dict[int, Frame | bytes] = {**self._rows.get(row, {}), **dict(enumerate(frames, first))}
        while len(kept := [i for i in numbered if i % self._step == 0]) > MOST:
            self._step *= 2  # the other rows follow when they are added to
        self._rows[row] = {i: each if isinstance(each := numbered[i], bytes) else _packed(each) for i in kept}

    def picture(self, rows: Sequence[str], columns: int) -> Frame:
        """So many columns at most of some of the rows, the source, if there is one, before them.

        Returns:
            (rows * 128, columns * 128, 3) uint8 RGB, or a column more with the source.
        """
        common = sorted(set.intersection(*(set(self._rows[row]) for row in rows)))
        chosen = [common[i] for i in np.linspace(0, len(common) - 1, min(columns, len(common))).round().astype(int)]
        picture = np.vstack([np.hstack([_unpacked(self._rows[row][i]) for i in chosen]) for row in rows])
        if self._source is None:
            return picture
        beside = np.full((len(picture), SIDE, 3), 255, np.uint8)
        beside[:SIDE] = _unpacked(self._source)
        return np.hstack([beside, picture])


def _packed(frame: Frame) -> bytes:
    return as_jpeg(np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8))


def as_jpeg(image: Frame) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG file."""
    done, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes JPEG"
    return packed.tobytes()


def _unpacked(packed: bytes) -> Frame:
    buffer: NDArray[np.uint8] = np.frombuffer(packed, np.uint8)
    return np.ascontiguousarray(np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)
