"""A GPU through NVIDIA's cuda-core: wheels, graph capture, and a compiler for the kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
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
        with self.telling("creating a stream"):
            return _Stream(self, self._core.create_stream(options=core.StreamOptions(nonblocking=True)))

    def event(self) -> Event:
        with self.telling("creating an event"):
            return _Event(self, self._core.create_event(core.EventOptions(timing_enabled=False)))

    def upload(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        with self.telling("copying to it"):
            _call(driver.cuMemcpyHtoDAsync, address, source.ctypes.data, source.nbytes, stream.handle)

    def download(self, destination: NDArray[Any], address: int, stream: Stream) -> None:
        with self.telling("copying from it"):
            _call(driver.cuMemcpyDtoHAsync, destination.ctypes.data, address, destination.nbytes, stream.handle)

    def copy(self, destination: int, source: int, size: int, stream: Stream) -> None:
        with self.telling("copying"):
            _call(driver.cuMemcpyDtoDAsync, destination, source, size, stream.handle)

    def synchronize(self) -> None:
        with self.telling("waiting for its work"):
            _call(driver.cuCtxSynchronize)

    def hold_default_stream(self, event: Event) -> None:
        with self.telling("ordering the default stream"):
            core.LEGACY_DEFAULT_STREAM.wait(cast(_Event, event).core)

    def capture(self, stream: Stream, work: Callable[[], object]) -> Graph:
        with self.telling("capturing a graph"):
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
            return _Graph(self, graph)

    def _allocate(self, size: int) -> Memory:
        return _Memory(self, size)

    def _pinned(self, size: int) -> PinnedMemory:
        return _PinnedMemory(self, size)

    def _load(self, cubin: bytes) -> Module:
        return _Module(self, cubin)

    def _memory(self) -> tuple[int, int]:
        free, total = _call(driver.cuMemGetInfo)
        return int(free), int(total)

    def _release(self) -> None:
        """The primary context belongs to the process: other libraries may be using it."""


class _Memory(Memory):
    """Not from a pool, which would keep the memory for itself when it is freed, out of other libraries' reach."""

    def __init__(self, device: CudaCoreDevice, size: int) -> None:
        self.size, self.address = size, int(_call(driver.cuMemAlloc, size)[0])
        super().__init__(device)

    def _free(self) -> None:
        with self.device.telling("freeing memory"):
            _call(driver.cuMemFree, self.address)


class _PinnedMemory(PinnedMemory):
    def __init__(self, device: CudaCoreDevice, size: int) -> None:
        self._address = int(_call(driver.cuMemAllocHost, size)[0])
        self.array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._address))
        super().__init__(device)

    def _free(self) -> None:
        with self.device.telling("freeing page-locked memory"):
            _call(driver.cuMemFreeHost, self._address)


class _Stream(Stream):
    def __init__(self, device: CudaCoreDevice, stream: core.Stream) -> None:
        self.core, self.handle = stream, int(stream.handle)
        super().__init__(device)

    def wait(self, event: Event) -> None:
        with self.device.telling("waiting for an event"):
            self.core.wait(cast(_Event, event).core)

    def wait_handle(self, handle: int) -> None:
        with self.device.telling("waiting for another library's stream"):
            self.core.wait(core.Stream.from_handle(handle))

    def synchronize(self) -> None:
        with self.device.telling("waiting for its work"):
            self.core.sync()

    def _free(self) -> None:
        with self.device.telling("closing a stream"):
            self.core.close()


class _Event(Event):
    def __init__(self, device: CudaCoreDevice, event: core.Event) -> None:
        self.core = event
        super().__init__(device)

    def record(self, stream: Stream) -> None:
        with self.device.telling("recording an event"):
            cast(_Stream, stream).core.record(self.core)

    def synchronize(self) -> None:
        with self.device.telling("waiting for its work"):
            self.core.sync()

    def _free(self) -> None:
        with self.device.telling("closing an event"):
            self.core.close()


class _Graph(Graph):
    def __init__(self, device: CudaCoreDevice, graph: Any) -> None:
        self._graph = graph
        super().__init__(device)

    def launch(self, stream: Stream) -> None:
        with self.device.telling("launching a graph"):
            self._graph.launch(cast(_Stream, stream).core)

    def _free(self) -> None:
        with self.device.telling("closing a graph"):
            self._graph.close()


class _Module(Module):
    def __init__(self, device: CudaCoreDevice, cubin: bytes) -> None:
        code = core.ObjectCode.from_cubin(cubin)
        self._kernels = {name: code.get_kernel(name) for name in KERNELS}
        super().__init__(device)

    def launch(self, kernel: Kernel, batch: int, stream: Stream, *values: float) -> None:
        with self.device.telling(f"launching {kernel.name}"):
            config = core.LaunchConfig(grid=kernel.grid(batch), block=kernel.block)
            queue, loaded = cast(_Stream, stream).core, self._kernels[kernel.name]
            core.launch(queue, config, loaded, *kernel.arguments(*values))

    def _free(self) -> None:
        self._kernels.clear()  # the code is cuda-core's, which keeps it


def _call(function: Callable[..., tuple[Any, ...]], *arguments: object) -> tuple[Any, ...]:
    """A function of the driver's; its error, if it has one, raised by name."""
    error, *values = function(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(error.name)
    return tuple(values)
