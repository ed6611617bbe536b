"""D, U and P_test on torch tensors: the same meaning as `maskanim.ops`, batched on the tensor's device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskanim import ops
from maskanim.spec import Perturbation


def downscale(image: Tensor) -> Tensor:
    """D: (N, C, 256, 256) to (N, C, 64, 64), bilinear."""
    return F.interpolate(image, scale_factor=0.25, mode="bilinear", align_corners=False)


def upscale(mask: Tensor) -> Tensor:
    """U: (N, C, 64, 64) to (N, C, 256, 256), bilinear."""
    return F.interpolate(mask, scale_factor=4.0, mode="bilinear", align_corners=False)


def zero_low(mask: Tensor, perturbation: Perturbation) -> Tensor:
    """The threshold of P_test and P_train on (N, 1, H, W) masks; the tie rule is that of `maskanim.ops.perturb`."""
    if perturbation.threshold is None:  # kind "median"
        keep = mask >= mask.flatten(1).median(dim=1).values.view(-1, 1, 1, 1)
    else:
        keep = mask > perturbation.threshold
    return torch.where(keep, mask, torch.zeros_like(mask))


def perturb(mask: Tensor, perturbation: Perturbation) -> Tensor:
    """P_test of (N, 1, H, W) masks, as `maskanim.ops.perturb`."""
    left = zero_low(mask, perturbation)
    if not perturbation.released_animate:
        return left
    return torch.from_numpy(ops.shrink(left.detach().float().cpu().numpy())).to(left)


class TorchOps:
    """D, U and P_test of one model, as `pipeline.Ops` over torch tensors."""

    downscale, upscale = staticmethod(downscale), staticmethod(upscale)

    def __init__(self, perturbation: Perturbation) -> None:
        self.perturbation = perturbation

    def perturb(self, mask: Tensor) -> Tensor:
        return perturb(mask, self.perturbation)
