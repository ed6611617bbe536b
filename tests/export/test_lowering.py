"""Every rewrite keeps the function and saves the work that it promises."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from maskanim.export.lowering import REWRITES, fold_batch_norm, lower, phase_head, transpose_upsampling
from maskanim.networks import Networks
from maskanim.networks.blocks import Up
from maskanim.spec import FULL, NETWORK_NAMES, NETWORKS, ModelSpec, NetworkName

from .conftest import TINY

TOLERANCE = 1e-5  # float32 sums in another order


def random_inputs(name: NetworkName, batch: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(spec.shape(batch), generator=generator) for spec in NETWORKS[name].inputs]


@pytest.mark.parametrize("name", NETWORK_NAMES)
@torch.no_grad()
def test_each_rewrite_keeps_the_function(nets: Networks, name: NetworkName) -> None:
    inputs = random_inputs(name, batch=3)
    lowered, _ = lower(getattr(nets, name), name)
    expected = getattr(nets, name)(*inputs)
    assert expected.std() > 0.01  # a saturated output would hide a mistake
    assert (lowered(*inputs) - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_lowering_leaves_the_original_alone(nets: Networks, name: NetworkName) -> None:
    network = getattr(nets, name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    _, rewrites = lower(network, name)
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[key], before[key]) for key in before)
    assert rewrites == tuple(REWRITES[name])


@pytest.mark.parametrize(("name", "left"), [("m", 0), ("r", 0), ("l", 6), ("h", 0)])
def test_only_the_norms_behind_a_sum_stay(nets: Networks, name: NetworkName, left: int) -> None:
    lowered, _ = lower(getattr(nets, name), name)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in lowered.modules()) == left
    assert getattr(lowered, "gain", 1.0) == 1.0


@torch.no_grad()
def test_blocks_of_r_are_folded_like_those_of_l(make_networks: Callable[..., Networks]) -> None:
    r = make_networks(TINY.model_copy(update={"refinement_blocks": 2})).r.eval()
    lowered, _ = lower(r, "r")
    inputs = random_inputs("r", batch=3)
    expected = r(*inputs)
    assert expected.std() > 0.01 and (lowered(*inputs) - expected).abs().max() <= TOLERANCE
    assert sum(isinstance(module, nn.BatchNorm2d) for module in lowered.modules()) == 3


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@torch.no_grad()
def test_transposed_upsampling_is_exact_up_to_the_border(size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    up = Up(3, 5).double().eval()
    nn.init.normal_(up.norm.bias)
    x = torch.randn(3, 3, *size, dtype=torch.float64)
    expected = up(x)
    network = nn.Sequential(up)
    fold_batch_norm(network)
    transpose_upsampling(network)
    assert not any(isinstance(module, Up) for module in network.modules())
    # float64, so that only a wrong tap can make a difference
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "size"), [(7, (8, 6)), (3, (2, 4)), (1, (2, 2))])
@torch.no_grad()
def test_a_head_in_phases_is_exact_up_to_the_border(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(3)
    head = nn.Conv2d(5, 3, kernel, padding=kernel // 2).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    network = nn.Sequential(OrderedDict(head=head))
    phase_head(network)
    assert network.head is not head
    torch.testing.assert_close(network(x), head(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "gain"), [("h", 1.5), ("l", 1.1)])
def test_lowering_saves_multiplications(name: NetworkName, gain: float) -> None:
    network = getattr(Networks(ModelSpec(widths=FULL)), name).eval()
    counts = [multiply_accumulates(net.to("meta"), name) for net in (lower(network, name).network, network)]
    assert counts[1] >= gain * counts[0]


def multiply_accumulates(network: nn.Module, name: NetworkName) -> int:
    """Those of all convolutions for one frame, counted from the shapes that they meet."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        # Each output value of a convolution, and each input value of a transposed one, meets this many weights.
        per_value = module.weight[0].numel()
        counts.append((inputs[0] if isinstance(module, nn.ConvTranspose2d) else output).numel() * per_value)

    hooks: list[Callable[[], None]] = [
        module.register_forward_hook(count).remove
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    network(*(torch.empty(spec.shape(1), device="meta") for spec in NETWORKS[name].inputs))
    for remove in hooks:
        remove()
    return sum(counts)
