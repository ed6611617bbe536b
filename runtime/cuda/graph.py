"""One frame, or one batch of frames, in flight: its buffers, streams, sessions and graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim import pipeline
from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame
from maskanim.runtime.cuda.arrays import DeviceArray, allocate, to_host
from maskanim.runtime.cuda.device import Device, Event, Graph
from maskanim.runtime.cuda.kernels import KERNELS
from maskanim.runtime.cuda.networks import FLOAT, DeviceNetwork
from maskanim.runtime.cuda.pipeline import (
    IMAGES,
    MASKS,
    MASKS_UP,
    DeviceNets,
    DeviceOps,
    SideStream,
    SourceArrays,
    of_images,
    preprocess,
)
from maskanim.runtime.runner import Replay
from maskanim.spec import IMAGE_SIZE, NetworkName, Perturbation

PIXELS = (IMAGE_SIZE, IMAGE_SIZE, 3)
BYTE = np.dtype(np.uint8)
MAX_SIDES = 4  # frame sizes whose staging and graphs are kept; a clip has one


class GraphKey(NamedTuple):
    """What the work on a batch depends on; each has a graph of its own."""

    side: int | None  # of the squares that come from the host; None if preprocessing has been queued already
    to_host: bool  # whether the result is copied to the host
    recorded: bool = False  # whether the perturbed masks are
    replayed: bool = False  # whether perturbed masks come from the host in place of squares


@dataclass(eq=False)
class Ticket:
    """One submitted batch."""

    count: int  # how many frames it has
    key: GraphKey  # the way that it goes
    slot: Slot | None  # where it is; None when another batch has taken its place
    # its frames and masks, as far as they come to the host, once they have been fetched
    fetched: tuple[NDArray[np.uint8], Array] | None = None


class StagingBuffer(Closing):
    """Where squares of one size are put on the host, and where they are on the device."""

    def __init__(self, device: Device, batch: int, side: int) -> None:
        shape = (batch, side, side, 3)
        with ExitStack() as owned:
            pinned = owned.enter_context(device.pinned(int(np.prod(shape))))
            self.host: NDArray[np.uint8] = pinned.array.reshape(shape)
            self.squares = allocate(device, owned, shape, BYTE)
            self._owned = owned.pop_all()

    def close(self) -> None:
        self._owned.close()


class Slot:
    """Room for one batch in flight. The work on it is queued on its own stream.

    Args:
        source: what the frames are animated with; its content may change between batches.

    Attributes:
        done: recorded behind each batch.
        ticket: whose batch is in the slot; None if it is free.
    """

    def __init__(
        self,
        device: Device,
        networks: Mapping[NetworkName, DeviceNetwork],
        perturbation: Perturbation,
        source: SourceArrays,
        owned: ExitStack,
    ) -> None:
        self.device, self.module, self.source = device, device.kernels(), source
        self.batch, images = source.image.shape[0], source.image.dtype
        self.stream, self.done = owned.enter_context(device.stream()), owned.enter_context(device.event())
        self.ticket: Ticket | None = None

        def room(shape: tuple[int, ...], dtype: np.dtype[Any] = FLOAT) -> DeviceArray:
            return allocate(device, owned, (self.batch, *shape), dtype)

        self.images, self.pixels = room(IMAGES, images), room(PIXELS, BYTE)
        self.sessions = {
            name: owned.enter_context(network.session(self.batch, self.stream)) for name, network in networks.items()
        }
        side = SideStream(device, self.stream, owned)
        outputs: dict[NetworkName, DeviceArray]
        outputs = {"m": room(MASKS), "r": room(MASKS), "l": room(IMAGES, images), "h": room(IMAGES, images)}
        self.nets = DeviceNets(self.sessions, outputs, side)
        made = {name: room(MASKS) for name in ("perturb", "shrink")[: 1 + perturbation.released_animate]}
        self.perturbed = list(made.values())[-1]
        made["upscale"] = room(MASKS_UP)
        self.ops = DeviceOps(self.module, self.stream, perturbation, made, side)
        self._replay = Replay(self.nets, self.ops)
        pinned = owned.enter_context(device.pinned(self.pixels.size))
        self.result: NDArray[np.uint8] = pinned.array.reshape(self.pixels.shape)
        pinned = owned.enter_context(device.pinned(self.perturbed.size))
        self.masks: Array = pinned.array.view(np.float32).reshape(self.perturbed.shape)
        self.staging: OrderedDict[int, StagingBuffer] = OrderedDict()
        self.graphs: dict[GraphKey, Graph] = {}
        self._squares: Sequence[DeviceArray] = ()
        self._animations: dict[bool, pipeline.Animation[DeviceArray]] = {}  # by whether it was replayed
        owned.callback(self._close)
        self._streams = (side.stream, self.stream)
        for stream in self._streams:  # before anything is freed; after an error the two may not be joined
            owned.callback(stream.synchronize)

    def put_host(self, squares: Sequence[Frame]) -> None:
        """Copy squares of one size to where the work takes them from; the slot must be free."""
        staging = self._staging(len(squares[0]))
        for place, square in zip(staging.host, squares, strict=False):
            np.copyto(place, square)

    def put_device(self, squares: Sequence[DeviceArray], written: Event) -> None:
        """Queue the preprocessing of squares in device memory, behind an event: no graph can hold other addresses."""
        self._squares = squares  # which own their memory, until the slot is used again
        self.stream.wait(written)
        for index, square in enumerate(squares):
            preprocess(self.module, self.stream, square, self.images.item(index))

    def put_masks(self, masks: Sequence[Array]) -> None:
        """Copy perturbed masks to where the work takes them from; the slot must be free."""
        np.concatenate(masks, out=self.masks[: len(masks)])

    def run(self, key: GraphKey) -> None:
        """Queue the work on what was put: as a graph, if it has been captured."""
        if key in self.graphs:
            self.graphs[key].launch(self.stream)
        else:
            self._enqueue(key)
        self.done.record(self.stream)

    def capture(self, key: GraphKey) -> None:
        """Capture the work for the batches to come; it has run once, as the networks need before."""
        if key not in self.graphs and self.capturable:
            self.graphs[key] = self.device.capture(self.stream, lambda: self._enqueue(key))

    @contextmanager
    def settled_on_error(self) -> Iterator[None]:
        """An error inside is raised when nothing that was queued reads or writes the slot's buffers any more."""
        try:
            yield
        except BaseException:
            with suppress(MaskanimError):  # the context is lost, and what was queued with it
                self.synchronize()
            raise

    @property
    def capturable(self) -> bool:
        """Whether all networks can be captured."""
        return all(session.capturable for session in self.sessions.values())

    def steps(self, ticket: Ticket) -> pipeline.Animation[Array]:
        """The batch's way through the networks, on the host; waits for it."""
        arrays = {name: array.head(ticket.count) for name, array in vars(self._animations[ticket.key.replayed]).items()}
        return pipeline.Animation(**to_host(self.device, self.stream, arrays))

    def copy_in(self, side: int) -> None:
        """Queue the copy of the squares that were put."""
        staging = self.staging[side]
        self.device.upload(staging.squares.address, staging.host, self.stream)

    def preprocess(self, side: int) -> None:
        """Queue their way into the networks' images."""
        squares = self.staging[side].squares
        kernel = KERNELS[of_images("preprocess", self.images.dtype)]
        places = (squares.address, squares.size // self.batch, 3 * side, side, self.images.address)
        self.module.launch(kernel, self.batch, self.stream, *places)

    def postprocess(self, frame: DeviceArray) -> None:
        """Queue the way of generated frames into pixels."""
        kernel = KERNELS[of_images("postprocess", self.images.dtype)]
        self.module.launch(kernel, self.batch, self.stream, frame.address, self.pixels.address)

    def copy_out(self) -> None:
        """Queue the copy of the pixels to the host."""
        self.device.download(self.result, self.pixels.address, self.stream)

    def synchronize(self) -> None:
        """Wait for all that is queued."""
        for stream in self._streams:
            stream.synchronize()

    def _enqueue(self, key: GraphKey) -> None:
        if key.replayed:
            self.device.upload(self.perturbed.address, self.masks, self.stream)
            animation = pipeline.animate_frame(self._replay, self._replay, self.source, self.perturbed)
        else:
            if key.side is not None:
                self.copy_in(key.side)
                self.preprocess(key.side)
            animation = pipeline.animate_frame(self.nets, self.ops, self.source, self.images)
        self._animations[key.replayed] = animation
        self.postprocess(animation.frame)
        if key.to_host:
            self.copy_out()
        if key.recorded:
            self.device.download(self.masks, self.perturbed.address, self.stream)

    def _staging(self, side: int) -> StagingBuffer:
        if side not in self.staging:
            if len(self.staging) == MAX_SIDES:
                oldest, buffer = self.staging.popitem(last=False)
                for key in [key for key in self.graphs if key.side == oldest]:
                    self.graphs.pop(key).close()
                buffer.close()
            self.staging[side] = StagingBuffer(self.device, self.batch, side)
        self.staging.move_to_end(side)
        return self.staging[side]

    def _close(self) -> None:
        for held in (*self.graphs.values(), *self.staging.values()):
            held.close()
