"""Checkpoint to bundle, whole; and what is left when something is wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from maskanim.bundle import MANIFEST, Bundle
from maskanim.errors import MaskanimError
from maskanim.export import build
from maskanim.export import frames as export_frames
from maskanim.export.build import default_out, export_bundle
from maskanim.export.frames import read_pairs, spread
from maskanim.export.parity import onnx_function
from maskanim.golden import unpack
from maskanim.networks import Networks
from maskanim.runtime.backends import open_runner
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName, NetworkSpec
from maskanim.video import write_picture

WriteCheckpoint = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_float32_bundle(float32_bundle: Bundle, nets: Networks) -> None:
    manifest = float32_bundle.manifest
    assert (manifest.weights, manifest.opset, manifest.model) == ("float32", 20, nets.spec)
    assert manifest.name == float32_bundle.path.parent.name
    parity = manifest.parity
    assert parity is not None and parity.rounding is None and parity.frames == "3 pairs of given frames"
    assert max(parity.max_difference.values()) <= 1e-4 and parity.frame_psnr >= 60
    assert parity.mask_pixels == 3 * 64 * 64
    assert parity.bf16_frame_psnr is not None and 40 < parity.bf16_frame_psnr < 100  # BF16 has eight significant bits
    assert manifest.golden is not None
    golden = unpack((float32_bundle.path / manifest.golden.file).read_bytes())
    assert len(golden) == 2 and golden[0].source.any() and not np.array_equal(golden[0].frame, golden[1].frame)
    assert set(manifest.provenance["exported"]) == {"maskanim", "torch", "onnx"}


@pytest.mark.parametrize("engine", ["ort", "openvino"])
def test_a_bundle_carries_golden_pairs_that_its_networks_give(
    float32_bundle: Bundle, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path))
    assert float32_bundle.manifest.golden is not None
    assert len(unpack((float32_bundle.path / "golden.png").read_bytes())) == 2
    open_runner(float32_bundle, engine)[0].close()  # which is refused where they differ
    (kept,) = (tmp_path / "verified").iterdir()
    assert json.loads(kept.read_bytes())["h"] > 50


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_float16_bundle_is_smaller_and_as_near_as_it_says(
    exported: Any, float32_bundle: Bundle, name: NetworkName
) -> None:
    half = exported.bundle.manifest
    assert half.weights == "float16"
    assert half.networks[name].size < float32_bundle.manifest.networks[name].size
    assert half.networks[name].lowering == float32_bundle.manifest.networks[name].lowering != ()
    rounding = half.parity.rounding
    assert 0 < rounding.max_difference[name] < 0.05 and rounding.frame_psnr > 40
    rng = np.random.default_rng(0)
    inputs = [rng.random(spec.shape(2), np.float32) for spec in NETWORKS[name].inputs]
    found, expected = (
        onnx_function(bundle.network(name).read_bytes(), name)(*inputs) for bundle in (exported.bundle, float32_bundle)
    )
    assert found.shape == NETWORKS[name].output.shape(2)
    assert 0 < np.abs(found - expected).max() < 0.05


def test_no_path_of_this_machine_is_in_the_manifest(exported: Any, float32_bundle: Bundle) -> None:
    for bundle in (exported.bundle, float32_bundle):
        text = (bundle.path / MANIFEST).read_text("utf-8")
        assert str(bundle.path.parent) not in text and str(Path.home()) not in text and "frames/" not in text


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch, onnx_models: dict[NetworkName, ModelProto]) -> NetworkName:
    """Every export of l comes out with one weight changed."""

    def export(_: object, signature: NetworkSpec) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(onnx_models[signature.name])
        if signature.name == "l":
            bias = next(weight for weight in model.graph.initializer if weight.name == "head.conv.bias")
            bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        return model

    monkeypatch.setattr(build, "to_onnx", export)
    return "l"


@pytest.fixture
def exported_once(monkeypatch: pytest.MonkeyPatch, onnx_models: dict[NetworkName, ModelProto]) -> None:
    """Without the time of an export, where what ONNX says does not matter."""
    monkeypatch.setattr(build, "to_onnx", lambda _, signature: onnx_models[signature.name])


def test_names_that_are_not_utf8_are_written_as_far_as_they_are(
    tmp_path: Path,
    nets: Networks,
    write_checkpoint: WriteCheckpoint,
    frames: Path,
    exported_once: None,
) -> None:
    ckpt = write_checkpoint(tmp_path / "last.pt", nets, provenance={"command": "maskanim-train --out mod\udce8le"})
    manifest = export_bundle(ckpt, name="mod\udce8le", frames=[frames]).manifest
    assert manifest.name == "mod?le" and manifest.provenance["trained"]["command"] == "maskanim-train --out mod?le"


def test_tampered_weights_fail_and_leave_nothing(
    tmp_path: Path, nets: Networks, write_checkpoint: WriteCheckpoint, frames: Path, tampered: NetworkName
) -> None:
    ckpt = write_checkpoint(tmp_path / "last.pt", nets)
    with pytest.raises(MaskanimError, match=f"network {tampered} differs from PyTorch by .*Nothing was written"):
        export_bundle(ckpt, frames=[frames])
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_an_older_bundle_survives_a_failure(
    tmp_path: Path,
    nets: Networks,
    write_checkpoint: WriteCheckpoint,
    frames: Path,
    tampered: NetworkName,
    float32_bundle: Bundle,
) -> None:
    before = contents(float32_bundle.path)
    with pytest.raises(MaskanimError, match=f"network {tampered}"):
        export_bundle(write_checkpoint(tmp_path / "last.pt", nets), float32_bundle.path, frames=[frames])
    assert contents(float32_bundle.path) == before
    assert [path.name for path in float32_bundle.path.parent.iterdir() if path.name.startswith(".")] == []


def test_rounding_that_can_be_seen_is_refused(
    tmp_path: Path,
    nets: Networks,
    write_checkpoint: WriteCheckpoint,
    frames: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported_once: None,
) -> None:
    monkeypatch.setattr(build, "require_parity", lambda _: None)
    monkeypatch.setattr(build, "ROUNDED_FRAME_PSNR", 149.0)
    with pytest.raises(MaskanimError, match="float16 weights: they change the final frame"):
        export_bundle(write_checkpoint(tmp_path / "last.pt", nets), weights="float16", frames=[frames])
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_default_places() -> None:
    assert default_out(Path("runs/demo/last.pt")) == Path("runs/demo/last.bundle")
    assert default_out(Path("00000099-checkpoint.pth.tar")) == Path("00000099-checkpoint.bundle")


def test_pairs_go_round(frames: Path, tmp_path: Path) -> None:
    pairs = read_pairs([frames / "0.png", frames / "1.png", frames / "2.png"])
    assert len(pairs) == 3
    for i, pair in enumerate(pairs):
        assert pair.source.shape == (1, 3, 256, 256) and pair.source.dtype == np.float32
        assert np.array_equal(pair.source, pairs[i - 1].driving)
    for pair, same in zip(pairs, read_pairs([frames]), strict=True):
        assert np.array_equal(pair.driving, same.driving)


def test_frames_are_spread_over_the_whole(tmp_path: Path) -> None:
    """Also where there are not twice as many as are taken."""
    for i in range(15):
        write_picture(tmp_path / f"{i}.png", np.full((64, 64, 3), i, np.uint8))
    levels = [round(255 * float(pair.driving.mean())) for pair in read_pairs([tmp_path], 8)]
    assert levels == [0, 1, 3, 5, 7, 9, 11, 13]
    assert list(spread("abcdefg", 3)) == list("ace") and list(spread("ab", 3)) == list("ab")


def test_frames_are_needed_where_there_is_no_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_frames, "DEMO_FRAMES", (tmp_path / "source.png", tmp_path / "driving.mp4"))
    with pytest.raises(MaskanimError, match="--frames: not given"):
        read_pairs([])
