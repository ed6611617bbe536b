"""Exact rewrites of l and h that make a training step cheaper, with the weights as they were.

What is computed with is made anew from the ordinary parameters at every step, differentiably: checkpoints, Adam and
the export know nothing of it. `export.lowering` does the same to finished networks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskanim.networks import Networks
from maskanim.networks.blocks import Up

# Row o of the four taps of a transposed convolution with stride 2 and padding 1, from the three taps of a convolution
# behind nearest upsampling x2: those that fall on the same pixel are summed.
TAPS = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def make_cheaper(nets: Networks) -> None:
    """Replace the upsampling and the heads of l and h. m and r are small, and would gain nothing."""
    for network in (nets.l, nets.h):
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Up):
                    setattr(parent, name, TransposedUp(child))
        network.head = PhaseHead(network.head)  # type: ignore[assignment]


class TransposedUp(nn.Module):
    """An `Up` as a transposed convolution, with 4/9 of the multiplications: (N, i, H, W) to (N, o, 2H, 2W)."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.conv, self.norm = up.conv, up.norm

    def forward(self, x: Tensor) -> Tensor:
        taps = TAPS.to(self.conv.weight)
        weight = torch.einsum("ya,xb,oiab->ioyx", taps, taps, self.conv.weight)
        return F.relu(self.norm(F.conv_transpose2d(x, weight, self.conv.bias, stride=2, padding=1)))


class PhaseHead(nn.Module):
    """A convolution kxk with padding k//2 that makes a 2x2 block of pixels at a time, each a channel of its own.

    That is a kernel of (k+1)x(k+1), with the convolution's own moved by the pixel's place in the block: more
    multiplications, but of twelve output channels at once rather than three.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        moved = [F.pad(self.weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
        weight = torch.stack(moved, 1).flatten(0, 1)
        assert self.bias is not None
        bias = self.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, weight, bias, stride=2, padding=self.weight.shape[-1] // 2), 2)
