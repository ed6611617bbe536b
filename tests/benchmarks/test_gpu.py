"""The GPU benchmark without a GPU: its steps over a device made of host memory, its processes, and its shell script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import host
import host_device
import numpy as np
import pytest
import torch

from maskanim import ops, pipeline
from maskanim.benchmarks import gpu, gpu_record, gpu_stages
from maskanim.benchmarks.gpu import STEPS, Step, run_all, run_step, table
from maskanim.benchmarks.gpu_record import DRY, Record, Setup, Subject, measure_group
from maskanim.benchmarks.gpu_steps import frames
from maskanim.benchmarks.random_bundle import random_bundle
from maskanim.benchmarks.torch_networks import (
    EagerPipeline,
    lowered_networks,
    plain_networks,
    random_networks,
    torch_networks,
)
from maskanim.networks import TorchOps
from maskanim.runtime.cuda.runner import CudaRunner

ROOT = Path(__file__).parents[2]
TINY = DRY.models["tiny"]
FEW = DRY._replace(batches=(2,), rounds=1, calls=1)


class OnHost(Setup):
    """The device of the runtime's tests, whose queues run late, and PyTorch's networks on its memory."""

    kernels: Any = None

    def open_device(self) -> Any:
        return host_device.HostDevice(self.kernels)

    def networks(self, modules: Any, **options: Any) -> Any:
        loaded = super().networks(modules, **options)
        return {name: host_device.QueuedNetwork(network) for name, network in loaded.items()}


@pytest.fixture(scope="module")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    OnHost.kernels = host.HostKernels(tmp_path_factory.mktemp("kernels"))
    return OnHost(*FEW)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(name: str, folder: Path, setup: Setup) -> dict[str, Any]:
    run_step(name, folder, setup)
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    assert found["finished"] and found["step"] == name and found["dry"]
    assert {"gpu", "driver", "torch", "cudnn", "processor"} <= set(found["conditions"])
    return found


def test_the_captured_pipeline_with_torch_networks_is_that_of_torch(on_host: Setup) -> None:
    """Float32 networks of PyTorch as device sessions, captured and replayed, against the pipeline over tensors."""
    networks, (picture, *driving) = random_networks(TINY), frames(4)
    loaded = on_host.networks(plain_networks(networks))
    with on_host.open_device() as device, CudaRunner(device, loaded, TINY.perturbation, batch=2, slots=1) as runner:
        runner.use(runner.encode_source(picture))
        for _ in range(2):  # step by step, then replayed
            steps = runner.steps(runner.submit(driving[:2]))
        assert runner.graphs and device.captures == 1
        for network in loaded.values():
            network.close()
    images = [torch.from_numpy(ops.preprocess(frame)) for frame in (picture, *driving[:2])]
    torch_ops = TorchOps(TINY.perturbation)
    with torch.inference_mode():
        source = pipeline.encode_source(networks, torch_ops, images[0])
        for i, image in enumerate(images[1:]):
            for name, value in vars(pipeline.animate_frame(networks, torch_ops, source, image)).items():
                # The same kernels of PyTorch; in another memory layout their sums round differently.
                np.testing.assert_allclose(getattr(steps, name)[i : i + 1], value, rtol=0, atol=1e-5)


def test_half_networks_take_and_give_float32_masks_and_half_images() -> None:
    for name, network in torch_networks(plain_networks(random_networks(TINY)), half=True, device_type="cpu").items():
        for tensor in (*network.spec.inputs, network.spec.output):
            expected = np.float32 if tensor.channels == 1 else np.float16
            assert network.dtypes[tensor.name] == expected, (name, tensor.name)


@pytest.mark.parametrize("half", [False, True])
def test_the_eager_pipeline_is_the_pipeline(half: bool) -> None:
    networks, (picture, *driving) = random_networks(TINY), frames(3)
    eager = EagerPipeline(plain_networks(networks), TINY.perturbation, half=half, device_type="cpu")
    eager.use(picture)
    got = np.asarray(eager.animate(driving))
    torch_ops, images = TorchOps(TINY.perturbation), [torch.from_numpy(ops.preprocess(f)) for f in (picture, *driving)]
    with torch.inference_mode():
        source = pipeline.encode_source(networks, torch_ops, images[0])
        animated = [pipeline.animate_frame(networks, torch_ops, source, image).frame for image in images[1:]]
    expected = np.stack([ops.postprocess(frame.numpy()) for frame in animated])
    # Half moves pixels of the mask over their median: the frame follows within a few levels.
    assert got.shape == expected.shape and np.abs(got.astype(int) - expected).max() <= (8 if half else 1)


def test_random_networks_are_reproducible_and_lowering_keeps_them() -> None:
    one, other = random_networks(TINY), random_networks(TINY)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    image = torch.from_numpy(ops.preprocess(frames(1)[0]))
    with torch.inference_mode():
        mask = one.m(image)
        assert mask.unique().numel() > 1000  # something for the median to do
        torch.testing.assert_close(lowered_networks(one)["m"](image), mask, rtol=0, atol=1e-5)


def test_latency_step(on_host: Setup, tmp_path: Path) -> None:
    found = run("latency", tmp_path, on_host)
    assert not found["errors"]
    rows = {row["what"]: row for row in found["times"]}
    assert list(rows) == [
        "eager FP32, TF32 convolutions",
        "eager FP32",
        "eager FP16, channels last",
        "captured FP16",
        "captured FP16, lowered",
        "FP16, lowered, without a graph",
    ]
    for row in rows.values():
        assert (row["networks"], row["batch"], row["calls"], row["warm_up"]) == ("tiny", 2, 1, 1)
        assert 0 < row["ms_per_frame"]["p50"] <= row["ms_per_frame"]["p99"]
    assert rows["captured FP16"]["frames_per_second_in_flight"] > 0
    assert rows["eager FP32"]["frames_per_second_in_flight"] is None


def test_compile_step(on_host: Setup, tmp_path: Path) -> None:
    found = run("compile", tmp_path, on_host._replace(batches=(1,)))
    assert not found["errors"]
    assert [row["what"] for row in found["times"]] == [
        "captured FP16, lowered",
        "torch.compile FP16, lowered",
        "captured FP16, lowered",
        "captured torch.compile FP16, lowered",
    ]


def test_stages_step(on_host: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_stages, "REPEATS", 2)
    found = run("stages", tmp_path, on_host)
    assert not found["errors"]
    stages = [(row["stage"], row.get("form"), row["batch"]) for row in found["stages"]]
    assert len(stages) == len(set(stages)) and ("perturb_median", None, 2) in stages
    assert {(name, form, 2) for name in "mrlh" for form in ("as trained", "lowered")} <= set(stages)
    assert all(row["ms"] > 0 for row in found["stages"])


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    record = Record(tmp_path / "x.json", "x", dry=True)
    closed = []

    def broken(stack: Any) -> Subject:
        stack.callback(closed.append, "broken")
        raise RuntimeError("no such library")

    works = Subject("a detail", lambda: None)
    measure_group(record, FEW, "tiny", 4, {"broken": broken, "works": lambda stack: works})
    found = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert found["errors"] == [{"what": "tiny, batch 4: broken", "error": "RuntimeError: no such library"}]
    assert [row["what"] for row in found["times"]] == ["works"] and closed == ["broken"] and not found["finished"]


def test_percentiles_are_per_frame_and_turns_alternate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, calls = Record(tmp_path / "x.json", "x", dry=True), []
    clock = iter(range(10_000))
    monkeypatch.setattr(gpu_record, "perf_counter", lambda: next(clock) / 1000)  # each look takes a millisecond
    openers = {name: (lambda stack, name=name: Subject("", lambda: calls.append(name))) for name in "ab"}
    measure_group(record, FEW._replace(rounds=2, calls=2, warm_up=1), "tiny", 4, openers)
    assert "".join(calls) == "abaabbaabb"
    assert record.values["times"][0]["ms_per_frame"] == {"p50": 0.25, "p90": 0.25, "p99": 0.25}


def test_a_step_that_hangs_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes know nothing of these steps: one fails for that, the other is stopped before it can."""
    steps = {"unknown": Step(60, STEPS["machine"].run), "slow": Step(0.05, STEPS["machine"].run)}
    monkeypatch.setattr(gpu, "STEPS", steps)
    summary = run_all(tmp_path, 120, ["--dry"])
    assert summary["steps"]["unknown"]["status"] == "failed with exit code 1"
    assert "KeyError: 'unknown'" in summary["steps"]["unknown"]["log"]
    assert summary["steps"]["slow"]["status"] == "stopped after 0 s"
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == summary
    assert any(line.startswith("slow: stopped") for line in table(summary))
    assert run_all(tmp_path, 0, [])["steps"]["slow"]["status"] == "not run: no time was left"


def test_the_script_runs_a_step_from_anywhere(tmp_path: Path) -> None:
    """Its tree of links stands in for an installation, and the wrong use of it is told."""
    script = ROOT / "benchmarks" / "gpu.sh"
    environment = os.environ | {"PYTHON": sys.executable}
    command = ["bash", script, "results", "--dry", "--step", "tests"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    found = json.loads((tmp_path / "results" / "tests.json").read_text("utf-8"))
    assert found["finished"] and found["counts"]["tests"] > 100
    assert found["counts"]["failures"] == found["counts"]["errors"] == 0
    wrong = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "benchmarks/gpu.sh DIR [--dry]" in wrong.stderr


def test_a_random_bundle_runs(tmp_path: Path) -> None:
    from maskanim.runtime import Animator

    bundle = random_bundle(tmp_path / "random", TINY)
    assert bundle.manifest.name == "random custom" and bundle.manifest.networks["h"].lowering
    with Animator.open(bundle, "ort") as animator:
        picture, driving = frames(2)
        assert animator.animate(animator.encode_source(picture), driving).shape == (256, 256, 3)
