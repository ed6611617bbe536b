"""Fine-tuning for INT8: what export rounds is rounded in the forward pass, and gradients pass as if it were not.

Weights get a scale for each output channel, by which rounding before batch norm is folded in equals rounding
afterwards, as export does it. Activations get the range of the batch where export takes that of its calibration: so
a checkpoint needs no ranges, and a resumed run goes on exactly. What concatenations round twice is rounded once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskanim.int8 import EIGHT_BITS, largest_sums
from maskanim.networks import Networks
from maskanim.networks.blocks import Down
from maskanim.networks.reparametrize import TransposedUp, transposed_weight
from maskanim.spec import NETWORK_NAMES

LEVELS = 255  # of an activation, above the lowest
TINY = float(torch.finfo(torch.float16).tiny)  # the scale of what is 0 everywhere


def round_to_int8(nets: Networks) -> None:
    """Replace what `maskanim.int8` rounds, in networks that were reparametrized; names and values of the weights stay.

    The heads stay in float, and so does m's anti-aliasing.
    """
    for name in NETWORK_NAMES:
        network = getattr(nets, name)
        for parent in list(network.modules()):
            for key, child in list(parent.named_children()):
                if isinstance(child, Down):
                    setattr(parent, key, RoundedDown(child))
                elif isinstance(child, TransposedUp):
                    setattr(parent, key, RoundedUp(child))
                elif isinstance(child, nn.Conv2d) and child is not network.head:
                    setattr(parent, key, RoundedConv(child))


class RoundedConv(nn.Module):
    """A convolution of rounded values by rounded weights: (N, i, H, W) to (N, o, H, W)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.padding = conv.weight, conv.bias, conv.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(rounded(x), rounded_weight(self.weight, 0), self.bias, padding=self.padding)


class RoundedDown(nn.Module):
    """A `Down` that also rounds what is averaged: (N, i, H, W) to (N, o, H/2, W/2)."""

    def __init__(self, down: Down) -> None:
        super().__init__()
        self.conv, self.norm = RoundedConv(down.conv), down.norm

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(rounded(F.relu(self.norm(self.conv(x)))), 2)


class RoundedUp(nn.Module):
    """A `TransposedUp` whose transposed weights are rounded: (N, i, H, W) to (N, o, 2H, 2W)."""

    def __init__(self, up: TransposedUp) -> None:
        super().__init__()
        self.conv, self.norm = up.conv, up.norm

    def forward(self, x: Tensor) -> Tensor:
        weight = rounded_weight(transposed_weight(self.conv.weight), 1)
        return F.relu(self.norm(F.conv_transpose2d(rounded(x), weight, self.conv.bias, stride=2, padding=1)))


def rounded(x: Tensor) -> Tensor:
    """A tensor in 8 bits, between its own smallest and largest value; 0 is always among the values."""
    x = x.float()
    low, high = x.detach().aminmax()
    low, high = low.clamp(max=0), high.clamp(min=TINY)
    scale = (high - low) / LEVELS
    zero = torch.round(-low / scale).int()
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, LEVELS)


def rounded_weight(weight: Tensor, axis: int) -> Tensor:
    """A weight in 8 bits, as processors take it, with a scale for each output channel on `axis`."""
    weight = weight.float()  # in mixed precision the transposed ones are not
    sums = torch.from_numpy(largest_sums(weight.detach().movedim(axis, 0).cpu().numpy()))
    scale = (sums.to(weight.device) / EIGHT_BITS).clamp(min=TINY)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -EIGHT_BITS, EIGHT_BITS)
