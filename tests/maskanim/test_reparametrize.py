"""The reparametrized l and h: the same outputs and gradients, under the same names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from maskanim.networks import Networks
from maskanim.networks.blocks import Up
from maskanim.networks.reparametrize import PhaseHead, TransposedUp, reparametrize
from maskanim.spec import ModelSpec, Widths

SPEC = ModelSpec(widths=Widths(m=4, r=4, l=8, h=4))


def compare(plain: nn.Module, new: nn.Module, x: torch.Tensor) -> None:
    """Outputs, and gradients of the input and of every parameter, in double precision: no more than rounding apart."""
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(given) for module, given in zip((plain, new), inputs, strict=True)]
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-11, rtol=1e-11)
    weights = torch.randn(outputs[0].shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    for output in outputs:
        (output * weights).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-10, rtol=1e-10)
    for (name, a), (other, b) in zip(plain.named_parameters(), new.named_parameters(), strict=True):
        assert name == other and a is not b
        torch.testing.assert_close(b.grad, a.grad, atol=1e-10, rtol=1e-10, msg=name)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 5)])
def test_up(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    up = Up(6, 4).double()
    compare(up, TransposedUp(copy.deepcopy(up)), torch.randn(3, 6, *size, dtype=torch.float64))


@pytest.mark.parametrize("size", [(8, 8), (2, 6)])
def test_head(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 3, 7, padding=3).double()
    compare(conv, PhaseHead(copy.deepcopy(conv)), torch.randn(2, 6, *size, dtype=torch.float64))


def test_networks_keep_their_names_and_meaning() -> None:
    torch.manual_seed(0)
    plain = Networks(SPEC)
    new = copy.deepcopy(plain)
    reparametrize(new)
    assert list(new.state_dict()) == list(plain.state_dict())
    assert sum(isinstance(part, TransposedUp) for part in new.modules()) == 2 + 5
    assert not any(isinstance(part, Up) for network in (new.l, new.h) for part in network.modules())
    given = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(new.l(*given), plain.l(*given), atol=1e-5, rtol=0)  # float32, eight layers deep
    up = torch.rand(2, 3, 256, 256), torch.rand(2, 1, 256, 256), torch.rand(2, 1, 256, 256), torch.rand(2, 3, 256, 256)
    torch.testing.assert_close(new.h(*up), plain.h(*up), atol=1e-5, rtol=0)
    plain.load_state_dict(new.state_dict())
