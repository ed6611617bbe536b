"""A bundle read back: the same frames, and networks that training can go on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maskanim import pipeline
from maskanim.bundle import MANIFEST, Bundle, bundle_file
from maskanim.errors import MaskanimError
from maskanim.export.build import export_bundle
from maskanim.export.lowering import changes_nothing
from maskanim.export.restoring import restore_networks, settle_norms
from maskanim.golden import psnr
from maskanim.networks import Networks, TorchOps

from .conftest import TINY, Exported, MakeNetworks, WriteCheckpoint

EXACT = 110.0  # dB; float32 sums in another order
ROUNDED = 55.0  # dB; weights of eleven bits, whose transposed kernels are fitted once more


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    small = torch.rand(2, 4, 3, 8, 8, generator=generator)
    source, driving = (nn.functional.interpolate(x, 256, mode="bicubic").clamp(0, 1) for x in small)
    return source, driving


@torch.no_grad()
def animated(nets: Networks, pair: tuple[Tensor, Tensor]) -> Tensor:
    ops = TorchOps(nets.spec.perturbation)
    return pipeline.animate_frame(nets, ops, pipeline.encode_source(nets, ops, pair[0]), pair[1]).frame


def agreement(found: Networks, nets: Networks, pair: tuple[Tensor, Tensor]) -> float:
    expected = animated(nets, pair)
    assert expected.std() > 0.05
    return psnr(animated(found, pair).numpy(), expected.numpy())


def test_float32_is_animated_alike(float32_bundle: Bundle, nets: Networks, pair: tuple[Tensor, Tensor]) -> None:
    assert agreement(restore_networks(float32_bundle), nets, pair) >= EXACT


def test_float16_is_animated_alike(exported: Exported, nets: Networks, pair: tuple[Tensor, Tensor]) -> None:
    assert agreement(restore_networks(exported.bundle), nets, pair) >= ROUNDED


def test_kernels_come_back(float32_bundle: Bundle, nets: Networks) -> None:
    found = restore_networks(float32_bundle).state_dict()
    expected = nets.state_dict()
    for name in ("m.head.weight", "r.head.bias", "l.head.weight", "h.head.bias", "l.bottleneck.3.norm1.running_var"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-7, msg=name)


def test_blocks_that_were_begun_come_back(
    tmp_path: Path,
    make_networks: MakeNetworks,
    write_checkpoint: WriteCheckpoint,
    frames: Path,
    pair: tuple[Tensor, Tensor],
) -> None:
    """Norms that change nothing are equal, and the exporter would keep one of them under one name: none stays."""
    nets = make_networks(TINY.model_copy(update={"refinement_blocks": 3}))
    for name, module in nets.r.named_modules():
        if name.endswith(("0.norm1", "2.norm1")):
            module.load_state_dict(nn.BatchNorm2d(module.num_features).state_dict())
            module.running_var -= module.eps
    bundle = export_bundle(write_checkpoint(tmp_path / "last.pt", nets), tmp_path / "begun", frames=[frames])
    found = restore_networks(bundle)
    assert agreement(found, nets, pair) >= EXACT
    blocks = found.r.hourglass.res_blocks[-1]
    assert [changes_nothing(block.norm1) for block in blocks] == [True, False, True]
    settle_norms(found, *pair)
    assert agreement(found, nets, pair) >= EXACT
    assert not any(changes_nothing(block.norm1) for block in blocks)


def test_training_goes_on_from_where_it_was(
    float32_bundle: Bundle, nets: Networks, pair: tuple[Tensor, Tensor]
) -> None:
    """With the batch's own statistics, features are nearly those of the running ones; else all would be lost."""
    settled = restore_networks(float32_bundle)
    neutral = animated(restore_networks(float32_bundle).train(), pair)
    settle_norms(settled, *pair)
    expected = animated(nets, pair)
    assert agreement(settled, nets, pair) >= EXACT
    near = psnr(animated(settled.train(), pair).numpy(), expected.numpy())
    assert near >= psnr(neutral.numpy(), expected.numpy()) + 6
    assert near >= 25


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lowering": ["fold-batch-norm", "prune"]}, "rewritten by prune"),
        ({"lowering": ["fold-batch-norm"]}, "not known: l.head.conv"),
        ({}, "not an ONNX file"),
    ],
)
def test_other_bundles_are_refused(
    float32_bundle: Bundle, tmp_path: Path, change: dict[str, list[str]], told: str
) -> None:
    content = float32_bundle.network("l").read_bytes() if change else b"not onnx"
    values = json.loads((float32_bundle.path / MANIFEST).read_text())
    values["networks"]["l"] |= bundle_file("l.onnx", content).model_dump() | change
    for file in float32_bundle.path.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "l.onnx").write_bytes(content)
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(MaskanimError, match=told):
        restore_networks(Bundle.open(tmp_path))
