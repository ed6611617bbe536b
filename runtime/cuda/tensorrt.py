"""TensorRT and TensorRT-RTX on a GPU: one class, because the two libraries have one API."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.arrays import DeviceArray, DType
from maskanim.runtime.cuda.device import Stream
from maskanim.runtime.cuda.networks import FLOAT, HALF, MASK_CHANNELS, DeviceNetwork, DeviceSession
from maskanim.runtime.sessions.session import check_names
from maskanim.spec import NETWORKS, NetworkName, NetworkSpec, TensorSpec
from maskanim.trt.libraries import LoadedLibrary
from maskanim.trt.records import BuildOptions

PROFILE = 0  # engines are built with one
SMALLEST, LARGEST = 0, 2  # of a profile's smallest, best and largest shape
REBUILD = "Build the plan again"
DEFAULTS = BuildOptions()
HALF_NAMES = re.compile(r"Half|FP16|Float16")  # what the versions call it


class TensorRTNetwork(DeviceNetwork):
    """An engine.

    Args:
        plan: the serialized engine.
        weights: the ONNX graph that it was built from, for an engine without weights.
    """

    backend = "TensorRT"

    def __init__(
        self,
        spec: NetworkSpec,
        plan: bytes,
        library: LoadedLibrary,
        options: BuildOptions = DEFAULTS,
        weights: bytes = b"",
    ) -> None:
        self.library, self.options = library, options
        with self.library_errors(f"loading network {spec.name}"):
            self._runtime = _started(library)
            if options.version_compatible:
                self._runtime.engine_host_code_allowed = True  # it brings the lean runtime that it runs with
            engine = self._runtime.deserialize_cuda_engine(plan)
            _agreed(engine is not None)
            if options.strip_weights:
                self._refit(engine, weights)
        self.engine: Any = engine
        self._check(spec)
        tensors = (*spec.inputs, spec.output)
        dtypes = {tensor.name: self._dtype(spec, tensor) for tensor in tensors}
        self._check_precision(spec)
        profiles = [engine.get_tensor_profile_shape(tensor.name, PROFILE) for tensor in spec.inputs]
        super().__init__(spec, dtypes, int(min(profile[LARGEST][0] for profile in profiles)))
        self.min_batch = int(max(profile[SMALLEST][0] for profile in profiles))

    def close(self) -> None:
        self.engine = self._runtime = None

    @contextmanager
    def library_errors(self, doing: str) -> Iterator[None]:
        """Tell the library's first error, which it logs and does not raise, in one line."""
        errors = self.library.logger.errors
        errors.clear()
        try:
            yield
        except RuntimeError as error:
            told = next(iter(errors), str(error) or "it does not say why")
            raise MaskanimError(doing, f"{self.library.full_name} refuses: {told}", "no error") from error

    def _session(self, batch: int, stream: Stream) -> DeviceSession:
        with self.library_errors(f"preparing network {self.spec.name} for batch {batch}"):
            return TensorRTSession(self, batch, stream)

    def _check(self, spec: NetworkSpec) -> None:
        """Refuse an engine with other tensors or shapes."""
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        output = self.library.module.TensorIOMode.OUTPUT
        outputs = [name for name in names if self.engine.get_tensor_mode(name) == output]
        check_names(spec, [name for name in names if name not in outputs], outputs)
        for tensor in (*spec.inputs, spec.output):
            shape = tuple(self.engine.get_tensor_shape(tensor.name))
            if shape[1:] != tensor.shape(1)[1:]:
                wanted = "(N, {}, {}, {})".format(*tensor.shape(1)[1:])
                raise MaskanimError(f"network {spec.name}, tensor {tensor.name}", f"shape {shape}", wanted, REBUILD)

    def _refit(self, engine: Any, weights: bytes) -> None:
        if self.library.is_lean:
            wanted = "all of TensorRT, or engines with weights"
            raise MaskanimError("engines without weights", f"{self.library.full_name}, which puts none in", wanted)
        module = self.library.module
        refitter = module.Refitter(engine, self.library.logger)
        parser = module.OnnxParserRefitter(refitter, self.library.logger)
        _agreed(parser.refit_from_bytes(weights) and refitter.refit_cuda_engine())

    def _dtype(self, spec: NetworkSpec, tensor: TensorSpec) -> DType:
        """The type of a tensor: masks are float32, images as the precision says."""
        types, image = self.library.module.DataType, tensor.channels != MASK_CHANNELS
        wanted = types.HALF if image and self.options.precision != "fp32" else types.FLOAT
        found = self.engine.get_tensor_dtype(tensor.name)
        if found != wanted:
            raise MaskanimError(f"network {spec.name}, tensor {tensor.name}", found.name, wanted.name, REBUILD)
        return HALF if wanted == types.HALF else FLOAT

    def _check_precision(self, spec: NetworkSpec) -> None:
        """Refuse an engine that is said to be FP16 and in which, by its own words, nothing is."""
        if self.options.precision == "fp32" or self.library.is_lean:  # which does not say what is in an engine
            return
        module = self.library.module
        layers = self.engine.create_engine_inspector().get_engine_information(module.LayerInformationFormat.JSON)
        if "Datatype" in layers and not HALF_NAMES.search(layers):
            raise MaskanimError(f"network {spec.name}", "an FP16 engine whose layers are all in FP32", "FP16", REBUILD)


class TensorRTSession(DeviceSession):
    """An execution context, with device memory of its own to compute in."""

    def __init__(self, network: TensorRTNetwork, batch: int, stream: Stream) -> None:
        super().__init__(network, batch, stream)
        self._library_errors = network.library_errors
        with ExitStack() as owned:
            self._context: Any = _context(network)
            # A context that allocates for itself might do so in the middle of a capture.
            if size := network.engine.device_memory_size_v2:
                memory = owned.enter_context(stream.device.allocate(size))
                self._context.set_device_memory(memory.address, size)
            _agreed(self._context.set_optimization_profile_async(PROFILE, stream.handle))
            for tensor in network.spec.inputs:
                _agreed(self._context.set_input_shape(tensor.name, tensor.shape(batch)))
            stream.synchronize()
            self._owned = owned.pop_all()

    @property
    def capturable(self) -> bool:
        # Only TensorRT-RTX asks; TensorRT's contexts are when shapes do not depend on data, as here.
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or bool(ask(self.stream.handle))

    def close(self) -> None:
        self._context = None
        self._owned.close()

    def _enqueue(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None:
        spec = self.network.spec
        with self._library_errors(f"running network {spec.name}"):
            for name, array in (*inputs.items(), (spec.output.name, output)):
                _agreed(self._context.set_tensor_address(name, array.address))
            _agreed(self._context.execute_async_v3(self.stream.handle))


def open_networks(
    plans: Mapping[NetworkName, bytes],
    library: LoadedLibrary,
    options: BuildOptions = DEFAULTS,
    weights: Mapping[NetworkName, bytes] | None = None,
) -> dict[NetworkName, DeviceNetwork]:
    """Deserialize the four engines of a model; to be closed by the caller.

    Args:
        plans, library, options: as of `TensorRTNetwork`, for each network.
        weights: the ONNX graphs, where the options are those of engines without weights.

    Raises:
        MaskanimError: an engine is of another library, version or GPU, or its tensors are not the network's.
    """
    with ExitStack() as failing:
        networks: dict[NetworkName, DeviceNetwork] = {
            name: failing.enter_context(
                TensorRTNetwork(spec, plans[name], library, options, (weights or {}).get(name, b""))
            )
            for name, spec in NETWORKS.items()
        }
        failing.pop_all()
    return networks


def _started(library: LoadedLibrary) -> Any:
    """The library's runtime. One that failed, as with too old a driver, is null to some bindings and not to others."""
    try:
        runtime = library.module.Runtime(library.logger)
    except TypeError:
        raise RuntimeError from None
    if library.logger.errors:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))  # any call to it, freeing it too, would end the process
        raise RuntimeError
    return runtime


def _context(network: TensorRTNetwork) -> Any:
    module, config = network.library.module, network.engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(module.ExecutionContextAllocationStrategy.USER_MANAGED)
    specialization = getattr(module, "DynamicShapesKernelSpecializationStrategy", None)
    if specialization is not None:
        # TensorRT-RTX would start with slower kernels and replace them later, when a graph has captured them.
        config.dynamic_shapes_kernel_specialization_strategy = specialization.EAGER
    context = network.engine.create_execution_context(config)
    _agreed(context is not None)
    return context


def _agreed(answer: bool) -> None:
    if not answer:
        raise RuntimeError
