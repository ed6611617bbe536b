"""Tiny networks with trained-looking statistics, their checkpoints, drawn frames, and bundles exported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import nn
from typer.testing import CliRunner, Result

from maskanim.bundle import Bundle
from maskanim.checkpoint import Checkpoint
from maskanim.export.build import export_bundle
from maskanim.export.cli import app
from maskanim.export.lowering import lower
from maskanim.export.onnx_export import to_onnx
from maskanim.networks import Networks
from maskanim.spec import NETWORKS, ModelSpec, NetworkName, Widths

TINY = ModelSpec(widths=Widths(m=4, r=4, l=8, h=4), mask_skips=4)

MakeNetworks = Callable[..., Networks]
WriteCheckpoint = Callable[..., Path]


class Exported(NamedTuple):
    """What a whole run of the command left."""

    result: Result
    bundle: Bundle
    ckpt: Path
    home: Path


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def make_networks() -> MakeNetworks:
    """Networks of a spec in which no weight and no statistic has its initial value."""

    def make(spec: ModelSpec = TINY, seed: int = 0) -> Networks:
        torch.manual_seed(seed)
        nets = Networks(spec)
        for module in nets.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                module.state_dict()["bias"].normal_(std=0.1)
            elif isinstance(module, nn.BatchNorm2d):
                state = module.state_dict()
                state["weight"].uniform_(0.5, 1.5)
                state["bias"].normal_(std=0.2)
                state["running_mean"].normal_(std=0.5)
                state["running_var"].uniform_(0.3, 3.0)
        for head in (nets.m.head, nets.r.head):
            nn.init.normal_(head.weight, std=0.02)  # grey masks: at more, the gain of 10 makes them black and white
        return nets.eval()

    return make


@pytest.fixture(scope="session")
def nets(make_networks: MakeNetworks) -> Networks:
    return make_networks()


@pytest.fixture(scope="session")
def write_checkpoint() -> WriteCheckpoint:
    """Write networks as maskanim-train does; keyword arguments replace entries."""

    def write(path: Path, nets: Networks, **changes: Any) -> Path:
        settings = {
            "model": nets.spec.model_dump(mode="json"),
            "warmup": {"steps": 2},
            "epochs": 3,
            "steps_per_epoch": 4,
        }
        provenance = {
            "command": "maskanim-train --config small",
            "data": "synthetic",
            "seed": 0,
            "perceptual": "efficientnet-lite0",
            "torch": torch.__version__,
        }
        replace(Checkpoint(settings, nets.state_dict(), {}, 14, provenance), **changes).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three smooth pictures of different sizes."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    for i, size in enumerate((256, 200, 300)):
        picture = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


@pytest.fixture(scope="session")
def onnx_models(nets: Networks) -> dict[NetworkName, ModelProto]:
    """The tiny networks, lowered and exported."""
    return {name: to_onnx(lower(getattr(nets, name), name).network, NETWORKS[name]) for name in NETWORKS}


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, nets: Networks, write_checkpoint: WriteCheckpoint, frames: Path
) -> Exported:
    """The command run on a tiny checkpoint, with float16 weights, registering the model."""
    run = tmp_path_factory.mktemp("run")
    ckpt = write_checkpoint(run / "last.pt", nets)
    arguments = ["--ckpt", str(ckpt), "--frames", str(frames), "--weights", "float16", "--name", "tiny"]
    result = CliRunner().invoke(app, arguments, env={"MASKANIM_HOME": str(run / "home")})
    assert result.exit_code == 0, result.output
    return Exported(result, Bundle.open(run / "last.bundle"), ckpt, run / "home")


@pytest.fixture(scope="session")
def float32_bundle(
    tmp_path_factory: pytest.TempPathFactory, nets: Networks, write_checkpoint: WriteCheckpoint, frames: Path
) -> Bundle:
    run = tmp_path_factory.mktemp("float32")
    return export_bundle(write_checkpoint(run / "last.pt", nets), run / "bundle", frames=[frames])
