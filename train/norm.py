"""Batch norm over the joint batch of several processes, so that sharing a batch changes nothing of its statistics."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """Every batch norm of a network with the statistics of the joint batch; names and values stay as they are.

    On a GPU they are torch's own, which has none for the CPU; there, `JointBatchNorm2d`.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _joint(child))
    return network


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the pictures of all processes, of which each has equally many: (N, C, H, W) to the same.

    Mean and variance are sums over the processes one after the other: the variance of pixels from which the joint mean
    has been taken loses no digits, as a difference of two means of squares would.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float()
        mean = _joint_mean(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = _joint_mean(centred.square().mean((0, 2, 3)))
        self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1] * dist.get_world_size())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, pixels: int) -> None:
        """The running statistics, as torch keeps them: of the variance, the unbiased estimate."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (pixels / max(1, pixels - 1)), self.momentum)
        self.num_batches_tracked += 1


def _joint(norm: nn.BatchNorm2d) -> JointBatchNorm2d:
    joint = JointBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    joint.load_state_dict(norm.state_dict())
    return joint.train(norm.training)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each process's loss depends on every summand, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _joint_mean(x: Tensor) -> Tensor:
    mean: Tensor = _Sum.apply(x) / dist.get_world_size()  # type: ignore[no-untyped-call]
    return mean
