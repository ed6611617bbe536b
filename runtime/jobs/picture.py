"""What the source becomes before it is animated, and what an animated frame becomes before it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Frame
from maskanim.provenance import draw_label
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import Box, Finder, Paste, cut, source_box
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.runner import FrameResult, Mode, Source
from maskanim.video import Picture, read_source
from maskanim.video.pictures import alpha_composite
from maskanim.views import draw_grid, side_by_side

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Canvas:
    """Makes the frames that are written.

    Attributes:
        square: what of the source is animated, (S, S, 3) or, where nothing was cut out, (H, W, 3) uint8 RGB.
        paste: puts a frame back into the whole picture; None leaves it as it is.
        settings: the view and the label.
        arrays: the encoded source, for the grid.
    """

    square: Frame
    paste: Paste | None
    settings: RenderSettings
    arrays: Source | None = None

    def draw(self, result: FrameResult, driving: Frame | None = None) -> Frame:
        """(H, W, 3) uint8 RGB; for side by side with the driving frame."""
        frame = self._viewed(result, driving)
        return draw_label(frame, self.settings.label) if self.settings.label else frame

    def _viewed(self, result: FrameResult, driving: Frame | None) -> Frame:
        if self.arrays and result.steps:
            return draw_grid(self.arrays, *result.steps)
        frame = result.finish()
        if self.paste:
            frame = self.paste(frame)
        if self.settings.view == "side-by-side" and driving is not None:
            return side_by_side(self.square, driving, frame)
        return frame


def read_job_source(job: Job, settings: RenderSettings) -> Picture:
    """The source picture; without alpha, unless that is to be kept."""
    background = None if settings.keep_alpha else settings.background
    return read_source(job.source, settings.source_frame, background)


def source_square(picture: Frame, settings: RenderSettings, animator: Animator) -> Box | None:
    """Which square of the source is animated; None: the largest centred one, and nothing is to be put back."""
    if settings.crop == "center" and not settings.paste_back:
        return None
    return source_box(settings.crop, picture, Finder.of(animator))


def canvas(animator: Animator, picture: Frame, box: Box | None, settings: RenderSettings) -> tuple[Any, Canvas]:
    """The encoded source, and what its frames become."""
    square = picture if box is None else cut(picture, box)
    source = animator.encode_source(square)
    paste = Paste(picture, box) if settings.paste_back and box else None
    arrays = animator.source_arrays(source) if settings.view == "grid" else None
    return source, Canvas(square, paste, settings, arrays)


class Matte:
    """Animates a transparent picture over black and over white: where the two differ, one sees through.

    The object moves, and its alpha with it; the alpha of the picture itself would stay where it was.
    """

    def __init__(self, animator: Animator, picture: Picture, box: Box | None, settings: RenderSettings) -> None:
        self._runner = animator.runner
        self._sides = [
            canvas(animator, alpha_composite(picture, colour).image, box, settings) for colour in (BLACK, WHITE)
        ]

    def run(self, inputs: Iterable[Any], mode: Mode) -> Iterator[FrameResult]:
        """As `Runner.run`, each frame (H, W, 4) uint8 RGBA; one by one, as each source in turn is the runner's."""
        for prepared in inputs:
            sides = [(draw, next(self._runner.run(source, [prepared], mode))) for source, draw in self._sides]
            yield FrameResult(partial(_joined, sides))


def _joined(sides: list[tuple[Canvas, FrameResult]]) -> NDArray[np.uint8]:
    black, white = (side.draw(result) for side, result in sides)
    return difference_matte(black, white)


def difference_matte(black: Frame, white: Frame) -> NDArray[np.uint8]:
    """The transparent picture that looks like the one given over black, and like the other over white.

    Args:
        black, white: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 4) uint8 RGBA, its colours not multiplied by alpha; exact to rounding if there is such a picture.
    """
    below = np.asarray(black, np.float32)
    alpha = 255 - np.clip((np.asarray(white, np.float32) - below).mean(2, keepdims=True), 0, 255)
    colours = np.clip(below * 255 / np.maximum(alpha, 1), 0, 255)
    return np.rint(np.concatenate([colours, alpha], 2)).astype(np.uint8)
