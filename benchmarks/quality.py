"""Reconstruction of held-out puppets (section 4.1), judged inside and outside the figures apart, and animation grids.

The L1 over a whole frame is mostly background; ground truth of the figures lets us look where the motion is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from maskanim.ops import Array, Frame
from maskanim.runtime import Animator
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
    """

    identities: int
    frames: int
    inside: float
    outside: float
    repeated_inside: float
    repeated_outside: float

    @property
    def inside_ratio(self) -> float:
        """Below one, the animation is nearer to the truth than the still source is."""
        return self.inside / self.repeated_inside

    def as_dict(self) -> dict[str, float]:
        return asdict(self) | {"inside_ratio": self.inside_ratio}


def reconstruct(animator: Animator, identities: Iterable[int], frames: int) -> Reconstruction:
    """Rebuild clips of the test split from their first frame.

    Args:
        identities: numbers of the puppets.
        frames: of each clip, the source included; at least two.
    """
    totals = np.zeros((2, 2))  # rows: inside, outside; columns: animated, repeated
    pixels = np.zeros(2)
    count = 0
    for i in identities:
        count += 1
        source, *drivers = Puppet(i, "test").clip(frames, CLIP_FPS)
        encoded = animator.encode_source(source.image)
        for driver in drivers:
            animated = animator.animate(encoded, driver.image)
            differences = [_difference(picture, driver.image) for picture in (animated, source.image)]
            union = source.figure | driver.figure
            for row, where in enumerate((union, ~union)):
                totals[row] += [difference[where].sum() for difference in differences]
                pixels[row] += where.sum()
    (inside, repeated_inside), (outside, repeated_outside) = (totals / pixels[:, None]).tolist()
    return Reconstruction(count, frames, inside, outside, repeated_inside, repeated_outside)


def _difference(a: Frame, b: Frame) -> Array:
    """(H, W) mean absolute difference over the channels, in [0, 1]."""
    return np.abs(a.astype(np.float32) - b).mean(-1) / 255


def animation_grid(animator: Animator, sources: int, frames: int) -> Frame:
    """Held-out sources (first column) animated by other held-out identities (first row).

    Returns:
        ((sources + 1) * 256, (frames + 1) * 256, 3) uint8 RGB; the corner is white.
    """
    drivers = list(_strangers(sources, frames))
    rows = [np.hstack([np.full_like(drivers[0].image, 255), *(driver.image for driver in drivers)])]
    for i in range(sources):
        picture = Puppet(i, "test").frame(0).image
        encoded = animator.encode_source(picture)
        rows.append(np.hstack([picture, *(animator.animate(encoded, driver.image) for driver in drivers)]))
    return np.vstack(rows)


def _strangers(first: int, count: int) -> Iterator[PuppetFrame]:
    """Frames of identities that are none of the sources, each at another time."""
    return (Puppet(first + i, "test").frame(1.3 * i) for i in range(count))
