"""Networks of one convolution under the real signatures: fast, and every output depends much on every input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from maskanim import ops, pipeline
from maskanim.bundle import Bundle, Manifest, bundle_file, network_file, write_bundle
from maskanim.golden import Animated, golden, pack
from maskanim.ops import Array, Frame
from maskanim.runtime.backends import open_runner
from maskanim.spec import NETWORKS, ModelSpec, NetworkName, Perturbation, TensorSpec

FACTORS = {"black": 0.0, "NaN": float("nan")}


def toy(name: NetworkName) -> bytes:
    """The ONNX file of one network: convolve to the smaller of the two sizes, shuffle to the output's, sigmoid."""
    spec = NETWORKS[name]
    channels = sum(tensor.channels for tensor in spec.inputs)
    size = min(spec.inputs[0].size, spec.output.size)
    stride, grow = spec.inputs[0].size // size, spec.output.size // size
    rng = np.random.default_rng(size + channels)
    weight = rng.normal(0, 6 / np.sqrt(9 * channels), (spec.output.channels * grow**2, channels, 3, 3))
    weight -= weight.mean((1, 2, 3), keepdims=True)  # logits around 0
    nodes = [
        helper.make_node("Concat", [tensor.name for tensor in spec.inputs], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", "weight"], ["small"], pads=[1] * 4, strides=[stride] * 2),
        helper.make_node("DepthToSpace", ["small"], ["logits"], blocksize=grow),
        helper.make_node("Sigmoid", ["logits" if grow > 1 else "small"], [spec.output.name]),
    ]
    if grow == 1:  # nothing to shuffle; OpenVINO would take out the node, and with it the output's name
        del nodes[2]
    stored = [numpy_helper.from_array(weight.astype(np.float32), "weight")]
    inputs, output = [_value(tensor) for tensor in spec.inputs], [_value(spec.output)]
    graph = helper.make_graph(nodes, name, inputs, output, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def toys() -> dict[NetworkName, bytes]:
    """All four."""
    return {name: toy(name) for name in NETWORKS}


class NumpyNets:
    """Networks over float32 arrays; between them images are rounded to `images`, as the device's memory does."""

    def __init__(self, contents: Mapping[NetworkName, bytes], images: type[np.floating[Any]]) -> None:
        self.sessions = {name: ort.InferenceSession(content) for name, content in contents.items()}
        self.images = images

    def __getattr__(self, name: Any) -> Any:
        tensors = NETWORKS[name].inputs

        def run(*arrays: Array) -> Array:
            kinds = [np.float32 if tensor.channels == 1 else self.images for tensor in tensors]
            given = {t.name: array.astype(kind) for t, array, kind in zip(tensors, arrays, kinds, strict=True)}
            return self.sessions[name].run(None, given)[0].astype(np.float32)

        return run


def animated(
    contents: Mapping[NetworkName, bytes], source: Frame, frames: Iterable[Frame], images: type[np.floating[Any]]
) -> list[Frame]:
    """The source in the pose of each frame, over NumPy."""
    nets, numpy_ops = NumpyNets(contents, images), ops.NumpyOps(Perturbation())

    def prepared(frame: Frame) -> Array:
        return ops.preprocess(frame).astype(images).astype(np.float32)

    encoded = pipeline.encode_source(nets, numpy_ops, prepared(source))
    steps = (pipeline.animate_frame(nets, numpy_ops, encoded, prepared(frame)) for frame in frames)
    return [ops.postprocess(step.frame) for step in steps]


def spoilt(content: bytes, fault: str) -> bytes:
    """A network that gives something else, as an engine might: black, NaN, or its output swapped."""
    model = ModelProto.FromString(content)
    graph = model.graph
    output, last = graph.output[0].name, next(node for node in graph.node if graph.output[0].name in node.output)
    last.output[0] = "right"
    if fault == "swapped":  # red and blue, or above and below
        axis = 1 if graph.output[0].type.tensor_type.shape.dim[1].dim_value == 3 else 2
        size = 3 if axis == 1 else 64
        graph.initializer.append(numpy_helper.from_array(np.arange(size)[::-1].copy(), "order"))
        graph.node.append(helper.make_node("Gather", ["right", "order"], [output], axis=axis))
    else:
        graph.initializer.append(numpy_helper.from_array(np.float32(FACTORS[fault]), "factor"))
        graph.node.append(helper.make_node("Mul", ["right", "factor"], [output]))
    return model.SerializeToString()


def golden_bundle(folder: Path) -> Bundle:
    """A bundle of them in a folder, with a golden pair that ONNX Runtime made."""
    contents = toys()
    networks = {name: network_file(name, content) for name, content in contents.items()}
    manifest = Manifest(name="toys", model=ModelSpec(), opset=20, networks=networks)
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    runner, _ = open_runner(write_bundle(folder / "plain", manifest, contents), "ort")
    source = runner.encode_source(frames[0])
    (result,) = runner.run(source, [runner.prepare(frames[1])], "steps")
    assert result.steps
    content = pack([golden(*frames, Animated(runner.source_arrays(source).mask, result.steps.animation))])
    runner.close()
    manifest = manifest.model_copy(update={"golden": bundle_file("golden.png", content)})
    return write_bundle(folder / "bundle", manifest, contents, content)


def _value(tensor: TensorSpec) -> ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, ["N", *tensor.shape(1)[1:]])
