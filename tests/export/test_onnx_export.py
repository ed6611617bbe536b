"""The ONNX files: names, shapes, free batch, clean graphs, weights as float16."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, numpy_helper

import maskanim
from maskanim.errors import MaskanimError
from maskanim.export.half import LARGE, round_weights, store_as_half
from maskanim.export.lowering import lower
from maskanim.export.parity import onnx_function
from maskanim.networks import Networks
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

OPERATIONS = {
    "m": Counter(Concat=4, Conv=12, Relu=10, AveragePool=5, Resize=5, Sigmoid=1, Pad=1),
    "r": Counter(Concat=5, Conv=11, Relu=10, AveragePool=5, Resize=5, Sigmoid=1),
    "l": Counter(Concat=1, Conv=14, ConvTranspose=2, BatchNormalization=6, Relu=15, Add=6, DepthToSpace=1, Sigmoid=1),
    "h": Counter(Concat=6, Conv=7, ConvTranspose=4, Relu=10, AveragePool=5, Resize=1, DepthToSpace=1, Sigmoid=1),
}


def dimensions(value: onnx.ValueInfoProto) -> tuple[str | int, ...]:
    return tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_signature_and_operations(onnx_models: dict[NetworkName, ModelProto], name: NetworkName) -> None:
    graph, signature = onnx_models[name].graph, NETWORKS[name]
    for value, spec in zip([*graph.input, *graph.output], [*signature.inputs, signature.output], strict=True):
        assert (value.name, dimensions(value)) == (spec.name, ("N", spec.channels, spec.size, spec.size))
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [(o.domain, o.version) for o in onnx_models[name].opset_import] == [("", 20)]
    assert Counter(node.op_type for node in graph.node) == OPERATIONS[name]


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_nothing_of_this_machine_is_inside(onnx_models: dict[NetworkName, ModelProto], name: NetworkName) -> None:
    content = onnx_models[name].SerializeToString()
    for trace in (str(Path(maskanim.__file__).parent), str(Path(torch.__file__).parent), str(Path.home()), ".py"):
        assert trace.encode() not in content


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORK_NAMES)
@torch.no_grad()
def test_any_batch(onnx_models: dict[NetworkName, ModelProto], nets: Networks, name: NetworkName, batch: int) -> None:
    rng = np.random.default_rng(batch)
    inputs = [rng.random(spec.shape(batch), np.float32) for spec in NETWORKS[name].inputs]
    expected = getattr(nets, name)(*map(torch.from_numpy, inputs)).numpy()
    found = onnx_function(onnx_models[name].SerializeToString(), name)(*inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_rounded_weights_are_stored_as_half_without_loss(
    onnx_models: dict[NetworkName, ModelProto], nets: Networks
) -> None:
    rounded = round_weights(lower(nets.h, "h").network, "h")
    model = copy.deepcopy(onnx_models["h"])
    weights = dict(rounded.named_parameters())
    for initializer in model.graph.initializer:
        if initializer.name in weights:  # the others are the upsampling's scales
            initializer.CopyFrom(numpy_helper.from_array(weights[initializer.name].numpy(), initializer.name))
    half = store_as_half(model)
    onnx.checker.check_model(half, full_check=True)
    types = {weight.name: weight.data_type for weight in half.graph.initializer}
    large = {name for name, weight in weights.items() if weight.numel() >= LARGE}
    assert {name for name, kind in types.items() if kind == TensorProto.FLOAT16} == {
        f"{name}.float16" for name in large
    }
    assert half.ByteSize() < 0.6 * model.ByteSize()
    inputs = [np.random.default_rng(0).random(spec.shape(1), np.float32) for spec in NETWORKS["h"].inputs]
    found, expected = (onnx_function(m.SerializeToString(), "h")(*inputs) for m in (half, model))
    assert np.array_equal(found, expected)


def test_weights_that_half_would_change_stay(onnx_models: dict[NetworkName, ModelProto]) -> None:
    assert store_as_half(onnx_models["l"]) == onnx_models["l"]  # never rounded


@torch.no_grad()
def test_weights_beyond_half_are_refused(nets: Networks) -> None:
    network, _ = lower(nets.r, "r")
    dict(network.named_parameters())["hourglass.down_blocks.2.conv.weight"][0, 0, 0, 0] = 1e5
    with pytest.raises(MaskanimError, match=r"network r: .*65504.*--weights float32"):
        round_weights(network, "r")
