"""Sources on a GPU: encoded once, kept as long as wanted, copied to where the frames read them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from maskanim import pipeline
from maskanim.ops import Array, centre_square
from maskanim.runtime.cuda.arrays import DeviceArray, DType, device_square
from maskanim.runtime.cuda.device import Device, Module, Stream
from maskanim.runtime.cuda.kernels import KERNELS
from maskanim.runtime.cuda.nets import DeviceNets, DeviceOps, of_images
from maskanim.runtime.cuda.sessions import FLOAT, DeviceNetwork
from maskanim.spec import IMAGE_SIZE, MASK_SIZE, Perturbation

SourceArrays = pipeline.Source[DeviceArray]

IMAGES = (3, IMAGE_SIZE, IMAGE_SIZE)
SMALLS = (3, MASK_SIZE, MASK_SIZE)
MASKS = (1, MASK_SIZE, MASK_SIZE)
MASKS_UP = (1, IMAGE_SIZE, IMAGE_SIZE)


def allocate(device: Device, owned: ExitStack, shape: tuple[int, ...], dtype: DType) -> DeviceArray:
    """A contiguous array in device memory that is freed with `owned`."""
    memory = owned.enter_context(device.allocate(prod(shape) * dtype.itemsize))
    return DeviceArray(memory.address, shape, dtype, owner=memory)


def allocate_source(device: Device, owned: ExitStack, batch: int, images: DType) -> SourceArrays:
    """Room for a source, once for each element of a batch: the networks take batches of one size."""
    return pipeline.Source(
        allocate(device, owned, (batch, *IMAGES), images),
        allocate(device, owned, (batch, *SMALLS), images),
        allocate(device, owned, (batch, *MASKS), FLOAT),
        allocate(device, owned, (batch, *MASKS_UP), FLOAT),
    )


def to_host(device: Device, stream: Stream, arrays: Mapping[str, DeviceArray]) -> dict[str, Array]:
    """Device arrays as float32 on the host, after what the stream holds."""
    copies: dict[str, Any] = {name: np.empty(array.shape, array.dtype) for name, array in arrays.items()}
    for name, array in arrays.items():
        device.download(copies[name], array.address, stream)
    stream.synchronize()
    return {name: copy.astype(np.float32, copy=False) for name, copy in copies.items()}


class DeviceSource:
    """A source on a GPU; a context manager. It belongs to the device and frees its memory when it is closed.

    Attributes:
        source: s, D(s), m_s and U(m_s), with a batch of 1.
    """

    def __init__(self, device: Device, images: DType) -> None:
        self._device = device
        with ExitStack() as owned:
            self.used = owned.enter_context(device.event())
            self.source = allocate_source(device, owned, 1, images)
            self._owned = owned.pop_all()

    def arrays(self) -> pipeline.Source[Array]:
        """A copy on the host: NCHW float32 in [0, 1], batch 1."""
        with self._device.stream() as stream:
            return pipeline.Source(**to_host(self._device, stream, vars(self.source)))

    def copy_to(self, live: SourceArrays, stream: Stream) -> None:
        """Queue a copy into each batch element of another source's arrays; this one may be closed meanwhile."""
        try:
            for array, target in zip(vars(self.source).values(), vars(live).values(), strict=True):
                for index in range(target.shape[0]):
                    self._device.copy(target.item(index).address, array.address, array.size, stream)
        finally:
            self.used.record(stream)  # what was queued before an error still reads the source

    def close(self) -> None:
        """Free its memory, once what was queued with it has run; again does nothing."""
        with self._owned:
            if self.used.is_open:
                self.used.synchronize()

    def __enter__(self) -> DeviceSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Encoder:
    """Encodes sources, on a stream of its own."""

    def __init__(self, device: Device, m: DeviceNetwork, perturbation: Perturbation, owned: ExitStack) -> None:
        self.device, self.images, self.perturbation = device, m.dtypes["image"], perturbation
        self.module, self.stream = device.kernels(), owned.enter_context(device.stream())
        self.session = owned.enter_context(m.session(1, self.stream))

    def encode(self, frame: object) -> DeviceSource:
        """`pipeline.encode_source` of a picture, on the host or on the device; waits until it is done."""
        with ExitStack() as failing:
            encoded = failing.enter_context(DeviceSource(self.device, self.images))
            with ExitStack() as staging:
                square = self._square(frame, staging)
                staging.callback(self.stream.synchronize)
                preprocess(self.module, self.stream, square, encoded.source.image)
                self._encode(encoded.source)
            failing.pop_all()
            return encoded

    def _square(self, frame: object, staging: ExitStack) -> DeviceArray:
        """A picture's centred square in device memory."""
        if not isinstance(frame, np.ndarray):
            return device_square(frame)
        pixels = np.ascontiguousarray(centre_square(frame))
        square = allocate(self.device, staging, pixels.shape, pixels.dtype)
        self.device.upload(square.address, pixels, self.stream)
        return replace(square, owner=pixels)  # which has to stay until it is copied

    def _encode(self, source: SourceArrays) -> None:
        nets = DeviceNets({"m": self.session}, {"m": source.mask})
        outputs = {"downscale": source.small, "upscale": source.mask_up}
        ops = DeviceOps(self.module, self.stream, self.perturbation, outputs)
        pipeline.encode_source(nets, ops, source.image)


def preprocess(module: Module, stream: Stream, square: DeviceArray, image: DeviceArray) -> None:
    """Queue `ops.preprocess` of one square into an image, once the square is there."""
    if square.stream is not None:
        stream.wait_handle(square.stream)
    strides = square.strides or (square.shape[1] * 3, 3, 1)
    kernel = KERNELS[of_images("preprocess", image.dtype)]
    module.launch(kernel, 1, stream, square.address, 0, strides[0], square.shape[0], image.address)
