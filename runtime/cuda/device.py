"""What the pipeline needs of a GPU: memory, streams, events, copies, kernels, captured graphs. Nothing more.

`cuda_core` and `pycuda` implement it. Whatever a device gives out belongs to it and is freed by ``close``, its own or
the device's. All of it is used in the thread that opened the device: CUDA's current context belongs to a thread.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskanim.closing import Closing
from maskanim.driver import read_driver
from maskanim.errors import MaskanimError, needs_extra
from maskanim.runtime.backends import CUDA_BINDINGS
from maskanim.runtime.cuda.kernels import Kernel, compile_cubin

MIB = 2**20
OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
LOST = "Start the program again: this process cannot use the GPU any more"
OLD_DRIVER = "Update NVIDIA's driver"
CAPTURE = "CUDA_ERROR_STREAM_CAPTURE"  # a family of them
NO_GRAPH = "Run with --no-graph"

# Per error of the driver, what to do about it; the others speak for themselves.
NEXT_STEPS = {
    OUT_OF_MEMORY: "Use a smaller batch or fewer slots, or close other programs on the GPU",
    "CUDA_ERROR_INVALID_IMAGE": OLD_DRIVER,
    "CUDA_ERROR_NO_BINARY_FOR_GPU": OLD_DRIVER,
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": OLD_DRIVER,
    "CUDA_ERROR_ILLEGAL_ADDRESS": LOST,
    "CUDA_ERROR_LAUNCH_FAILED": LOST,
    "CUDA_ERROR_LAUNCH_TIMEOUT": LOST,
    "CUDA_ERROR_HARDWARE_STACK_ERROR": LOST,
    "CUDA_ERROR_MISALIGNED_ADDRESS": LOST,
    "CUDA_ERROR_ECC_UNCORRECTABLE": LOST,
    "CUDA_ERROR_UNKNOWN": LOST,
}


class Resource(Closing):
    """Something that a device gave out; a context manager that closes it.

    Args:
        free: gives it back to the driver; called once.

    Attributes:
        is_open: until it is closed, by itself or with its device.
    """

    def __init__(self, device: Device, free: Callable[[], object]) -> None:
        self.device, self.is_open, self._free = device, True, free
        device.resources[id(self)] = self

    def close(self) -> None:
        """Free it; again does nothing."""
        if self.is_open:
            self.is_open = False
            self.device.resources.pop(id(self), None)
            # Freeing fails when the context is lost, and its memory with it; every other call tells that.
            with suppress(MaskanimError), self.device.driver_errors("freeing"):
                self._free()


class Memory(Resource):
    """Device memory.

    Attributes:
        address: of its first byte, aligned to 256.
        size: in bytes.
    """

    def __init__(self, device: Device, address: int, size: int, free: Callable[[], object]) -> None:
        self.address, self.size = address, size
        super().__init__(device, free)


class PinnedMemory(Resource):
    """Page-locked host memory, which the GPU copies from and to without the processor.

    Attributes:
        array: all of it, uint8; not to be touched after ``close``.
    """

    def __init__(self, device: Device, array: NDArray[np.uint8], free: Callable[[], object]) -> None:
        self.array = array
        super().__init__(device, free)


class Stream(Resource):
    """A queue of work that runs in order."""

    handle: int  # the address of its ``cudaStream_t``, for other libraries

    @abstractmethod
    def wait(self, event: Event) -> None:
        """What is queued from here on runs after the event's last record; the host does not wait."""

    @abstractmethod
    def wait_handle(self, handle: int) -> None:
        """What is queued from here on runs after what another library's stream holds now.

        Args:
            handle: its ``cudaStream_t``; 1 and 2 are the legacy and the per-thread default stream.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Wait on the host for all that is queued."""


class Event(Resource):
    """A mark in a stream's queue."""

    @abstractmethod
    def record(self, stream: Stream) -> None:
        """Mark what the stream holds now, in place of what was marked before."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait on the host for what was marked; at once if nothing was."""


class Graph(Resource):
    """Captured work, launched as one."""

    def __init__(self, device: Device, launch: Callable[[Stream], object], free: Callable[[], object]) -> None:
        self._launch = launch
        super().__init__(device, free)

    def launch(self, stream: Stream) -> None:
        """Queue it. Each node reads and writes the addresses with which it was captured."""
        with self.device.driver_errors("launching a graph"):
            self._launch(stream)


class Module(Resource):
    """The project's kernels, compiled for a device and loaded.

    Args:
        launch: queues a kernel for a batch on a stream, with its arguments as of `Kernel.arguments`.
    """

    def __init__(
        self,
        device: Device,
        launch: Callable[[Kernel, int, Stream, Sequence[np.generic]], object],
        free: Callable[[], object],
    ) -> None:
        self._launch = launch
        super().__init__(device, free)

    def launch(self, kernel: Kernel, batch: int, stream: Stream, *values: float) -> None:
        """Queue a kernel.

        Args:
            batch: how many images or masks.
            values: the kernel's arguments, in the order of its parameters; memory is given by its address.
        """
        with self.device.driver_errors(f"launching {kernel.name}"):
            self._launch(kernel, batch, stream, kernel.arguments(*values))


class Device(Closing):
    """A GPU whose primary context is current in this thread; a context manager.

    Attributes:
        binding: its name in `backends.CUDA_BINDINGS`.
        can_capture: whether `capture` works.
        index, name: of the GPU, as CUDA numbers and calls it.
        compute_capability: major and minor.
        total_memory: of the GPU, in bytes.
        resources: what has not been closed yet, oldest first.
    """

    binding: ClassVar[str]
    can_capture: ClassVar[bool]

    def __init__(self, index: int, name: str, compute_capability: tuple[int, int], total_memory: int) -> None:
        self.index, self.name = index, name
        self.compute_capability, self.total_memory = compute_capability, total_memory
        self.resources: dict[int, Resource] = {}
        self._module: Module | None = None
        self._closed = False

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"

    @abstractmethod
    def stream(self) -> Stream:
        """A stream of its own."""

    @abstractmethod
    def event(self) -> Event:
        """An event without timing."""

    def allocate(self, size: int) -> Memory:
        """Device memory; its content is not defined.

        Raises:
            MaskanimError: not enough is free; says how much was.
        """
        with self.driver_errors(f"allocating {size / MIB:.1f} MiB"):
            return self._allocate(size)

    def pinned(self, size: int) -> PinnedMemory:
        """Page-locked host memory of `size` bytes; its content is not defined."""
        with self.driver_errors(f"page-locking {size / MIB:.1f} MiB of the host's memory"):
            return self._pinned(size)

    def kernels(self) -> Module:
        """The project's kernels, compiled for this GPU on the first call.

        Raises:
            MaskanimError: they cannot be compiled or loaded.
        """
        if self._module is None:
            cubin = compile_cubin("sm_{}{}".format(*self.compute_capability))
            with self.driver_errors("loading its kernels"):
                self._module = self._load(cubin)
        return self._module

    @abstractmethod
    def upload(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        """Queue a copy of a contiguous host array, which must stay as it is until the copy has run."""

    @abstractmethod
    def download(self, destination: NDArray[Any], address: int, stream: Stream) -> None:
        """Queue a copy into a contiguous host array."""

    @abstractmethod
    def copy(self, destination: int, source: int, size: int, stream: Stream) -> None:
        """Queue a copy of `size` bytes from one device address to another."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait on the host for all that is queued in this context, by whomever."""

    @abstractmethod
    def hold_default_stream(self, event: Event) -> None:
        """What others queue on CUDA's default stream from here on runs after the event's last record."""

    def take_dlpack(self, array: Any, stream: Stream) -> Any:
        """An array of another library by DLPack, whose owner makes the stream wait until it is written.

        Returns:
            cuda-core's view of it: ``ptr``, ``shape``, ``dtype``, ``strides`` in elements. It keeps the memory.
        """
        from cuda.core.utils import StridedMemoryView

        with self.driver_errors("taking an array by DLPack"):
            return StridedMemoryView.from_dlpack(array, stream_ptr=stream.handle)

    def capture(self, stream: Stream, work: Callable[[], object]) -> Graph:
        """Turn what `work` queues on a stream into a graph instead of running it.

        Work on other streams belongs to it where events lead there and back. Nothing may wait for the host or
        allocate meanwhile.

        Raises:
            MaskanimError: the binding cannot capture, or something queued cannot be captured; the stream is as before.
        """
        raise MaskanimError(str(self), f"{self.binding} captures no graphs", "cuda-core", NO_GRAPH)

    def close(self) -> None:
        """Free all that is still given out, newest first, and let go of the context; again does nothing."""
        if not self._closed:
            self._closed = True
            for resource in list(self.resources.values())[::-1]:
                resource.close()
            self._module = None
            self._release()

    @contextmanager
    def driver_errors(self, doing: str) -> Iterator[None]:
        """Turn the binding's errors into a MaskanimError that says what was being done."""
        try:
            yield
        except (MaskanimError, TypeError, AttributeError):  # ours: told already, or a mistake in this code
            raise
        except Exception as error:
            name = self._error_name(error)
            received = f"{name}, {self._memory_told()}" if name == OUT_OF_MEMORY else name
            next_step = NO_GRAPH if CAPTURE in name else NEXT_STEPS.get(name, "")
            raise MaskanimError(f"{self}, {doing}", received, "no error", next_step) from error

    def _memory_told(self) -> str:
        try:
            free, total = self._memory()
        except Exception:  # the error that is being told matters more
            return "how much is free cannot be read"
        return f"{free / MIB:.1f} of {total / MIB:.0f} MiB are free"

    def _error_name(self, error: Exception) -> str:
        return error_name(error)

    @abstractmethod
    def _allocate(self, size: int) -> Memory: ...
    @abstractmethod
    def _pinned(self, size: int) -> PinnedMemory: ...
    @abstractmethod
    def _load(self, cubin: bytes) -> Module: ...
    @abstractmethod
    def _memory(self) -> tuple[int, int]:
        """Free and total bytes."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the context."""


def error_name(error: Exception) -> str:
    """The driver's name of an error, or the first line of what a library says."""
    text = str(error).strip() or type(error).__name__
    found = re.search(r"CUDA_ERROR_\w+", text)
    return found.group() if found else text.splitlines()[0]


def open_device(binding: str = "cuda-core", index: int = 0) -> Device:
    """Open a GPU and make its primary context current in this thread.

    Args:
        binding: a name in `backends.CUDA_BINDINGS`.
        index: CUDA's number of the GPU.

    Raises:
        MissingPackageError: the binding is not installed.
        MaskanimError: there is no such binding, driver or GPU.
    """
    if binding not in CUDA_BINDINGS:
        raise MaskanimError(f"CUDA binding {binding}", "no such binding", f"one of {', '.join(CUDA_BINDINGS)}")
    driver = read_driver()
    if index >= len(driver.gpus):
        found = driver.trouble or f"the driver finds {len(driver.gpus)}"
        raise MaskanimError(f"GPU {index}", found, "an NVIDIA GPU with its driver")
    row = CUDA_BINDINGS[binding]
    with needs_extra(f"CUDA binding {binding}", row.extra):
        opener: Callable[[int], Device] = getattr(import_module(row.module), row.device)
    return opener(index)
