"""INT8: the graphs, and which networks a bundle may run in it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from maskanim.bundle import MANIFEST, Bundle
from maskanim.errors import MaskanimError
from maskanim.export.cli import app
from maskanim.export.int8 import WORK, quantize_bundle
from maskanim.export.parity import onnx_function
from maskanim.golden import psnr
from maskanim.half import to_half
from maskanim.int8 import rounded_tensors, to_int8
from maskanim.runtime.backends import RunOptions, open_runner
from maskanim.runtime.sessions import precision
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName
from maskanim.trt.graphs import engine_graph, require_precision
from maskanim.trt.libraries import load_library
from maskanim.trt.records import BuildOptions, EngineRequest, Target
from maskanim.trt.store import build_engines, find_engines


@pytest.fixture
def bundle(float32_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy that may be changed."""
    return Bundle.open(shutil.copytree(float32_bundle.path, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def quantized(exported: Any, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With float16 weights, limited so that everything is tried."""
    copy = shutil.copytree(exported.bundle.path, tmp_path_factory.mktemp("int8") / "bundle")
    return quantize_bundle(Bundle.open(copy), frames=[frames], least_psnr=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("engine", [False, True])
def test_a_damaged_weight_is_one_clear_error(quantized: Bundle, value: float, engine: bool) -> None:
    assert quantized.manifest.int8
    model = ModelProto.FromString(quantized.network("l").read_bytes())
    weight = next(each for each in model.graph.initializer if len(each.dims) == 4)
    damaged = numpy_helper.to_array(weight).copy()
    damaged[0, 0, 0, 0] = value
    weight.CopyFrom(numpy_helper.from_array(damaged, weight.name))
    told = rf"^INT8, weight {re.escape(weight.name)}.*: NaN or infinite values; expected finite numbers"
    with pytest.raises(MaskanimError, match=told):
        to_int8(model.SerializeToString(), quantized.manifest.int8.ranges["l"], engine=engine)
    with pytest.raises(MaskanimError, match=told):  # so that nothing is calibrated
        rounded_tensors(model.SerializeToString())


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_graph_is_near_its_float_one_and_its_head_is_float(quantized: Bundle, name: NetworkName) -> None:
    assert quantized.manifest.int8
    content, ranges = quantized.network(name).read_bytes(), quantized.manifest.int8.ranges[name]
    rng = np.random.default_rng(0)
    inputs = [rng.random(spec.shape(2), np.float32) for spec in NETWORKS[name].inputs]
    expected = onnx_function(content, name)(*inputs)
    for engine, kind, least in ((False, np.uint8, 64), (True, np.int8, 127)):
        rounded = to_int8(content, ranges, engine=engine)
        assert rounded == to_int8(content, ranges, engine=engine)
        onnx.checker.check_model(rounded, full_check=True)
        assert 20 < psnr(onnx_function(rounded, name)(*inputs), expected) < 80
        graph = ModelProto.FromString(rounded).graph
        weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        zeros = {weights[node.input[2]].dtype for node in graph.node if node.op_type == "QuantizeLinear"}
        assert zeros == {np.dtype(kind)}
        steps = [np.abs(w.astype(int)).max() for key, w in weights.items() if w.dtype == np.int8 and w.ndim == 4]
        assert least <= max(steps) <= 127
        convolutions = [node for node in graph.node if "Conv" in node.op_type]
        floats = [node for node in convolutions if not node.input[1].endswith(".rounded")]
        assert floats[-1] is convolutions[-1] and len(floats) == (2 if name == "m" else 1)  # m's blur, and the head
        if engine:
            assert all(weights[node.input[2]] == 0 for node in graph.node if node.op_type == "QuantizeLinear")


def large_neighbours(kind: str) -> bytes:
    """A network whose first convolution has large weights beside each other, in one order or in the other."""
    rng = np.random.default_rng(0)
    shape = (32, 32, 3, 3) if kind == "Conv" else (32, 32, 4, 4)
    weight = rng.normal(0, 0.01, shape).astype(np.float32)
    inputs = weight.swapaxes(0, 1) if kind == "ConvTranspose" else weight
    inputs[0::4, 6:8, 1, 1] = 1.0  # of neighbouring channels
    inputs[1::4, 5, 1, :2] = -1.0  # of neighbouring places
    inputs[2::4, 9, 2, 2] = 1.0  # alone
    head = rng.normal(0, 0.05, (3, 32, 1, 1)).astype(np.float32)
    extra = {"strides": [2, 2]} if kind == "ConvTranspose" else {}
    nodes = [
        helper.make_node(kind, ["x", "w"], ["y"], pads=[1, 1, 1, 1], **extra),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Conv", ["z", "head"], ["out"]),
    ]
    shapes = {"x": [1, 32, None, None], "out": [1, 3, None, None]}
    x, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    weights = [numpy_helper.from_array(value, name) for name, value in (("w", weight), ("head", head))]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [out], weights), ir_version=10)
    model.opset_import[0].version = 20
    return model.SerializeToString()


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_neighbours_of_one_sign_stay_within_16_bits(kind: str) -> None:
    content = large_neighbours(kind)
    graph = ModelProto.FromString(to_int8(content, {"x": (0, 1)})).graph
    rounded = next(numpy_helper.to_array(w) for w in graph.initializer if w.name == "w.int8").astype(int)
    by_output = rounded.swapaxes(0, 1) if kind == "ConvTranspose" else rounded
    for order in (by_output, np.moveaxis(by_output, 1, -1)):
        for row in (order.reshape(32, -1), -order.reshape(32, -1)):
            positive = np.maximum(row, 0)
            assert (positive[:, 1:] + positive[:, :-1]).max() <= 128
    largest = np.abs(by_output).max((1, 2, 3))
    assert (largest[0::4] <= 64).all() and (largest[1::4] <= 64).all()
    assert (largest[2::4] > 120).all()  # of a weight alone nothing is lost


RUN_IT = """
import sys
import numpy as np, openvino as ov
model = ov.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save(sys.argv[3], model(np.load(sys.argv[2]))[0])
"""


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_no_product_overflows_with_avx2_alone(kind: str, tmp_path: Path) -> None:
    """As the graph says, computed without fusing anything; in a process of its own, for the limit is read once."""
    content = to_int8(large_neighbours(kind), {"x": (0, 1)})
    x = np.random.default_rng(1).random((1, 32, 24, 24), np.float32)
    x[..., :12] = 1  # the largest activations
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(content, options).run(None, {"x": x})[0]
    (tmp_path / "g.onnx").write_bytes(content)
    np.save(tmp_path / "x.npy", x)
    paths = [str(tmp_path / name) for name in ("g.onnx", "x.npy", "out.npy")]
    limited = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", RUN_IT, *paths], env=limited, check=True)
    found = {"openvino": np.load(paths[-1]), "ort": onnxruntime.InferenceSession(content).run(None, {"x": x})[0]}
    for library, out in found.items():
        assert np.abs(out - expected).max() < 1e-4 * np.abs(expected).max(), library


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_fp16_graphs_are_rounded_too(quantized: Bundle, name: NetworkName) -> None:
    assert quantized.manifest.int8
    half = to_half(quantized.network(name).read_bytes(), name)
    rounded = to_int8(half, quantized.manifest.int8.ranges[name], engine=True)
    onnx.checker.check_model(rounded, full_check=True)
    graph = ModelProto.FromString(rounded).graph
    scales = {w.data_type for w in graph.initializer if w.name.endswith(".scale")}
    assert scales == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("engine", ["openvino", "ort"])
def test_processors_run_it(quantized: Bundle, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In INT8 whatever it takes; the golden pairs are held against it when it opens."""
    monkeypatch.setattr(precision, "GAIN", 1000.0)
    monkeypatch.setattr(precision, "BUDGET", math.inf)  # a busy machine would leave out the light ones
    int8 = quantized.manifest.int8
    assert int8
    only = int8.model_copy(update={"frame_psnr": {"mrlh": int8.frame_psnr["mrlh"]}})
    bundle = Bundle(quantized.path, quantized.manifest.model_copy(update={"int8": only}))
    runner, used = open_runner(bundle, engine, RunOptions(least_psnr=20))
    runner.close()
    assert used.detail.endswith("m and r and l and h in INT8, as measured here")


def test_tensorrt_rtx_builds_it(quantized: Bundle, tmp_path: Path) -> None:
    """With FP16's borders; what was built is stale as soon as the ranges are others."""
    library = load_library("rtx")
    plans = {p: build_engines(quantized, library, BuildOptions(precision=p)) for p in ("fp16", "int8")}
    for name in NETWORK_NAMES:
        half, rounded = (plans[p].record.networks[name] for p in ("fp16", "int8"))
        assert (half.inputs, half.output) == (rounded.inputs, rounded.output)
        assert half.source_sha256 != rounded.source_sha256 and half.sha256 != rounded.sha256
        flags = 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        builder = library.module.Builder(library.logger)
        network = builder.create_network(flags)
        parser = library.module.OnnxParser(network, library.logger)
        assert parser.parse(engine_graph(quantized, name, "int8", "rtx"))
        kinds = [network.get_layer(i).type for i in range(network.num_layers)]
        assert kinds.count(library.module.LayerType.QUANTIZE) > 5
    assert build_engines(quantized, library, BuildOptions(precision="int8")) == plans["int8"]
    int8 = quantized.manifest.int8
    assert int8
    wider = {n: {t: (2 * low, 2 * high) for t, (low, high) in r.items()} for n, r in int8.ranges.items()}
    manifest = quantized.manifest.model_copy(update={"int8": int8.model_copy(update={"ranges": wider})})
    copy = shutil.copytree(quantized.path, tmp_path / "bundle")
    (copy / MANIFEST).write_text(manifest.model_dump_json())
    ada = Target(name="NVIDIA GeForce RTX 4090", capability=(8, 9))
    request = EngineRequest(library="rtx", version=library.version, gpu=ada, precision="int8")
    assert not isinstance(find_engines(Bundle.open(copy), request.model_copy(update={"precision": "fp16"})), str)
    shutil.rmtree(copy / "plans" / plans["fp16"].folder.name)
    assert "built from another m.onnx, r.onnx, l.onnx, h.onnx" in str(find_engines(Bundle.open(copy), request))


def test_engines_that_do_not_keep_the_frame_are_refused(quantized: Bundle, float32_bundle: Bundle) -> None:
    int8 = quantized.manifest.int8
    assert int8 and int8.engine_psnr
    require_precision(quantized.manifest, "int8", int8.engine_psnr)
    with pytest.raises(MaskanimError, match=r"keeps [\d.]+ dB; expected at least 99 dB\. Use --precision fp16"):
        require_precision(quantized.manifest, "int8", 99)
    float_only = int8.model_copy(update={"networks": (), "engine_psnr": None})
    with pytest.raises(MaskanimError, match="all of it stays in float"):
        require_precision(quantized.manifest.model_copy(update={"int8": float_only}), "int8")
    with pytest.raises(MaskanimError, match="nobody has examined this model"):
        require_precision(float32_bundle.manifest, "int8")


def test_what_was_measured_is_in_the_manifest(quantized: Bundle) -> None:
    int8 = quantized.manifest.int8
    assert int8 and int8.networks == NETWORK_NAMES and len(int8.frame_psnr) == 15
    assert all(
        int8.ranges[name].keys() == {*rounded_tensors(quantized.network(name).read_bytes())} for name in NETWORKS
    )
    assert int8.threshold_flips["m"] > 0 == int8.threshold_flips["rlh"]
    assert int8.frame_psnr["lh"] < min(int8.frame_psnr["l"], int8.frame_psnr["h"]) + 1
    assert quantized.manifest.golden and (quantized.path / quantized.manifest.golden.file).is_file()


def test_the_search_takes_the_most_work_that_keeps_the_limit(quantized: Bundle, frames: Path, tmp_path: Path) -> None:
    """The same model with a limit that about half of the sets keep."""
    assert quantized.manifest.int8
    measured = quantized.manifest.int8.frame_psnr
    limit = sorted(measured.values())[7]
    copy = Bundle.open(shutil.copytree(quantized.path, tmp_path / "bundle"))
    found = quantize_bundle(copy, frames=[frames], least_psnr=limit).manifest.int8
    kept = {names for names, psnr in measured.items() if psnr >= limit}
    whole = {names for names in kept if all(part in kept or {*part} - {*names} for part in measured)}
    assert found and "".join(found.networks) == max(whole, key=_work) != "mrlh"
    assert whole <= found.frame_psnr.keys() < measured.keys()  # of sets that hold one that fails, none is tried


def _work(names: str) -> float:
    return sum(WORK[name] for name in NETWORK_NAMES if name in names)


def test_a_model_that_does_not_survive_stays_in_float(bundle: Bundle, frames: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.path.glob("*.onnx")}
    result = CliRunner().invoke(
        app, ["--int8", "--model", str(bundle.path), "--frames", str(frames), "--int8-psnr", "99"]
    )
    assert result.exit_code == 0, result.output
    assert "the model stays in float" in result.output
    int8 = Bundle.open(bundle.path).manifest.int8
    assert int8 and int8.networks == () and int8.ranges == {} and int8.engine_psnr is None
    assert {path.name: path.read_bytes() for path in bundle.path.glob("*.onnx")} == before


def test_calibration_frames_count(bundle: Bundle, frames: Path, tmp_path: Path) -> None:
    """A black picture has no range worth having: calibrated on it, little is kept."""
    import cv2

    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((256, 256, 3), np.uint8))
    copy = quantize_bundle(bundle, [tmp_path / "black.png"], [frames], 1, out=tmp_path / "black")
    black = copy.manifest.int8
    assert copy.path == tmp_path / "black" and Bundle.open(bundle.path).manifest == bundle.manifest
    assert black and black.calibrated == "1 pairs of given frames"
    usual = quantize_bundle(bundle, (), [frames], 1).manifest.int8
    assert usual and usual.network_psnr["h"] > black.network_psnr["h"]


def test_older_bundles_are_read(bundle: Bundle) -> None:
    values = json.loads((bundle.path / MANIFEST).read_text())
    del values["int8"]
    (bundle.path / MANIFEST).write_text(json.dumps({**values, "format_version": 1}))
    assert Bundle.open(bundle.path).manifest.int8 is None


@pytest.mark.parametrize("limit", [0, -1, 101, float("nan")])
def test_limits_that_are_none(bundle: Bundle, limit: float) -> None:
    with pytest.raises(MaskanimError, match="--int8-psnr"):
        quantize_bundle(bundle, least_psnr=limit)
