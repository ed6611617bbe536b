"""An FP16 engine's arithmetic in PyTorch: the ONNX graph node by node, each result rounded to the type in the graph.

Products are summed in float32, as tensor cores can, and every operation rounds its result once. A CPU's own half
kernels are not used, and ONNX Runtime is no judge: on a CPU it leaves out the roundings between many of the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn

from maskanim.bundle import HalfParity
from maskanim.errors import MaskanimError
from maskanim.export.parity import NetworkFunctions, Reference, compare, torch_function
from maskanim.half import LARGEST_HALF, NEXT_STEP, to_half
from maskanim.spec import MASK_SIZE, REDUCED_FRAME_PSNR, NetworkName

PAIRS_ALONE = 2  # on which each network is run by itself, too

Attributes = Mapping[str, Any]


def measure_half(references: Iterable[Reference], contents: Mapping[NetworkName, bytes]) -> HalfParity:
    """Compare FP16 engines of a bundle, as they would compute, with PyTorch in float32.

    Args:
        references: of the networks as trained; at least one.
        contents: the bundle's float32 ONNX files.

    Raises:
        MaskanimError: weights or activations beyond half's range.
    """
    emulated = {name: EmulatedNetwork(to_half(content, name), name) for name, content in contents.items()}
    candidate = NetworkFunctions(**{name: torch_function(network) for name, network in emulated.items()})
    found = compare(references, candidate, images=np.float16, alone=PAIRS_ALONE)
    largest = {name: network.largest for name, network in emulated.items()}
    return HalfParity(**found.model_dump(), pairs=found.mask_pixels // MASK_SIZE**2, largest_activation=largest)


def require_half_parity(half: HalfParity) -> None:
    """Raise a MaskanimError where FP16 engines would visibly change the frame."""
    if not half.own_frame_psnr >= REDUCED_FRAME_PSNR:
        received = f"its final frame agrees with float32's to {half.own_frame_psnr:.1f} dB"
        raise MaskanimError("the model in FP16", received, f"at least {REDUCED_FRAME_PSNR:g} dB", NEXT_STEP)


class EmulatedNetwork(nn.Module):
    """A network's ONNX graph, float32 or FP16, as a PyTorch module; inputs and output are float32 tensors.

    Attributes:
        largest: the largest absolute value that a half result had so far, before rounding.
    """

    def __init__(self, content: bytes, name: NetworkName) -> None:
        """Args: an ONNX file, and whose."""
        super().__init__()
        graph = onnx.ModelProto.FromString(content).graph
        self.name, self.largest = name, 0.0
        self.constants = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in graph.initializer}
        self.wide = {name: value.float() for name, value in self.constants.items() if value.is_floating_point()}
        self.inputs = {value.name: _torch_type(value.type.tensor_type.elem_type) for value in graph.input}
        self.output = graph.output[0].name
        for node in graph.node:
            if node.op_type not in OPERATIONS:
                raise MaskanimError(f"node {node.name}", node.op_type, f"one of {', '.join(OPERATIONS)}")
        self.nodes = list(graph.node)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's inputs in the order of its signature to its output, shapes as in `spec.NETWORKS`.

        Raises:
            MaskanimError: a result beyond half's range, or not a number.
        """
        return self.values(*inputs)[self.output].float()

    def values(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Every tensor of the graph by its name, in its own type."""
        values: dict[str, Tensor] = dict(self.constants)
        for (name, dtype), value in zip(self.inputs.items(), inputs, strict=True):
            values[name] = value.to(dtype)
        for node in self.nodes:
            result, dtype = self._computed(node, values)
            if dtype == torch.float16:
                self._note_largest(node, result)
            values[node.output[0]] = result.to(dtype)
        return values

    def _computed(self, node: NodeProto, values: Mapping[str, Tensor]) -> tuple[Tensor, torch.dtype]:
        """A node's result in float32, and the type that it is to be rounded to."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [self.wide.get(name, values[name]) if name else None for name in node.input]
        floats = [x.float() if x is not None and x.is_floating_point() else x for x in inputs]
        dtype = _torch_type(attributes["to"]) if node.op_type == "Cast" else values[node.input[0]].dtype
        return OPERATIONS[node.op_type](attributes, *floats), dtype

    def _note_largest(self, node: NodeProto, result: Tensor) -> None:
        largest = float(torch.stack(result.aminmax()).abs().max())
        if not largest <= LARGEST_HALF:  # written so that NaN fails
            received, wanted = f"node {node.name} gives {largest:.3g}", f"at most {LARGEST_HALF:g}, half's largest"
            raise MaskanimError(f"network {self.name} in FP16", received, wanted, NEXT_STEP)
        self.largest = max(self.largest, largest)


def _torch_type(onnx_type: int) -> torch.dtype:
    return torch.from_numpy(np.empty(0, helper.tensor_dtype_to_np_dtype(onnx_type))).dtype


def _resize(a: Attributes, x: Tensor, _: None, scales: Tensor) -> Tensor:
    how = (a["mode"], a["coordinate_transformation_mode"], a["nearest_mode"])
    assert how == (b"nearest", b"asymmetric", b"floor")  # which is PyTorch's nearest
    return F.interpolate(x, scale_factor=scales.tolist()[2:])


def _depth_to_space(a: Attributes, x: Tensor) -> Tensor:
    assert a["mode"] == b"CRD"  # PyTorch's order
    return F.pixel_shuffle(x, a["blocksize"])


def _both_sides(a: Attributes) -> list[int]:
    """ONNX tells the padding before and behind each axis; PyTorch has one for both."""
    half = len(a["pads"]) // 2
    assert a["pads"][:half] == a["pads"][half:]
    return list(a["pads"][:half])


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": lambda a, x: F.avg_pool2d(x, a["kernel_shape"], a["strides"], _both_sides(a)),
    "BatchNormalization": lambda a, x, scale, bias, mean, variance: F.batch_norm(
        x, mean, variance, scale, bias, eps=a["epsilon"]
    ),
    "Cast": lambda a, x: x,
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Conv": lambda a, x, weight, bias=None: F.conv2d(
        x, weight, bias, a["strides"], _both_sides(a), a["dilations"], a["group"]
    ),
    "ConvTranspose": lambda a, x, weight, bias=None: F.conv_transpose2d(
        x, weight, bias, a["strides"], _both_sides(a), a.get("output_padding", [0, 0]), a["group"], a["dilations"]
    ),
    "DepthToSpace": _depth_to_space,
    "Mul": lambda a, x, y: x * y,
    "Pad": lambda a, x, pads: F.pad(x, pads[[3, 7, 2, 6]].tolist()),  # ONNX: all before, all behind; PyTorch: by axis
    "Relu": lambda a, x: F.relu(x),
    "Resize": _resize,
    "Sigmoid": lambda a, x: torch.sigmoid(x),
}
