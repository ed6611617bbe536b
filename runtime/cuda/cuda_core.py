"""A GPU through NVIDIA's cuda-core: wheels, graph capture, and a compiler for the kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import cuda.core as core
import numpy as np
from cuda.bindings import driver
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.device import Device, Event, Graph, Memory, Module, PinnedMemory, Stream, error_name
from maskanim.runtime.cuda.kernels import KERNELS, Kernel


class CudaCoreDevice(Device):
    """A GPU opened by its number."""

    binding = "cuda-core"
    can_capture = True

    def __init__(self, index: int) -> None:
        try:
            self._core = core.Device(index)
            self._core.set_current()
            major, minor = self._core.compute_capability
            super().__init__(index, self._core.name, (major, minor), _call(driver.cuMemGetInfo)[1])
        except Exception as error:
            raise MaskanimError(f"GPU {index}", error_name(error), "a GPU that opens") from error

    def stream(self) -> Stream:
        with self.driver_errors("creating a stream"):
            return _Stream(self, self._core.create_stream(options=core.StreamOptions(nonblocking=True)))

    def event(self) -> Event:
        with self.driver_errors("creating an event"):
            return _Event(self, self._core.create_event(core.EventOptions(timing_enabled=False)))

    def upload(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        with self.driver_errors("copying to it"):
            _call(driver.cuMemcpyHtoDAsync, address, source.ctypes.data, source.nbytes, stream.handle)

    def download(self, destination: NDArray[Any], address: int, stream: Stream) -> None:
        with self.driver_errors("copying from it"):
            _call(driver.cuMemcpyDtoHAsync, destination.ctypes.data, address, destination.nbytes, stream.handle)

    def copy(self, destination: int, source: int, size: int, stream: Stream) -> None:
        with self.driver_errors("copying"):
            _call(driver.cuMemcpyDtoDAsync, destination, source, size, stream.handle)

    def synchronize(self) -> None:
        with self.driver_errors("waiting for its work"):
            _call(driver.cuCtxSynchronize)

    def hold_default_stream(self, event: Event) -> None:
        with self.driver_errors("ordering the default stream"):
            core.LEGACY_DEFAULT_STREAM.wait(cast(_Event, event).core)

    def capture(self, stream: Stream, work: Callable[[], object]) -> Graph:
        with self.driver_errors("capturing a graph"):
            builder = cast(_Stream, stream).core.create_graph_builder()
            try:
                # In this mode, what this thread may not do during a capture fails instead of spoiling the graph;
                # other threads may do what they like.
                builder.begin_building("thread_local")
                work()
                graph = builder.end_building().complete()
            finally:
                builder.close()
            graph.upload(cast(_Stream, stream).core)  # or the first launch would
            return Graph(self, lambda stream: graph.launch(cast(_Stream, stream).core), graph.close)

    def _allocate(self, size: int) -> Memory:
        # Not from a pool, which would keep the memory for itself when it is freed, out of other libraries' reach.
        address = int(_call(driver.cuMemAlloc, size)[0])
        return Memory(self, address, size, partial(_call, driver.cuMemFree, address))

    def _pinned(self, size: int) -> PinnedMemory:
        address = int(_call(driver.cuMemAllocHost, size)[0])
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        return PinnedMemory(self, array, partial(_call, driver.cuMemFreeHost, address))

    def _load(self, cubin: bytes) -> Module:
        code = core.ObjectCode.from_cubin(cubin)
        kernels = {name: code.get_kernel(name) for name in KERNELS}

        def launch(kernel: Kernel, batch: int, stream: Stream, arguments: Sequence[np.generic]) -> None:
            config = core.LaunchConfig(grid=kernel.grid(batch), block=kernel.block)
            core.launch(cast(_Stream, stream).core, config, kernels[kernel.name], *arguments)

        return Module(self, launch, kernels.clear)  # the code is cuda-core's, which keeps it

    def _memory(self) -> tuple[int, int]:
        free, total = _call(driver.cuMemGetInfo)
        return int(free), int(total)

    def _release(self) -> None:
        """The primary context belongs to the process: other libraries may be using it."""


class _Stream(Stream):
    def __init__(self, device: CudaCoreDevice, stream: core.Stream) -> None:
        self.core, self.handle = stream, int(stream.handle)
        super().__init__(device, stream.close)

    def wait(self, event: Event) -> None:
        with self.device.driver_errors("waiting for an event"):
            self.core.wait(cast(_Event, event).core)

    def wait_handle(self, handle: int) -> None:
        with self.device.driver_errors("waiting for another library's stream"):
            self.core.wait(core.Stream.from_handle(handle))

    def synchronize(self) -> None:
        with self.device.driver_errors("waiting for its work"):
            self.core.sync()


class _Event(Event):
    def __init__(self, device: CudaCoreDevice, event: core.Event) -> None:
        self.core = event
        super().__init__(device, event.close)

    def record(self, stream: Stream) -> None:
        with self.device.driver_errors("recording an event"):
            cast(_Stream, stream).core.record(self.core)

    def synchronize(self) -> None:
        with self.device.driver_errors("waiting for its work"):
            self.core.sync()


def _call(function: Callable[..., tuple[Any, ...]], *arguments: object) -> tuple[Any, ...]:
    """A function of the driver's; its error, if it has one, raised by name."""
    error, *values = function(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(error.name)
    return tuple(values)
