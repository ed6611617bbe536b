"""Pictures that are their own masks: the figure maps of held-out puppets anywhere in them, and plain objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from maskanim.ops import Array, Frame
from maskanim.runtime.framing.box import Box
from maskanim.runtime.framing.finder import Finder
from maskanim.train.puppets import Puppet

MaskOf = Callable[[Frame], Array]


class Placed(NamedTuple):
    """A picture with a figure somewhere in it.

    Attributes:
        picture: (H, W, 3) uint8, the puppet's figure map: what a model that knows puppets perfectly would see.
        frame: what the puppet's own 256x256 drawing, which training shows whole, has become: the true square.
        figure: left, top, right and bottom of the figure itself.
    """

    picture: Frame
    frame: Box
    figure: tuple[float, float, float, float]


def place(number: int, height: int, width: int, scale: float = 0.5, time: float = 0.0) -> Placed:
    """A held-out puppet whose drawing has `scale` of the picture's shorter side, off-centre by a tenth or more."""
    puppet, rng = Puppet(number, "test"), np.random.default_rng(number)
    drawn, side = puppet.frame(time), round(scale * min(height, width))
    ys, xs = np.nonzero(drawn.figure)
    spread = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) * side / 256
    while True:
        left = int(rng.integers(-side // 3, width - side + side // 3 + 1))
        top = int(rng.integers(-side // 3, height - side + side // 3 + 1))
        bounds = spread + (left, top, left, top)
        whole = bounds.min() >= 0 and bounds[2] <= width and bounds[3] <= height
        if whole and max(abs(left + side / 2 - width / 2) / width, abs(top + side / 2 - height / 2) / height) >= 0.1:
            break
    figure = cv2.resize(drawn.figure_map, (side, side), interpolation=cv2.INTER_LINEAR)
    moved = cv2.warpAffine(figure, np.array([[1, 0, left], [0, 1, top]], np.float32), (width, height))
    picture = np.repeat(np.rint(255 * moved)[..., None], 3, 2).astype(np.uint8)
    return Placed(picture, Box(left, top, side), tuple(bounds.tolist()))


@pytest.fixture(scope="session")
def placed() -> Callable[..., Placed]:
    """`place`."""
    return place


@pytest.fixture(scope="session")
def brightness() -> MaskOf:
    """A model whose objects are what is bright: of the square it is shown, the red channel at 64x64."""

    def mask_of(square: Frame) -> Array:
        assert square.shape == (len(square), len(square), 3) and square.dtype == np.uint8
        red = cv2.resize(square[..., 0], (64, 64), interpolation=cv2.INTER_AREA)
        return (red / np.float32(255)).astype(np.float32)[None, None]

    return mask_of


@pytest.fixture(scope="session")
def spot() -> Callable[..., Frame]:
    """A black picture with a bright ellipse of the given centre and whole axes."""

    def draw(height: int, width: int, centre: tuple[float, float], axes: tuple[float, float]) -> Frame:
        y, x = np.mgrid[:height, :width] + 0.5
        inside = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 0.25
        return np.repeat(np.where(inside, 255, 0)[..., None], 3, 2).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def ellipses(spot: Callable[..., Frame], brightness: MaskOf) -> Callable[[float, float], Finder]:
    """A finder of the model `brightness`, trained on ellipses of these axes: the larger has 0.8 of the square."""

    def finder(width: float, height: float) -> Finder:
        scale = 0.8 * 256 / max(width, height)
        return Finder(brightness, brightness(spot(256, 256, (128, 128), (scale * width, scale * height)))[0])

    return finder
