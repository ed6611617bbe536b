"""Reconstruction of held-out puppets (section 4.1), judged inside and outside the figures apart.

The L1 over a whole frame is mostly background; ground truth of the figures lets us look where the motion is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from maskanim.benchmarks.estimates import ratio
from maskanim.benchmarks.judges.puppets import Finder, distances
from maskanim.benchmarks.quality.animates import Animates
from maskanim.ops import Array, Frame
from maskanim.train.puppets import Puppet, PuppetFrame

CLIP_FPS = 5.0  # sixteen frames are three seconds: enough for an arm to rise and fall


@dataclass(frozen=True)
class Reconstruction:
    """How well the frames of held-out clips are rebuilt from their first frame.

    Attributes:
        identities, frames: how many clips, and frames of each, the source included.
        inside, outside: mean absolute difference to the true frame in [0, 1], inside and outside the union of the
            source's and the driver's true figures.
        repeated_inside, repeated_outside: the same where the source frame is simply repeated.
        inside_ratio: inside over repeated_inside; below one, the animation is nearer to the truth than the still
            source is.
        keypoints: mean distance in pixels of key-points found in the rebuilt frame to the visible true ones.
        intervals: of the figures above, the lower and upper end of the 95 % bootstrap interval over identities.
    """

    identities: int
    frames: int
    inside: float
    outside: float
    repeated_inside: float
    repeated_outside: float
    inside_ratio: float
    keypoints: float
    intervals: dict[str, tuple[float, float]]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class _Tally(NamedTuple):
    """Sums over one clip."""

    inside: float
    outside: float
    repeated_inside: float
    repeated_outside: float
    pixels_inside: float
    pixels_outside: float
    distance: float
    points: int


def reconstruct(animator: Animates, identities: Iterable[int], frames: int) -> Reconstruction:
    """Rebuild clips of the test split from their first frame.

    Args:
        identities: numbers of the puppets.
        frames: of each clip, the source included; at least two.
    """
    return reconstruct_each({"": animator}, identities, frames)[""]


def reconstruct_each(
    animators: Mapping[str, Animates], identities: Iterable[int], frames: int
) -> dict[str, Reconstruction]:
    """`reconstruct` by several animators; every clip is drawn once, and kept no longer than needed."""
    finder = Finder.load()
    tallies: dict[str, list[_Tally]] = {name: [] for name in animators}
    for i in identities:
        source, *drivers = Puppet(i, "test").clip(frames, CLIP_FPS)
        for name, animator in animators.items():
            tallies[name].append(_tally(animator, finder, source, drivers))
    return {name: _summary(tally, frames) for name, tally in tallies.items()}


def _tally(animator: Animates, finder: Finder, source: PuppetFrame, drivers: Sequence[PuppetFrame]) -> _Tally:
    encoded = animator.encode_source(source.image)
    pictures = [animator.animate(encoded, driver.image) for driver in drivers]
    sums, pixels = np.zeros((2, 2)), np.zeros(2)  # rows: animated, repeated; columns: inside, outside
    for picture, driver in zip(pictures, drivers, strict=True):
        union = source.figure | driver.figure
        differences = [_difference(each, driver.image) for each in (picture, source.image)]
        sums += [[difference[where].sum() for where in (union, ~union)] for difference in differences]
        pixels += (union.sum(), (~union).sum())
    away = distances(finder, pictures, drivers)
    (inside, outside), (repeated_inside, repeated_outside) = sums.tolist()
    pixels_inside, pixels_outside = pixels.tolist()
    return _Tally(
        inside, outside, repeated_inside, repeated_outside, pixels_inside, pixels_outside, float(away.sum()), len(away)
    )


def _summary(tallies: Sequence[_Tally], frames: int) -> Reconstruction:
    def per_clip(name: str) -> list[float]:
        return [getattr(tally, name) for tally in tallies]

    figures = {
        "inside": ratio(per_clip("inside"), per_clip("pixels_inside")),
        "outside": ratio(per_clip("outside"), per_clip("pixels_outside")),
        "repeated_inside": ratio(per_clip("repeated_inside"), per_clip("pixels_inside")),
        "repeated_outside": ratio(per_clip("repeated_outside"), per_clip("pixels_outside")),
        "inside_ratio": ratio(per_clip("inside"), per_clip("repeated_inside")),
        "keypoints": ratio(per_clip("distance"), per_clip("points")),
    }
    values = {name: figure.value for name, figure in figures.items()}
    intervals = {name: (figure.low, figure.high) for name, figure in figures.items()}
    return Reconstruction(len(tallies), frames, **values, intervals=intervals)


def _difference(a: Frame, b: Frame) -> Array:
    """(H, W) mean absolute difference over the channels, in [0, 1]."""
    return np.abs(a.astype(np.float32) - b).mean(-1) / 255
