"""Perturbed masks out of the captured pipeline and into it, on a device in host memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import host_device, toys
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, NumpyOps, lower_median, postprocess, preprocess
from maskanim.pipeline import animate_frame, encode_source
from maskanim.runtime.cuda.networks import DeviceNetwork
from maskanim.runtime.cuda.ort import open_networks
from maskanim.runtime.cuda.runner import CudaRunner, StreamingRunner
from maskanim.runtime.verification import verify
from maskanim.spec import NetworkName, Perturbation

ORDERS = ("lazy", "eager", "shuffled")
LEVELS = 1  # as in test_runner.py


@pytest.fixture(scope="module")
def networks() -> Iterator[dict[NetworkName, DeviceNetwork]]:
    with ExitStack() as opened:
        yield {name: opened.enter_context(network) for name, network in open_networks(toys.toys(), "cpu").items()}


@pytest.fixture
def start(host_kernels: Any, networks: Any) -> Iterator[Callable[..., StreamingRunner]]:
    """A runner on a device of its own, which checks at the end that all is freed."""
    with ExitStack() as opened:

        def started(order: str = "lazy", **options: Any) -> StreamingRunner:
            device = opened.enter_context(host_device.HostDevice(host_kernels, order))
            queued = {name: host_device.QueuedNetwork(network) for name, network in networks.items()}
            cuda = CudaRunner(device, queued, Perturbation(), **options)
            resources = ExitStack()
            resources.enter_context(cuda)
            opened.callback(resources.close)
            return StreamingRunner(cuda, resources)

        yield started


@pytest.fixture(scope="module")
def pictures() -> list[Frame]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (7, 256, 256, 3), np.uint8))


def recorded(runner: StreamingRunner, source: Any, pictures: list[Frame]) -> tuple[list[Frame], list[Array]]:
    steps: list[Any] = list(runner.run(source, map(runner.prepare, pictures), "record"))
    return [step.finish() for step in steps], [step.perturbed for step in steps]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("batch", "slots", "graph"), [(1, 1, True), (1, 3, True), (3, 2, True), (3, 2, False)])
def test_recorded_masks_replay_to_the_same_frames(
    start: Any, pictures: list[Frame], order: str, batch: int, slots: int, graph: bool
) -> None:
    runner = start(order, batch=batch, slots=slots, graph=graph)
    source = runner.encode_source(pictures[0])
    frames, masks = recorded(runner, source, pictures)
    plain = [result.finish() for result in runner.run(source, map(runner.prepare, pictures))]
    np.testing.assert_array_equal(frames, plain)
    kept = [mask.copy() for mask in masks]
    replayed = [result.finish() for result in runner.run(source, iter(masks), "replay")]
    np.testing.assert_array_equal(replayed, frames)
    np.testing.assert_array_equal(masks, kept)


def test_masks_and_frames_are_the_processors(start: Any, pictures: list[Frame]) -> None:
    runner = start(batch=2)
    frames, masks = recorded(runner, runner.encode_source(pictures[0]), pictures)
    nets, ops = toys.NumpyNets(toys.toys(), np.float32), NumpyOps(Perturbation())
    source = encode_source(nets, ops, preprocess(pictures[0]))
    for picture, frame, mask in zip(pictures, frames, masks, strict=True):
        wanted = animate_frame(nets, ops, source, preprocess(picture))
        # Sums in another order: a pixel next to the median may fall on its other side.
        sure = np.abs(wanted.mask - lower_median(wanted.mask)) > 1e-5
        np.testing.assert_allclose(mask[sure], wanted.perturbed[sure], rtol=0, atol=1e-5)
        assert np.abs(frame.astype(int) - postprocess(wanted.frame)).max() <= LEVELS
    np.testing.assert_allclose(runner.mask(pictures[2]), nets.m(preprocess(pictures[2])), rtol=0, atol=1e-5)


def test_masks_are_captured_once(start: Any, pictures: list[Frame]) -> None:
    runner = start(slots=2)
    device, source = runner.cuda.device, runner.encode_source(pictures[0])
    _, masks = recorded(runner, source, pictures)
    assert device.captures == 2 and device.launches == len(pictures) - 2
    list(runner.run(source, masks, "replay"))
    assert device.captures == 4 and device.launches == 2 * (len(pictures) - 2)
    before = device.allocations, device.captures
    list(runner.run(runner.encode_source(pictures[1]), masks, "replay"))
    list(runner.run(source, pictures[:2]))
    assert device.captures == before[1] + 2  # frames without masks go another way


def test_steps_of_masks(start: Any, pictures: list[Frame]) -> None:
    """And of frames after them: both come out of the same buffers."""
    cuda = start(batch=2, slots=1).cuda
    cuda.use(cuda.encode_source(pictures[0]))
    wanted = cuda.steps(cuda.submit(pictures[1:3]))
    for _ in range(2):
        masks = [wanted.perturbed[i : i + 1] for i in range(2)]
        steps = cuda.steps(cuda.submit_masks(masks))
        for name in ("perturbed", "refined", "coarse", "frame"):
            np.testing.assert_array_equal(getattr(steps, name), getattr(wanted, name))
        np.testing.assert_array_equal(steps.mask, wanted.perturbed)
        again = cuda.steps(cuda.submit(pictures[1:3]))
        np.testing.assert_array_equal(again.mask, wanted.mask)


def test_a_ticket_keeps_its_masks_when_its_slot_is_used_again(start: Any, pictures: list[Frame]) -> None:
    cuda = start(slots=1).cuda
    cuda.use(cuda.encode_source(pictures[0]))
    tickets = [cuda.submit([picture], record=True) for picture in pictures[:3]]
    first = cuda.collect_masks(tickets[0])
    assert first.shape == (1, 1, 64, 64) and not np.array_equal(first, cuda.collect_masks(tickets[2]))
    np.testing.assert_array_equal(first, cuda.steps(cuda.submit(pictures[:1])).perturbed)
    on_device = cuda.submit_masks([first], to_host=False)
    assert cuda.collect_on_device(on_device).shape == (1, 256, 256, 3)


def test_masks_that_do_not_fit_are_refused(start: Any, pictures: list[Frame]) -> None:
    cuda = start(batch=2).cuda
    mask = np.zeros((1, 1, 64, 64), np.float32)
    with pytest.raises(MaskanimError, match="no source"):
        cuda.submit_masks([mask])
    cuda.use(cuda.encode_source(pictures[0]))
    before = len(cuda.device.pending)
    for masks, told in (
        ([], "masks: 0; expected from 1 to 2"),
        ([mask] * 3, "masks: 3; expected from 1 to 2"),
        ([mask, mask[0]], r"float32 of shape \(1, 64, 64\); expected float32 of shape \(1, 1, 64, 64\)"),
        ([mask.astype(np.float64)], "mask: float64"),
    ):
        with pytest.raises(MaskanimError, match=told):
            cuda.submit_masks(masks)
    assert len(cuda.device.pending) == before
    with pytest.raises(MaskanimError, match=r"masks that were not recorded; expected a batch submitted with record"):
        cuda.collect_masks(cuda.submit_masks([mask]))


@pytest.mark.parametrize("fault", ["", "black", "NaN", "swapped"])
def test_golden_pairs_on_a_device(host_kernels: Any, tmp_path: Path, fault: str) -> None:
    """What a library built is held against them when it is opened first; the result lies beside what was built."""
    bundle = toys.golden_bundle(tmp_path)
    contents = toys.toys()
    if fault:
        contents["l"] = toys.spoilt(contents["l"], fault)
    with ExitStack() as opened:
        device = opened.enter_context(host_device.HostDevice(host_kernels, "shuffled"))
        networks = {n: opened.enter_context(network) for n, network in open_networks(contents, "cpu").items()}
        queued = {name: host_device.QueuedNetwork(network) for name, network in networks.items()}
        cuda = opened.enter_context(CudaRunner(device, queued, Perturbation(), batch=2))
        runner = StreamingRunner(cuda, ExitStack())
        runner.kept_in = tmp_path / "plans"
        refused = (
            pytest.raises(MaskanimError, match="engine trt, network l: its coarse frame") if fault else nullcontext()
        )
        for _ in range(2):
            with refused:
                verify(bundle, runner, "trt", "TensorRT 10.16")
    (kept,) = runner.kept_in.iterdir()
    assert kept.name.startswith("verified-")
