"""Graphs of a few nodes under the networks' signatures, and a bundle of them: each builds in a tenth of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from maskanim.bundle import Bundle, Manifest, network_file, write_bundle
from maskanim.spec import MASK_SIZE, NETWORKS, ModelSpec, NetworkName, TensorSpec
from maskanim.trt.libraries import LoadedLibrary, load_library

MakeGraph = Callable[..., bytes]
WriteToys = Callable[..., Bundle]


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "maskanim")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def rtx() -> LoadedLibrary:
    return load_library("rtx")


@pytest.fixture(scope="session")
def make_graph() -> MakeGraph:
    """One convolution and a sigmoid under a network's signature, with values of a seed.

    A wrong operation, domain, shape or type goes into a last node called ``culprit``; with ``stored_half`` the weight
    is float16 and a Cast widens it, as in bundles with float16 weights.
    """

    def make(name: NetworkName = "m", *, seed: int = 0, wrong: str = "", stored_half: bool = False) -> bytes:
        spec = NETWORKS[name]
        joined = sum(tensor.channels for tensor in spec.inputs)
        stride, grow = spec.inputs[0].size // MASK_SIZE, spec.output.size // MASK_SIZE
        weight = np.random.default_rng(seed).normal(0, 0.1, (spec.output.channels * grow**2, joined, 3, 3))
        stored = weight.astype(np.float16 if stored_half else np.float32)
        initializers = [numpy_helper.from_array(stored, "stored" if stored_half else "weight")]
        nodes = [helper.make_node("Cast", ["stored"], ["weight"], to=TensorProto.FLOAT)] if stored_half else []
        nodes += [
            helper.make_node("Concat", [tensor.name for tensor in spec.inputs], ["joined"], "joining", axis=1),
            helper.make_node("Conv", ["joined", "weight"], ["small"], "head", pads=[1] * 4, strides=[stride] * 2),
            helper.make_node("DepthToSpace", ["small"], ["logits"], "growing", blocksize=grow),
        ]
        last = spec.output.name
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["right" if wrong else last], "sigmoid"))
        if wrong:
            nodes.append(_culprit(wrong, last))
            initializers.append(_operand(wrong))
        inputs = [_value(tensor) for tensor in spec.inputs]
        graph = helper.make_graph(nodes, name, inputs, [_value(spec.output)], initializers)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    return make


@pytest.fixture
def write_toys(tmp_path: Path, make_graph: MakeGraph) -> WriteToys:
    """Write a bundle of four such graphs, always to the same place."""

    def write(seed: int = 0) -> Bundle:
        contents = {name: make_graph(name, seed=seed) for name in NETWORKS}
        networks = {name: network_file(name, content) for name, content in contents.items()}
        manifest = Manifest(name="toys", model=ModelSpec(), opset=20, networks=networks)
        return write_bundle(tmp_path / "bundle", manifest, contents)

    return write


@pytest.fixture
def bundle(write_toys: WriteToys) -> Bundle:
    """The bundle of seed 0."""
    return write_toys()


def _value(spec: TensorSpec) -> object:
    return helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, ["N", *spec.shape(1)[1:]])


def _culprit(wrong: str, output: str) -> NodeProto:
    if wrong == "operation":
        return helper.make_node("Det", ["right"], [output], "culprit")
    if wrong == "domain":
        return helper.make_node("Frobnicate", ["right"], [output], "culprit", domain="acme")
    return helper.make_node("Add", ["right", "operand"], [output], "culprit")


def _operand(wrong: str) -> TensorProto:
    dtype = np.float16 if wrong == "type" else np.float32
    return numpy_helper.from_array(np.zeros(7 if wrong == "shape" else 1, dtype), "operand")
