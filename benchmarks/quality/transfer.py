"""One puppet animated by another (section 4.2): is the pose the driver's, and is it still the source?

Key-points, as the paper's AKD: those found in the animated frame against the driver's own visible ones, which are known
exactly. Two puppets differ in proportions, so a source that keeps its own cannot reach zero; `references` tells how
near it could come, and how near the finder itself comes on true frames.

Identity: the mean colours of the parts (see `colours`), averaged over a pair's frames; a pair counts as kept where they
are nearer to the source's than to the driver's. Shape, which colours cannot see and which P_test and r are about: a
pair counts as kept where the animated frames are nearer, in L1, to the source drawn in its own proportions and hair
than to the source drawn in the driver's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from maskanim.benchmarks.estimates import ratio
from maskanim.benchmarks.judges.puppets import Finder
from maskanim.benchmarks.quality.animates import Animates
from maskanim.benchmarks.quality.colours import average, difference, locate, mean_colours, true_colours
from maskanim.benchmarks.quality.pairs import REFERENCES, Pair, borrowed_shape, own_shape, pairs
from maskanim.ops import Frame


@dataclass(frozen=True)
class Transfer:
    """How well held-out sources are animated by other held-out identities.

    Attributes:
        pairs, frames: how many, and driving frames of each.
        keypoints: mean distance in pixels of key-points found in the animated frame to the driver's visible ones.
        identity_kept: share of pairs whose parts' colours are nearer to the source's than to the driver's.
        to_source, to_driver: mean absolute difference of the parts' colours to either's, in [0, 1].
        shape_kept: share of pairs nearer to the source in its own shape than in the driver's.
        intervals: of the figures above, the lower and upper end of the 95 % bootstrap interval over pairs.
    """

    pairs: int
    frames: int
    keypoints: float
    identity_kept: float
    to_source: float
    to_driver: float
    shape_kept: float
    intervals: dict[str, tuple[float, float]]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class _Judgement(NamedTuple):
    """Of one pair."""

    distance: float
    points: int
    to_source: float
    to_driver: float
    shape_kept: bool


class _Truth:
    """What the pictures of one pair are held against."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.source = true_colours(pair.picture)
        self.driver = average([true_colours(frame) for frame in pair.driving])
        self.own, self.borrowed = own_shape(pair), borrowed_shape(pair)
        self.visible = np.stack([frame.visible for frame in pair.driving])
        self.keypoints = np.stack([frame.keypoints for frame in pair.driving])

    def judge(self, finder: Finder, pictures: Sequence[Frame]) -> _Judgement:
        found = finder.find(pictures)
        away = np.linalg.norm(found - self.keypoints, axis=-1)[self.visible]
        each = [mean_colours(picture, locate(points)) for picture, points in zip(pictures, found, strict=True)]
        colours = average(each)
        return _Judgement(
            float(away.sum()),
            len(away),
            difference(colours, self.source),
            difference(colours, self.driver),
            _apart(pictures, self.own) < _apart(pictures, self.borrowed),
        )


def transfer(animator: Animates, identities: Iterable[int], frames: int) -> Transfer:
    """Animate sources of the test split by drivers of the test split.

    Args:
        identities: numbers of the sources; each has a driver of its own, see `pairs.pairs`.
        frames: of each driver.
    """
    return transfer_each({"": animator}, identities, frames)[""]


def transfer_each(
    animators: Mapping[str, Animates], identities: Iterable[int], frames: int, references: bool = False
) -> dict[str, Transfer]:
    """`transfer` by several animators, and with `references` by those of `pairs.REFERENCES`, before them."""
    finder = Finder.load()
    known = REFERENCES if references else {}
    judged: dict[str, list[_Judgement]] = {name: [] for name in (*known, *animators)}
    for pair in pairs(identities, frames):
        truth = _Truth(pair)
        for name, make in known.items():
            judged[name].append(truth.judge(finder, make(pair)))
        for name, animator in animators.items():
            judged[name].append(truth.judge(finder, _animated(animator, pair)))
    return {name: _summary(judgements, frames) for name, judgements in judged.items()}


def _animated(animator: Animates, pair: Pair) -> list[Frame]:
    encoded = animator.encode_source(pair.picture.image)
    return [animator.animate(encoded, frame.image) for frame in pair.driving]


def _apart(a: Sequence[Frame], b: Sequence[Frame]) -> int:
    return sum(int(np.abs(x.astype(np.int16) - y).sum()) for x, y in zip(a, b, strict=True))


def _summary(judgements: Sequence[_Judgement], frames: int) -> Transfer:
    ones = [1.0] * len(judgements)
    figures = {
        "keypoints": ratio([each.distance for each in judgements], [each.points for each in judgements]),
        "identity_kept": ratio([each.to_source < each.to_driver for each in judgements], ones),
        "to_source": ratio([each.to_source for each in judgements], ones),
        "to_driver": ratio([each.to_driver for each in judgements], ones),
        "shape_kept": ratio([each.shape_kept for each in judgements], ones),
    }
    values = {name: figure.value for name, figure in figures.items()}
    intervals = {name: (figure.low, figure.high) for name, figure in figures.items()}
    return Transfer(len(judgements), frames, **values, intervals=intervals)
