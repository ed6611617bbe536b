"""Arrays in device memory, and what other libraries say of theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import centre_square
from maskanim.runtime.cuda.arrays import DeviceArray, device_square, from_interface

BYTE = np.dtype(np.uint8)


class Described:
    """An object of another library. Its memory is the host's, so that a test can look at it."""

    def __init__(self, array: np.ndarray[Any, Any], **changes: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": array.strides,
            "version": 3,
            **changes,
        }


def pixels(array: DeviceArray) -> np.ndarray[Any, Any]:
    """What an array that is really on the host shows."""
    interface = {**array.__cuda_array_interface__, "version": 3}
    interface.pop("stream")
    return np.asarray(type("Host", (), {"__array_interface__": interface})())


def test_the_interface_goes_round() -> None:
    array = DeviceArray(4096, (2, 3, 4), np.dtype(np.float16), strides=(48, 8, 2), stream=7)
    assert array.__cuda_array_interface__ == {
        "shape": (2, 3, 4),
        "typestr": "<f2",
        "data": (4096, False),
        "strides": (48, 8, 2),
        "stream": 7,
        "version": 3,
    }
    taken = from_interface(array, "frame")
    assert taken == array and taken.owner is array


def test_parts_of_a_batch() -> None:
    array = DeviceArray(1024, (4, 1, 8, 8), np.dtype(np.float32))
    assert array.size == 1024
    assert array.item(3) == replace(array, address=1024 + 3 * 256, shape=(1, 1, 8, 8))
    assert array.head(2) == replace(array, shape=(2, 1, 8, 8))


@pytest.mark.parametrize("shape", [(64, 64), (65, 90), (90, 65), (64, 127)])
@pytest.mark.parametrize("layout", ["contiguous", "no strides", "padded", "upside down"])
def test_a_square_shows_the_pixels_of_the_hosts(shape: tuple[int, int], layout: str) -> None:
    height, width = shape
    room = np.random.default_rng(0).integers(0, 256, (height, width + 5, 3), np.uint8)
    frame = np.ascontiguousarray(room[:, :width])
    if layout == "padded":
        frame = room[:, :width]
    if layout == "upside down":
        frame = frame[::-1]
    described = Described(frame, **({"strides": None} if layout == "no strides" else {}))
    square = device_square(described)
    np.testing.assert_array_equal(pixels(square), centre_square(frame))
    assert square.owner is described


@pytest.mark.parametrize("version", [2, 3])
def test_the_stream_is_kept(version: int) -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    assert device_square(Described(frame, version=version)).stream is None
    assert device_square(Described(frame, version=version, stream=1)).stream == 1


@pytest.mark.parametrize(
    ("array", "changes", "told"),
    [
        (np.zeros((64, 64, 3), np.float32), {}, r"frame: float32 of shape \(64, 64, 3\); expected uint8 RGB"),
        (np.zeros((64, 64), np.uint8), {}, r"frame: uint8 of shape \(64, 64\); expected uint8 RGB"),
        (np.zeros((3, 64, 64), np.uint8), {}, r"frame: uint8 of shape \(3, 64, 64\)"),
        (np.zeros((64, 64, 4), np.uint8), {}, r"frame: uint8 of shape \(64, 64, 4\)"),
        (np.zeros((80, 63, 3), np.uint8), {}, "frame: 63x80 pixels; expected at least 64x64"),
        (np.zeros((64, 64, 4), np.uint8)[..., :3], {}, r"strides \(256, 4, 1\); expected adjacent pixels"),
        (np.zeros((64, 64, 3), np.uint8)[..., ::-1], {}, r"strides \(192, 3, -1\); expected adjacent pixels"),
        (np.zeros((64, 64, 3), np.uint8), {"mask": object()}, "frame: a masked array in device memory; expected one"),
    ],
)
def test_what_is_no_picture_is_refused(array: np.ndarray[Any, Any], changes: dict[str, Any], told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        device_square(Described(array, **changes))


def test_an_array_on_the_host_is_refused() -> None:
    with pytest.raises(MaskanimError, match="frame: list; expected a NumPy array, or one in device memory"):
        device_square([1, 2])


def test_nothing_is_read_through_the_address() -> None:
    """An address that no process has: reading there would end this one."""
    frame = DeviceArray(64, (100, 200, 3), BYTE)
    assert device_square(frame).address == 64 + 50 * 3
