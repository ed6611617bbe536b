"""BF16 by rounding and float32's kernels: the figures of autocast, on any processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskanim.export import bf16
from maskanim.export.bf16 import bf16_function, emulated_bf16
from maskanim.export.parity import torch_function
from maskanim.golden import psnr
from maskanim.networks import Networks
from maskanim.ops import Array
from maskanim.spec import BF16_NETWORKS, NETWORKS, NetworkName


def random_inputs(name: NetworkName) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.random(spec.shape(2), np.float32) for spec in NETWORKS[name].inputs]


@pytest.mark.parametrize("name", BF16_NETWORKS)
def test_it_rounds_what_autocast_rounds(nets: Networks, name: NetworkName) -> None:
    network, inputs = getattr(nets, name), random_inputs(name)
    expected, emulated = torch_function(network)(*inputs), torch_function(emulated_bf16(network))(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        right = torch_function(network)(*inputs)
    # Sums in another order may fall on the other side of a rounding, in one layer after the other.
    assert psnr(emulated, right) > psnr(expected, right) + 3
    assert psnr(emulated, expected) == pytest.approx(psnr(right, expected), abs=0.5)
    assert 30 < psnr(emulated, expected) < 100


@pytest.mark.parametrize("kernels", [True, False])
def test_it_is_what_runs_where_there_are_no_kernels(
    nets: Networks, monkeypatch: pytest.MonkeyPatch, kernels: bool
) -> None:
    monkeypatch.setattr(bf16, "has_bf16_kernels", lambda: kernels)
    seen: list[bool] = []
    nets.r.head.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    try:
        bf16_function(nets.r)(*random_inputs("r"))
    finally:
        nets.r.head._forward_hooks.clear()
    assert seen == [kernels]


def test_the_trained_network_is_left_alone(nets: Networks) -> None:
    before = {name: value.clone() for name, value in nets.l.state_dict().items()}
    emulated_bf16(nets.l)
    after = nets.l.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(module._forward_hooks for module in nets.l.modules())
