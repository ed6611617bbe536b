"""Fine-tuning for INT8: it rounds what export rounds, gradients pass, and what cannot bear INT8 learns to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn
from typer.testing import CliRunner

from maskanim.checkpoint import load_own
from maskanim.export.checkpoints import load_trained
from maskanim.export.emulation import EmulatedNetwork
from maskanim.export.lowering import lower
from maskanim.export.onnx_export import to_onnx
from maskanim.export.parity import onnx_function
from maskanim.golden import psnr
from maskanim.int8 import rounded_tensors, to_int8
from maskanim.networks import Networks
from maskanim.networks.ops import downscale, upscale
from maskanim.networks.reparametrize import reparametrize
from maskanim.ops import Array
from maskanim.spec import NETWORK_NAMES, NETWORKS, ModelSpec, NetworkName, Widths
from maskanim.train.cli import app
from maskanim.train.int8 import round_to_int8, rounded_weight
from maskanim.train.settings import TrainSettings
from maskanim.train.trainer import Trainer

Inputs = tuple[Tensor, ...]


def pictures(count: int) -> Tensor:
    return F.interpolate(torch.rand(count, 3, 8, 8), 256, mode="bicubic").clamp(0, 1)


@torch.no_grad()
def inputs(nets: Networks, image: Tensor) -> dict[NetworkName, Inputs]:
    """What each network is given when pictures animate themselves."""
    small, mask = downscale(image), nets.m(image)
    refined = nets.r(small, mask, mask)
    coarse = nets.l(small, mask, refined)
    return {
        "m": (image,),
        "r": (small, mask, mask),
        "l": (small, mask, refined),
        "h": (image, upscale(mask), upscale(refined), coarse),
    }


@pytest.fixture(scope="module")
def nets() -> Networks:
    """Small networks, untrained, but with outputs of some contrast and batch norm that knows its values."""
    torch.manual_seed(0)
    nets = Networks(ModelSpec(widths=Widths(m=8, r=8, l=16, h=8)))
    with torch.no_grad():
        for network in (nets.l, nets.h):  # those of masks have a gain
            network.head.weight.mul_(4)
        for _ in range(15):
            for name, given in inputs(nets, pictures(2)).items():
                getattr(nets, name)(*given)
    return nets.eval().requires_grad_(False)


@torch.no_grad()
def in_int8(network: nn.Module, name: NetworkName, given: Inputs) -> Array:
    """As a processor computes it: exported, with the ranges of what it is given."""
    content = to_onnx(lower(network, name).network, NETWORKS[name]).SerializeToString()
    values = EmulatedNetwork(content, name).values(*given)
    ranges = {tensor: (float(values[tensor].min()), float(values[tensor].max())) for tensor in rounded_tensors(content)}
    return onnx_function(to_int8(content, ranges), name)(*(x.numpy() for x in given))


def rounding(nets: Networks) -> Networks:
    copied = copy.deepcopy(nets)
    reparametrize(copied)
    round_to_int8(copied)
    return copied


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_what_export_rounds_is_rounded(nets: Networks, name: NetworkName) -> None:
    """Not to the last digit: what falls on the other side of a half in one layer moves the next by a whole step.

    It is nearer by 2.6 to 4.9 dB; with weights rounded otherwise, to seven bits, it is 0.3 to 4.5 dB farther.
    """
    given = inputs(nets, pictures(1))[name]
    wanted = in_int8(getattr(nets, name), name, given)
    with torch.no_grad():
        plain, found = (getattr(each, name)(*given).numpy() for each in (nets, rounding(nets)))
    assert psnr(plain, wanted) < 60, "rounding shows"
    assert psnr(found, wanted) > psnr(plain, wanted) + 2


def test_weights_are_rounded_as_behind_batch_norm(nets: Networks) -> None:
    """Export folds it in first; a scale for each output channel makes that one and the same."""
    content = to_onnx(lower(nets.m, "m").network, NETWORKS["m"]).SerializeToString()
    ranges = dict.fromkeys(rounded_tensors(content), (0.0, 1.0))
    graph = onnx.ModelProto.FromString(to_int8(content, ranges)).graph
    exported = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    before = copy.deepcopy(nets.m)
    convolutions = [each.conv for each in (*before.hourglass.down_blocks, *before.hourglass.up_blocks)]
    for conv in convolutions:
        conv.weight.data = rounded_weight(conv.weight, 0)
    folded = lower(before, "m").network.state_dict()
    names = [name for name in folded if name.endswith("conv.weight")]
    assert len(names) == len(convolutions) == 10
    for name in names:
        found = exported[f"{name}.int8"] * exported[f"{name}.scale"][:, None, None, None]
        same = np.isclose(found, folded[name].numpy(), rtol=1e-5, atol=1e-7)
        assert same.mean() > 0.9999, name  # but for what lies on a half


def test_names_and_values_stay_and_gradients_pass(nets: Networks) -> None:
    changed = rounding(nets).requires_grad_(True)
    before, after = nets.state_dict(), changed.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    plain, given = copy.deepcopy(nets).requires_grad_(True), inputs(nets, pictures(1))
    for name in NETWORK_NAMES:
        gradients = []
        for each in (plain, changed):
            (getattr(each, name)(*given[name]) - 0.5).square().sum().backward()
            gradients.append(
                torch.cat([p.grad.flatten() for p in getattr(each, name).parameters() if p.grad is not None])
            )
        assert gradients[0].shape == gradients[1].shape == (sum(p.numel() for p in getattr(nets, name).parameters()),)
        assert F.cosine_similarity(*gradients, dim=0) > 0.7, name


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_in_mixed_precision(nets: Networks, name: NetworkName) -> None:
    changed, given = rounding(nets).requires_grad_(True), inputs(nets, pictures(1))[name]
    wanted = getattr(nets, name)(*given).numpy()
    with torch.autocast("cpu", torch.bfloat16):
        found = getattr(changed, name)(*given)
    found.sum().backward()
    gradients = [parameter.grad for parameter in getattr(changed, name).parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert psnr(found.detach().float().numpy(), wanted) > 20


@torch.no_grad()
def make_hard(network: nn.Module) -> None:
    """The same function, with channels whose ranges differ by up to 196 times: eight bits do not hold them together."""
    generator = torch.Generator().manual_seed(1)
    for block in network.bottleneck:  # type: ignore[union-attr]
        for norm, conv in ((block.norm1, block.conv1), (block.norm2, block.conv2)):
            factor = 14 ** (2 * torch.rand(norm.num_features, generator=generator) - 1)
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
            conv.weight.div_(factor[None, :, None, None])


def test_what_cannot_bear_int8_learns_to(nets: Networks) -> None:
    """Against what the network did before, where plain fine-tuning has nothing to learn."""
    torch.manual_seed(2)
    hard, given = copy.deepcopy(nets), inputs(nets, pictures(4))["l"]
    make_hard(hard.l)
    with torch.no_grad():
        wanted = nets.l(*given).numpy()
        assert psnr(hard.l(*given).numpy(), wanted) > 100
    kept = {"before": psnr(in_int8(hard.l, "l", given), wanted)}
    for kind in ("plain", "int8"):
        torch.manual_seed(3)
        tuned = (rounding(hard) if kind == "int8" else copy.deepcopy(hard)).requires_grad_(True)
        adam = torch.optim.Adam(tuned.l.parameters(), 3e-5)
        for _ in range(15):
            batch = inputs(nets, pictures(2))["l"]
            adam.zero_grad()
            (tuned.l(*batch) - nets.l(*batch)).abs().mean().backward()
            adam.step()
        done = copy.deepcopy(nets)
        done.load_state_dict(tuned.state_dict())
        kept[kind] = psnr(in_int8(done.l, "l", given), wanted)
    assert kept["before"] < 30 and abs(kept["plain"] - kept["before"]) < 1, kept
    assert kept["int8"] > kept["before"] + 1.5, kept


def test_a_resumed_run_goes_on_exactly(settings: TrainSettings, train: Callable[..., Trainer], tmp_path: Path) -> None:
    """No range is kept that a checkpoint would have to."""
    settings = settings.model_copy(update={"int8": True})
    whole = train(settings, tmp_path / "whole").nets.state_dict()
    train(settings, tmp_path / "parts", max_steps=5)
    parts = train(settings, tmp_path / "parts", resume=True).nets.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_command_and_what_export_reads(small_config: Path, tmp_path: Path) -> None:
    def call(*arguments: Any) -> Any:
        data = ["--config", small_config, "--data", "synthetic", "--workers", 0, "--max-steps", 1]
        return CliRunner().invoke(app, [str(argument) for argument in (*data, *arguments)])

    refused = call("--out", tmp_path / "run", "--int8")
    assert refused.exit_code == 2 and "--int8: without --init; expected both" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert call("--out", tmp_path / "first").exit_code == 0
    given = ("--out", tmp_path / "run", "--init", tmp_path / "first" / "last.pt", "--int8")
    assert call(*given).exit_code == call(*given, "--resume").exit_code == 0
    checkpoint = load_own(torch.load(tmp_path / "run" / "last.pt", weights_only=True))
    assert checkpoint is not None and checkpoint.step == 2 and checkpoint.settings["int8"]
    trained = load_trained(tmp_path / "run" / "last.pt")
    assert trained.provenance["trained"]["int8"] is True
    given_names = Networks(trained.nets.spec).state_dict().keys()
    assert checkpoint.networks.keys() == given_names
    with torch.no_grad():
        assert np.isfinite(trained.nets.m(pictures(1)).numpy()).all()
