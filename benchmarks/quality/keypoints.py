"""Where a puppet's key-points are in a picture, found by a small network that was trained on puppets (AKD, section 4).

The paper takes pose and landmark estimators that others trained on photographs; none of them knows our puppets. Ours
runs in NumPy, so that its figures depend on no engine. Its weights are remade by

    python -m maskanim.benchmarks.quality.train_keypoints
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.quality.hourglass import CELLS, HEAD, SIDE, heat_maps
from maskanim.ops import Array, Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import Points, PuppetFrame

WEIGHTS = Path(__file__).parent / "keypoints.npz"
ABOUT = "about"
BATCH = 8  # pictures at once: more gain nothing, and the first level's windows are 2.4 MB each


class Finder:
    """Finds the key-points of a puppet.

    Args:
        weights: `NAME.weight` (O, I, 3, 3) and `NAME.bias` (O,) of each of `hourglass.channels`.
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
        batches = [frames[i : i + BATCH] for i in range(0, len(frames), BATCH)]
        return np.concatenate([self._find(batch) for batch in batches])

    def _find(self, frames: Sequence[Frame]) -> Points:
        return expected_places(heat_maps(NumpyLayers(self.weights), shrink(frames)).transpose(0, 3, 1, 2))


def shrink(frames: Sequence[Frame]) -> Array:
    """What the network sees: (N, 64, 64, 3) float32 in [-0.5, 0.5]."""
    small = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(small).astype(np.float32) / 255 - np.float32(0.5)


def expected_places(logits: Array) -> Points:
    """The mean place under each map's softmax.

    Args:
        logits: (N, 14, 32, 32).

    Returns:
        (N, 14, 2) float64, x and y in pixels of 256.
    """
    raised = np.exp(logits - logits.max((2, 3), keepdims=True), dtype=np.float64)
    shares = raised / raised.sum((2, 3), keepdims=True)
    cell = IMAGE_SIZE / CELLS
    centres = (np.arange(CELLS) + 0.5) * cell - 0.5
    return np.stack([shares.sum(2) @ centres, shares.sum(3) @ centres], -1)


def distances(finder: Finder, pictures: Sequence[Frame], truth: Sequence[PuppetFrame]) -> NDArray[np.float64]:
    """How far the found key-points lie from the true ones that are visible, in pixels; one number for each."""
    visible = np.stack([frame.visible for frame in truth])
    away = finder.find(pictures) - np.stack([frame.keypoints for frame in truth])
    return np.linalg.norm(away, axis=-1)[visible]


class NumpyLayers:
    """Over (N, H, W, C) float32."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights

    def convolve(self, name: str, x: Array) -> Array:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))  # (N, H, W, C, 3, 3)
        y = np.tensordot(windows, self.weights[f"{name}.weight"], ((3, 4, 5), (1, 2, 3))) + self.weights[f"{name}.bias"]
        return y if name == HEAD else np.maximum(y, 0, out=y)

    def halve(self, x: Array) -> Array:
        n, height, width, count = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, count).mean((2, 4))

    def enlarge(self, x: Array) -> Array:
        return x.repeat(2, 1).repeat(2, 2)

    def join(self, a: Array, b: Array) -> Array:
        return np.concatenate([a, b], -1)
