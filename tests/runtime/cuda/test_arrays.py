"""Arrays in device memory, and what other libraries say of theirs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import centre_square
from maskanim.runtime.cuda.arrays import DeviceArray, device_square
from maskanim.runtime.cuda.device import Device

BYTE = np.dtype(np.uint8)


class Reader:
    """A stream, and its device, that keep what they are asked to wait for."""

    handle = 4711

    def __init__(self) -> None:
        self.device: Any = self
        self.waited: list[Any] = []

    def wait_handle(self, handle: int) -> None:
        self.waited.append(handle)

    def synchronize(self) -> None:
        self.waited.append("all")

    def take_dlpack(self, array: Any, stream: Any) -> Any:
        assert stream is self
        return Device.take_dlpack(self, array, stream)  # type: ignore[arg-type]

    def driver_errors(self, doing: str) -> Any:
        return nullcontext()


def square_of(frame: object) -> DeviceArray:
    return device_square(frame, Reader())  # type: ignore[arg-type]


class ByDLPack:
    """An object of another library with DLPack. Its memory is the host's, so that a test can look at it."""

    def __init__(self, array: np.ndarray[Any, Any], kind: int = 2) -> None:
        self.array, self.kind = array, kind
        self.streams: list[int] = []
        self.__cuda_array_interface__ = {"version": 2}  # PyTorch has both, and this one does not say enough

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, *, stream: int, **options: Any) -> object:
        self.streams.append(stream)
        return self.array.__dlpack__(**options)


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
    square = square_of(described)
    np.testing.assert_array_equal(pixels(square), centre_square(frame))
    assert square.owner is described


@pytest.mark.parametrize(
    ("said", "waited"),
    [
        ({"version": 3, "stream": 7}, [7]),
        ({"version": 3, "stream": None}, []),  # nothing is queued on it
        ({"version": 3}, []),
        ({"version": 2}, ["all"]),  # nobody knows
        ({"version": 2, "stream": 1}, [1]),
    ],
)
def test_the_reader_waits_for_the_writer(said: dict[str, Any], waited: list[Any]) -> None:
    reader: Any = Reader()
    device_square(Described(np.zeros((64, 64, 3), np.uint8), **said), reader)
    assert reader.waited == waited
    with pytest.raises(MaskanimError):
        device_square(Described(np.zeros((64, 63, 3), np.uint8), **said), reader)
    assert reader.waited == waited  # for what is refused nobody waits


@pytest.mark.parametrize("part", [np.s_[:], np.s_[:, 3:70], np.s_[::-1]])
def test_dlpack_is_preferred_and_tells_the_writer_who_reads(part: Any) -> None:
    pytest.importorskip("cuda.core", reason="DLPack is read by cuda-core")
    reader: Any = Reader()
    frame = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)[part]
    given = ByDLPack(frame)
    square = device_square(given, reader)
    np.testing.assert_array_equal(pixels(square), centre_square(frame))
    assert given.streams == [reader.handle] and not reader.waited
    assert given in square.owner  # type: ignore[operator]


def test_dlpack_of_an_array_on_the_host_is_refused() -> None:
    with pytest.raises(MaskanimError, match="frame: ByDLPack on DLPack's device type 1; expected a NumPy array, or"):
        square_of(ByDLPack(np.zeros((64, 64, 3), np.uint8), kind=1))


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
        square_of(Described(array, **changes))


def test_an_array_on_the_host_is_refused() -> None:
    with pytest.raises(MaskanimError, match="frame: list; expected a NumPy array, or one in device memory"):
        square_of([1, 2])


def test_nothing_is_read_through_the_address() -> None:
    """An address that no process has: reading there would end this one."""
    frame = DeviceArray(64, (100, 200, 3), BYTE)
    assert square_of(frame).address == 64 + 50 * 3
