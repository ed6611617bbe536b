"""Weights stored as float16 and widened to float32 when the model is loaded: half the file, the same arithmetic.

Rounding happens in PyTorch, so that its effect can be measured there; storing is then without loss.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from maskanim.errors import MaskanimError
from maskanim.spec import NetworkName

LARGE = 1024  # values; smaller tensors (biases, batch norm, the blur) stay float32, as they weigh nothing


@torch.no_grad()
def round_weights(network: nn.Module, name: NetworkName) -> nn.Module:
    """A copy of a network whose large weights are rounded to float16, still held as float32.

    Raises:
        MaskanimError: a weight lies beyond float16's range.
    """
    rounded = copy.deepcopy(network)
    for parameter in rounded.parameters():
        if parameter.numel() >= LARGE:
            parameter.copy_(parameter.half().float())
            if not torch.isfinite(parameter).all():
                received, wanted = "weights beyond 65504, float16's largest", "smaller ones"
                raise MaskanimError(f"network {name}", received, wanted, "Use --weights float32")
    return rounded


def store_as_half(model: ModelProto) -> ModelProto:
    """A copy of a model whose large weights are stored as float16, each followed by a Cast to float32.

    A weight that float16 cannot hold without loss stays as it is.
    """
    model, casts = copy.deepcopy(model), []
    for weight in model.graph.initializer:
        name, values = weight.name, numpy_helper.to_array(weight)
        halved = values.astype(np.float16)
        if weight.data_type == TensorProto.FLOAT and values.size >= LARGE and np.all(halved == values):
            weight.CopyFrom(numpy_helper.from_array(halved, f"{name}.float16"))
            casts.append(helper.make_node("Cast", [weight.name], [name], name=f"widen {name}", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
