"""Drawn puppets: what is true of the driver is known exactly; what a method made of it is for our own detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.quality.hourglass import CELLS, heat_maps
from maskanim.benchmarks.quality.keypoints import BATCH, Finder, NumpyLayers, expected_places, shrink
from maskanim.benchmarks.scoring.features import Keypoints, Observed, People
from maskanim.ops import Array, Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import PuppetFrame

# What signs the figures: the finder comes with this package, weights and all.
FINDER, FIGURE = "the puppet benchmark's key-point finder", "the difference from the source's bare background"
# A key-point counts as found where so much of its map's softmax lies within RADIUS of the expected place: of the
# visible key-points of 192 true held-out frames that is 0.44 at least, on bare backgrounds 0.19 at the 99th percentile.
SHARE, RADIUS = 0.35, 12.0  # pixels of 256
# How far a pixel must be from the bare background to be of the figure, as the mean over the channels of 0..255. On true
# held-out frames the masks so found overlap the figures' own by 0.96 (IOU).
CONTRAST = 12.0
PRESENT = 0.01  # share of the picture that a figure covers at least; drawn ones cover 0.1 to 0.25


def known(frames: Sequence[PuppetFrame]) -> dict[str, Any]:
    """The features of drawn frames, exactly."""
    return {
        "keypoints": Keypoints(
            np.stack([frame.keypoints for frame in frames]), np.stack([frame.visible for frame in frames])
        ),
        "people": People(np.ones(len(frames), bool), np.stack([frame.figure for frame in frames])),
    }


class PuppetKeypoints:
    """The puppet benchmark's finder, with a verdict on whether each key-point is there at all."""

    def __init__(self) -> None:
        self.layers = NumpyLayers(Finder.load().weights)

    def __call__(self, observed: Observed) -> Keypoints:
        maps = np.concatenate([self._maps(observed.frames[i : i + BATCH]) for i in range(0, len(observed), BATCH)])
        places = expected_places(maps)
        return Keypoints(places, _gathered(maps, places) > SHARE)

    def _maps(self, frames: Sequence[Frame]) -> Array:
        return heat_maps(self.layers, shrink(frames)).transpose(0, 3, 1, 2)


def _gathered(maps: Array, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K): the share of each map's softmax within RADIUS of its place."""
    raised = np.exp(maps - maps.max((2, 3), keepdims=True), dtype=np.float64)
    cell = IMAGE_SIZE / CELLS
    centres = (np.arange(CELLS) + 0.5) * cell - 0.5
    x, y = places[..., 0, None], places[..., 1, None]
    near = ((centres - x) ** 2)[..., None, :] + ((centres - y) ** 2)[..., None] < RADIUS**2
    return (raised * near).sum((2, 3)) / raised.sum((2, 3))


class PuppetPeople:
    """The figure in a frame that was made of a known source: what differs from its bare background.

    Args:
        background: (256, 256, 3) uint8, the source's picture without the figure.
    """

    def __init__(self, background: Frame) -> None:
        self.background = background.astype(np.int16)

    def __call__(self, observed: Observed) -> People:
        away = [np.abs(frame - self.background).mean(-1) > CONTRAST for frame in observed.frames]
        masks = np.stack(away)
        return People(masks.mean((1, 2)) > PRESENT, masks)
