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
    """Frames of several roles at evenly spaced times, whatever the length of the video, in little memory.

    Args:
        source: (256, 256, 3) uint8 RGB, what was animated; None if it is not known.
    """

    def __init__(self, source: Frame | None = None) -> None:
        self._source = None if source is None else _packed(source)
        self._rows: dict[str, dict[int, bytes]] = {}
        self._step: dict[str, int] = {}

    def add(self, role: str, first: int, frames: Sequence[Frame]) -> None:
        """Keep some of the frames, the first of which has the number `first`."""
        row = self._rows.setdefault(role, {})
        step = self._step.setdefault(role, 1)
        for i, frame in enumerate(frames, first):
            if i % step == 0:
                row[i] = _packed(frame)
        while len(row) > MOST:
            step *= 2
            row = {i: packed for i, packed in row.items() if i % step == 0}
        self._rows[role], self._step[role] = row, step

    def with_roles(self, *roles: str) -> Strip:
        """The same frames of some of the roles."""
        part = Strip()
        part._source = self._source
        part._rows = {role: self._rows[role] for role in roles if role in self._rows}
        part._step = {role: self._step[role] for role in part._rows}
        return part

    @property
    def roles(self) -> list[str]:
        return list(self._rows)

    def picture(self, columns: int) -> Frame:
        """A row for each role and so many columns at most, the source, if there is one, before them.

        Returns:
            (rows * 128, columns * 128, 3) uint8 RGB, or a column more with the source.
        """
        common = sorted(set.intersection(*(set(row) for row in self._rows.values())))
        chosen = [common[i] for i in np.linspace(0, len(common) - 1, min(columns, len(common))).round().astype(int)]
        picture = np.vstack([np.hstack([_unpacked(row[i]) for i in chosen]) for row in self._rows.values()])
        if self._source is None:
            return picture
        beside = np.full((len(picture), SIDE, 3), 255, np.uint8)
        beside[:SIDE] = _unpacked(self._source)
        return np.hstack([beside, picture])


def _packed(frame: Frame) -> bytes:
    small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    done, packed = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes JPEG"
    return packed.tobytes()


def _unpacked(packed: bytes) -> Frame:
    buffer: NDArray[np.uint8] = np.frombuffer(packed, np.uint8)
    return np.ascontiguousarray(np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)
