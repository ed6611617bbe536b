"""What the source becomes before it is animated, and what an animated frame becomes before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.grid import draw_grid
from maskanim.ops import Frame
from maskanim.provenance import draw_label
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import Box, Paste, cut, source_box
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.runner import Source
from maskanim.runtime.stream import Fed, Shown
from maskanim.video import Picture, read_source
from maskanim.video.source import over
from maskanim.views import side_by_side

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Canvas:
    """Makes the frames that are written.

    Attributes:
        square: what of the source is animated, (S, S, 3) or, where nothing was cut out, (H, W, 3) uint8 RGB.
        paste: puts a frame back into the whole picture; None leaves it as it is.
        how: the view and the label.
        arrays: the encoded source, for the grid.
    """

    square: Frame
    paste: Paste | None
    how: RenderSettings
    arrays: Source | None = None

    def __call__(self, shown: Shown) -> Frame:
        """(H, W, 3) uint8 RGB."""
        frame = self._viewed(shown)
        return draw_label(frame, self.how.label) if self.how.label else frame

    def _viewed(self, shown: Shown) -> Frame:
        if self.arrays and shown.steps:
            return draw_grid(self.arrays, *shown.steps)
        frame = shown.finish()
        if self.paste:
            frame = self.paste(frame)
        if self.how.view == "side-by-side" and shown.fed.driving is not None:
            return side_by_side(self.square, shown.fed.driving, frame)
        return frame


def read_job_source(job: Job, how: RenderSettings) -> Picture:
    """The source picture; without alpha, unless that is to be kept."""
    background = None if how.keep_alpha else how.background
    return read_source(job.source, how.source_frame, background)


def source_square(picture: Frame, how: RenderSettings, animator: Animator) -> Box | None:
    """Which square of the source is animated; None: the largest centred one, and nothing is to be put back."""
    if how.crop == "center" and not how.paste_back:
        return None
    return source_box(how.crop, picture, animator.mask)


def canvas(animator: Animator, picture: Frame, box: Box | None, how: RenderSettings) -> tuple[Any, Canvas]:
    """The encoded source, and what its frames become."""
    square = picture if box is None else cut(picture, box)
    source = animator.encode_source(square)
    paste = Paste(picture, box) if how.paste_back and box else None
    return source, Canvas(square, paste, how, animator.source_arrays(source) if how.view == "grid" else None)


class Matted(NamedTuple):
    """A transparent frame: its time, and a function that gives (H, W, 4) uint8 RGBA."""

    pts: int
    finish: Callable[[], NDArray[np.uint8]]


class Matte:
    """Animates a transparent picture over black and over white: where the two differ, one sees through.

    The object moves, and its alpha with it; the alpha of the picture itself would stay where it was.

    Args:
        picture: with alpha.
        replays: the driver is a motion file.
    """

    def __init__(
        self, animator: Animator, picture: Picture, box: Box | None, how: RenderSettings, *, replays: bool = False
    ) -> None:
        self._run = animator.runner.replayed if replays else animator.runner.frames
        self._sides = [canvas(animator, over(picture, colour).image, box, how) for colour in (BLACK, WHITE)]

    def frames(self, feed: Iterable[Fed]) -> Iterator[Matted]:
        """What comes of each frame, one by one: each source in turn is the runner's."""
        for fed in feed:
            finished = [next(self._run(source, [fed.prepared])) for source, _ in self._sides]
            yield Matted(fed.pts, partial(self._joined, fed, finished))

    def _joined(self, fed: Fed, finished: list[Callable[[], Frame]]) -> NDArray[np.uint8]:
        black, white = (draw(Shown(fed, finish)) for (_, draw), finish in zip(self._sides, finished, strict=True))
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
