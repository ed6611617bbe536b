"""The part of ``pycuda.driver`` that maskanim uses, as strict as PyCUDA 2026.1, over libcuda_standin.c."""

from __future__ import annotations

import atexit
import ctypes
import os
from ctypes import byref, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

_library = ctypes.CDLL(os.environ["STANDIN_LIBRARY"])
_pushed = 0


class Error(Exception):
    pass


class MemoryError(Error):
    pass


class LaunchError(Error):
    pass


def _call(function: str, *arguments: object) -> None:
    code = getattr(_library, function)(*arguments)
    if code:
        # PyCUDA tells the driver's sentence, not its name.
        kind, told = {2: (MemoryError, "out of memory"), 700: (LaunchError, "illegal address")}.get(
            code, (Error, f"error {code}")
        )
        raise kind(f"{function} failed: {told}")


@atexit.register
def _check_stack() -> None:
    if _pushed:
        print("The context stack was not empty upon module cleanup.", flush=True)
        os.abort()


def init() -> None:
    _call("cuInit", 0)


class Device:
    def __init__(self, index: int) -> None:
        self._device = c_int()
        _call("cuDeviceGet", byref(self._device), index)

    def name(self) -> str:
        text = ctypes.create_string_buffer(100)
        _call("cuDeviceGetName", text, 100, self._device)
        return text.value.decode()

    def compute_capability(self) -> tuple[int, int]:
        major, minor = c_int(), c_int()
        _call("cuDeviceComputeCapability", byref(major), byref(minor), self._device)
        return major.value, minor.value

    def total_memory(self) -> int:
        size = c_size_t()
        _call("cuDeviceTotalMem_v2", byref(size), self._device)
        return size.value

    def retain_primary_context(self) -> Context:
        return Context(self._device)


class Context:
    def __init__(self, device: c_int) -> None:
        self._context = c_void_p()
        _call("cuDevicePrimaryCtxRetain", byref(self._context), device)

    def push(self) -> None:
        global _pushed
        _pushed += 1
        _call("cuCtxPushCurrent", self._context)

    def pop(self) -> None:
        global _pushed
        _pushed -= 1
        _call("cuCtxPopCurrent", byref(c_void_p()))

    def detach(self) -> None:
        _call("cuDevicePrimaryCtxRelease", 0)

    @staticmethod
    def synchronize() -> None:
        _call("cuCtxSynchronize")


class Stream:
    def __init__(self, flags: int = 0) -> None:
        self._stream = c_void_p()
        _call("cuStreamCreate", byref(self._stream), flags)

    @property
    def handle(self) -> int:
        return self._stream.value or 0

    def wait_for_event(self, event: Event) -> None:
        _call("cuStreamWaitEvent", self._stream, event._event, 0)

    def synchronize(self) -> None:
        _call("cuStreamSynchronize", self._stream)

    def __del__(self) -> None:
        if self._stream:
            _library.cuStreamDestroy(self._stream)


class event_flags:  # noqa: N801 - PyCUDA's name
    DISABLE_TIMING = 2


class Event:
    def __init__(self, flags: int = 0) -> None:
        self._event = c_void_p()
        _call("cuEventCreate", byref(self._event), flags)

    def record(self, stream: Stream) -> Event:
        _call("cuEventRecord", self._event, stream._stream)
        return self

    def synchronize(self) -> Event:
        _call("cuEventSynchronize", self._event)
        return self

    def __del__(self) -> None:
        if self._event:
            _library.cuEventDestroy(self._event)


class DeviceAllocation:
    def __init__(self, size: int) -> None:
        self._address = c_void_p()
        _call("cuMemAlloc", byref(self._address), c_size_t(size))

    def __int__(self) -> int:
        return self._address.value or 0

    def free(self) -> None:
        _call("cuMemFree", self._address)


def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation(size)


def mem_get_info() -> tuple[int, int]:
    free, total = c_size_t(), c_size_t()
    _call("cuMemGetInfo", byref(free), byref(total))
    return free.value, total.value


class PagelockedHostAllocation:
    def __init__(self, size: int) -> None:
        self._address = c_void_p()
        _call("cuMemHostAlloc", byref(self._address), c_size_t(size), 0)
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._address.value, False),
            "version": 3,
        }

    def free(self) -> None:
        _call("cuMemFreeHost", self._address)


def pagelocked_empty(shape: int, dtype: Any) -> NDArray[Any]:
    assert dtype == np.uint8
    return np.asarray(PagelockedHostAllocation(shape))  # whose base is the allocation


def memcpy_htod_async(dest: int, src: NDArray[Any], stream: Stream) -> None:
    assert type(dest) is int and src.flags.c_contiguous
    _call("cuMemcpyHtoDAsync", c_void_p(dest), c_void_p(src.ctypes.data), c_size_t(src.nbytes), stream._stream)


def memcpy_dtoh_async(dest: NDArray[Any], src: int, stream: Stream) -> None:
    assert type(src) is int and dest.flags.c_contiguous and dest.flags.writeable
    _call("cuMemcpyDtoHAsync", c_void_p(dest.ctypes.data), c_void_p(src), c_size_t(dest.nbytes), stream._stream)


def memcpy_dtod_async(dest: int, src: int, size: int, stream: Stream) -> None:
    assert type(dest) is type(src) is int
    _call("cuMemcpyDtoDAsync", c_void_p(dest), c_void_p(src), c_size_t(size), stream._stream)


class Function:
    def __init__(self, function: c_void_p) -> None:
        self._function = function

    def __call__(self, *arguments: np.generic, grid: tuple[int, ...], block: tuple[int, ...], stream: Stream) -> None:
        if not all(isinstance(argument, np.number) for argument in arguments):
            raise TypeError("invalid type on parameter")
        holders = [np.array(argument) for argument in arguments]
        # Each is aligned to its own size, as in a C structure.
        buffer = bytearray()
        for holder in holders:
            buffer += bytes(-len(buffer) % holder.itemsize) + holder.tobytes()
        packed = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        size = c_ulonglong(len(buffer))
        extra = (c_void_p * 5)(1, ctypes.addressof(packed), 2, ctypes.addressof(size), 0)
        geometry = (c_uint(number) for number in (*grid, *block, 0))
        _call("cuLaunchKernel", self._function, *geometry, stream._stream, None, extra)


class Module:
    def __init__(self, cubin: bytes) -> None:
        self._module = c_void_p()
        _call("cuModuleLoadDataEx", byref(self._module), cubin, 0, None, None)

    def get_function(self, name: str) -> Function:
        function = c_void_p()
        _call("cuModuleGetFunction", byref(function), self._module, name.encode())
        return Function(function)

    def __del__(self) -> None:
        if self._module:
            _library.cuModuleUnload(self._module)


def module_from_buffer(buffer: bytes) -> Module:
    return Module(buffer)
