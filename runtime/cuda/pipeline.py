"""`pipeline` over device arrays: networks and operations that queue their work, and sources that were encoded once.

Each call returns at once where its result will be; sources are kept as long as wanted, and copied to where frames read
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from maskanim import pipeline
from maskanim.closing import Closing
from maskanim.ops import Array, centre_square
from maskanim.runtime.cuda.arrays import DeviceArray, DType, allocate, device_square, to_host
from maskanim.runtime.cuda.device import Device, Module, Stream
from maskanim.runtime.cuda.kernels import KERNELS
from maskanim.runtime.cuda.networks import FLOAT, HALF, DeviceNetwork, DeviceSession
from maskanim.spec import IMAGE_SIZE, MASK_SIZE, NETWORK_NAMES, NETWORKS, NetworkName, Perturbation

SourceArrays = pipeline.Source[DeviceArray]

IMAGES = (3, IMAGE_SIZE, IMAGE_SIZE)
SMALLS = (3, MASK_SIZE, MASK_SIZE)
MASKS = (1, MASK_SIZE, MASK_SIZE)
MASKS_UP = (1, IMAGE_SIZE, IMAGE_SIZE)


def of_images(kernel: str, images: DType) -> str:
    """The name of the kernel for images of float16 or float32."""
    return f"{kernel}_half" if images == HALF else f"{kernel}_float"


class SideStream:
    """A second stream for what may run beside the first."""

    def __init__(self, device: Device, main: Stream, owned: ExitStack) -> None:
        self.main, self.stream = main, owned.enter_context(device.stream())
        self._forked, self._joined = (owned.enter_context(device.event()) for _ in range(2))

    def fork(self) -> Stream:
        """The side stream, which goes on from where the main stream is now."""
        self._forked.record(self.main)
        self.stream.wait(self._forked)
        return self.stream

    def done(self) -> None:
        """What `join` waits for is queued."""
        self._joined.record(self.stream)

    def join(self) -> None:
        """The main stream goes on when the side stream's work is done."""
        self.main.wait(self._joined)


class DeviceNets:
    """The networks of one stream, as `pipeline.Nets`.

    Args:
        sessions: all four; m alone is enough to encode a source.
        outputs: where each network's result goes.
        side: what h has to wait for.
    """

    def __init__(
        self,
        sessions: Mapping[NetworkName, DeviceSession],
        outputs: Mapping[NetworkName, DeviceArray],
        side: SideStream | None = None,
    ) -> None:
        self.m, self.r, self.l, self.h = (partial(self._run, name) for name in NETWORK_NAMES)
        self._sessions, self._outputs, self._side = sessions, outputs, side

    def _run(self, name: NetworkName, *arguments: DeviceArray) -> DeviceArray:
        if name == "h" and self._side:
            self._side.join()
        tensors = (tensor.name for tensor in NETWORKS[name].inputs)
        self._sessions[name].enqueue(dict(zip(tensors, arguments, strict=True)), self._outputs[name])
        return self._outputs[name]


@dataclass(frozen=True)
class DeviceOps:
    """The kernels of one stream."""

    module: Module
    stream: Stream
    perturbation: Perturbation
    outputs: Mapping[str, DeviceArray]  # where each operation's result goes, by its name
    side: SideStream | None = None  # where U runs; without it, on the stream itself

    def downscale(self, image: DeviceArray, /) -> DeviceArray:
        return self._launch(self.stream, of_images("downscale", image.dtype), image, self.outputs["downscale"])

    def upscale(self, mask: DeviceArray, /) -> DeviceArray:
        if self.side is None:
            return self._launch(self.stream, "upscale", mask, self.outputs["upscale"])
        up = self._launch(self.side.fork(), "upscale", mask, self.outputs["upscale"])
        self.side.done()
        return up

    def perturb(self, mask: DeviceArray, /) -> DeviceArray:
        output, threshold = self.outputs["perturb"], self.perturbation.threshold
        if threshold is None:  # kind "median"
            left = self._launch(self.stream, "perturb_median", mask, output)
        else:
            left = self._launch(self.stream, "perturb_fixed", mask, output, threshold)
        if not self.perturbation.released_animate:
            return left
        return self._launch(self.stream, "shrink", left, self.outputs["shrink"])

    def _launch(
        self, stream: Stream, name: str, source: DeviceArray, output: DeviceArray, *values: float
    ) -> DeviceArray:
        self.module.launch(KERNELS[name], source.shape[0], stream, source.address, output.address, *values)
        return output


def allocate_source(device: Device, owned: ExitStack, batch: int, images: DType) -> SourceArrays:
    """Room for a source, once for each element of a batch: the networks take batches of one size."""
    return pipeline.Source(
        allocate(device, owned, (batch, *IMAGES), images),
        allocate(device, owned, (batch, *SMALLS), images),
        allocate(device, owned, (batch, *MASKS), FLOAT),
        allocate(device, owned, (batch, *MASKS_UP), FLOAT),
    )


class DeviceSource(Closing):
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
                source = encoded.source
                preprocess(self.module, self.stream, square, source.image)
                nets = DeviceNets({"m": self.session}, {"m": source.mask})
                outputs = {"downscale": source.small, "upscale": source.mask_up}
                ops = DeviceOps(self.module, self.stream, self.perturbation, outputs)
                pipeline.encode_source(nets, ops, source.image)
            failing.pop_all()
            return encoded

    def _square(self, frame: object, staging: ExitStack) -> DeviceArray:
        """A picture's centred square in device memory."""
        if not isinstance(frame, np.ndarray):
            return device_square(frame, self.stream)
        pixels = np.ascontiguousarray(centre_square(frame))
        square = allocate(self.device, staging, pixels.shape, pixels.dtype)
        self.device.upload(square.address, pixels, self.stream)
        return replace(square, owner=pixels)  # which has to stay until it is copied


def preprocess(module: Module, stream: Stream, square: DeviceArray, image: DeviceArray) -> None:
    """Queue `ops.preprocess` of one square into an image."""
    strides = square.strides or (square.shape[1] * 3, 3, 1)
    kernel = KERNELS[of_images("preprocess", image.dtype)]
    module.launch(kernel, 1, stream, square.address, 0, strides[0], square.shape[0], image.address)
