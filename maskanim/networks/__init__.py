"""The four networks in PyTorch: mask generator m, mask refinement r, low-resolution l and high-resolution h.

Their signatures are `spec.NETWORKS`; each joins its own inputs, in the released code's channel order. Only training and
export import this package.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskanim.networks.blocks import AntiAliasedShrink, Hourglass, Res, Up
from maskanim.networks.ops import TorchOps
from maskanim.spec import LEVELS, ModelSpec

__all__ = ["HighRes", "LowRes", "MaskGenerator", "MaskRefinement", "Networks", "TorchOps"]

GAIN = 10.0  # the released code's temperature of 0.1, as a multiplication


class MaskGenerator(nn.Module):
    """m, equations (1) and (2): an image to the mask of its foreground object.

    `gain` multiplies the logits; training may start it lower, because at 10 a single Adam step can saturate the head.
    """

    def __init__(self, base: int, skips: int = 0) -> None:
        super().__init__()
        self.gain = GAIN
        self.shrink = AntiAliasedShrink(3)
        self.hourglass = Hourglass(3, base, skips=skips)
        self.head = nn.Conv2d(self.hourglass.out_channels, 1, 7)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 256, 256) in [0, 1] to (N, 1, 64, 64) in [0, 1]; the outer three pixels are zero."""
        logits = self.head(self.hourglass(self.shrink(image)))
        return F.pad(torch.sigmoid(self.gain * logits.float()), (3, 3, 3, 3))


class MaskRefinement(nn.Module):
    """r, equation (4): restore what the perturbation took from the driver's mask, with the source's identity."""

    def __init__(self, base: int, skips: int = 0, blocks: int = 0) -> None:
        super().__init__()
        self.gain = GAIN
        self.hourglass = Hourglass(5, base, skips=skips, blocks=blocks)
        self.head = nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3)

    def forward(self, source_small: Tensor, source_mask: Tensor, perturbed_mask: Tensor) -> Tensor:
        """(N, 3, 64, 64), (N, 1, 64, 64), (N, 1, 64, 64) to (N, 1, 64, 64), all in [0, 1]."""
        logits = self.head(self.hourglass(torch.cat((source_small, source_mask, perturbed_mask), 1)))
        return torch.sigmoid(self.gain * logits.float())


class LowRes(nn.Module):
    """l, equation (5): the coarse frame from the small source and both masks."""

    def __init__(self, width: int, blocks: int = 6) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(5, width, 7, padding=3), nn.BatchNorm2d(width), nn.ReLU())
        self.bottleneck = nn.Sequential(*(Res(width) for _ in range(blocks)))
        self.up_blocks = nn.Sequential(Up(width, width // 2), Up(width // 2, width // 4))
        self.head = nn.Conv2d(width // 4, 3, 7, padding=3)

    def forward(self, source_small: Tensor, source_mask: Tensor, driving_mask: Tensor) -> Tensor:
        """(N, 3, 64, 64), (N, 1, 64, 64), (N, 1, 64, 64) to (N, 3, 256, 256), all in [0, 1]."""
        x = self.first(torch.cat((source_small, source_mask, driving_mask), 1))
        return torch.sigmoid(self.head(self.up_blocks(self.bottleneck(x))).float())


class HighRes(nn.Module):
    """h, equation (6): the final frame from the full-size source, both masks and the coarse frame."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(8, base, skips=LEVELS)
        self.head = nn.Conv2d(self.hourglass.out_channels, 3, 7, padding=3)

    def forward(self, source: Tensor, source_mask_up: Tensor, driving_mask_up: Tensor, coarse: Tensor) -> Tensor:
        """(N, 3, 256, 256), (N, 1, 256, 256), (N, 1, 256, 256), (N, 3, 256, 256) to (N, 3, 256, 256), in [0, 1]."""
        # The released code's channel order puts the coarse frame before the driving mask.
        x = torch.cat((source, source_mask_up, coarse, driving_mask_up), 1)
        return torch.sigmoid(self.head(self.hourglass(x)).float())


class Networks(nn.Module):
    """All four, as `pipeline.Nets` over torch tensors."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.m = MaskGenerator(spec.widths.m, spec.mask_skips)
        self.r = MaskRefinement(spec.widths.r, spec.mask_skips, spec.refinement_blocks)
        self.l = LowRes(spec.widths.l)
        self.h = HighRes(spec.widths.h)
