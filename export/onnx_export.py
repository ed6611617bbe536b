"""A PyTorch network to a clean ONNX graph: opset 20, free batch N, weights inside, nothing of this machine in it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from onnx import ModelProto
from torch import nn

from maskanim import __version__
from maskanim.spec import NetworkSpec

OPSET = 20
BATCH = "N"
EXAMPLE_BATCH = 2  # torch.export takes a batch of 1 for a constant


def to_onnx(network: nn.Module, signature: NetworkSpec) -> ModelProto:
    """Export a network in eval mode under the names of its signature.

    Args:
        network: takes the signature's inputs by position.
        signature: names and shapes; the batch stays free, under the name ``N``.

    Returns:
        A model that passes ONNX's own checker.
    """
    inputs = tuple(torch.zeros(spec.shape(EXAMPLE_BATCH)) for spec in signature.inputs)
    batch = torch.export.Dim(BATCH)
    with _quiet():
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[signature.output.name],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            verbose=False,
        )
    assert program is not None
    model = _cleaned(program.model_proto)
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of an absent torchvision, and of its own deprecations; it raises where something is wrong."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _cleaned(model: ModelProto) -> ModelProto:
    """Without the exporter's notes: stack traces with paths of this machine, symbols, the shapes of inner values."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name, model.producer_version = "maskanim", __version__
    return model
