"""What BF16 in r, l and h changes, as a processor may run them; the same figures on processors without BF16 kernels."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from maskanim.export.parity import torch_function
from maskanim.networks.blocks import Down, Res
from maskanim.networks.precision import has_bf16_kernels
from maskanim.ops import Array


def bf16_function(network: nn.Module) -> Callable[..., Array]:
    """A PyTorch network as a function of arrays, run in BF16: by autocast where there are kernels, else emulated."""
    if not has_bf16_kernels():
        return torch_function(emulated_bf16(network))
    function = torch_function(network)

    def run(*inputs: Array) -> Array:
        with torch.autocast("cpu", torch.bfloat16):
            return function(*inputs)

    return run


@torch.no_grad()
def emulated_bf16(network: nn.Module) -> nn.Module:
    """A copy of r, l or h that rounds to BF16 what autocast does, and computes with float32's kernels.

    Without kernels of its own a BF16 convolution is a hundred times slower. A product of two BF16 numbers is exact in
    float32, and kernels sum it there; so only the order of the sums differs.
    """

    def rounded(x: Tensor) -> Tensor:
        return x.bfloat16().float()

    emulated = copy.deepcopy(network)
    for module in emulated.modules():
        if isinstance(module, nn.Conv2d):
            for parameter in module.parameters():
                parameter.copy_(rounded(parameter))
            module.register_forward_pre_hook(lambda _, inputs: rounded(*inputs))
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, Down, Res)):  # ReLU and upsampling need no rounding
            module.register_forward_hook(lambda _, inputs, output: rounded(output))
    return emulated
