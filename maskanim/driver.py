"""What NVIDIA's driver says of itself and of its GPUs, asked of its own libraries: no package is needed."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product

from maskanim.errors import MaskanimError

CUDA_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NVML_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

# CUresult codes with which cuInit refuses, in words that say what to do.
REFUSALS = {
    34: "the library found is the CUDA toolkit's stub; put the driver's own before it",
    46: "the GPU is held exclusively by another process",
    100: "the driver finds no GPU that this process may use",
    802: "the GPUs are not ready yet; on machines with NVSwitch, start NVIDIA's fabric manager",
    803: "the driver's library and its kernel module are of different versions; restart after a driver update",
    804: "a forward-compatibility libcuda stands before the driver's own, and this GPU does not support it",
    999: "the driver failed; restart the machine, or see its system log",
}
NO_DEVICE = 100
CAPABILITY = (75, 76)  # CUdevice_attribute: major, minor
CLOCKS = (1, 2)  # nvmlClockType_t: SM, memory
CLOCK_FUNCTIONS = ("nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo")
TEXT = 256  # longer than any name that the driver writes


@dataclass(frozen=True)
class Clocks:
    """A GPU's clocks in MHz, now and at most."""

    sm: int
    sm_max: int
    memory: int
    memory_max: int


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    index: int  # CUDA's number of it, which follows CUDA_VISIBLE_DEVICES
    name: str  # as NVIDIA calls it
    capability: tuple[int, int]  # compute capability, major and minor
    memory: int  # its size in bytes
    memory_free: int | None = None  # bytes that no process holds, or None where NVML does not say
    clocks: Clocks | None = None  # or None where NVML does not say

    @property
    def architecture(self) -> str:
        """As compilers name it, e.g. ``sm_90``."""
        return "sm_{}{}".format(*self.capability)


@dataclass(frozen=True)
class Driver:
    """The driver."""

    version: str | None = None  # its own, e.g. ``580.65.06``; None where NVML does not say
    # the newest CUDA version it supports, major and minor; None where there is no driver
    cuda: tuple[int, int] | None = None
    gpus: tuple[Gpu, ...] = ()  # those that this process may use
    trouble: str | None = None  # why there are none; None where there are


class _RefusedError(Exception):
    """A library is not there, has no such function, or answered with an error."""


class _Library:
    """A shared library whose functions return zero or an error code."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._functions = ctypes.CDLL(name)
        except OSError as error:
            raise _RefusedError(f"NVIDIA's driver is not installed, or does not load ({error})") from None

    def call(self, function: str, *arguments: object) -> None:
        """Call a function.

        Raises:
            _RefusedError: there is none of that name, or it answered with an error.
        """
        entry = getattr(self._functions, function, None)
        if entry is None:
            raise _RefusedError(f"{self.name} is not NVIDIA's: it has no {function}")
        if code := int(entry(*arguments)):
            raise _RefusedError(f"{function} answered {self._error_name(code)}: {_meaning(code)}")

    def text(self, function: str, *arguments: object) -> str:
        """Call a function whose first two arguments are the buffer for the text it writes, and its length."""
        buffer = ctypes.create_string_buffer(TEXT)
        self.call(function, buffer, TEXT, *arguments)
        return buffer.value.decode("utf-8", "replace")

    def number(self, function: str, *arguments: object) -> int:
        """Call a function whose first argument points to the int it writes."""
        value = ctypes.c_int()
        self.call(function, ctypes.byref(value), *arguments)
        return value.value

    def _error_name(self, code: int) -> str:
        name = ctypes.c_char_p()
        with suppress(AttributeError):  # NVML has no such function
            if not self._functions.cuGetErrorName(code, ctypes.byref(name)) and name.value:
                return f"{name.value.decode()} ({code})"
        return f"error {code}"


def _meaning(code: int) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if code == NO_DEVICE and visible is not None:
        return f"{REFUSALS[code]}; CUDA_VISIBLE_DEVICES is '{visible}'"
    return REFUSALS.get(code, "the driver does not work")


def read_driver(cuda_library: str = CUDA_LIBRARY, nvml_library: str = NVML_LIBRARY) -> Driver:
    """Ask the driver. This creates no context and takes no memory of the GPU.

    Args:
        cuda_library, nvml_library: the driver's libraries, by name or path.

    Returns:
        What it says; where it has no GPU for this process, `Driver.trouble` says why. Nothing is raised.
    """
    with _nvml(nvml_library) as nvml:
        version = None
        with suppress(_RefusedError):
            version = nvml.text("nvmlSystemGetDriverVersion") if nvml else None
        try:
            cuda = _Library(cuda_library)
            encoded = cuda.number("cuDriverGetVersion")  # 1000 * major + 10 * minor; works before cuInit
        except _RefusedError as error:
            return Driver(version, trouble=str(error))
        supported = encoded // 1000, encoded % 1000 // 10
        try:
            cuda.call("cuInit", 0)
            gpus = tuple(_gpu(cuda, nvml, index) for index in range(cuda.number("cuDeviceGetCount")))
        except _RefusedError as error:
            return Driver(version, supported, trouble=str(error))
    return Driver(version, supported, gpus, None if gpus else _meaning(NO_DEVICE))


def first_gpu() -> Gpu:
    """The GPU that everything here runs on.

    Raises:
        MaskanimError: there is none; says why.
    """
    driver = read_driver()
    if not driver.gpus:
        raise MaskanimError("GPU", driver.trouble or "none", "an NVIDIA GPU with its driver")
    return driver.gpus[0]


def _gpu(cuda: _Library, nvml: _Library | None, index: int) -> Gpu:
    device = cuda.number("cuDeviceGet", index)
    memory = ctypes.c_size_t()
    cuda.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    name = cuda.text("cuDeviceGetName", device)
    major, minor = (cuda.number("cuDeviceGetAttribute", which, device) for which in CAPABILITY)
    # NVML does not follow CUDA_VISIBLE_DEVICES: the address on the bus is what both agree on.
    free, clocks = _state(nvml, cuda.text("cuDeviceGetPCIBusId", device))
    return Gpu(index, name, (major, minor), memory.value, free, clocks)


@contextmanager
def _nvml(name: str) -> Iterator[_Library | None]:
    """NVML, or None where it is missing or refuses: what it adds is only for show."""
    try:
        nvml = _Library(name)
        nvml.call("nvmlInit_v2")
    except _RefusedError:
        yield None
        return
    try:
        yield nvml
    finally:
        with suppress(_RefusedError):
            nvml.call("nvmlShutdown")


def _state(nvml: _Library | None, address: str) -> tuple[int | None, Clocks | None]:
    """Free bytes and clocks of the GPU at an address on the bus, as far as NVML says them."""
    handle, memory, megahertz = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)(), (ctypes.c_uint * 4)()
    free = clocks = None
    if nvml is None:
        return free, clocks
    with suppress(_RefusedError):
        nvml.call("nvmlDeviceGetHandleByPciBusId_v2", address.encode(), ctypes.byref(handle))
        with suppress(_RefusedError):
            nvml.call("nvmlDeviceGetMemoryInfo", handle, memory)  # nvmlMemory_t: total, free, used
            free = memory[1]
        for i, (which, function) in enumerate(product(CLOCKS, CLOCK_FUNCTIONS)):
            nvml.call(function, handle, which, ctypes.byref(megahertz, i * ctypes.sizeof(ctypes.c_uint)))
        clocks = Clocks(*megahertz)
    return free, clocks
