"""Nearest upsampling and 3x3 convolution as one transposed convolution; a wide convolution as one of a 2x2 block.

Both are exact: the new weights are sums and copies of the old ones, and gradients flow through them. `export.lowering`
computes them once, for finished networks; training computes them anew at every step, so that checkpoints, Adam and the
export know nothing of it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskanim.networks import Networks
from maskanim.networks.blocks import Up

PHASES = 4  # pixels of a 2x2 block

# Row o of the four taps of a transposed convolution with stride 2 and padding 1, from the three taps of a convolution
# behind nearest upsampling x2: those that fall on the same input pixel are summed. Outside the picture both read zero.
TAPS = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def transposed_weight(weight: Tensor) -> Tensor:
    """The weight of the transposed convolution k4 s2 p1 that equals a 3x3 convolution behind nearest upsampling x2.

    Args:
        weight: (o, i, 3, 3).

    Returns:
        (i, o, 4, 4). The transposed convolution takes 4/9 of the multiplications.
    """
    taps = TAPS.to(weight)
    return torch.einsum("ya,xb,oiab->ioyx", taps, taps, weight)


def from_transposed_weight(weight: Tensor) -> Tensor:
    """The inverse of `transposed_weight`: (i, o, 4, 4) to (o, i, 3, 3).

    Of rounded weights it is the kernel that fits all sixteen taps best.
    """
    inverse = torch.linalg.pinv(TAPS.double()).to(weight)
    return torch.einsum("ay,bx,ioyx->oiab", inverse, inverse, weight)


def phase_weight(weight: Tensor) -> Tensor:
    """The weight of a convolution with stride 2 that makes a 2x2 block of pixels at a time, for a pixel shuffle.

    Each pixel of the block is an output channel of its own, with the kernel moved by the pixel's place in the block.
    The count of multiplications grows by ((k+1)/k)^2, but processors work on 16 output channels at once, of which
    three use three and twelve use twelve.

    Args:
        weight: (o, i, k, k) of a convolution with padding k//2.

    Returns:
        (4o, i, k+1, k+1); the padding stays, and each value of the bias counts four times.
    """
    moved = [F.pad(weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
    return torch.stack(moved, 1).flatten(0, 1)


def from_phase_weight(weight: Tensor) -> Tensor:
    """The inverse of `phase_weight`: (4o, i, k+1, k+1) to (o, i, k, k)."""
    return weight[::PHASES, :, :-1, :-1].contiguous()


def reparametrize(nets: Networks) -> None:
    """Replace the upsampling and the heads of l and h. m and r are small, and would gain nothing."""
    for network in (nets.l, nets.h):
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Up):
                    setattr(parent, name, TransposedUp(child))
        network.head = PhaseHead(network.head)  # type: ignore[assignment]


class TransposedUp(nn.Module):
    """An `Up` as a transposed convolution: (N, i, H, W) to (N, o, 2H, 2W)."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.conv, self.norm = up.conv, up.norm

    def forward(self, x: Tensor) -> Tensor:
        weight = transposed_weight(self.conv.weight)
        return F.relu(self.norm(F.conv_transpose2d(x, weight, self.conv.bias, stride=2, padding=1)))


class PhaseHead(nn.Module):
    """A convolution with padding k//2 in its form of `phase_weight`: (N, i, H, W) to (N, o, H, W), H and W even."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        bias = self.bias.repeat_interleave(PHASES)
        y = F.conv2d(x, phase_weight(self.weight), bias, stride=2, padding=self.weight.shape[-1] // 2)
        return F.pixel_shuffle(y, 2)
