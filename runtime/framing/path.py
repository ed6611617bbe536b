"""Where a driving clip's square is over time: of one size, and slow enough to leave the object's motion alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime.framing.box import Box, Crop, box_at, centre_box, rectangle_box
from maskanim.runtime.framing.finder import Finder, Found

if TYPE_CHECKING:
    from maskanim.video import Clip, TimedFrame

Points = NDArray[np.float64]
Sample = tuple[Frame, float]

# Frames of a file that are searched, at most; each costs some 20 masks where the object is near the last one.
SAMPLES = 48
PER_SECOND = 2.0  # samples, where the clip is short enough
FIRST_FRAMES = 8  # of a clip that cannot be read twice

# A walk is even for longer than this, a gesture is not: of a sway once in five seconds a twentieth is left, and 0.43 at
# the very ends of the clip, which is within what stands still where the sway is half a side wide.
SMOOTHING = 4.0  # seconds, the Gaussian's sigma
SMOOTHING_SPACINGS = 1.5  # sigma is no less than this many spacings of the samples
STILL = 0.2  # of the side: a centre that strays no further stands still, for m sees an object that is so far off


class BoxPath(NamedTuple):
    """A square that may move."""

    seconds: Points  # (n,) ascending
    centres: Points  # (n, 2), x and y in pixels at those times; between them it moves evenly, outside of them it stays
    side: int  # in pixels, constant

    def at(self, seconds: float) -> Box:
        """The square at a time."""
        x, y = (float(np.interp(seconds, self.seconds, axis)) for axis in self.centres.T)
        return box_at((x, y), self.side)


def still_path(box: Box) -> BoxPath:
    """A square that does not move."""
    return BoxPath(np.zeros(1), np.array([box.centre]), box.side)


def source_box(crop: Crop, picture: Frame, finder: Finder) -> Box:
    """The square of a source picture.

    Args:
        picture: (H, W, 3) uint8 RGB.
        finder: the model's; asked with ``auto`` only.

    Raises:
        MaskanimError: m sees no object, or the rectangle is not inside the picture.
    """
    return finder.find(picture).box if crop == "auto" else _named_box(crop, picture)


def clip_path(crop: Crop, clip: Clip, finder: Finder) -> tuple[BoxPath, Iterator[TimedFrame]]:
    """The square of a driving clip, and the clip's frames, of which none is lost.

    Args:
        crop: from `parse_crop`.
        clip: opened, with no frame read. A first pass over it decodes every frame and searches at most some `SAMPLES`;
            of a camera the first `FIRST_FRAMES` tell, and the square stays where it was in them.
        finder: the model's; asked with ``auto`` only.

    Raises:
        MaskanimError: m sees no object in any of the frames, the rectangle is not inside them, or the clip is damaged.
    """
    frames: Iterator[TimedFrame] = clip
    if clip.once:
        head = list(islice(clip, FIRST_FRAMES if crop == "auto" else 1))
        samples, frames = iter(head), chain(head, clip)
    else:
        step = max(1, round(clip.rate / PER_SECOND), -(-(clip.frame_count or 0) // SAMPLES))
        samples = clip.preview(step)
    if crop != "auto":
        first = next(samples, None)
        if first is None:
            raise MaskanimError("crop", "a clip without frames", "at least one frame")
        return still_path(_named_box(crop, first.image)), frames
    timed = ((image, float(pts * clip.time_base)) for image, pts in samples)
    return find_path(timed, finder, moving=not clip.once), frames


def find_path(samples: Iterable[Sample], finder: Finder, *, moving: bool = True) -> BoxPath:
    """The square of an object through sampled frames.

    Its side is the median of the single frames' squares. Their centres, each the median of three, are smoothed over
    time; a centre that then hardly strays stands still, at the median.

    Args:
        samples: frames, (H, W, 3) uint8 RGB, and their times in seconds, in order.
        finder: the model's.
        moving: False keeps it still.

    Raises:
        MaskanimError: m sees no object in any of them.
    """
    found: list[tuple[float, Found]] = []
    refusal = MaskanimError("crop", "a clip without frames", "at least one frame")
    for image, time in samples:
        try:
            found.append((time, finder.find(image, found[-1][1] if found else None)))
        except MaskanimError as error:
            refusal = error
    if not found:
        raise refusal
    seconds, boxes = np.array([time for time, _ in found]), [each.box for _, each in found]
    centres, side = np.array([box.centre for box in boxes]), round(float(np.median([box.side for box in boxes])))
    smooth = _smoothed(seconds, _median_of_three(centres))
    middle = np.median(centres, axis=0)
    if not moving or np.abs(smooth - middle).max() <= STILL * side:
        return BoxPath(seconds[:1], middle[None], side)
    return BoxPath(seconds, smooth, side)


def _median_of_three(centres: Points) -> Points:
    padded = np.concatenate([centres[:1], centres, centres[-1:]])
    return np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)


def _smoothed(seconds: Points, centres: Points) -> Points:
    """At each time, the straight line that fits best what a Gaussian around it weighs: an even walk stays one."""
    spacing = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    away = seconds - seconds[:, None]
    weights = np.exp(-0.5 * (away / max(SMOOTHING, SMOOTHING_SPACINGS * spacing)) ** 2)
    weights /= weights.sum(1, keepdims=True)
    mean_away = (weights * away).sum(1, keepdims=True)
    spread = (weights * (away - mean_away) ** 2).sum(1, keepdims=True)
    slope = (weights * (away - mean_away)) @ centres / np.maximum(spread, 1e-9)  # 0 for a single sample
    return weights @ centres - slope * mean_away


def _named_box(crop: Crop, image: Frame) -> Box:
    height, width = image.shape[:2]
    return rectangle_box(crop, height, width) if isinstance(crop, tuple) else centre_box(height, width)
