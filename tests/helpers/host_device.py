"""A GPU made of host memory: what is queued runs late, in an order that only streams and events restrict."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.device import Device, Event, Graph, Memory, Module, PinnedMemory, Stream
from maskanim.runtime.cuda.kernels import ADDRESS, Kernel
from maskanim.runtime.cuda.networks import DeviceNetwork, DeviceSession

GUARD = 256  # bytes around each allocation, and its alignment
GUARD_BYTE, FRESH_BYTE = 0xA5, 0xFF  # floats made of 0xFF are NaN
DEFAULT = 1  # the handle of CUDA's default stream, on which libraries work that say nothing of streams
Work = Callable[[], object]

# In which order streams run what may run now: only what is waited for, everything else first, or anyhow.
LAZY, EAGER, SHUFFLED = "lazy", "eager", "shuffled"


class LostError(Exception):
    """As a binding's own error."""


@dataclass(eq=False)
class Node:
    """Something queued. It runs once all that it needs has run."""

    work: Work | None
    needs: list[Node]
    touches: tuple[int, ...]  # addresses
    done: bool = False


@dataclass
class Recording:
    """A capture: its nodes, and for each stream in it the nodes that what is queued next needs."""

    origin: HostStream
    nodes: list[Node] = field(default_factory=list)
    frontiers: dict[int, list[Node]] = field(default_factory=dict)


class HostDevice(Device):
    """Runs the kernels compiled for the host.

    Args:
        kernels: the `host_kernels` fixture.
        order: LAZY, EAGER or SHUFFLED.
        fail_at: the call into the device, counted from 1, that fails with `error`.
        sticky: whether all later ones fail as well, as when the context is lost.

    Attributes:
        calls: into the device.
        lost: whether a call has failed for good; what was queued never runs then.
        allocations: of device and pinned memory.
        captures: of graphs.
        calls_of_captures: calls whose failure, if it does not lose the context, costs a graph alone.
        no_capture: an error with which every capture ends when all of it is queued; empty for none.
    """

    binding = "host"
    can_capture = True

    def __init__(
        self,
        kernels: Any,
        order: str = LAZY,
        seed: int = 0,
        fail_at: int = 0,
        error: str = "CUDA_ERROR_LAUNCH_FAILED",
        sticky: bool = True,
    ) -> None:
        super().__init__(0, "host", (0, 0), 2**34)
        self.host_kernels, self.order, self.random = kernels, order, Random(seed)
        self.fail_at, self.error, self.sticky, self.lost = fail_at, error, sticky, False
        self.calls = self.allocations = self.captures = self.launches = self.calls_of_captures = 0
        self.no_capture = ""
        self.live: dict[int, HostMemory | HostPinned] = {}
        self.pending: list[Node] = []
        self.streams: dict[int, HostStream] = {}
        self.recording: Recording | None = None
        self.released = False
        self.default_stream = HostStream(self, DEFAULT)
        self.resources.clear()  # that one is CUDA's

    def kernels(self) -> Module:
        if self._module is None:
            with self.driver_errors("loading its kernels"):
                self.called()
                self._module = HostModule(self)
        return self._module

    def stream(self) -> Stream:
        with self.driver_errors("creating a stream"):
            self.called()
            return HostStream(self)

    def event(self) -> Event:
        with self.driver_errors("creating an event"):
            self.called()
            return HostEvent(self)

    def upload(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        with self.driver_errors("copying to it"):
            self.called()
            self.check(address, source.nbytes)
            move = partial(self.move, address, source, source.nbytes)
            cast(HostStream, stream).put(move, address, source.ctypes.data)

    def download(self, destination: NDArray[Any], address: int, stream: Stream) -> None:
        with self.driver_errors("copying from it"):
            self.called()
            self.check(address, destination.nbytes)
            move = partial(self.move, destination, address, destination.nbytes)
            cast(HostStream, stream).put(move, address, destination.ctypes.data)

    def copy(self, destination: int, source: int, size: int, stream: Stream) -> None:
        with self.driver_errors("copying"):
            self.called()
            self.check(destination, size)
            self.check(source, size)
            cast(HostStream, stream).put(partial(self.move, destination, source, size), destination, source)

    def synchronize(self) -> None:
        with self.driver_errors("waiting for its work"):
            self.called(order=True)
            assert self.recording is None, "the host waits during a capture"
            self.run_until(self.pending)

    def hold_default_stream(self, event: Event) -> None:
        self.default_stream.wait(event)

    def capture(self, stream: Stream, work: Work) -> Graph:
        with self.driver_errors("capturing a graph"):
            self.called()
            self.calls_of_captures += 1
            assert self.recording is None
            origin = cast(HostStream, stream)
            self.recording = Recording(origin, frontiers={id(origin): []})
            try:
                work()
                recording = self.recording
                if self.no_capture:
                    raise LostError(self.no_capture)
            finally:
                self.recording = None
            self.captures += 1
            self._check_joined(recording)
            return HostGraph(self, recording.nodes)

    @contextmanager
    def driver_errors(self, doing: str) -> Iterator[None]:
        """As every device's, but what this one asserts is no error of a GPU."""
        try:
            with super().driver_errors(doing):
                yield
        except MaskanimError as error:
            if isinstance(error.__cause__, AssertionError):
                raise error.__cause__ from None
            raise

    def called(self, order: bool = False) -> None:
        """Count a call, and fail if it is its turn; what orders work fails only when the context is lost."""
        assert not self.released, "a call after the device was closed"
        self.calls += 1
        self.calls_of_captures += self.recording is not None and not order
        if self.calls == self.fail_at or self.lost:
            self.lost = self.sticky or order
            raise LostError(self.error)

    def check(self, address: int, size: int) -> None:
        """Refuse what does not lie within one live allocation."""
        assert any(m.address <= address and address + size <= m.address + m.size for m in self.live.values()), (
            f"{size} bytes at {address:#x} are not this device's"
        )

    def move(self, destination: int | NDArray[Any], source: int | NDArray[Any], size: int) -> None:
        """A copy, when its turn comes; host arrays are kept until then."""
        addresses = (place if isinstance(place, int) else place.ctypes.data for place in (destination, source))
        ctypes.memmove(*addresses, size)

    def run_until(self, wanted: Iterable[Node]) -> None:
        """Run what has to be done, and before it whatever the order prefers."""
        goals = list(wanted)
        if self.order == EAGER:
            needed = self._needed(goals)
            self._run_all(node for node in list(self.pending) if id(node) not in needed)
        if self.order == SHUFFLED:
            self._run_shuffled(goals)
        for goal in goals:
            self._run(goal)
        self.pending = [node for node in self.pending if not node.done]

    def _run(self, goal: Node) -> None:
        """A node and what it needs, those first; deep chains rule out recursion."""
        stack = [goal]
        while stack:
            waiting = [need for need in stack[-1].needs if not need.done]
            if waiting:
                stack.extend(waiting)
                continue
            node = stack.pop()
            if not node.done:
                node.done = True
                node.work()
                node.needs, node.work = [], None  # what it held may go

    def _run_all(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self._run(node)

    def _run_shuffled(self, goals: list[Node]) -> None:
        while not all(goal.done for goal in goals):
            ready = [node for node in self.pending if not node.done and all(need.done for need in node.needs)]
            self._run(self.random.choice(ready))

    def _needed(self, goals: list[Node]) -> set[int]:
        found: dict[int, Node] = {}
        stack = list(goals)
        while stack:
            node = stack.pop()
            if id(node) not in found and not node.done:
                found[id(node)] = node
                stack.extend(node.needs)
        return set(found)

    def _check_joined(self, recording: Recording) -> None:
        joined = self._needed(recording.frontiers[id(recording.origin)])
        if any(id(node) not in joined for node in recording.nodes):
            raise LostError("CUDA_ERROR_STREAM_CAPTURE_UNJOINED")

    def _allocate(self, size: int) -> Memory:
        self.called()
        return HostMemory(self, size)

    def _pinned(self, size: int) -> PinnedMemory:
        self.called()
        return HostPinned(self, size)

    def _load(self, cubin: bytes) -> Module:
        raise AssertionError("kernels() gives the ones compiled for the host")

    def _memory(self) -> tuple[int, int]:
        return 3 * 2**20, self.total_memory

    def _release(self) -> None:
        assert not self.live, f"{len(self.live)} allocations were left"
        self.released = True


class _Guarded:
    """Memory between two guards; a write outside of it, a second free and a free under queued work are noticed."""

    def __init__(self, device: HostDevice, size: int) -> None:
        self.device, self.size = device, size
        self._room = np.full(size + 4 * GUARD, GUARD_BYTE, np.uint8)
        start = -self._room.ctypes.data % GUARD + GUARD
        self.array = self._room[start : start + size]
        self.array[:] = FRESH_BYTE
        self.address = self.array.ctypes.data
        self._start = start
        device.live[self.address] = self  # type: ignore[assignment]
        device.allocations += 1

    def check_and_forget(self) -> None:
        before, after = self._room[: self._start], self._room[self._start + self.size :]
        assert (before == GUARD_BYTE).all() and (after == GUARD_BYTE).all(), "a write beside an allocation"
        touched = (address for node in self.device.pending if not node.done for address in node.touches)
        under = any(self.address <= address < self.address + self.size for address in touched)
        assert self.device.lost or not under, "memory is freed under queued work"
        del self.device.live[self.address]  # a KeyError is a second free
        self.array[:] = FRESH_BYTE


class HostMemory(_Guarded, Memory):
    def __init__(self, device: HostDevice, size: int) -> None:
        _Guarded.__init__(self, device, size)
        Memory.__init__(self, device, self.address, size, self.check_and_forget)


class HostPinned(_Guarded, PinnedMemory):
    def __init__(self, device: HostDevice, size: int) -> None:
        _Guarded.__init__(self, device, size)
        PinnedMemory.__init__(self, device, self.array, self.check_and_forget)


class HostStream(Stream):
    def __init__(self, device: HostDevice, handle: int | None = None) -> None:
        super().__init__(device, self._check)
        self.host, self.handle = device, 1000 + len(device.streams) if handle is None else handle
        device.streams[self.handle] = self
        self.last: list[Node] = []

    def put(self, work: Work, *touches: int) -> Node:
        """Queue work on some addresses, in this stream or in the graph that is being captured."""
        recording = self.host.recording
        if recording is None:
            node = Node(work, list(self.last), touches)
            self.last = [node]
            self.host.pending.append(node)
            return node
        assert id(self) in recording.frontiers, "work on a stream outside the capture"
        node = Node(work, list(recording.frontiers[id(self)]), touches)
        recording.frontiers[id(self)] = [node]
        recording.nodes.append(node)
        return node

    def wait(self, event: Event) -> None:
        with self.host.driver_errors("waiting for an event"):
            self.host.called()
            marked, captured = cast(HostEvent, event).marked, cast(HostEvent, event).captured
            recording = self.host.recording
            if recording is None:
                if captured is not None:
                    raise LostError("CUDA_ERROR_CAPTURED_EVENT")
                self.last = [node for node in (*self.last, *marked) if not node.done]
            elif captured is not recording:
                raise LostError("CUDA_ERROR_STREAM_CAPTURE_ISOLATION")
            else:
                recording.frontiers[id(self)] = [*recording.frontiers.get(id(self), []), *marked]

    def wait_handle(self, handle: int) -> None:
        with self.host.driver_errors("waiting for another library's stream"):
            self.host.called()
            assert self.host.recording is None
            self.last = [*self.last, *self.host.streams[handle].last]

    def synchronize(self) -> None:
        with self.host.driver_errors("waiting for its work"):
            self.host.called(order=True)
            assert self.host.recording is None, "the host waits during a capture"
            self.host.run_until(self.last)

    def _check(self) -> None:
        assert self.host.lost or all(node.done for node in self.last), "a stream is closed under its work"


class HostEvent(Event):
    def __init__(self, device: HostDevice) -> None:
        super().__init__(device, self._forget)
        self.host = device
        self.marked: list[Node] = []
        self.captured: Recording | None = None

    def record(self, stream: Stream) -> None:
        with self.host.driver_errors("recording an event"):
            self.host.called(order=True)
            queue, recording = cast(HostStream, stream), self.host.recording
            self.captured = recording
            self.marked = list(queue.last if recording is None else recording.frontiers[id(queue)])

    def synchronize(self) -> None:
        with self.host.driver_errors("waiting for its work"):
            self.host.called(order=True)
            assert self.host.recording is None, "the host waits during a capture"
            self.host.run_until(self.marked)

    def _forget(self) -> None:
        self.marked, self.captured = [], None


class HostGraph(Graph):
    def __init__(self, device: HostDevice, nodes: list[Node]) -> None:
        super().__init__(device, self._queue, nodes.clear)
        self.host, self.nodes = device, nodes

    def _queue(self, stream: Stream) -> None:
        self.host.called()
        self.host.launches += 1
        queue = cast(HostStream, stream)
        copies: dict[int, Node] = {}
        for node in self.nodes:
            for address in node.touches:
                self.host.check(address, 1)
            needs = [copies[id(need)] for need in node.needs] or list(queue.last)
            copies[id(node)] = Node(node.work, needs, node.touches)
        self.host.pending.extend(copies.values())
        queue.last = list(copies.values())


class HostModule(Module):
    def __init__(self, device: HostDevice) -> None:
        super().__init__(device, self._queue, lambda: None)
        self.host = device

    def _queue(self, kernel: Kernel, batch: int, stream: Stream, arguments: Sequence[np.generic]) -> None:
        self.host.called()
        run = self.host.host_kernels.launch
        addresses = [int(value) for value in arguments if isinstance(value, ADDRESS)]
        work = partial(run, kernel.name, kernel.grid(batch), kernel.block, *arguments)
        cast(HostStream, stream).put(work, *addresses)


class QueuedNetwork(DeviceNetwork):
    """A network that runs on the host at once, made to run when its stream comes to it.

    Args:
        network: its sessions take host addresses.
        capturable: what its sessions say.
    """

    backend = "host"

    def __init__(self, network: DeviceNetwork, capturable: bool = True) -> None:
        super().__init__(network.spec, network.dtypes, network.max_batch)
        self.network, self.capturable, self.open_sessions = network, capturable, 0

    def _session(self, batch: int, stream: Stream) -> DeviceSession:
        host = cast(HostStream, stream).host
        with host.driver_errors("preparing a network"):
            host.called()
        return QueuedSession(self, batch, stream)

    def close(self) -> None:
        self.network.close()


class QueuedSession(DeviceSession):
    def __init__(self, network: QueuedNetwork, batch: int, stream: Stream) -> None:
        super().__init__(network, batch, stream)
        self._queued = network
        self._session: DeviceSession | None = network.network.session(batch, stream)
        network.open_sessions += 1
        self._nodes: list[Node] = []

    @property
    def capturable(self) -> bool:
        return self._queued.capturable

    def close(self) -> None:
        if self._session is None:
            return
        lost = cast(HostStream, self.stream).host.lost
        assert lost or all(node.done for node in self._nodes), "a session is closed under its work"
        self._queued.open_sessions -= 1
        self._session.close()
        self._session = None

    def _enqueue(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None:
        queue, arrays = cast(HostStream, self.stream), (*inputs.values(), output)
        with queue.host.driver_errors("running a network"):
            queue.host.called()
        assert self._session is not None
        assert self._nodes or queue.host.recording is None, "a network needs a run before it can be captured"
        for array in arrays:
            queue.host.check(array.address, array.size)
        work = partial(self._session.enqueue, dict(inputs), output)
        node = queue.put(work, *(array.address for array in arrays))
        if queue.host.recording is None:
            self._nodes = [*(node for node in self._nodes if not node.done), node]
