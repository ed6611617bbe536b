"""Clips through the device pipeline and the commands that open it, on a device in host memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers import host_device
from maskanim.benchmarks.latency.stages import STAGES, stage_times
from maskanim.bundle import Bundle
from maskanim.driver import Gpu
from maskanim.ops import Frame, preprocess
from maskanim.runtime import Animator
from maskanim.runtime.animator import Animator as OpenedAnimator
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.cli import app
from maskanim.runtime.cuda import backends, ort
from maskanim.runtime.cuda.device import Device
from maskanim.runtime.jobs import Job, RenderSettings, render
from maskanim.spec import NETWORK_NAMES
from maskanim.video import open_clip

LEVELS = 1  # as in test_runner.py


@pytest.fixture
def devices(host_kernels: Any, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """The GPU of this machine, as `backends` see it, is an RTX 4090 in host memory; every device that is opened."""
    opened: list[Device] = []

    def open_device(binding: str) -> Device:
        opened.append(host_device.HostDevice(host_kernels))
        return opened[-1]

    def networks(contents: dict[Any, bytes], *_: object) -> Any:
        graphs = {name: tiny_bundle.network(name).read_bytes() for name in NETWORK_NAMES}
        on_host = original(graphs, "cpu").items()
        return {name: host_device.QueuedNetwork(network) for name, network in on_host}

    original = ort.open_networks
    monkeypatch.setattr(backends, "first_gpu", lambda: Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30))
    monkeypatch.setattr(backends, "open_device", open_device)
    monkeypatch.setattr(ort, "open_networks", networks)
    monkeypatch.setattr("maskanim.runtime.cuda.tensorrt.open_networks", networks)
    return opened


@pytest.fixture
def on_device(devices: list[Device], tiny_bundle: Bundle) -> Iterator[OpenedAnimator]:
    with Animator.open(tiny_bundle, "ort-cuda", RunOptions(precision="fp32", batch=3)) as animator:
        yield animator


@pytest.fixture
def on_processor(tiny_bundle: Bundle) -> Iterator[OpenedAnimator]:
    with Animator.open(tiny_bundle, "ort") as animator:
        yield animator


def test_a_stream_equals_the_processor(
    on_device: OpenedAnimator, on_processor: OpenedAnimator, tiny_frames: list[Frame]
) -> None:
    source, expected_source = (a.encode_source(tiny_frames[0]) for a in (on_device, on_processor))
    for name, value in vars(on_device.source_arrays(source)).items():
        np.testing.assert_allclose(value, vars(expected_source)[name], rtol=0, atol=1e-5)  # sums in another order
    frames = list(on_device.stream(source, tiny_frames))
    assert len(frames) == len(tiny_frames)
    for frame, driving in zip(frames, tiny_frames, strict=True):
        assert np.abs(frame.astype(int) - on_processor.animate(expected_source, driving)).max() <= LEVELS


def test_frames_of_several_sizes_go_in_batches_of_their_own(
    on_device: OpenedAnimator, on_processor: OpenedAnimator, tiny_frames: list[Frame]
) -> None:
    frames = [*tiny_frames[:2], *(frame[:66, :70] for frame in tiny_frames[2:6]), tiny_frames[6]]
    source, expected_source = (a.encode_source(tiny_frames[0]) for a in (on_device, on_processor))
    for frame, driving in zip(on_device.stream(source, frames), frames, strict=True):
        assert np.abs(frame.astype(int) - on_processor.animate(expected_source, driving)).max() <= LEVELS


def test_steps_equal_the_processor(
    on_device: OpenedAnimator, on_processor: OpenedAnimator, tiny_frames: list[Frame]
) -> None:
    source, expected_source = (a.encode_source(tiny_frames[0]) for a in (on_device, on_processor))
    prepared = map(on_device.runner.prepare, tiny_frames)
    for result, driving in zip(on_device.runner.run(source, prepared, "steps"), tiny_frames, strict=True):
        steps = result.steps
        assert steps
        np.testing.assert_array_equal(steps.driving, preprocess(driving))
        expected = on_processor.animate_steps(expected_source, driving)
        for name, value in vars(steps.animation).items():
            np.testing.assert_allclose(value, vars(expected)[name], rtol=0, atol=2e-5)  # as above, and U behind r


@pytest.mark.parametrize("grid", [False, True])
def test_a_clip(
    on_device: OpenedAnimator, picture: Path, tiny_clip: Path, tmp_path: Path, tiny_times: tuple[int, ...], grid: bool
) -> None:
    settings = RenderSettings(view="grid" if grid else "frame", provenance=False)
    result = render(on_device, Job(picture, str(tiny_clip), tmp_path / "out.mp4"), settings)
    with open_clip(result.output) as written:
        assert [frame.pts for frame in written] == list(tiny_times)


def test_every_stage_has_its_time(on_device: OpenedAnimator, tiny_frames: list[Frame]) -> None:
    source = on_device.encode_source(tiny_frames[0])
    times = stage_times(on_device.runner, source, tiny_frames[:3])
    assert (
        times is not None and tuple(times) == ("copy in", "preprocess", "m", "P_test", "r", "U", "l", "h") + STAGES[-2:]
    )
    assert min(times.values()) > 0
    frames = list(on_device.stream(source, tiny_frames[:3]))  # and nothing is left in the way
    assert len(frames) == 3


def test_all_that_was_opened_is_freed(devices: list[Device], tiny_bundle: Bundle, tiny_frames: list[Frame]) -> None:
    with Animator.open(tiny_bundle, "ort-cuda", RunOptions(precision="fp32")) as animator:
        animator.animate(animator.encode_source(tiny_frames[0]), tiny_frames[1])
    (device,) = devices
    assert device._closed  # it checks by itself that nothing is left


def test_the_command_builds_missing_plans_and_keeps_them(
    devices: list[Device], tiny_bundle: Bundle, picture: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="plans are built for real")
    arguments = ["--source", picture, "--driving", tiny_clip, "--model", tiny_bundle.path, "-o", tmp_path / "out.mp4"]
    first, second = (
        CliRunner().invoke(app, [*map(os.fspath, arguments), "--engine", "rtx", "--precision", "fp32", "--batch", "3"])
        for _ in range(2)
    )
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    assert "no plans" in first.stderr and "no plans" not in second.stderr
    (folder,) = tiny_bundle.path.glob("plans/rtx-*")
    assert folder.name.endswith("-sm89-fp32-b1.3.3-o3")  # a source is encoded with a batch of 1
    assert "engine: rtx (TensorRT-RTX" in second.stdout and "RTX 4090 (sm_89), FP32, through" in second.stdout
    with Animator.open(tiny_bundle, "rtx", RunOptions(batch=3, precision="fp32")) as animator:
        assert animator.runner.kept_in == folder  # what verification finds lies with the plans it is about


@pytest.mark.parametrize("no_graph", [False, True])
def test_the_command_captures_graphs_unless_told_otherwise(
    devices: list[Device], tiny_bundle: Bundle, picture: Path, tiny_clip: Path, tmp_path: Path, no_graph: bool
) -> None:
    files = ["--source", picture, "--driving", tiny_clip, "--model", tiny_bundle.path, "-o", tmp_path / "out.mp4"]
    options = ["--engine", "ort-cuda", "--precision", "fp32", *(["--no-graph"] if no_graph else [])]
    result = CliRunner().invoke(app, [*map(os.fspath, files), *options])
    assert result.exit_code == 0, result.output
    (device,) = devices
    assert isinstance(device, host_device.HostDevice) and (device.captures == 0) == no_graph
