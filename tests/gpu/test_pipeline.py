"""The captured pipeline on a GPU against the NumPy one, step by step, with PyTorch running the networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import pytest

from maskanim import ops, pipeline
from maskanim.ops import Array, Frame
from maskanim.runtime.cuda.device import Device
from maskanim.runtime.cuda.runner import CudaRunner
from maskanim.spec import LITE, ModelSpec, NetworkName, Perturbation

torch = pytest.importorskip("torch")

from maskanim.benchmarks.torch_networks import (  # noqa: E402
    lowered_networks,
    plain_networks,
    random_networks,
    torch_networks,
)
from maskanim.networks import Networks, TorchOps  # noqa: E402
from maskanim.train.puppets import Puppet  # noqa: E402

SPEC = ModelSpec(widths=LITE)

# Largest difference of an output in [0, 1], each network given the same inputs: about thirty (float32, another order of
# the sums) and seven (FP16, rounding after every layer) times what these networks show in PyTorch on a processor.
TOLERANCE = {"float": 2e-5, "half": 5e-3}


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [Puppet(i, "test").frame(0.3 * i).image for i in range(8)]


@cache
def networks() -> Networks:
    """Random networks in float32 on the processor."""
    return random_networks(SPEC)


@contextmanager
def opened(
    device: Device, *, half: bool, lowered: bool = False, perturbation: Perturbation = SPEC.perturbation, **options: Any
) -> Iterator[CudaRunner]:
    """A runner over a copy of the random networks."""
    modules = (lowered_networks if lowered else plain_networks)(networks())
    with ExitStack() as stack:
        loaded = torch_networks(modules, half=half)
        for network in loaded.values():
            stack.enter_context(network)
        yield stack.enter_context(CudaRunner(device, loaded, perturbation, **options))


def reference(name: NetworkName, *inputs: Array) -> Array:
    """What a network makes of its inputs in float32 on the processor."""
    batch = max(map(len, inputs))
    tensors = (torch.from_numpy(np.array(np.broadcast_to(x, (batch, *x.shape[1:])))) for x in inputs)
    with torch.inference_mode():
        return np.asarray(getattr(networks(), name)(*tensors))


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("batch", [1, 8])
def test_each_step_is_what_the_paper_says(device: Device, frames: list[Frame], batch: int, precision: str) -> None:
    """Each step's output against NumPy or PyTorch on the device's own inputs: no difference can hide in a median."""
    half, tolerance = precision == "half", TOLERANCE[precision]
    with opened(device, half=half, lowered=half, batch=batch) as runner:
        source = runner.encode_source(frames[-1])
        runner.use(source)
        for _ in range(3):  # step by step, captured, replayed
            ticket = runner.submit(frames[:batch])
            steps, pixels = runner.steps(ticket), runner.collect(ticket)
        s = source.arrays()
    driving = np.concatenate([ops.preprocess(frame) for frame in frames[:batch]])
    exact = np.float16 if half else np.float32
    np.testing.assert_array_equal(s.image, ops.preprocess(frames[-1]).astype(exact))
    np.testing.assert_array_equal(s.small, ops.downscale(s.image).astype(exact))
    np.testing.assert_allclose(s.mask, reference("m", s.image), atol=tolerance)
    np.testing.assert_array_equal(s.mask_up, ops.upscale(s.mask))
    np.testing.assert_allclose(steps.mask, reference("m", driving), atol=tolerance)
    np.testing.assert_array_equal(steps.perturbed, ops.perturb(steps.mask, SPEC.perturbation))
    np.testing.assert_allclose(steps.refined, reference("r", s.small, s.mask, steps.perturbed), atol=tolerance)
    np.testing.assert_allclose(steps.coarse, reference("l", s.small, s.mask, steps.refined), atol=tolerance)
    up = ops.upscale(steps.refined)
    np.testing.assert_allclose(steps.frame, reference("h", s.image, s.mask_up, up, steps.coarse), atol=tolerance)
    np.testing.assert_array_equal(pixels, np.stack([ops.postprocess(frame) for frame in steps.frame]))


def test_the_whole_frame_is_that_of_numpy(device: Device, frames: list[Frame]) -> None:
    """In float32, with a fixed threshold: where no pixel of the mask is near it, the frames agree to a level."""
    nothing_removed = Perturbation(kind="fixed", threshold=0.0)
    with opened(device, half=False, perturbation=nothing_removed) as runner:
        runner.use(runner.encode_source(frames[0]))
        got = runner.collect(runner.submit([frames[1]]))[0]
    images, torch_ops = [torch.from_numpy(ops.preprocess(frame)) for frame in frames[:2]], TorchOps(nothing_removed)
    with torch.inference_mode():
        source = pipeline.encode_source(networks(), torch_ops, images[0])
        frame = pipeline.animate_frame(networks(), torch_ops, source, images[1]).frame
    assert np.abs(got.astype(int) - ops.postprocess(frame.numpy())).max() <= 1


def test_graphs_change_nothing(device: Device, frames: list[Frame]) -> None:
    """Captured and replayed in several slots, with sources that change, against one step after another."""
    results = []
    for graph in (False, True):
        with opened(device, half=True, graph=graph, slots=3 if graph else 1) as runner:
            sources = [runner.encode_source(frame) for frame in frames[:2]]
            tickets, got = [], []
            for i in range(12):
                runner.use(sources[i % 2])
                tickets.append(runner.submit([frames[i // 2]]))
                if len(tickets) == runner.slots:
                    got.append(runner.collect(tickets.pop(0)))
            got += [runner.collect(ticket) for ticket in tickets]
            assert runner.graphs == (graph and device.can_capture)
            results.append(np.concatenate(got))
    # The same kernels on the same inputs; two levels of room, should cuDNN choose another algorithm the second time.
    assert np.abs(results[0].astype(int) - results[1]).max() <= 2
    assert len({frame.tobytes() for frame in results[1]}) == 12


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_frames_that_are_on_the_device_stay_there(device: Device, frames: list[Frame], library: str) -> None:
    module = torch if library == "torch" else pytest.importorskip("cupy", reason="CuPy is not installed")
    with opened(device, half=True) as runner:
        runner.use(runner.encode_source(frames[0]))
        expected = runner.collect(runner.submit([frames[1]]))
        host = torch.from_numpy(frames[1]).pin_memory()
        with torch.cuda.stream(torch.cuda.Stream()) if library == "torch" else nullcontext():
            # Late on a stream of its own: what reads at once reads zeros.
            there = torch.zeros_like(host, device="cuda") if library == "torch" else module.asarray(frames[1])
            if library == "torch":
                torch.cuda._sleep(50_000_000)
                there.copy_(host, non_blocking=True)
            result = runner.collect_on_device(runner.submit([there], to_host=False))
        assert result.stream
        got = (
            torch.as_tensor(result, device="cuda").cpu().numpy() if library == "torch" else module.asarray(result).get()
        )
    np.testing.assert_array_equal(got, expected)
