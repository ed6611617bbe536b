"""The key-point network's data flow, written once for PyTorch, which trains it, and NumPy, which runs it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from maskanim.train.puppets import KEYPOINTS

Tensor = TypeVar("Tensor")

SIDE = 64  # of the picture it sees
CELLS = 32  # its heat maps are CELLS x CELLS
HEAD = "head"
WIDTHS = (16, 32, 64, 96, 96)  # channels at 64, 32, 16, 8 and 4 pixels


class Layers(Protocol[Tensor]):
    """What the two sides implement."""

    def convolve(self, name: str, x: Tensor, /) -> Tensor:
        """3x3, zero padding, bias; and ReLU, but for the head."""

    def halve(self, x: Tensor, /) -> Tensor:
        """The mean of each 2x2."""

    def enlarge(self, x: Tensor, /) -> Tensor:
        """Each pixel four times."""

    def join(self, a: Tensor, b: Tensor, /) -> Tensor:
        """Channels of both."""


def heat_maps(layers: Layers[Tensor], image: Tensor) -> Tensor:
    """One map of logits per key-point: 64 pixels down to 4 and back up to 32, with skips.

    Args:
        image: 3 channels of 64x64, in [-0.5, 0.5].
    """
    x, skips = image, []
    for level in range(len(WIDTHS)):
        x = layers.convolve(f"down{level}b", layers.convolve(f"down{level}a", layers.halve(x) if level else x))
        skips.append(x)
    for level in (3, 2, 1):
        x = layers.convolve(f"up{level}", layers.join(layers.enlarge(x), skips[level]))
    return layers.convolve(HEAD, x)


def channels() -> dict[str, tuple[int, int]]:
    """Channels in and out of each convolution, by name."""
    found: dict[str, tuple[int, int]] = {}
    before = 3
    for level, width in enumerate(WIDTHS):
        found |= {f"down{level}a": (before, width), f"down{level}b": (width, width)}
        before = width
    for level in (3, 2, 1):
        found[f"up{level}"] = (before + WIDTHS[level], WIDTHS[level])
        before = WIDTHS[level]
    return found | {HEAD: (before, len(KEYPOINTS))}
