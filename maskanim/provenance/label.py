"""A visible label in a corner of every frame: what stays when a file is encoded again."""

from __future__ import annotations

import cv2

from maskanim.errors import MaskanimError
from maskanim.ops import Frame

LABEL = "synthetic"
FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALLEST = 0.35  # of the font's size; below it the letters run together
SIZE_PER_PIXEL = 1 / 500  # of the font's size, per pixel of the side: on 256x256 the default is a quarter of the width
MARGIN = 3  # pixels around the text
WHITE = (255, 255, 255)


def check_label(text: str, size: int) -> None:
    """Refuse, before any work, a label that cannot be drawn.

    Args:
        text: one line of printable ASCII, which is what the font has.
        size: the shorter side of the frames, in pixels.

    Raises:
        MaskanimError: no text, other characters, or too long for such frames.
    """
    if not text.strip() or not text.isascii() or not text.isprintable():
        raise MaskanimError(f"label {text!r}", "no text that can be drawn", "printable ASCII", "Use plain letters")
    if _font_size(text, size) is None:
        received = f"too long for frames of {size} pixels"
        raise MaskanimError(f"label {text!r}", received, "a text that fits", "Use a shorter one")


def draw_label(frame: Frame, text: str = LABEL) -> Frame:
    """Write a text into the lower right corner, in white on a darkened box.

    Args:
        frame: (H, W, 3) uint8 RGB, both sides at least 64; it stays as it is.
        text: as in `check_label`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        MaskanimError: as `check_label`.
    """
    side = min(frame.shape[:2])
    check_label(text, side)
    scale = _font_size(text, side) or SMALLEST
    (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
    labelled = frame.copy()
    box = labelled[-(height + below + 2 * MARGIN) :, -(width + 2 * MARGIN) :]
    box[...] = box // 4  # white text on what was white has a contrast of ten to one then
    at = (frame.shape[1] - width - MARGIN, frame.shape[0] - below - MARGIN)
    cv2.putText(labelled, text, at, FONT, scale, WHITE, 1, cv2.LINE_AA)
    return labelled


def _font_size(text: str, side: int) -> float | None:
    """The font's size on frames of that side, or None where even the smallest is too wide."""
    for scale in (max(SMALLEST, side * SIZE_PER_PIXEL), SMALLEST):
        if cv2.getTextSize(text, FONT, scale, 1)[0][0] + 2 * MARGIN <= side:
            return scale
    return None
