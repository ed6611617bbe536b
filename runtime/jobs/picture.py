"""What the source becomes before it is animated, and what an animated frame becomes before it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Frame
from maskanim.provenance import draw_label
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import Box, Finder, Paste, cut, source_box
from maskanim.runtime.jobs.settings import RenderSettings
from maskanim.runtime.runner import FrameResult, Mode, encoded_source
from maskanim.video import Picture
from maskanim.video.pictures import alpha_composite
from maskanim.views import draw_grid, side_by_side

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class Canvas:
    """A source that is encoded, and makes the frames that are written.

    Args:
        picture: (H, W, 3) uint8 RGB.
        box: which square of it is animated; see `source_square`.
        settings: what is put back, the view and the label.
        opened: with which the source is freed.

    Attributes:
        source: the encoded square.
    """

    def __init__(
        self, animator: Animator, picture: Frame, box: Box | None, settings: RenderSettings, opened: ExitStack
    ) -> None:
        self.square, self._settings = picture if box is None else cut(picture, box), settings
        self.source = opened.enter_context(encoded_source(animator, self.square))
        self._paste = Paste(picture, box) if settings.paste_back and box else None
        self._arrays = animator.source_arrays(self.source) if settings.view == "grid" else None

    def draw(self, result: FrameResult, driving: Frame | None = None) -> Frame:
        """(H, W, 3) uint8 RGB; for side by side with the driving frame."""
        if self._arrays and result.steps:
            frame = draw_grid(self._arrays, *result.steps)
        else:
            frame = self._paste(result.finish()) if self._paste else result.finish()
            if self._settings.view == "side-by-side" and driving is not None:
                frame = side_by_side(self.square, driving, frame)
        return draw_label(frame, self._settings.label) if self._settings.label else frame


def source_square(picture: Frame, settings: RenderSettings, animator: Animator) -> Box | None:
    """Which square of the source is animated; None: the largest centred one, and nothing is to be put back."""
    if settings.crop == "center" and not settings.paste_back:
        return None
    return source_box(settings.crop, picture, Finder.of(animator))


class Matte:
    """Animates a transparent picture over black and over white: where the two differ, one sees through.

    The object moves, and its alpha with it; the alpha of the picture itself would stay where it was.
    """

    def __init__(
        self, animator: Animator, picture: Picture, box: Box | None, settings: RenderSettings, opened: ExitStack
    ) -> None:
        self._runner = animator.runner
        below = (alpha_composite(picture, colour).image for colour in (BLACK, WHITE))
        self._sides = [Canvas(animator, image, box, settings, opened) for image in below]

    def run(self, inputs: Iterable[Any], mode: Mode) -> Iterator[FrameResult]:
        """As `Runner.run`, each frame (H, W, 4) uint8 RGBA; one by one, as each source in turn is the runner's."""
        for prepared in inputs:
            results = [next(self._runner.run(side.source, [prepared], mode)) for side in self._sides]
            yield FrameResult(partial(self._joined, results))

    def _joined(self, results: list[FrameResult]) -> NDArray[np.uint8]:
        black, white = (side.draw(result) for side, result in zip(self._sides, results, strict=True))
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
