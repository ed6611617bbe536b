"""Engines at export: built for real by TensorRT-RTX, used again, and what is told where they cannot be built."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
from onnx import ModelProto
from typer.testing import CliRunner, Result

from maskanim.bundle import Bundle, network_file, write_bundle
from maskanim.driver import Driver, Gpu
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.export import build, engines
from maskanim.export.cli import app
from maskanim.export.engines import BuildRequest, build_requested, parse_engine
from maskanim.networks import Networks
from maskanim.progress import NO_PROGRESS
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName
from maskanim.trt.libraries import LIBRARIES, LoadedLibrary, load_library
from maskanim.trt.records import BatchRange, BuildOptions, Target

WriteCheckpoint = Callable[..., Path]

RTX = ["--engine", "rtx", "--precision", "fp16", "--batch", "1:1:4", "--targets", "sm89,sm86", "--opt-level", "2"]
OPTIONS = BuildOptions(batch=BatchRange.parse("1:1:4"), targets=("sm86", "sm89"), opt_level=2)


class Built(NamedTuple):
    """A run of the command, and what it left."""

    result: Result
    bundle: Bundle
    again: Callable[[], Result]


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, nets: Networks, write_checkpoint: WriteCheckpoint, frames: Path
) -> Built:
    """Plans of a tiny checkpoint."""
    run = tmp_path_factory.mktemp("engines")
    ckpt = write_checkpoint(run / "last.pt", nets)
    arguments = ["--ckpt", str(ckpt), "--frames", str(frames / "0.png"), *RTX]

    def command() -> Result:
        result = CliRunner().invoke(app, arguments, env={"MASKANIM_HOME": str(run / "home")})
        assert result.exit_code == 0, result.output
        return result

    return Built(command(), Bundle.open(run / "last.bundle"), command)


def test_four_plans_lie_in_the_bundle(built: Built) -> None:
    folder = built.bundle.path / "plans" / f"rtx-{load_library('rtx').version}-sm86.sm89-fp16-b1.1.4-o2"
    told = built.result.stdout
    assert f"plans: {folder}" in told and told.index("plans: ") < told.index("Next: maskanim-run")
    plans = build_requested(built.bundle, BuildRequest("rtx", OPTIONS))
    assert plans.folder == folder and plans.record.key.options == OPTIONS
    for name, entry in plans.record.networks.items():
        assert f"building {name}.plan" in built.result.stderr and f"  {name}.plan  " in told
        assert entry.source_sha256 == built.bundle.manifest.networks[name].sha256
        for tensor, spec in zip(
            (*entry.inputs, entry.output), (*NETWORKS[name].inputs, NETWORKS[name].output), strict=True
        ):
            assert (tensor.name, tensor.maximum) == (spec.name, spec.shape(4))
            assert tensor.dtype == ("float16" if spec.channels == 3 else "float32")
    assert "source_small float16, source_mask float32, perturbed_mask float32 -> refined_mask float32" in told
    parity = built.bundle.manifest.parity
    assert parity is not None and parity.half is not None and parity.half.frame_psnr > 0


def test_a_second_call_uses_them_again(built: Built) -> None:
    """As the same checkpoint gives the same ONNX files to the byte, writing the bundle again keeps its plans."""
    before = {path: path.read_bytes() for path in built.bundle.path.rglob("*") if path.is_file()}
    result = built.again()
    assert "fit and are used again" in result.stderr and "building" not in result.stderr
    assert {path: path.read_bytes() for path in built.bundle.path.rglob("*") if path.is_file()} == before


def test_a_flipped_byte_is_noticed(built: Built, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(built.bundle.path, tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    (damaged,) = bundle.path.glob("plans/*/h.plan")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    caplog.set_level("INFO", "maskanim")
    request = BuildRequest("rtx", OPTIONS)
    rebuilt = build_requested(bundle, request)
    assert caplog.messages[0] == f"note: {damaged} changed since it was built; building again"
    assert rebuilt.contents["h"] == damaged.read_bytes()
    caplog.clear()
    assert build_requested(bundle, request) == rebuilt and "used again" in caplog.messages[0]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--precision", "fp16"], "--precision: given without --engine; expected it with --engine trt or rtx"),
        (["--targets", "sm86"], "--targets: given without --engine"),
        (["--opt-level", "0"], "--opt-level: given without --engine"),
        (["--engine", "onnx"], "--engine: onnx; expected trt (TensorRT) or rtx (TensorRT-RTX)"),
        (
            ["--engine", "rtx", "--targets", "sm86,sm90"],
            "--targets: sm90; expected some of sm75, sm80, sm86, sm89, sm120",
        ),
        (
            ["--engine", "trt", "--targets", "sm86"],
            "--targets: sm86 with TensorRT, which builds for the GPU it runs on",
        ),
        (["--engine", "rtx", "--batch", "8:1:1"], "--batch: 8:1:1; expected MIN:OPT:MAX"),
        (["--engine", "trt", "--precision", "fp8"], "--precision: fp8; expected fp16 or fp32 or int8"),
        (["--engine", "trt", "--precision", "int8"], "--precision int8: without --int8; expected both"),
        (["--engine", "rtx", "--opt-level", "6"], "--opt-level: 6; expected 0 to 5"),
        (["--strip-weights"], "--strip-weights: given without --engine"),
        (
            ["--engine", "rtx", "--version-compatible"],
            "--version-compatible: given with --engine rtx;",
        ),
        (["--engine", "rtx", "--timing-cache", "fleet.cache"], "--timing-cache: given with --engine rtx"),
    ],
)
def test_flags_are_checked_before_the_export(flags: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "export_bundle", lambda *_, **__: pytest.fail("the export began"))
    result = CliRunner().invoke(app, ["--ckpt", "any.pt", *flags])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {told}")


def test_no_engine_and_defaults() -> None:
    assert parse_engine(None) is None
    assert parse_engine("trt") == BuildRequest("trt", BuildOptions())
    assert parse_engine("rtx") == BuildRequest("rtx", BuildOptions())


def test_without_tensorrt_rtx_the_export_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    monkeypatch.setattr(engines, "load_library", load_library.__wrapped__)
    with pytest.raises(MissingPackageError, match="--engine rtx: the package tensorrt_rtx is not installed"):
        parse_engine("rtx")


def test_tensorrt_elsewhere(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command leaves a whole bundle, and one line that says what is missing and where to go on."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", None)
    monkeypatch.setattr(engines, "load_library", load_library.__wrapped__)
    monkeypatch.setattr(engines, "read_driver", lambda: Driver(trouble="the driver finds no GPU"))
    monkeypatch.setattr(build, "export_bundle", lambda *_, **__: built.bundle)
    result = CliRunner().invoke(app, ["--ckpt", "any.pt", "--engine", "trt"])
    assert result.exit_code == 2 and f"in {built.bundle.path}" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line == (
        "error: --engine trt: the package tensorrt is not installed (Install it with: pip install 'maskanim[trt]'); "
        "and there is no GPU here: the driver finds no GPU; expected TensorRT and the GPU that will run the model, as "
        f"TensorRT builds for the GPU it runs on. The bundle {built.bundle.path} is complete: on the target, "
        f"maskanim-run --engine trt --model {built.bundle.path} builds there."
    )
    assert Bundle.open(built.bundle.path) == built.bundle


def test_tensorrt_here(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library and the first GPU reach the builder."""
    library = LoadedLibrary(LIBRARIES["trt"], None, "10.16.1.11", None)
    gpu = Gpu(0, "NVIDIA A10", (8, 6), 24 << 30)
    monkeypatch.setattr(engines, "load_library", lambda name: library)
    monkeypatch.setattr(engines, "read_driver", lambda: Driver(gpus=(gpu,)))
    monkeypatch.setattr(engines, "build_engines", lambda *arguments: arguments)
    request = parse_engine("trt", strip_weights=True, timing_cache=Path("fleet.cache"))
    assert request
    a10 = Target(name="NVIDIA A10", capability=(8, 6))
    options = BuildOptions(strip_weights=True)
    found = (built.bundle, library, options, a10, NO_PROGRESS, Path("fleet.cache"))
    assert build_requested(built.bundle, request) == found
    monkeypatch.setattr(engines, "read_driver", lambda: Driver(trouble="no driver"))
    with pytest.raises(MaskanimError, match=r"--engine trt: there is no GPU here: no driver; expected TensorRT and"):
        build_requested(built.bundle, BuildRequest("trt", BuildOptions()))


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_an_unsupported_node_is_named(
    built: Built, onnx_models: dict[NetworkName, ModelProto], tmp_path: Path, precision: str
) -> None:
    contents = {name: built.bundle.network(name).read_bytes() for name in NETWORK_NAMES}
    contents["r"] = _with_culprit(onnx_models["r"])
    networks = {name: network_file(name, content) for name, content in contents.items()}
    bundle = write_bundle(
        tmp_path / "bundle", built.bundle.manifest.model_copy(update={"networks": networks}), contents
    )
    options = BuildOptions.model_validate({"precision": precision})
    with pytest.raises(MaskanimError, match=r"network r.*culprit.*Det") as e:
        build_requested(bundle, BuildRequest("rtx", options))
    assert "\n" not in str(e.value)
    assert not list((bundle.path / "plans").iterdir())


def _with_culprit(model: ModelProto) -> bytes:
    """The first ReLU becomes an operation that no TensorRT has."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    node = next(node for node in changed.graph.node if node.op_type == "Relu")
    node.op_type, node.name = "Det", "culprit"
    return changed.SerializeToString()
