"""Frames through the networks on a GPU: several in flight, each one captured graph."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import cycle, groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskanim import pipeline
from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, centre_square, preprocess
from maskanim.runtime.cuda.arrays import DeviceArray, DType, device_square
from maskanim.runtime.cuda.device import Device
from maskanim.runtime.cuda.graph import GraphKey, Slot, Ticket
from maskanim.runtime.cuda.networks import MASK_CHANNELS, DeviceNetwork
from maskanim.runtime.cuda.pipeline import MASKS, DeviceSource, Encoder, allocate_source
from maskanim.runtime.runner import Animation, FrameResult, Mode, Runner, Source, Steps, in_batches
from maskanim.spec import NetworkName, Perturbation

__all__ = ["CudaRunner", "DeviceSource", "StreamingRunner", "Ticket"]

LOG = logging.getLogger(__name__)
COST = "which takes 8.7 ms a frame in place of 1.8 on an H200"  # benchmarks/results/gpu-h200.json: full size, batch 1


class CudaRunner(Closing):
    """Animates on a GPU; a context manager, used in the thread that opened the device.

    Each slot has its own stream, buffers and sessions, so that the next frames are copied and queued while one is
    computed. The first batch of a frame size runs step by step and is then captured; from there on a batch is one
    graph: copy in, preprocess, m, P_test, r, l beside U, h, postprocess, copy out. Frames that are in device memory
    already are preprocessed in front of the graph, because it cannot hold addresses that change. Perturbed masks may
    come out beside the frames, or come in where there are no frames; each of these ways has a graph of its own. Every
    batch runs at the full size, with the frames that were there before in the rest: networks and graphs see one shape
    only.

    Args:
        device: stays open longer than the runner, as do the networks.
        networks: all four, with images of one type.
        perturbation: P_test of the model.
        batch: how many frames go through the networks at once, at most.
        slots: how many batches may be in flight.
        graph: capture graphs where device and networks can; otherwise the work is queued step by step, as it is where a
            capture fails, which is logged once.

    Raises:
        MaskanimError: the networks do not go together or take no such batch, or the GPU has too little memory.
    """

    def __init__(
        self,
        device: Device,
        networks: Mapping[NetworkName, DeviceNetwork],
        perturbation: Perturbation,
        *,
        batch: int = 1,
        slots: int = 3,
        graph: bool = True,
    ) -> None:
        self.device, self.batch, self.slots = device, batch, slots
        images = _image_type(networks)
        with ExitStack() as owned:
            self._encoder = Encoder(device, networks["m"], perturbation, owned)
            self._live = allocate_source(device, owned, batch, images)
            self._used = owned.enter_context(device.event())
            self._written = owned.enter_context(device.event())
            self._stream, self._incoming = (owned.enter_context(device.stream()) for _ in range(2))
            owned.callback(self._stream.synchronize)
            owned.callback(self._incoming.synchronize)
            self._slots = [Slot(device, networks, perturbation, self._live, owned) for _ in range(slots)]
            self._owned = owned.pop_all()
        self._next = cycle(self._slots)
        self._capture = graph and device.can_capture
        self._has_source, self._closed = False, False

    @property
    def graphs(self) -> bool:
        """Whether batches run as captured graphs: they may, and device and networks can."""
        return self._capture and all(slot.capturable for slot in self._slots)

    def encode_source(self, frame: object) -> DeviceSource:
        """All that depends on the source alone; needed once per source. Waits until it is done.

        Args:
            frame: (H, W, 3) uint8 RGB of any size from 64x64, NumPy, or in device memory with DLPack or
                ``__cuda_array_interface__``; there it is read once what writes it is done.

        Raises:
            MaskanimError: not a picture, or too small.
        """
        self._check_open()
        return self._encoder.encode(frame)

    def use(self, source: DeviceSource) -> None:
        """Animate this source from the next batch on; batches in flight keep theirs. Returns at once.

        The source may be closed afterwards. No graph is captured again.
        """
        self._check_open()
        self._has_source = False  # until all of it is there
        for slot in self._slots:
            self._stream.wait(slot.done)
        source.copy_to(self._live, self._stream)
        self._used.record(self._stream)
        self._has_source = True

    def submit(self, frames: Sequence[object], *, to_host: bool = True, record: bool = False) -> Ticket:
        """Queue a batch of driving frames.

        Where all slots are taken it waits for the oldest batch; a result for the host is then kept in its ticket.

        Args:
            frames: from 1 to `batch` pictures, as in `encode_source`. Either all are NumPy arrays, whose squares are of
                one size, and which may be reused at once; or all are in device memory, which must stay as it is until
                the ticket is collected.
            to_host: False leaves the result on the device, for `collect_on_device`.
            record: True brings the perturbed masks to the host as well, for `collect_masks`.

        Raises:
            MaskanimError: not such frames, no source is in use, or the GPU failed.
        """
        self._check_ready("frames", len(frames))
        pictures = [frame for frame in frames if isinstance(frame, np.ndarray)]
        if len(pictures) not in (0, len(frames)):
            raise MaskanimError("frames", "some on the host and some on the device", "one place", "Submit them apart")
        side: int | None = None
        if pictures:
            squares = [centre_square(picture) for picture in pictures]
            side = _one_side(squares)
            slot = self._free_slot()
            slot.put_host(squares)
        else:
            on_device = [device_square(frame, self._incoming) for frame in frames]
            self._written.record(self._incoming)
            slot = self._free_slot()
            with slot.settled_on_error():
                slot.put_device(on_device, self._written)
        return self._run(slot, len(frames), GraphKey(side, to_host, recorded=record))

    def submit_masks(self, masks: Sequence[Array], *, to_host: bool = True) -> Ticket:
        """Queue a batch of perturbed masks in place of driving frames; otherwise as `submit`.

        Args:
            masks: from 1 to `batch`, each (1, 1, 64, 64) float32 in [0, 1]; they may be reused at once.

        Raises:
            MaskanimError: not such masks, no source is in use, or the GPU failed.
        """
        self._check_ready("masks", len(masks))
        for mask in masks:
            if mask.dtype != np.float32 or mask.shape != (1, *MASKS):
                raise MaskanimError("mask", f"{mask.dtype} of shape {mask.shape}", f"float32 of shape {(1, *MASKS)}")
        slot = self._free_slot()
        slot.put_masks(masks)
        return self._run(slot, len(masks), GraphKey(None, to_host, replayed=True))

    def collect(self, ticket: Ticket) -> NDArray[np.uint8]:
        """A batch's frames; waits for them.

        Returns:
            (n, 256, 256, 3) uint8 RGB, in an array that belongs to the caller.

        Raises:
            MaskanimError: it was left on the device, or the GPU failed.
        """
        if not ticket.key.to_host:
            raise MaskanimError("GPU runner", "frames that were left on the device", "collect_on_device for them")
        return self._fetched(ticket)[0]

    def collect_masks(self, ticket: Ticket) -> Array:
        """The perturbed masks of a batch that was submitted with `record`; waits for them.

        Returns:
            (n, 1, 64, 64) float32 in [0, 1], in an array that belongs to the caller.

        Raises:
            MaskanimError: they were not recorded, or the GPU failed.
        """
        if not ticket.key.recorded:
            raise MaskanimError("GPU runner", "masks that were not recorded", "a batch submitted with record=True")
        return self._fetched(ticket)[1]

    def collect_on_device(self, ticket: Ticket) -> DeviceArray:
        """A batch's frames where they are, without waiting for them.

        Returns:
            (n, 256, 256, 3) uint8 RGB, to be read after what its ``stream`` holds. Libraries that know version 3 of
            ``__cuda_array_interface__``, such as CuPy, see to that. For those that do not, such as PyTorch, CUDA's
            default stream waits for it; work on other streams has to wait for ``stream`` by itself. It is overwritten
            by the `slots`-th batch submitted after it: reading has to be finished by then.

        Raises:
            MaskanimError: that batch has been submitted already.
        """
        slot = self._slot(ticket)
        self.device.hold_default_stream(slot.done)
        return replace(slot.pixels.head(ticket.count), stream=slot.stream.handle)

    def steps(self, ticket: Ticket) -> pipeline.Animation[Array]:
        """A batch's m_d, m_dp, m_dr, c and f, as NCHW float32 in [0, 1] on the host; waits for them.

        Of a batch of masks nobody knows m_d; its m_dp stands there.

        Raises:
            MaskanimError: `slots` batches have been submitted since, the last of which has overwritten them.
        """
        return self._slot(ticket).steps(ticket)

    def idle_slot(self, squares: Sequence[Frame]) -> Slot:
        """A slot with a batch of squares of one size put into it and nothing queued: for measuring stage by stage."""
        self._check_open()
        slot = self._free_slot()
        slot.put_host(squares)
        slot.stream.wait(self._used)
        return slot

    def close(self) -> None:
        """Wait for what is in flight and free all that the runner holds; again does nothing."""
        self._closed = True
        self._owned.close()

    def _run(self, slot: Slot, count: int, key: GraphKey) -> Ticket:
        with slot.settled_on_error():
            slot.stream.wait(self._used)
            slot.run(key)
        slot.ticket = Ticket(count, key, slot)
        if self._capture:
            self._try_to_capture(slot, key)
        return slot.ticket

    def _try_to_capture(self, slot: Slot, key: GraphKey) -> None:
        try:
            slot.capture(key)
        except MaskanimError as error:
            self._capture = False
            LOG.warning("note: without a CUDA graph from here on, %s: %s", COST, error)

    def _free_slot(self) -> Slot:
        """The next slot, when its batch is done and its result is safe."""
        slot = next(self._next)
        if slot.ticket:
            self._fetched(slot.ticket)
            slot.ticket.slot = None
            slot.ticket = None
        return slot

    def _fetched(self, ticket: Ticket) -> tuple[NDArray[np.uint8], Array]:
        """What of a batch comes to the host, in arrays that are its own; the rest of it is empty."""
        if ticket.fetched is None:
            slot = self._slot(ticket)
            slot.done.synchronize()
            frames = slot.result[: ticket.count if ticket.key.to_host else 0].copy()
            ticket.fetched = frames, slot.masks[: ticket.count if ticket.key.recorded else 0].copy()
        return ticket.fetched

    def _slot(self, ticket: Ticket) -> Slot:
        self._check_open()
        if ticket.slot is None:
            wanted = f"a ticket among the last {len(self._slots)}"
            raise MaskanimError("GPU runner", "a ticket whose slot has been used again", wanted, "Use more slots")
        return ticket.slot

    def _check_ready(self, noun: str, count: int) -> None:
        self._check_open()
        if not self._has_source:
            raise MaskanimError("GPU runner", "no source", "one in use before the first frame")
        if not 1 <= count <= self.batch:
            raise MaskanimError(noun, str(count), f"from 1 to {self.batch}, the batch size")

    def _check_open(self) -> None:
        if self._closed:
            raise MaskanimError("GPU runner", "it is closed", "an open one", "Open the model again")


class StreamingRunner(Runner):
    """A CudaRunner fed with pictures in host memory.

    Args:
        resources: what to close with it, the runner itself included.
    """

    def __init__(self, cuda: CudaRunner, resources: ExitStack) -> None:
        self.cuda, self._resources = cuda, resources
        self._in_use: DeviceSource | None = None

    def encode_source(self, image: Frame) -> DeviceSource:
        return self.cuda.encode_source(image)

    def source_arrays(self, source: DeviceSource) -> Source:
        return source.arrays()

    def prepare(self, frame: Frame) -> Frame:
        """The centred square, so that no more is copied to the GPU than is used."""
        return np.ascontiguousarray(centre_square(frame))

    def run(self, source: DeviceSource, inputs: Iterable[Any], mode: Mode = "frame") -> Iterator[FrameResult]:
        size = self.cuda.batch
        batches = in_batches(inputs, size) if mode == "replay" else _batches(inputs, size)
        submit = self.cuda.submit_masks if mode == "replay" else partial(self.cuda.submit, record=mode == "record")
        for batch, ticket in self._tickets(source, batches, submit):
            masks = self.cuda.collect_masks(ticket) if mode == "record" else None
            steps: dict[str, Array] = vars(self.cuda.steps(ticket)) if mode == "steps" else {}
            # Not in the function that finishes a frame: the device belongs to this thread.
            for i, frame in enumerate(self.cuda.collect(ticket)):
                perturbed = None if masks is None else masks[i : i + 1]
                yield FrameResult(partial(np.asarray, frame), perturbed, _steps(batch[i], steps, i) if steps else None)

    def _tickets(
        self, source: DeviceSource, batches: Iterable[list[Any]], submit: Callable[[list[Any]], Ticket]
    ) -> Iterator[tuple[list[Any], Ticket]]:
        """Keep all slots busy; each ticket comes out when another batch needs its slot, or at the end."""
        waiting: deque[tuple[list[Any], Ticket]] = deque()
        self.use(source)
        for batch in batches:
            if len(waiting) == self.cuda.slots:
                yield waiting.popleft()
            waiting.append((batch, submit(batch)))
        yield from waiting

    def use(self, source: DeviceSource) -> None:
        """Copy another source into place; the one that is there already costs nothing."""
        if source is not self._in_use:
            self._in_use = None
            self.cuda.use(source)
            self._in_use = source

    def close(self) -> None:
        self._in_use = None
        self._resources.close()


def _steps(frame: Frame, arrays: dict[str, Array], i: int) -> Steps:
    return Steps(preprocess(frame), Animation(**{name: value[i : i + 1] for name, value in arrays.items()}))


def _batches(prepared: Iterable[Frame], size: int) -> Iterator[list[Any]]:
    """Batches of pictures of one size, as `CudaRunner.submit` takes them."""
    for _, alike in groupby(prepared, key=len):
        yield from in_batches(alike, size)


def _one_side(squares: Sequence[Frame]) -> int:
    sides = {len(square) for square in squares}
    if len(sides) > 1:
        told = " and ".join(str(side) for side in sorted(sides))
        raise MaskanimError("frames", f"squares of {told} pixels in one batch", "one size", "Submit them apart")
    return sides.pop()


def _image_type(networks: Mapping[NetworkName, DeviceNetwork]) -> DType:
    types = {
        network.dtypes[tensor.name]
        for network in networks.values()
        for tensor in (*network.spec.inputs, network.spec.output)
        if tensor.channels != MASK_CHANNELS
    }
    if len(types) > 1:
        told = " and ".join(sorted(str(dtype) for dtype in types))
        raise MaskanimError("networks", f"images of {told}", "one type", "Build all four with one precision")
    return types.pop()
