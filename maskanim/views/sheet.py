"""A clip on one sheet: frames from its whole length, each with its time."""

from __future__ import annotations

from math import ceil, sqrt

import cv2
import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import Frame

LONGEST_SIDE = 256  # of a cell's picture
LABEL = 22  # pixels of the line with the time
GAP = 4
KEPT = 4  # times as many frames as are shown: the times of those chosen from them are nearly even
PAPER, INK = (24, 24, 24), (235, 235, 235)
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5  # digits of 11 pixels


class ContactSheet:
    """Collects small pictures of a clip as it goes by; at most four times as many as are shown are in memory.

    Args:
        count: how many are shown, where the clip has as many.

    Raises:
        MaskanimError: no number of frames.
    """

    def __init__(self, count: int = 12) -> None:
        if count < 1:
            raise MaskanimError("contact sheet", f"{count} frames", "one or more")
        self.count = count
        self._kept: list[tuple[Frame, float]] = []
        self._seen, self._step = 0, 1

    def add(self, frame: Frame, seconds: float) -> None:
        """Show the sheet the next frame, (H, W, 3) uint8 RGB, and its time."""
        if self._seen % self._step == 0:
            if len(self._kept) == KEPT * self.count:  # an even number: every other one goes, and this frame stays
                self._kept, self._step = self._kept[::2], 2 * self._step
            self._kept.append((_small(frame), seconds))
        self._seen += 1

    def draw(self) -> Frame:
        """The sheet.

        Returns:
            (H, W, 3) uint8 RGB: rows of frames, evenly spread over the clip from its first, their times below them.

        Raises:
            MaskanimError: the clip had no frame.
        """
        if not self._kept:
            raise MaskanimError("contact sheet", "a clip without frames", "at least one")
        chosen = np.linspace(0, len(self._kept) - 1, min(self.count, len(self._kept))).round().astype(int)
        shown = [self._kept[i] for i in chosen]
        height, width = (max(frame.shape[axis] for frame, _ in shown) for axis in (0, 1))
        columns = ceil(sqrt(len(shown)))
        cell = height + LABEL + GAP, width + GAP
        size = (ceil(len(shown) / columns) * cell[0] + GAP, columns * cell[1] + GAP, 3)
        sheet = np.full(size, PAPER, np.uint8)
        for i, (frame, seconds) in enumerate(shown):
            top, left = i // columns * cell[0] + GAP, i % columns * cell[1] + GAP
            sheet[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
            place = left + 2, top + height + LABEL - 6
            cv2.putText(sheet, told_time(seconds), place, FONT, FONT_SCALE, INK, 1, cv2.LINE_AA)
        return sheet


def told_time(seconds: float) -> str:
    """A time as a person reads it: ``1:02.04``, or ``1:00:02.04`` beyond an hour."""
    hundredths = round(abs(seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    sign, tail = "-" if seconds < 0 < hundredths else "", f"{rest // 100:02d}.{rest % 100:02d}"
    return f"{sign}{hours}:{minutes:02d}:{tail}" if hours else f"{sign}{minutes}:{tail}"


def _small(frame: Frame) -> Frame:
    scale = LONGEST_SIDE / max(frame.shape[:2])
    if scale >= 1:
        return frame.copy()
    width, height = (max(1, round(side * scale)) for side in (frame.shape[1], frame.shape[0]))
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
