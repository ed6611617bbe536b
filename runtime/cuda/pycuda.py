"""A GPU through PyCUDA, for programs that are built on it: the primary context, and no graphs."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.device import OUT_OF_MEMORY, Device, Event, Memory, Module, PinnedMemory, Stream, error_name
from maskanim.runtime.cuda.kernels import KERNELS, Kernel


class PyCudaDevice(Device):
    """A GPU opened by its number. PyCUDA shares the primary context, so arrays of other libraries can be used."""

    binding = "pycuda"
    can_capture = False

    def __init__(self, index: int) -> None:
        try:
            cuda.init()
            gpu = cuda.Device(index)
            super().__init__(index, gpu.name(), gpu.compute_capability(), gpu.total_memory())
            self._context = gpu.retain_primary_context()
            self._context.push()
        except cuda.Error as error:
            raise MaskanimError(f"GPU {index}", error_name(error), "a GPU that opens") from error
        atexit.register(self.close)  # PyCUDA aborts a process that ends with a context still pushed

    def stream(self) -> Stream:
        with self.driver_errors("creating a stream"):
            return _Stream(self)

    def event(self) -> Event:
        with self.driver_errors("creating an event"):
            return _Event(self)

    def upload(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        with self.driver_errors("copying to it"):
            cuda.memcpy_htod_async(address, source, cast(_Stream, stream).pycuda)

    def download(self, destination: NDArray[Any], address: int, stream: Stream) -> None:
        with self.driver_errors("copying from it"):
            cuda.memcpy_dtoh_async(destination, address, cast(_Stream, stream).pycuda)

    def copy(self, destination: int, source: int, size: int, stream: Stream) -> None:
        with self.driver_errors("copying"):
            cuda.memcpy_dtod_async(destination, source, size, cast(_Stream, stream).pycuda)

    def synchronize(self) -> None:
        with self.driver_errors("waiting for its work"):
            cuda.Context.synchronize()

    def hold_default_stream(self, event: Event) -> None:
        """It waits by itself: no stream of this device is a non-blocking one."""

    def _allocate(self, size: int) -> Memory:
        allocation = cuda.mem_alloc(size)
        return Memory(self, int(allocation), size, allocation.free)

    def _pinned(self, size: int) -> PinnedMemory:
        array = cuda.pagelocked_empty(size, np.uint8)
        return PinnedMemory(self, array, cast(Any, array.base).free)

    def _load(self, cubin: bytes) -> Module:
        module = cuda.module_from_buffer(cubin)
        functions = {name: module.get_function(name) for name in KERNELS}  # they keep the module

        def launch(kernel: Kernel, batch: int, stream: Stream, arguments: Sequence[np.generic]) -> None:
            queue, run = cast(_Stream, stream).pycuda, functions[kernel.name]
            run(*arguments, grid=kernel.grid(batch), block=kernel.block, stream=queue)

        return Module(self, launch, functions.clear)

    def _memory(self) -> tuple[int, int]:
        free, total = cuda.mem_get_info()
        return int(free), int(total)

    def _error_name(self, error: Exception) -> str:
        # PyCUDA gives the driver's sentence for an error, not its name; for this one it has a class.
        return OUT_OF_MEMORY if isinstance(error, cuda.MemoryError) else error_name(error)

    def _release(self) -> None:
        atexit.unregister(self.close)
        self._context.pop()
        self._context.detach()


class _Stream(Stream):
    def __init__(self, device: PyCudaDevice) -> None:
        # One that waits for the default stream, where PyCUDA fills its arrays without saying so in their interface.
        self.pycuda = cuda.Stream()
        self.handle = int(self.pycuda.handle)
        super().__init__(device, lambda: self.__dict__.pop("pycuda"))  # destroyed with the last reference to it

    def wait(self, event: Event) -> None:
        with self.device.driver_errors("waiting for an event"):
            self.pycuda.wait_for_event(cast(_Event, event).pycuda)

    def wait_handle(self, handle: int) -> None:
        self.device.synchronize()  # PyCUDA cannot take another library's stream

    def synchronize(self) -> None:
        with self.device.driver_errors("waiting for its work"):
            self.pycuda.synchronize()


class _Event(Event):
    def __init__(self, device: PyCudaDevice) -> None:
        self.pycuda = cuda.Event(cuda.event_flags.DISABLE_TIMING)
        super().__init__(device, lambda: self.__dict__.pop("pycuda"))  # likewise

    def record(self, stream: Stream) -> None:
        with self.device.driver_errors("recording an event"):
            self.pycuda.record(cast(_Stream, stream).pycuda)

    def synchronize(self) -> None:
        with self.device.driver_errors("waiting for its work"):
            self.pycuda.synchronize()
