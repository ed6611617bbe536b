"""Exact rewrites of trained networks, for inference only: the same function, made cheaper to compute.

They act on copies in eval mode. Each is exact in real arithmetic; in float32 an output moves by less than 1e-5.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskanim.networks.blocks import Down, Hourglass, Res, Up
from maskanim.networks.reparametrize import PHASES, phase_weight, transposed_weight
from maskanim.spec import NetworkName

Rewrite = Callable[[nn.Module], None]


class Lowered(NamedTuple):
    """A rewritten copy of a network, and the names of the rewrites in the order in which they were applied."""

    network: nn.Module
    rewrites: tuple[str, ...]


def lower(network: nn.Module, name: NetworkName) -> Lowered:
    """Apply a network's rewrites to a copy of it, in eval mode and without gradients."""
    lowered = copy.deepcopy(network).eval().requires_grad_(False)
    for rewrite in REWRITES[name].values():
        rewrite(lowered)
    return Lowered(lowered, tuple(REWRITES[name]))


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch norm that follows a convolution into it.

    The first one of a Res follows a sum: it stays, but for one that changes nothing.
    """
    for module in list(network.modules()):
        if isinstance(module, (Down, Up)):
            module.conv = _folded(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
        elif isinstance(module, Res):
            module.conv1 = _folded(module.conv1, module.norm2)
            module.norm2 = nn.Identity()  # type: ignore[assignment]
            if changes_nothing(module.norm1):
                module.norm1 = nn.Identity()  # type: ignore[assignment]
        elif isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            module[0], module[1] = _folded(module[0], module[1]), nn.Identity()


def changes_nothing(norm: nn.BatchNorm2d) -> bool:
    """Whether a norm, in eval mode, gives what it is given."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return bool(torch.all((scale - 1).abs() < 1e-6) and not torch.any(norm.bias) and not torch.any(norm.running_mean))


def _folded(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.bias is not None
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    folded = copy.deepcopy(conv)
    folded.weight.copy_(conv.weight.double() * scale[:, None, None, None])
    assert folded.bias is not None
    folded.bias.copy_((conv.bias.double() - norm.running_mean.double()) * scale + norm.bias.double())
    return folded


@torch.no_grad()
def fold_gain(network: nn.Module) -> None:
    """Fold the gain of a mask head's logits into its weights and bias."""
    network.head.weight *= network.gain  # type: ignore[union-attr, operator]
    network.head.bias *= network.gain  # type: ignore[union-attr, operator]
    network.gain = 1.0  # type: ignore[assignment]


@torch.no_grad()
def transpose_upsampling(network: nn.Module) -> None:
    """Replace each Up whose batch norm is folded by a transposed convolution: 4/9 of the multiplications.

    An hourglass's deepest Up stays: it has a quarter to a third of all weights, and they would grow by 7/9.
    """
    deepest = {module.up_blocks[0] for module in network.modules() if isinstance(module, Hourglass)}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Up) and child not in deepest:
                setattr(parent, name, _transposed(child))


def _transposed(up: Up) -> nn.Module:
    assert isinstance(up.norm, nn.Identity)
    conv = nn.ConvTranspose2d(up.conv.in_channels, up.conv.out_channels, 4, stride=2, padding=1)
    _set_weights(conv, transposed_weight(up.conv.weight.double()), up.conv.bias)
    return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU()))


@torch.no_grad()
def phase_head(network: nn.Module) -> None:
    """Replace the head by one that makes a 2x2 block of pixels at a time."""
    head = network.head
    assert isinstance(head, nn.Conv2d) and head.bias is not None
    k = head.kernel_size[0]
    conv = nn.Conv2d(head.in_channels, PHASES * head.out_channels, k + 1, stride=2, padding=k // 2)
    _set_weights(conv, phase_weight(head.weight), head.bias.repeat_interleave(PHASES))
    network.head = nn.Sequential(OrderedDict(conv=conv, shuffle=nn.PixelShuffle(2)))


def _set_weights(conv: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor | None) -> None:
    assert bias is not None
    conv.weight = nn.Parameter(weight.to(bias.dtype).contiguous(), requires_grad=False)
    conv.bias = nn.Parameter(bias.clone(), requires_grad=False)


# Which networks get the transposed form, by measurement: milliseconds of a frame before -> after, norm folded in both;
# one thread with avx512_bf16, fastest of 4 to 15 interleaved runs, OpenVINO 2026.4 and ONNX Runtime 1.32.
#             OpenVINO FP32  OpenVINO BF16   ONNX Runtime   weights
#   m full      9.0 ->  8.3    4.9 ->  4.7    9.9 ->  9.6     +39 %
#   r full     28.2 -> 24.0   13.2 -> 12.1   29.0 -> 26.2     +39 %
#   l full      371 ->  324    188 ->  165    392 ->  372      +4 %
#   h full      598 ->  363    282 ->  182    571 ->  500     +45 %
#   m lite      3.0 ->  3.0    1.8 ->  1.8    3.5 ->  3.4     +39 %
#   r lite      2.9 ->  2.8    1.7 ->  1.8    3.0 ->  2.9     +39 %
#   l lite     30.3 -> 27.8   16.1 -> 15.1   33.0 -> 34.0      +4 %
#   h lite     52.0 -> 37.4   26.7 -> 20.8   61.9 -> 55.9     +43 %
# m and r would gain less than a percent of a whole frame, for two fifths more weights: they keep the upsampling. The
# deepest level of h does, too: it would add a fifth for little (OpenVINO FP32: 372 ms without it, full, 39.3 lite).
# The head in phases, on top of that, measured in the same way:
#   l full      319 ->  302    162 ->  151    363 ->  332
#   h full      347 ->  326    173 ->  163    433 ->  407
#   l lite     27.7 -> 22.6   14.9 -> 12.4   34.2 -> 27.3
#   h lite     37.3 -> 29.9   19.9 -> 16.3   49.7 -> 37.5
# Blocks of 4x4 pixels were no faster than those of 2x2.
MASK_REWRITES: dict[str, Rewrite] = {"fold-batch-norm": fold_batch_norm, "fold-gain": fold_gain}
FRAME_REWRITES: dict[str, Rewrite] = {
    "fold-batch-norm": fold_batch_norm,
    "transpose-upsampling": transpose_upsampling,
    "phase-head": phase_head,
}
REWRITES: dict[NetworkName, dict[str, Rewrite]] = {
    "m": MASK_REWRITES,
    "r": MASK_REWRITES,
    "l": FRAME_REWRITES,
    "h": FRAME_REWRITES,
}
