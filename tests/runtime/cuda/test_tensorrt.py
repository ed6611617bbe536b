"""Engines on a device: through a stand-in for TensorRT that is as strict as TensorRT, and the real library's refusals.

That the stand-in has no name that the real libraries lack is tests/maskanim/trt/test_api_names.py's to say.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from helpers import host_device, toys
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime.cuda.runner import CudaRunner
from maskanim.runtime.cuda.tensorrt import TensorRTNetwork, open_networks
from maskanim.spec import NETWORKS, NetworkName, Perturbation
from maskanim.trt.libraries import LIBRARIES, LoadedLibrary, Log, load_library
from maskanim.trt.records import BuildOptions

CUDA_TESTS = Path(__file__).parents[1] / "cuda"
SCRATCH = 4096
FP32 = BuildOptions(precision="fp32")


class Mode(Enum):
    INPUT = 1
    OUTPUT = 2


class Type(Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2


class Strategy(Enum):
    STATIC = 0
    USER_MANAGED = 1


class Specialization(Enum):
    LAZY = 0
    EAGER = 1


class Library:
    """A module like tensorrt, whose plans are ONNX files; one with a specialization is like tensorrt_rtx.

    Attributes:
        device: whose streams and memory are used.
        wrong: what goes wrong: the name of a function that answers no, or a property of an engine.
        running: contexts that are alive.
    """

    ExecutionContextAllocationStrategy, TensorIOMode, DataType = Strategy, Mode, Type
    LayerInformationFormat = SimpleNamespace(JSON="json")

    def __init__(self, device: Any, rtx: bool = False, wrong: Mapping[str, Any] | None = None) -> None:
        self.device, self.wrong, self.running = device, dict(wrong or {}), 0
        self.log = Log()
        self.refitted: list[bytes] = []
        if rtx:
            self.DynamicShapesKernelSpecializationStrategy = Specialization

    def loaded(self) -> LoadedLibrary:
        return LoadedLibrary(LIBRARIES["trt"], self, "10.16", self.log)

    def Runtime(self, logger: Log) -> Any:  # noqa: N802 - TensorRT's name
        assert logger is self.log
        self.answer("Runtime")
        self.runtime = SimpleNamespace(deserialize_cuda_engine=self.deserialize, engine_host_code_allowed=False)
        return self.runtime

    def Refitter(self, engine: Engine, logger: Log) -> Any:  # noqa: N802 - TensorRT's name
        assert logger is self.log
        return SimpleNamespace(engine=engine, refit_cuda_engine=lambda: self.answer("refit_cuda_engine"))

    def OnnxParserRefitter(self, refitter: Any, logger: Log) -> Any:  # noqa: N802 - TensorRT's name
        def refit_from_bytes(graph: bytes) -> bool:
            self.refitted.append(graph)
            return self.answer("refit_from_bytes")

        return SimpleNamespace(refit_from_bytes=refit_from_bytes)

    def deserialize(self, plan: bytes) -> Engine | None:
        if self.answer("deserialize_cuda_engine"):
            return Engine(self, plan)
        return None

    def answer(self, function: str) -> bool:
        """Whether a function succeeds; if not, the library logs why."""
        if function in self.wrong:
            self.refuse("[engine.cpp::1] Error Code 6: first", "second")
        return function not in self.wrong

    def refuse(self, *messages: str) -> bool:
        for message in messages:
            self.log.errors.append(message)
        return False


class Engine:
    device_memory_size_v2 = SCRATCH

    def __init__(self, library: Library, plan: bytes) -> None:
        self.library, self.session = library, ort.InferenceSession(plan)
        self.nodes = {node.name: node for node in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.outputs = [node.name for node in self.session.get_outputs()]
        self.num_io_tensors = len(self.nodes)

    def get_tensor_name(self, index: int) -> str:
        return list(self.nodes)[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.OUTPUT if name in self.outputs else Mode.INPUT

    def get_tensor_shape(self, name: str) -> list[int]:
        return [-1, *self.nodes[name].shape[1:-1], self.library.wrong.get("size", self.nodes[name].shape[-1])]

    def get_tensor_dtype(self, name: str) -> Type:
        known = {"tensor(float)": Type.FLOAT, "tensor(float16)": Type.HALF}
        return self.library.wrong.get("dtype", known[self.nodes[name].type])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        assert profile == 0 and name not in self.outputs
        return [[n, *self.nodes[name].shape[1:]] for n in self.library.wrong.get("batches", (1, 1, 4))]

    def create_engine_inspector(self) -> Any:
        half = any(node.type == "tensor(float16)" for node in self.nodes.values())
        layers = json.dumps({"Layers": [{"Inputs": [{"Format/Datatype": "Half" if half else "Float"}]}]})
        return SimpleNamespace(get_engine_information=lambda kind: self.library.wrong.get("layers", layers))

    def create_runtime_config(self) -> Config:
        return Config()

    def create_execution_context(self, config: Config) -> Context | None:
        assert config.strategy is Strategy.USER_MANAGED
        rtx = hasattr(self.library, "DynamicShapesKernelSpecializationStrategy")
        assert getattr(config, "dynamic_shapes_kernel_specialization_strategy", None) is (
            Specialization.EAGER if rtx else None
        )
        kind = RtxContext if rtx else Context
        return kind(self) if self.library.answer("create_execution_context") else None


class Config:
    strategy: Strategy
    dynamic_shapes_kernel_specialization_strategy: Specialization

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self.strategy = strategy


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.library = engine, engine.library
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.stream = self.memory = 0
        self.runs = 0
        self.library.running += 1

    def __del__(self) -> None:
        self.library.running -= 1

    def set_device_memory(self, memory: int, size: int) -> None:
        self.library.device.check(memory, size)
        assert memory % 256 == 0 and size == SCRATCH
        self.memory = memory

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert profile == 0
        self.stream = stream
        return self.library.answer("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        smallest, _, largest = self.engine.get_tensor_profile_shape(name, 0)
        if not all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)):
            return self.library.refuse(f"setInputShape: {shape} is not in the profile of {name}")
        self.shapes[name] = shape
        return self.library.answer("set_input_shape")

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self.engine.nodes
        self.addresses[name] = address
        return self.library.answer("set_tensor_address")

    def execute_async_v3(self, stream: int) -> bool:
        """Queue it. A context works in one memory: it is not for two streams."""
        assert stream == self.stream and self.memory
        device = self.library.device
        for name, node in self.engine.nodes.items():
            if name not in self.addresses:
                return self.library.refuse(f"enqueueV3: no address of {name} was set")
            if name not in self.shapes and name not in self.engine.outputs:
                return self.library.refuse(f"enqueueV3: no shape of {name} was set")
            batch = next(iter(self.shapes.values()))[0]
            device.check(self.addresses[name], batch * math.prod(node.shape[1:]) * np.dtype(self._type(name)).itemsize)
        assert self.runs or device.recording is None, "the first run is captured"
        self.runs += 1
        addresses = dict(self.addresses)
        device.streams[stream].put(lambda: self.run(addresses), *addresses.values(), self.memory)
        return self.library.answer("execute_async_v3")

    def run(self, addresses: Mapping[str, int]) -> None:
        scratch = _at(self.memory, (SCRATCH,), np.uint8)
        scratch[:] = 0
        inputs = {name: _at(addresses[name], shape, self._type(name)) for name, shape in self.shapes.items()}
        (result,) = self.engine.session.run(None, inputs)
        assert not scratch.any(), "two runs in one memory"
        _at(addresses[self.engine.outputs[0]], result.shape, result.dtype)[:] = result
        scratch[:] = 255

    def _type(self, name: str) -> Any:
        return np.float16 if self.engine.get_tensor_dtype(name) is Type.HALF else np.float32


class RtxContext(Context):
    def is_stream_capturable(self, stream: int) -> bool:
        assert stream == self.stream
        return bool(self.library.wrong.get("capturable", True))


def _at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)


@pytest.fixture
def device(host_kernels: Any) -> Iterator[Any]:
    with host_device.HostDevice(host_kernels, "shuffled") as opened:
        yield opened


def contents(half: bool = False) -> dict[NetworkName, bytes]:
    from maskanim.half import to_half

    return {name: to_half(content, name) if half else content for name, content in toys.toys().items()}


@pytest.fixture
def frames() -> list[Frame]:
    return list(np.random.default_rng(0).integers(0, 256, (7, 256, 256, 3), np.uint8))


@pytest.mark.parametrize(("rtx", "half"), [(False, False), (False, True), (True, True)])
def test_the_whole_pipeline_is_captured(device: Any, frames: list[Frame], rtx: bool, half: bool) -> None:
    library, plans = Library(device, rtx), contents(half)
    options = BuildOptions(precision="fp16" if half else "fp32")
    with ExitStack() as opened:
        loaded = open_networks(plans, library.loaded(), options)
        networks = {name: opened.enter_context(network) for name, network in loaded.items()}
        runner = opened.enter_context(CudaRunner(device, networks, Perturbation(), batch=2, slots=2))
        with runner.encode_source(frames[0]) as source:
            runner.use(source)
        tickets = [runner.submit(frames[i : i + 2]) for i in range(0, len(frames), 2)]
        found = np.concatenate([runner.collect(ticket) for ticket in tickets])
        assert runner.graphs and device.captures == 2 and device.launches == 2
        # One context for each network in each slot, and one that encodes sources.
        assert library.running == 2 * len(NETWORKS) + 1
    assert library.running == 0 and not device.live
    wanted = np.stack(toys.animated(plans, frames[0], frames, np.float16 if half else np.float32))
    # Sums in another order may round to the next level.
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_a_network_that_cannot_be_captured(device: Any, frames: list[Frame]) -> None:
    library = Library(device, rtx=True, wrong={"capturable": False})
    with CudaRunner(device, open_networks(contents(), library.loaded(), FP32), Perturbation()) as runner:
        runner.use(runner.encode_source(frames[0]))
        runner.collect(runner.submit(frames[:1]))
        assert not runner.graphs and device.captures == 0


@pytest.mark.parametrize(
    ("function", "doing"),
    [
        ("Runtime", "loading network m"),
        ("deserialize_cuda_engine", "loading network m"),
        ("create_execution_context", "preparing network m for batch 1"),
        ("set_optimization_profile_async", "preparing network m for batch 1"),
        ("set_input_shape", "preparing network m for batch 1"),
        ("set_tensor_address", "running network m"),
        ("execute_async_v3", "running network m"),
    ],
)
def test_the_first_error_of_the_library_is_told_in_one_line(
    device: Any, frames: list[Frame], function: str, doing: str
) -> None:
    library = Library(device, wrong={function: True})
    library.log.errors.append("an old error")
    with (
        pytest.raises(MaskanimError) as error,
        CudaRunner(device, open_networks(contents(), library.loaded(), FP32), Perturbation()) as runner,
    ):
        runner.encode_source(frames[0])
    told = f"{doing}: TensorRT 10.16 refuses: [engine.cpp::1] Error Code 6: first; expected no error."
    assert str(error.value) == told
    assert not device.live


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": 32}, r"network m, tensor image: shape \(-1, 3, 256, 32\); expected \(N, 3, 256, 256\)\. Build the"),
        ({"dtype": Type.INT8}, "network m, tensor image: INT8; expected FLOAT"),
        ({"dtype": Type.HALF}, "network m, tensor image: HALF; expected FLOAT"),
    ],
)
def test_a_plan_of_something_else_is_refused(device: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        open_networks(contents(), Library(device, wrong=wrong).loaded(), FP32)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"dtype": Type.FLOAT}, "network m, tensor image: FLOAT; expected HALF"),
        ({"dtype": Type.HALF}, "network m, tensor mask: HALF; expected FLOAT"),
        (
            {"layers": '{"Layers": [{"Inputs": [{"Format/Datatype": "Float"}]}]}'},
            "layers are all in FP32",
        ),
    ],
)
def test_an_fp16_engine_that_is_none_is_refused(device: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        open_networks(contents(half=True), Library(device, wrong=wrong).loaded())


def test_an_inspector_that_knows_the_layers_names_only(device: Any) -> None:
    library = Library(device, wrong={"layers": '{"Layers": ["conv", "sigmoid"]}'})
    for network in open_networks(contents(half=True), library.loaded()).values():
        network.close()


def test_the_lean_runtime_is_not_asked_what_is_in_an_engine(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Engine, "create_engine_inspector")
    lean = replace(Library(device).loaded(), is_lean=True)
    for network in open_networks(contents(half=True), lean).values():
        network.close()


def test_engines_without_weights_are_given_those_of_the_graphs(device: Any) -> None:
    library, stripped = Library(device), FP32.model_copy(update={"strip_weights": True})
    for network in open_networks(contents(), library.loaded(), stripped, contents()).values():
        network.close()
    assert library.refitted == list(contents().values())
    lean = replace(library.loaded(), is_lean=True)
    with pytest.raises(MaskanimError, match=r"engines without weights: TensorRT lean 10\.16, which puts none in"):
        open_networks(contents(), lean, stripped, contents())
    wrong = Library(device, wrong={"refit_from_bytes": True})
    with pytest.raises(MaskanimError, match=r"loading network m: TensorRT 10\.16 refuses: .* Error Code 6: first"):
        open_networks(contents(), wrong.loaded(), stripped, contents())


@pytest.mark.parametrize("compatible", [True, False])
def test_what_an_engine_brings_to_run_with_is_run_only_if_it_was_built_so(device: Any, compatible: bool) -> None:
    library = Library(device)
    options = FP32.model_copy(update={"version_compatible": compatible})
    TensorRTNetwork(NETWORKS["m"], contents()["m"], library.loaded(), options).close()
    assert library.runtime.engine_host_code_allowed is compatible


def test_a_plan_of_another_network_is_refused(device: Any) -> None:
    with pytest.raises(MaskanimError, match="network m: inputs perturbed_mask, source_mask, source_small"):
        open_networks({**contents(), "m": contents()["r"]}, Library(device).loaded(), FP32)


def test_a_batch_beyond_the_profile(device: Any) -> None:
    network = TensorRTNetwork(NETWORKS["m"], contents()["m"], Library(device).loaded(), FP32)
    assert network.max_batch == 4
    with device.stream() as stream, pytest.raises(MaskanimError, match="batch 5; expected at most 4"):
        network.session(5, stream)


def test_a_batch_below_the_profile(device: Any, frames: list[Frame]) -> None:
    """A source is encoded by itself, whatever the batch of the frames."""
    library = Library(device, wrong={"batches": (2, 2, 2)})
    networks = open_networks(contents(), library.loaded(), FP32)
    with pytest.raises(MaskanimError, match=r"network m: batch 1; expected at least 2\. Build it again"):
        CudaRunner(device, networks, Perturbation(), batch=2)


def test_the_stand_in_refuses_what_tensorrt_refuses(device: Any) -> None:
    library = Library(device)
    network = TensorRTNetwork(NETWORKS["m"], contents()["m"], library.loaded(), FP32)
    with device.stream() as stream, network.session(1, stream) as session:
        context = session._context
        assert not context.set_input_shape("image", (5, 3, 256, 256)) and not context.set_input_shape(
            "image", (1, 3, 256, 128)
        )
        assert not context.execute_async_v3(stream.handle) and "no address of image" in library.log.errors[-1]


def test_the_real_library_refuses_what_is_no_plan() -> None:
    pytest.importorskip("tensorrt_rtx")
    library = load_library("rtx")
    with pytest.raises(MaskanimError) as error:
        TensorRTNetwork(NETWORKS["m"], b"no plan at all", library)
    message = str(error.value)
    assert message.startswith(f"loading network m: {library.full_name} refuses: ") and "\n" not in message
    assert "it does not say why" not in message
