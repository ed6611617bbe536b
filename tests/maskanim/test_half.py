"""The FP16 graph: its types, its weights, what it refuses, and that a real builder takes it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from maskanim.bundle import Bundle, Manifest, Parity, network_file
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.half import require_half, to_half
from maskanim.models import demo_bundle
from maskanim.spec import NETWORK_NAMES, NETWORKS, ModelSpec, NetworkName, TensorSpec

MASK_NETWORKS = ("m", "r")


@pytest.fixture(params=["demo", "tiny"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """The demo, lowered and with float16 weights; and a bundle of neither."""
    return demo_bundle() if request.param == "demo" else request.getfixturevalue("tiny_bundle")


def converted(bundle: Bundle, name: NetworkName) -> ModelProto:
    return onnx.load_from_string(to_half(bundle.network(name).read_bytes(), name))


def boundary(spec: TensorSpec) -> int:
    return TensorProto.FLOAT if spec.channels == 1 else TensorProto.FLOAT16


def types(model: ModelProto) -> dict[str, int]:
    """Of every value and weight, as ONNX infers them from the graph."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return values | {weight.name: weight.data_type for weight in graph.initializer}


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_signature(bundle: Bundle, name: NetworkName) -> None:
    model, signature = converted(bundle, name), NETWORKS[name]
    onnx.checker.check_model(model, full_check=True)
    for value, spec in zip(
        [*model.graph.input, *model.graph.output], [*signature.inputs, signature.output], strict=True
    ):
        tensor = value.type.tensor_type
        assert (value.name, tensor.elem_type) == (spec.name, boundary(spec))
        dimensions = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        assert dimensions == ["N", spec.channels, spec.size, spec.size]


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_half_body_and_float32_head(bundle: Bundle, name: NetworkName) -> None:
    model = converted(bundle, name)
    found = types(model)
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    *body, head = [{found[value] for value in (*node.input, *node.output)} for node in convolutions]
    assert len(body) >= 10 and all(kinds == {TensorProto.FLOAT16} for kinds in body)
    assert head == {TensorProto.FLOAT if name in MASK_NETWORKS else TensorProto.FLOAT16}
    for node in model.graph.node:
        if node.op_type in ("Sigmoid", "Pad"):
            assert {found[node.input[0]], found[node.output[0]]} == {TensorProto.FLOAT}
        elif node.op_type in ("Resize", "DepthToSpace"):
            assert {found[node.input[0]], found[node.output[0]]} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_casts_are_only_at_the_boundary_and_before_the_head(bundle: Bundle, name: NetworkName) -> None:
    model, signature = converted(bundle, name), NETWORKS[name]
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert not {node.input[0] for node in casts} & {weight.name for weight in model.graph.initializer}
    masks_in = sum(spec.channels == 1 for spec in signature.inputs)
    assert len(casts) == masks_in + 1 + (name not in MASK_NETWORKS)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_weights_stored_as_float16_are_taken_as_they_are(name: NetworkName) -> None:
    stored = onnx.load(demo_bundle().network(name)).graph.initializer
    found = {weight.name: weight.raw_data for weight in converted(demo_bundle(), name).graph.initializer}
    halves = [weight for weight in stored if weight.data_type == TensorProto.FLOAT16]
    if name in MASK_NETWORKS:  # their heads compute in float32
        halves = [weight for weight in halves if not weight.name.startswith("head.")]
    assert len(halves) > 5 and all(found[weight.name] == weight.raw_data for weight in halves)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_equal_input_gives_equal_bytes(bundle: Bundle, name: NetworkName) -> None:
    content = bundle.network(name).read_bytes()
    assert to_half(content, name) == to_half(content, name)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_onnx_runtime_runs_it(bundle: Bundle, name: NetworkName) -> None:
    """On a CPU it computes most of the graph in float32, so this only says that it is whole and means the same."""
    content, rng = bundle.network(name).read_bytes(), np.random.default_rng(0)
    inputs = {spec.name: rng.random(spec.shape(2), np.float32) for spec in NETWORKS[name].inputs}
    expected = session(content).run(None, inputs)[0]
    half = session(to_half(content, name))
    kinds = {"tensor(float16)": np.float16, "tensor(float)": np.float32}
    output = half.run(None, {value.name: inputs[value.name].astype(kinds[value.type]) for value in half.get_inputs()})[
        0
    ]
    assert output.dtype == kinds[half.get_outputs()[0].type] and output.shape == NETWORKS[name].output.shape(2)
    # Noise saturates nothing, so a sigmoid's steepest slope is met, and a mask's gain of 10 in front of it.
    assert 0 < np.abs(output - expected).max() <= (1e-2 if name == "m" else 5e-3)


def session(content: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_tensorrt_rtx_builds_it(bundle: Bundle, name: NetworkName) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="the extra rtx is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(to_half(bundle.network(name).read_bytes(), name)), parser.get_error(0).desc()
    kinds = {TensorProto.FLOAT: trt.float32, TensorProto.FLOAT16: trt.float16}
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for i, spec in enumerate(NETWORKS[name].inputs):
        assert network.get_input(i).dtype == kinds[boundary(spec)]
        profile.set_shape(spec.name, spec.shape(1), spec.shape(1), spec.shape(8))
    assert network.get_output(0).dtype == kinds[boundary(NETWORKS[name].output)]
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config)


KERNEL = np.array([0.1, 0.2, 0.3], np.float32).reshape(1, 3, 1, 1)
BODY = np.full((3, 3, 1, 1), 0.1, np.float32)


def small_m(nodes: str, **weights: np.ndarray) -> bytes:
    """A graph with m's signature."""
    text = "m (float[N, 3, 256, 256] image) => (float[N, 1, 64, 64] mask)"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]> {text} {{ {nodes} }}')
    for i, node in enumerate(model.graph.node):
        node.name = f"node_{i}"
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return model.SerializeToString()


def weights_of(content: bytes) -> dict[str, np.ndarray]:
    return {w.name: numpy_helper.to_array(w) for w in onnx.load_from_string(content).graph.initializer}


def test_a_weight_of_the_head_that_is_stored_as_float16_is_widened() -> None:
    nodes = "w = Cast<to = 1>(stored) x = Conv(image, body) y = Conv(x, w) mask = Sigmoid(y)"
    found = weights_of(to_half(small_m(nodes, stored=KERNEL.astype(np.float16), body=BODY), "m"))
    assert set(found) == {"w", "body.float16"}
    assert found["w"].dtype == np.float32 and np.array_equal(found["w"], KERNEL.astype(np.float16))
    assert np.array_equal(found["body.float16"], BODY.astype(np.float16))


def test_one_weight_for_body_and_head() -> None:
    """It is there once for each; and a Constant node is a weight like any other."""
    nodes = "s = Constant<value = float[1] {0.1}>() x = Mul(image, s) y = Conv(x, w) z = Mul(y, s) mask = Sigmoid(z)"
    found = weights_of(to_half(small_m(nodes, w=KERNEL), "m"))
    assert set(found) == {"s.float16", "w", "s"}
    assert found["s"] == np.float32(0.1) and found["s.float16"] == np.float16(0.1)


def test_numbers_that_are_no_part_of_the_arithmetic_keep_their_type() -> None:
    nodes = 'x = Resize<mode = "nearest">(image, , scales) y = Conv(x, w) z = Sigmoid(y) mask = Pad(z, pads)'
    scales, pads = np.array([1, 1, 0.25, 0.25], np.float32), np.zeros(8, np.int64)
    found = weights_of(to_half(small_m(nodes, w=KERNEL, scales=scales, pads=pads), "m"))
    assert (found["scales"].dtype, found["pads"].dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (
            "x = Conv(image, large) y = Conv(x, w) mask = Sigmoid(y)",
            "weight large reaches 7e+04; expected at most 65504",
        ),
        ("x = Foo(image) y = Conv(x, w) mask = Sigmoid(y)", "node node_0 of the unknown type Foo"),
        ("x = Cast<to = 1>(image) y = Conv(x, w) mask = Sigmoid(y)", "node node_0 of type Cast"),
        ("mask = Sigmoid(image)", "does not come from one last convolution"),
        ("x = Conv(image, w) y = Conv(image, w) z = Add(x, y) mask = Sigmoid(z)", "one last convolution"),
    ],
)
def test_refusals(nodes: str, told: str) -> None:
    with pytest.raises(MaskanimError) as error:
        to_half(small_m(nodes, w=KERNEL, large=np.full((3, 3, 1, 1), -7e4, np.float32)), "m")
    assert told in str(error.value) and str(error.value).startswith("network m in FP16: ")


def test_a_missing_onnx_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"the package onnx .*maskanim\[rtx\]"):
        to_half(b"", "m", extra="rtx")


def test_importing_it_is_light() -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx'}"
    code = f"import sys, maskanim.half; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_model_that_does_not_survive_half_is_refused() -> None:
    contents = {name: name.encode() for name in NETWORK_NAMES}
    files = {name: network_file(name, content) for name, content in contents.items()}
    unknown = Manifest(name="x", model=ModelSpec(), opset=20, networks=files)
    parity = Parity(frames="", runtime="", max_difference={}, frame_psnr=90)  # as before FP16 was measured
    require_half(unknown)
    require_half(unknown.model_copy(update={"parity": parity}))
    refused = parity.model_copy(update={"half_refusal": "node_3 gives 7e4"})
    with pytest.raises(MaskanimError, match=r"FP16: this model does not survive it: node_3 gives 7e4"):
        require_half(unknown.model_copy(update={"parity": refused}))
