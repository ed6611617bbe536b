"""Arrays in device memory: allocated here, or given to and taken from other libraries without a copy.

Whoever reads an array has to come after whoever writes it. DLPack and version 3 of ``__cuda_array_interface__`` say on
which stream that is; an older version does not, and then all that the GPU has to do is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import Array, centre_square
from maskanim.runtime.cuda.device import Device, Stream

DType = np.dtype[Any]

CUDA_ARRAY_WITH_STREAM = 3  # the version of __cuda_array_interface__ that says which stream writes
DLPACK_CUDA = (2, 13)  # DLPack's device types: a GPU's memory, and managed memory


@dataclass(frozen=True)
class DeviceArray:
    """An array in device memory. PyCUDA, CuPy, torch and Numba take it as it is."""

    address: int  # of its first element
    # shape, dtype: as NumPy's
    shape: tuple[int, ...]
    dtype: DType
    strides: tuple[int, ...] | None = None  # in bytes; None if it is contiguous
    # the stream that has work on it queued, which a reader must wait for; None if there is none
    stream: int | None = None
    # what keeps the memory; the array itself does not free it
    owner: object = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of a contiguous array of this shape."""
        return prod(self.shape) * self.dtype.itemsize

    def item(self, index: int) -> DeviceArray:
        """One batch element of a contiguous array, with a batch of 1."""
        shape = (1, *self.shape[1:])
        return replace(self, address=self.address + index * self.size // self.shape[0], shape=shape)

    def head(self, count: int) -> DeviceArray:
        """The first batch elements of a contiguous array."""
        return replace(self, shape=(count, *self.shape[1:]))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": self.strides,
            "stream": self.stream,
            "version": 3,
        }


def device_square(frame: Any, stream: Stream) -> DeviceArray:
    """The largest centred square of a picture in device memory, as `ops.centre_square`.

    Args:
        frame: (H, W, 3) uint8 RGB with DLPack or ``__cuda_array_interface__``. Rows may be anywhere; a row's pixels lie
            side by side.
        stream: will read it; what is queued there from here on runs when it is written.

    Returns:
        (S, S, 3) uint8, a view with strides.

    Raises:
        MaskanimError: it is not such a picture, or too small.
    """
    offered = None if hasattr(frame, "__dlpack_device__") else getattr(frame, "__cuda_array_interface__", None)
    array = _by_dlpack(frame, stream) if offered is None else _described(frame, offered)
    # NumPy only computes with the address; nothing is read through it.
    square = centre_square(np.asarray(SimpleNamespace(__array_interface__=array.__cuda_array_interface__)))
    if square.strides[1:] != (3, 1):
        received = f"an array in device memory with strides {array.strides}"
        raise MaskanimError("frame", received, "adjacent pixels of three adjacent bytes: strides (any, 3, 1)")
    if offered is not None:
        _wait(stream, offered)
    return replace(array, address=square.ctypes.data, shape=square.shape, strides=square.strides, stream=None)


def _by_dlpack(frame: Any, stream: Stream) -> DeviceArray:
    kind = frame.__dlpack_device__()[0] if hasattr(frame, "__dlpack_device__") else None
    if kind not in DLPACK_CUDA:
        received = (
            type(frame).__name__ if kind is None else f"{type(frame).__name__} on DLPack's device type {int(kind)}"
        )
        wanted = "a NumPy array, or one in device memory with DLPack or __cuda_array_interface__"
        raise MaskanimError("frame", received, wanted)
    view = stream.device.take_dlpack(frame, stream)
    strides = view.strides and tuple(count * view.dtype.itemsize for count in view.strides)
    return DeviceArray(int(view.ptr), tuple(view.shape), np.dtype(view.dtype), strides, owner=(view, frame))


def _described(frame: object, told: Mapping[str, Any]) -> DeviceArray:
    if told.get("mask") is not None:
        raise MaskanimError("frame", "a masked array in device memory", "one without a mask")
    strides = told.get("strides")
    return DeviceArray(
        address=int(told["data"][0]),
        shape=tuple(told["shape"]),
        dtype=np.dtype(told["typestr"]),
        strides=None if strides is None else tuple(strides),
        owner=frame,
    )


def _wait(stream: Stream, told: Mapping[str, Any]) -> None:
    """Let a stream wait for what ``__cuda_array_interface__`` says of the writer."""
    writer = told.get("stream")
    if writer is not None:
        stream.wait_handle(writer)
    elif told["version"] < CUDA_ARRAY_WITH_STREAM:
        stream.device.synchronize()


def allocate(device: Device, owned: ExitStack, shape: tuple[int, ...], dtype: DType) -> DeviceArray:
    """A contiguous array in device memory that is freed with `owned`."""
    memory = owned.enter_context(device.allocate(prod(shape) * dtype.itemsize))
    return DeviceArray(memory.address, shape, dtype, owner=memory)


def to_host(device: Device, stream: Stream, arrays: Mapping[str, DeviceArray]) -> dict[str, Array]:
    """Device arrays as float32 on the host, after what the stream holds."""
    copies: dict[str, Any] = {name: np.empty(array.shape, array.dtype) for name, array in arrays.items()}
    for name, array in arrays.items():
        device.download(copies[name], array.address, stream)
    stream.synchronize()
    return {name: copy.astype(np.float32, copy=False) for name, copy in copies.items()}
