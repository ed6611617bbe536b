"""The pipeline on a device against the animator on the processor: same networks, same frames, no GPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import host_device, toys
from maskanim import ops
from maskanim.bundle import Bundle, Manifest, network_file, write_bundle
from maskanim.errors import MaskanimError
from maskanim.half import to_half
from maskanim.models import DEMO
from maskanim.ops import Frame
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.networks import DeviceNetwork
from maskanim.runtime.cuda.ort import open_networks
from maskanim.runtime.cuda.runner import CudaRunner
from maskanim.spec import NETWORK_NAMES, ModelSpec, NetworkName, Perturbation
from maskanim.video import open_clip, read_picture

Networks = dict[NetworkName, DeviceNetwork]

# Without a resize the two are equal here. A resize adds its float32 products in another order than OpenCV, which rounds
# 1 in 60,000 values to the next level; other processors may order the networks' sums differently as well.
LEVELS = 1


ORDERS = ("lazy", "eager", "shuffled")


class Foreign:
    """A picture in device memory, as another library gives it.

    Args:
        stream: on which it is written; None if it is written already.
        padding: bytes behind each row.
        version: of ``__cuda_array_interface__``; the second says nothing of the stream, as PyTorch's.
    """

    def __init__(self, device: Any, picture: Frame, stream: Any = None, padding: int = 0, version: int = 3) -> None:
        height, width = picture.shape[:2]
        row = 3 * width + padding
        self.memory = device.allocate(height * row)
        rows = np.zeros((height, row), np.uint8)
        rows[:, : 3 * width] = picture.reshape(height, -1)
        queue = stream or device.stream()
        device.upload(self.memory.address, rows, queue)
        if stream is None:
            queue.synchronize()
        self.__cuda_array_interface__ = DeviceArray(
            self.memory.address,
            picture.shape,
            np.dtype(np.uint8),
            strides=(row, 3, 1) if padding else None,
            stream=None if stream is None or version == 2 else stream.handle,
        ).__cuda_array_interface__
        self.__cuda_array_interface__["version"] = version


class ForeignDLPack(Foreign):
    """The same with DLPack, whose protocol makes the reader's stream wait for the writer's."""

    def __init__(self, device: Any, picture: Frame, stream: Any) -> None:
        super().__init__(device, picture, stream, version=2)
        self.device, self.picture, self.stream = device, picture, stream

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int, **options: Any) -> object:
        self.device.streams[stream].wait_handle(self.stream.handle)
        return self.memory.array.reshape(self.picture.shape).__dlpack__(**options)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    contents = toys.toys()
    networks = {name: network_file(name, content) for name, content in contents.items()}
    manifest = Manifest(name="toys", model=ModelSpec(), opset=20, networks=networks)
    return write_bundle(tmp_path_factory.mktemp("models") / "toys", manifest, contents)


@pytest.fixture(scope="module")
def animator(bundle: Bundle) -> Iterator[Animator]:
    with Animator.open(bundle, "ort") as opened:
        yield opened


@contextmanager
def networks_of(bundle: Bundle, convert: Callable[[bytes, NetworkName], bytes] | None = None) -> Iterator[Networks]:
    """A bundle's networks on host addresses."""
    contents = {name: bundle.network(name).read_bytes() for name in NETWORK_NAMES}
    if convert:
        contents = {name: convert(content, name) for name, content in contents.items()}
    with ExitStack() as opened:
        yield {name: opened.enter_context(network) for name, network in open_networks(contents, "cpu").items()}


@pytest.fixture(scope="module")
def networks(bundle: Bundle) -> Iterator[Networks]:
    with networks_of(bundle) as opened:
        yield opened


@pytest.fixture
def start(host_kernels: Any, networks: Networks) -> Iterator[Callable[..., CudaRunner]]:
    """A runner on a device of its own; all of both is freed at the end, and nothing is freed wrongly."""
    with ExitStack() as opened:

        def started(order: str = "lazy", capturable: bool = True, **options: Any) -> CudaRunner:
            device = opened.enter_context(host_device.HostDevice(host_kernels, order))
            queued = {name: host_device.QueuedNetwork(n, capturable) for name, n in networks.items()}
            perturbation = options.pop("perturbation", Perturbation())
            return opened.enter_context(CudaRunner(device, queued, perturbation, **options))

        yield started


@pytest.fixture(scope="module")
def pictures(tiny_frames: list[Frame]) -> list[Frame]:
    """Frames of 256x256, which no side resizes: what is left is the order of sums."""
    return [np.ascontiguousarray(np.tile(frame, (4, 3, 1))[:256, :256]) for frame in tiny_frames]


def expected(animator: Animator, source: Frame, frames: Sequence[Frame]) -> NDArray[np.uint8]:
    encoded = animator.encode_source(source)
    return np.stack([animator.animate(encoded, frame) for frame in frames])


def assert_near(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
    assert found.dtype == np.uint8 and found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= LEVELS


def animate(runner: CudaRunner, frames: Sequence[object], ahead: int = 0) -> NDArray[np.uint8]:
    """All frames through a runner in batches, collected `ahead` batches after they were submitted."""
    batches = [frames[i : i + runner.batch] for i in range(0, len(frames), runner.batch)]
    tickets, results = [], []
    for batch in batches:
        tickets.append(runner.submit(batch))
        if len(tickets) > ahead:
            results.append(runner.collect(tickets.pop(0)))
    return np.concatenate([*results, *map(runner.collect, tickets)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("batch", "slots", "graph"), [(1, 1, True), (1, 3, True), (3, 3, True), (3, 1, False), (1, 3, False)]
)
def test_frames_are_the_animators(
    start: Any, animator: Animator, pictures: list[Frame], order: str, batch: int, slots: int, graph: bool
) -> None:
    runner = start(order, batch=batch, slots=slots, graph=graph)
    with runner.encode_source(pictures[0]) as source:
        runner.use(source)
    found = animate(runner, pictures, ahead=slots - 1)
    assert_near(found, expected(animator, pictures[0], pictures))
    assert runner.graphs == graph and (runner.device.launches > 0) == (graph and len(pictures) > batch * slots)


@pytest.mark.parametrize("size", [(64, 64), (72, 96), (300, 256), (257, 512)])
def test_frames_of_any_size(start: Any, animator: Animator, size: tuple[int, int]) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8))
    runner = start()
    with runner.encode_source(frames[0]) as source:
        runner.use(source)
        assert_near(animate(runner, frames), expected(animator, frames[0], frames))


def test_a_source_on_the_host_is_the_animators(start: Any, animator: Animator, pictures: list[Frame]) -> None:
    with start().encode_source(pictures[1]) as source:
        found = vars(source.arrays())
    for name, wanted in vars(animator.source_arrays(animator.encode_source(pictures[1]))).items():
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("order", ORDERS)
def test_sources_are_switched_in_mid_stream_without_capturing_again(
    start: Any, animator: Animator, pictures: list[Frame], order: str
) -> None:
    runner = start(order, batch=2, slots=2)
    pairs = [(pictures[i % 3], pictures[i : i + 2]) for i in range(6)]
    sources = [runner.encode_source(picture) for picture in pictures[:3]]
    tickets = []
    for index, (_, frames) in enumerate(pairs):
        runner.use(sources[index % 3])
        if index >= 3:
            sources[index % 3].close()  # with its copy still queued
        captured = runner.device.captures
        tickets.append(runner.submit(frames))
        assert index < runner.slots or runner.device.captures == captured == runner.slots
    for (source, frames), ticket in zip(pairs, tickets, strict=True):
        assert_near(runner.collect(ticket), expected(animator, source, frames))


@pytest.mark.parametrize("order", ORDERS)
def test_a_partial_batch_runs_like_a_whole_one(
    start: Any, animator: Animator, pictures: list[Frame], order: str
) -> None:
    runner = start(order, batch=3, slots=1)
    runner.use(runner.encode_source(pictures[0]))
    for frames in (pictures[:1], pictures[:3], pictures[3:5], pictures[5:6]):
        assert_near(runner.collect(runner.submit(frames)), expected(animator, pictures[0], frames))
    assert runner.device.captures == 1


def test_a_ticket_keeps_its_frames_when_its_slot_is_used_again(
    start: Any, animator: Animator, pictures: list[Frame]
) -> None:
    runner = start(slots=2)
    runner.use(runner.encode_source(pictures[0]))
    tickets = [runner.submit([picture]) for picture in pictures]
    wanted = expected(animator, pictures[0], pictures)
    for index in (5, 0, 7, 3, 0):
        assert_near(runner.collect(tickets[index]), wanted[index : index + 1])
    kept = runner.collect(tickets[7])
    before = kept.copy()
    runner.collect(runner.submit([pictures[1]]))
    runner.collect(runner.submit([pictures[1]]))
    np.testing.assert_array_equal(kept, before)
    kept += 1
    with pytest.raises(MaskanimError, match="slot has been used again; expected a ticket among the last 2"):
        runner.steps(tickets[5])


@pytest.mark.parametrize("graph", [True, False])
def test_steps_are_the_animators(start: Any, animator: Animator, pictures: list[Frame], graph: bool) -> None:
    runner = start(batch=2, slots=1, graph=graph)
    runner.use(runner.encode_source(pictures[0]))
    source = animator.encode_source(pictures[0])
    for frames in (pictures[1:3], pictures[3:5], pictures[5:6]):
        steps = runner.steps(runner.submit(frames))
        assert {len(array) for array in vars(steps).values()} == {len(frames)}
        for index, frame in enumerate(frames):
            for name, array in vars(animator.animate_steps(source, frame)).items():
                # Sums in another order; the mask heads multiply their difference by ten.
                found = getattr(steps, name)[index : index + 1]
                np.testing.assert_allclose(found, array, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("to_host", [True, False])
def test_frames_in_device_memory_are_taken_and_given_without_a_copy(
    start: Any, animator: Animator, pictures: list[Frame], order: str, to_host: bool
) -> None:
    runner = start(order, batch=2, slots=2)
    device, producer = runner.device, runner.device.stream()
    uploads = _count(device, "upload")
    runner.use(runner.encode_source(Foreign(device, pictures[0])))
    wanted = expected(animator, pictures[0], pictures[:6])
    consumer, kept = device.stream(), []
    for index in range(0, 6, 2):
        frames = [Foreign(device, frame, producer, padding=5 * index) for frame in pictures[index : index + 2]]
        before = len(uploads)
        ticket = runner.submit(frames, to_host=to_host)
        assert len(uploads) == before
        if to_host:
            found = runner.collect(ticket)
        else:
            array = runner.collect_on_device(ticket)
            found = np.empty(array.shape, np.uint8)
            consumer.wait_handle(array.__cuda_array_interface__["stream"])
            device.download(found, array.address, consumer)
            consumer.synchronize()
        assert_near(found, wanted[index : index + 2])
        kept.append(frames)
    assert runner.device.captures == 2


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["version 2", "DLPack"])
def test_frames_of_a_library_that_says_nothing_of_streams(
    start: Any, animator: Animator, pictures: list[Frame], order: str, kind: str
) -> None:
    """PyTorch's way: written on a stream that the interface does not name, and read on the default stream."""
    if kind == "DLPack":
        pytest.importorskip("cuda.core", reason="DLPack is read by cuda-core")
    runner = start(order, slots=2)
    device, writer = runner.device, runner.device.stream()

    def given(picture: Frame) -> Foreign:
        if kind == "DLPack":
            return ForeignDLPack(device, picture, writer)
        return Foreign(device, picture, writer, version=2)

    with runner.encode_source(given(pictures[0])) as source:
        runner.use(source)
    kept = []
    for frame, wanted in zip(pictures[:4], expected(animator, pictures[0], pictures[:4]), strict=True):
        kept.append(given(frame))
        array = runner.collect_on_device(runner.submit([kept[-1]], to_host=False))
        found = np.empty(array.shape, np.uint8)
        device.download(found, array.address, device.default_stream)
        device.default_stream.synchronize()
        assert_near(found, wanted[None])


@pytest.mark.parametrize("to_host", [True, False])
def test_no_more_batches_than_slots_are_in_flight(start: Any, pictures: list[Frame], to_host: bool) -> None:
    runner = start(slots=2)
    runner.use(runner.encode_source(pictures[0]))
    queued = []
    for _ in range(4):
        runner.submit(pictures[:1], to_host=to_host)
        queued.append(sum(not node.done for node in runner.device.pending))
    assert queued[1] > queued[0] and max(queued[2:]) <= queued[1]


def test_after_the_first_frames_nothing_is_allocated(start: Any, pictures: list[Frame]) -> None:
    runner = start(slots=2)
    runner.use(runner.encode_source(pictures[0]))
    animate(runner, pictures[:2])
    before = runner.device.allocations, runner.device.captures
    animate(runner, pictures, ahead=1)
    assert (runner.device.allocations, runner.device.captures) == before


def test_only_a_few_frame_sizes_are_kept(start: Any, animator: Animator) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64 + 8 * i, 70 + 8 * i, 3), np.uint8) for i in (0, 1, 2, 3, 4, 5, 0, 5)]
    runner = start(slots=1)
    runner.use(runner.encode_source(frames[0]))
    counts = []
    for frame in frames:
        assert_near(runner.collect(runner.submit([frame])), expected(animator, frames[0], [frame]))
        counts.append((len(runner.device.live), runner.device.captures))
    assert len({count for count, _ in counts[3:]}) == 1
    assert [captures for _, captures in counts] == [1, 2, 3, 4, 5, 6, 7, 7]


def test_networks_that_cannot_be_captured_run_step_by_step(
    start: Any, animator: Animator, pictures: list[Frame]
) -> None:
    runner = start(capturable=False)
    runner.use(runner.encode_source(pictures[0]))
    assert_near(animate(runner, pictures), expected(animator, pictures[0], pictures))
    assert not runner.graphs and runner.device.captures == 0


def test_a_fixed_threshold(start: Any, animator: Animator, pictures: list[Frame]) -> None:
    mask = animator.animate_steps(animator.encode_source(pictures[0]), pictures[1]).mask
    threshold = float(np.median(mask)) * 1.01
    runner = start(perturbation=Perturbation(kind="fixed", threshold=threshold))
    runner.use(runner.encode_source(pictures[0]))
    steps = runner.steps(runner.submit(pictures[1:2]))
    assert 0 < (steps.perturbed > 0).mean() < 1
    np.testing.assert_array_equal(steps.perturbed, np.where(steps.mask > np.float32(threshold), steps.mask, 0))


@pytest.mark.parametrize("kind", ["median", "fixed"])
def test_it_animates_as_the_released_code_does(
    start: Any, pictures: list[Frame], kind: Literal["median", "fixed"]
) -> None:
    threshold = 0.3 if kind == "fixed" else None
    perturbation = Perturbation(kind=kind, threshold=threshold, released_animate=True)
    runner = start(perturbation=perturbation)
    runner.use(runner.encode_source(pictures[0]))
    steps = runner.steps(runner.submit(pictures[1:2]))
    np.testing.assert_array_equal(steps.perturbed, ops.perturb(steps.mask, perturbation))
    assert steps.perturbed.any() and not steps.perturbed[..., :8, :].any()  # nothing is left in the outer eighth


@pytest.mark.parametrize("order", ORDERS)
def test_half_precision_networks(host_kernels: Any, bundle: Bundle, pictures: list[Frame], order: str) -> None:
    contents = {name: to_half(bundle.network(name).read_bytes(), name) for name in NETWORK_NAMES}
    wanted = toys.animated(contents, pictures[0], pictures, np.float16)
    with networks_of(bundle, to_half) as networks, host_device.HostDevice(host_kernels, order) as device:
        queued = {name: host_device.QueuedNetwork(network) for name, network in networks.items()}
        with CudaRunner(device, queued, Perturbation(), batch=2) as runner:
            runner.use(runner.encode_source(pictures[0]))
            assert_near(animate(runner, pictures), np.stack(wanted))


def test_the_demo(host_kernels: Any) -> None:
    demo = Bundle.open(DEMO / "bundle")
    with open_clip(DEMO / "driving.mp4") as clip:
        frames = [timed.image for timed in itertools.islice(clip, 0, 30, 10)]
    with (
        Animator.open(demo, "ort", RunOptions(least_psnr=150)) as animator,
        networks_of(demo) as networks,
        host_device.HostDevice(host_kernels) as device,
    ):
        queued = {name: host_device.QueuedNetwork(network) for name, network in networks.items()}
        with CudaRunner(device, queued, demo.manifest.model.perturbation, slots=2) as runner:
            source = read_picture(DEMO / "source.png")
            runner.use(runner.encode_source(source))
            assert_near(animate(runner, frames, ahead=1), expected(animator, source, frames))


def _count(device: Any, method: str) -> list[object]:
    calls: list[object] = []
    real = getattr(device, method)

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return real(*arguments)

    setattr(device, method, counted)
    return calls
