"""Held-out puppets rebuilt from their first frame (section 4.1), and animated by one another (section 4.2).

Rebuilt: judged inside and outside the figures apart, because the L1 over a whole frame is mostly background.

Animated: is the pose the driver's, and is it still the source? Key-points, as the paper's AKD: those found in the
animated frame against the driver's own visible ones, which are known exactly. Two puppets differ in proportions, so a
source that keeps its own cannot reach zero; `REFERENCES` tell how near it could come, and how near the finder itself
comes on true frames. Identity: the mean colours of the parts (see `colours`), averaged over a pair's frames; a pair
counts as kept where they are nearer to the source's than to the driver's. Shape, which colours cannot see and which
P_test and r are about: a pair counts as kept where the animated frames are nearer, in L1, to the source drawn in its
own proportions and hair than to the source drawn in the driver's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.estimates import Estimate, ratio
from maskanim.benchmarks.judges.puppets import Finder, distances
from maskanim.benchmarks.quality.colours import average, difference, locate, mean_colours, true_colours
from maskanim.ops import Array, Frame
from maskanim.runtime.runner import encoded_source
from maskanim.train.puppets import Identity, Puppet, PuppetFrame

CLIP_FPS = 5.0  # sixteen frames are three seconds: enough for an arm to rise and fall
FIRST_DRIVER = 1000  # each source has a driver of its own, so that pairs are independent draws
START, BETWEEN = 0.5, 0.9  # seconds: the driver's frames show poses far from each other
COLOURS = ("skin", "hair", "top", "legs", "shoes", "sleeves", "trousers", "pattern")

# Of one identity, per figure: what is divided by what, or the three sums of a correlation.
Sums = dict[str, tuple[float, ...]]


class Animates(Protocol):
    """What is judged: the part of `runtime.Animator` that the figures need."""

    def encode_source(self, image: Frame, /) -> Any: ...
    def animate(self, source: Any, frame: Frame, /) -> Frame: ...


@dataclass(frozen=True)
class Figures:
    """Figures over held-out identities.

    Of `reconstruct`: ``inside`` and ``outside``, the mean absolute difference to the true frame in [0, 1] inside and
    outside the union of the source's and the driver's true figures; ``repeated_inside`` and ``repeated_outside``, the
    same where the source frame is simply repeated; ``inside_ratio``, inside over repeated_inside: below one, the
    animation is nearer to the truth than the still source is; ``keypoints``, the mean distance in pixels of key-points
    found in the rebuilt frame to the visible true ones.

    Of `transfer`: ``keypoints``, those found in the animated frame to the driver's visible ones; ``identity_kept``, the
    share of pairs whose parts' colours are nearer to the source's than to the driver's; ``to_source`` and
    ``to_driver``, the mean absolute difference of the parts' colours to either's, in [0, 1]; ``shape_kept``, the share
    of pairs nearer to the source in its own shape than in the driver's.
    """

    counts: dict[str, int]  # how many ``identities`` or ``pairs``, and ``frames`` of each clip, or of each driver
    estimates: dict[str, Estimate]  # of each figure the value, and the 95 % bootstrap interval over identities

    def __getitem__(self, name: str) -> float:
        return self.estimates[name].value

    def as_dict(self) -> dict[str, Any]:
        """Counts and values, and the intervals' lower and upper ends."""
        values = {name: each.value for name, each in self.estimates.items()}
        return self.counts | values | {"intervals": {name: each[1:] for name, each in self.estimates.items()}}


def _figures(noun: str, frames: int, identities: Sequence[Sums]) -> Figures:
    def estimate(name: str) -> Estimate:
        return ratio(*zip(*(sums[name] for sums in identities), strict=True))

    return Figures({noun: len(identities), "frames": frames}, {name: estimate(name) for name in identities[0]})


def reconstruct(animators: Mapping[str, Animates], identities: Iterable[int], frames: int) -> dict[str, Figures]:
    """Rebuild clips of the test split from their first frame; every clip is drawn once for all animators.

    Args:
        identities: numbers of the puppets.
        frames: of each clip, the source included; at least two.
    """
    finder = Finder.load()
    sums: dict[str, list[Sums]] = {name: [] for name in animators}
    for i in identities:
        source, *drivers = Puppet(i, "test").clip(frames, CLIP_FPS)
        images, unions = [driver.image for driver in drivers], [source.figure | driver.figure for driver in drivers]
        for name, animator in animators.items():
            pictures = animated(animator, source.image, images)
            away = distances(finder.find(pictures), drivers)
            keypoints = {"keypoints": (float(away.sum()), len(away))}
            sums[name].append(differences(pictures, images, source.image, unions) | keypoints)
    return {name: _figures("identities", frames, each) for name, each in sums.items()}


def differences(
    pictures: Sequence[Frame], truth: Sequence[Frame], source: Frame, insides: Sequence[NDArray[np.bool_]]
) -> Sums:
    """Absolute differences to the true frames inside and outside of a region, beside those of the source, repeated."""
    sums, pixels = np.zeros((2, 2)), np.zeros(2)  # rows: animated, repeated; columns: inside, outside
    for picture, true, region in zip(pictures, truth, insides, strict=True):
        away = [_difference(each, true) for each in (picture, source)]
        sums += [[difference[where].sum() for where in (region, ~region)] for difference in away]
        pixels += (region.sum(), (~region).sum())
    (inside, outside), (repeated_inside, repeated_outside) = sums.tolist()
    return {
        "inside": (inside, pixels[0]),
        "outside": (outside, pixels[1]),
        "repeated_inside": (repeated_inside, pixels[0]),
        "repeated_outside": (repeated_outside, pixels[1]),
        "inside_ratio": (inside, repeated_inside),
    }


def animated(animator: Animates, source: Frame, driving: Sequence[Frame]) -> list[Frame]:
    """The pictures that come out."""
    with encoded_source(animator, source) as encoded:
        return [animator.animate(encoded, frame) for frame in driving]


def _difference(a: Frame, b: Frame) -> Array:
    """(H, W) mean absolute difference over the channels, in [0, 1]."""
    return np.abs(a.astype(np.float32) - b).mean(-1) / 255


@dataclass(frozen=True)
class Pair:
    """Two held-out identities, one to be animated by the other."""

    # source, driver: the puppets
    source: Puppet
    driver: Puppet
    picture: PuppetFrame  # the source's picture
    # times, driving: the driver's frames, and when they are in seconds
    times: list[float]
    driving: list[PuppetFrame]

    def own_shape(self) -> list[Frame]:
        """The source as it would look in the driver's motion and place: colours, proportions and hair its own."""
        return self._drawn(replace(self.source.identity, place=self.driver.identity.place))

    def borrowed_shape(self) -> list[Frame]:
        """The same in the driver's proportions and hair style: its key-points are exactly the driver's."""
        colours = {name: getattr(self.source.identity, name) for name in COLOURS}
        return self._drawn(replace(self.driver.identity, **colours))

    def _drawn(self, identity: Identity) -> list[Frame]:
        puppet = copy(self.source)
        puppet.identity, puppet._motion = identity, self.driver._motion
        return [puppet.frame(time).image for time in self.times]


def pairs(identities: Iterable[int], frames: int) -> Iterator[Pair]:
    """Each source of the test split with a driver that is nobody else's."""
    times = [START + BETWEEN * i for i in range(frames)]
    for i in identities:
        source, driver = Puppet(i, "test"), Puppet(FIRST_DRIVER + i, "test")
        yield Pair(source, driver, source.frame(0), times, [driver.frame(time) for time in times])


# What the figures are for animators that are known; in the order of a table.
REFERENCES: dict[str, Callable[[Pair], list[Frame]]] = {
    "driver, true frames": lambda pair: [frame.image for frame in pair.driving],
    "source, repeated": lambda pair: [pair.picture.image] * len(pair.driving),
    "source, drawn in the driver's shape": Pair.borrowed_shape,
    "source, drawn in its own shape": Pair.own_shape,
}


def transfer(
    animators: Mapping[str, Animates], identities: Iterable[int], frames: int, references: bool = False
) -> dict[str, Figures]:
    """Animate sources of the test split by drivers of the test split.

    Args:
        identities: numbers of the sources; each has a driver of its own, see `pairs`.
        frames: of each driver.
        references: also those of REFERENCES, before the others.
    """
    finder = Finder.load()
    known = REFERENCES if references else {}
    sums: dict[str, list[Sums]] = {name: [] for name in (*known, *animators)}
    for pair in pairs(identities, frames):
        judge = _judge(finder, pair)
        for name, make in known.items():
            sums[name].append(judge(make(pair)))
        for name, animator in animators.items():
            sums[name].append(judge(animated(animator, pair.picture.image, [frame.image for frame in pair.driving])))
    return {name: _figures("pairs", frames, each) for name, each in sums.items()}


def _judge(finder: Finder, pair: Pair) -> Callable[[Sequence[Frame]], Sums]:
    """Holds pictures of a pair against what is known of it."""
    source, driver = true_colours(pair.picture), average([true_colours(frame) for frame in pair.driving])
    own, borrowed = pair.own_shape(), pair.borrowed_shape()

    def judge(pictures: Sequence[Frame]) -> Sums:
        found = finder.find(pictures)
        away = distances(found, pair.driving)
        colours = average([mean_colours(*each) for each in zip(pictures, map(locate, found), strict=True)])
        to_source, to_driver = difference(colours, source), difference(colours, driver)
        return {
            "keypoints": (float(away.sum()), len(away)),
            "identity_kept": (to_source < to_driver, 1),
            "to_source": (to_source, 1),
            "to_driver": (to_driver, 1),
            "shape_kept": (_apart(pictures, own) < _apart(pictures, borrowed), 1),
        }

    return judge


def _apart(a: Sequence[Frame], b: Sequence[Frame]) -> int:
    return sum(int(np.abs(x.astype(np.int16) - y).sum()) for x, y in zip(a, b, strict=True))


def animation_grid(animator: Animates, sources: int, frames: int) -> Frame:
    """Held-out sources (first column) animated by other held-out identities (first row), each at another time.

    Returns:
        ((sources + 1) * 256, (frames + 1) * 256, 3) uint8 RGB; the corner is white.
    """
    drivers = [Puppet(sources + i, "test").frame(1.3 * i) for i in range(frames)]
    rows = [[np.full_like(drivers[0].image, 255), *(driver.image for driver in drivers)]]
    for i in range(sources):
        source = Puppet(i, "test").frame(0)
        rows.append([source.image, *animated(animator, source.image, [driver.image for driver in drivers])])
    return np.vstack([np.hstack(row) for row in rows])
