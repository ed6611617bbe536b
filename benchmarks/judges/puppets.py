"""Drawn puppets: what is true of the driver is known exactly; what a method made of it is for our own detectors.

The paper takes pose and landmark estimators that others trained on photographs; none of them knows our puppets. The
finder of key-points (AKD, section 4) runs in NumPy, so that its figures depend on no engine; `train_puppets` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.judges.features import Feature, Observed
from maskanim.ops import Array, Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import Points, PuppetFrame

WEIGHTS = Path(__file__).with_suffix(".npz")
ABOUT = "about"
BATCH = 8  # pictures at once: more gain nothing, and the first level's windows are 2.4 MB each
SIDE, CELLS = 64, 32  # of the picture that the network sees, and of its heat maps
CENTRES = (np.arange(CELLS) + 0.5) * (IMAGE_SIZE / CELLS) - 0.5  # of the cells, in pixels of 256
HEAD = "head"
WIDTHS = (16, 32, 64, 96, 96)  # channels at 64, 32, 16, 8 and 4 pixels
# What signs the figures: the finder comes with this package, weights and all.
FINDER, FIGURE = "the puppet benchmark's key-point finder", "the difference from the source's bare background"
# A key-point counts as found where so much of its map's softmax lies within RADIUS of the expected place: of the
# visible key-points of 192 true held-out frames that is 0.44 at least, on bare backgrounds 0.19 at the 99th percentile.
SHARE, RADIUS = 0.35, 12.0  # pixels of 256
# How far a pixel must be from the bare background to be of the figure, as the mean over the channels of 0..255. On true
# held-out frames the masks so found overlap the figures' own by 0.96 (IOU).
CONTRAST = 12.0
PRESENT = 0.01  # share of the picture that a figure covers at least; drawn ones cover 0.1 to 0.25


def heat_maps(layers: Any, image: Any) -> Any:
    """One map of logits per key-point: 64 pixels down to 4 and back up to 32, with skips.

    Args:
        layers: `NumpyLayers`, or the methods of the same names over tensors of PyTorch, which trains the network.
        image: 3 channels of 64x64, in [-0.5, 0.5].
    """
    x, skips = image, []
    for level in range(len(WIDTHS)):
        x = layers.convolve(f"down{level}b", layers.convolve(f"down{level}a", layers.halve(x) if level else x))
        skips.append(x)
    for level in (3, 2, 1):
        x = layers.convolve(f"up{level}", layers.enlarge_beside(x, skips[level]))
    return layers.convolve(HEAD, x)


class NumpyLayers:
    """Over (N, H, W, C) float32."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights

    def convolve(self, name: str, x: Array) -> Array:
        """3x3, zero padding, bias; and ReLU, but for the head."""
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))  # (N, H, W, C, 3, 3)
        y = np.tensordot(windows, self.weights[f"{name}.weight"], ((3, 4, 5), (1, 2, 3))) + self.weights[f"{name}.bias"]
        return y if name == HEAD else np.maximum(y, 0, out=y)

    def halve(self, x: Array) -> Array:
        """The mean of each 2x2."""
        n, height, width, count = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, count).mean((2, 4))

    def enlarge_beside(self, x: Array, skip: Array) -> Array:
        """Each pixel four times, and then the channels of another."""
        return np.concatenate([x.repeat(2, 1).repeat(2, 2), skip], -1)


class Finder:
    """Finds the key-points of a puppet.

    Args:
        weights: `NAME.weight` (O, I, 3, 3) and `NAME.bias` (O,) of each convolution of `heat_maps`.
        about: how it was trained, and `held_out_error`: pixels to the visible key-points of true frames of the test
            split, on average.
    """

    def __init__(self, weights: Mapping[str, Array], about: Mapping[str, Any]) -> None:
        self.weights, self.about = weights, about

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Finder:
        """The weights in the package."""
        with np.load(path) as file:
            values = {name: file[name] for name in file.files}
        about = json.loads(str(values.pop(ABOUT)))
        return cls({name: value.astype(np.float32) for name, value in values.items()}, about)

    def find(self, frames: Sequence[Frame]) -> Points:
        """The key-points' places, hidden ones included: a guess is always given.

        Args:
            frames: (256, 256, 3) uint8 RGB each.

        Returns:
            (N, 14, 2) float64, x and y in pixels, in the order of `puppets.KEYPOINTS`.
        """
        return expected_places(self.shares(frames))

    def shares(self, frames: Sequence[Frame]) -> NDArray[np.float64]:
        """(N, 14, 32, 32): each map's softmax."""
        batches = [shrink(frames[i : i + BATCH]) for i in range(0, len(frames), BATCH)]
        return np.concatenate([softmax(heat_maps(NumpyLayers(self.weights), batch)) for batch in batches])


def shrink(frames: Sequence[Frame]) -> Array:
    """What the network sees: (N, 64, 64, 3) float32 in [-0.5, 0.5]."""
    small = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(small).astype(np.float32) / 255 - np.float32(0.5)


def softmax(maps: Array) -> NDArray[np.float64]:
    """Of each map of (N, 32, 32, K) logits: (N, K, 32, 32)."""
    logits = maps.transpose(0, 3, 1, 2)
    raised = np.exp(logits - logits.max((2, 3), keepdims=True), dtype=np.float64)
    return raised / raised.sum((2, 3), keepdims=True)


def expected_places(shares: NDArray[np.float64]) -> Points:
    """The mean place under each map's softmax: (N, 14, 2), x and y in pixels of 256."""
    return np.stack([shares.sum(2) @ CENTRES, shares.sum(3) @ CENTRES], -1)


def distances(found: Points, truth: Sequence[PuppetFrame]) -> NDArray[np.float64]:
    """How far found key-points, (N, 14, 2), lie from the true ones that are visible, in pixels; one number for each."""
    visible = np.stack([frame.visible for frame in truth])
    return np.linalg.norm(found - np.stack([frame.keypoints for frame in truth]), axis=-1)[visible]


def known(frames: Sequence[PuppetFrame]) -> dict[str, Feature]:
    """The features of drawn frames, exactly."""
    keypoints, visible, figures = (
        np.stack([getattr(frame, name) for frame in frames]) for name in ("keypoints", "visible", "figure")
    )
    return {"keypoints": Feature(keypoints, visible), "people": Feature(figures, np.ones(len(frames), bool))}


def see_keypoints(finder: Finder, observed: Observed) -> Feature:
    """What the finder finds, with a verdict on whether each key-point is there at all."""
    shares = finder.shares(observed.frames)
    places = expected_places(shares)
    x, y = places[..., 0, None], places[..., 1, None]
    near = ((CENTRES - x) ** 2)[..., None, :] + ((CENTRES - y) ** 2)[..., None] < RADIUS**2
    return Feature(places, (shares * near).sum((2, 3)) > SHARE)


def see_figure(background: Frame, observed: Observed) -> Feature:
    """The figure in frames that were made of a known source: what differs from its bare background, (256, 256, 3)."""
    bare = background.astype(np.int16)
    masks = np.stack([np.abs(frame - bare).mean(-1) > CONTRAST for frame in observed.frames])
    return Feature(masks, masks.mean((1, 2)) > PRESENT)
