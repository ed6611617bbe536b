"""Arrays in device memory: allocated here, or given and taken without a copy through ``__cuda_array_interface__``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import Array, centre_square
from maskanim.runtime.cuda.device import Device, Stream

DType = np.dtype[Any]


@dataclass(frozen=True)
class DeviceArray:
    """An array in device memory. PyCUDA, CuPy, torch and Numba take it as it is.

    Attributes:
        address: of its first element.
        shape, dtype: as NumPy's.
        strides: in bytes; None if it is contiguous.
        stream: the stream that has work on it queued, which a reader must wait for; None if there is none.
        owner: what keeps the memory; the array itself does not free it.
    """

    address: int
    shape: tuple[int, ...]
    dtype: DType
    strides: tuple[int, ...] | None = None
    stream: int | None = None
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


def from_interface(array: object, subject: str) -> DeviceArray:
    """What an object with ``__cuda_array_interface__`` says of itself, versions 2 and 3.

    Args:
        array: kept by the result as its owner.
        subject: what it is, for the error.

    Raises:
        MaskanimError: it has no such interface, or one with a mask.
    """
    try:
        told = array.__cuda_array_interface__  # type: ignore[attr-defined]
    except AttributeError:
        wanted = "a NumPy array, or one in device memory with __cuda_array_interface__"
        raise MaskanimError(subject, type(array).__name__, wanted) from None
    if told.get("mask") is not None:
        raise MaskanimError(subject, "a masked array in device memory", "one without a mask")
    strides = told.get("strides")
    return DeviceArray(
        address=int(told["data"][0]),
        shape=tuple(told["shape"]),
        dtype=np.dtype(told["typestr"]),
        strides=None if strides is None else tuple(strides),
        stream=told.get("stream"),
        owner=array,
    )


def device_square(frame: object) -> DeviceArray:
    """The largest centred square of a picture in device memory, as `ops.centre_square`.

    Args:
        frame: (H, W, 3) uint8 RGB with ``__cuda_array_interface__``. Rows may be anywhere; a row's pixels lie side by
            side.

    Returns:
        (S, S, 3) uint8, a view with strides.

    Raises:
        MaskanimError: it is not such a picture, or too small.
    """
    array = from_interface(frame, "frame")
    # NumPy only computes with the address; nothing is read through it.
    square = centre_square(np.asarray(_Described(array)))
    if square.strides[1:] != (3, 1):
        received = f"an array in device memory with strides {array.strides}"
        raise MaskanimError("frame", received, "adjacent pixels of three adjacent bytes: strides (any, 3, 1)")
    return replace(array, address=square.ctypes.data, shape=square.shape, strides=square.strides)


class _Described:
    def __init__(self, array: DeviceArray) -> None:
        self.__array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.address, True),
            "strides": array.strides,
            "version": 3,
        }


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
