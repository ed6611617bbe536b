"""The GPU benchmark without a GPU: its steps over a device made of host memory, its processes, and its shell script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers import host, host_device
from maskanim import ops, pipeline
from maskanim.benchmarks import gpu, gpu_stages
from maskanim.benchmarks.gpu import DRY, STEPS, Record, Setup, run_all, run_step, shown
from maskanim.benchmarks.latency import measure, torch_runner
from maskanim.benchmarks.torch_networks import (
    lowered_networks,
    plain_networks,
    random_bundle,
    random_networks,
    torch_networks,
)
from maskanim.networks import TorchOps
from maskanim.ops import Frame
from maskanim.runtime.cuda import device
from maskanim.runtime.cuda.runner import CudaRunner
from maskanim.train.puppets import Puppet

ROOT = Path(__file__).parents[2]
TINY = DRY.models["tiny"]
FEW = DRY._replace(batches=(2,), calls=1)


def frames(count: int) -> list[Frame]:
    return [Puppet(i, "test").frame(0.3 * i).image for i in range(count)]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return host.HostKernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def on_host(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """The GPU is the device of the runtime's tests, whose queues run late, with PyTorch's networks on its memory."""

    def networks(*args: Any, **options: Any) -> Any:
        loaded = torch_networks(*args, **options)
        return {name: host_device.QueuedNetwork(network) for name, network in loaded.items()}

    monkeypatch.setattr(device, "open_device", lambda binding="cuda-core": host_device.HostDevice(kernels))
    monkeypatch.setattr(torch_runner, "torch_networks", networks)
    monkeypatch.setattr("maskanim.benchmarks.torch_networks.torch_networks", networks)
    monkeypatch.setattr(torch_runner, "COMPILE", {key: {"backend": "eager"} for key in torch_runner.COMPILE})
    return FEW


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
    assert found["conditions"]["libraries"]["torch"] == torch.__version__ and found["conditions"]["processor"]
    return found


def test_the_captured_pipeline_with_torch_networks_is_that_of_torch(on_host: Setup) -> None:
    """Float32 networks of PyTorch as device sessions, captured and replayed, against the pipeline over tensors."""
    networks, (picture, *driving) = random_networks(TINY), frames(4)
    loaded = torch_runner.torch_networks(plain_networks(networks), half=False, device_type="cpu")
    opened: Any = device.open_device()
    with opened, CudaRunner(opened, loaded, TINY.perturbation, batch=2, slots=1) as runner:
        runner.use(runner.encode_source(picture))
        for _ in range(2):  # step by step, then replayed
            steps = runner.steps(runner.submit(driving[:2]))
        assert runner.graphs and opened.captures == 1
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
    fp16 = "torch-fp16"  # which a processor refuses
    assert [error["what"] for error in found["errors"]] == (
        [] if torch.cuda.is_available() else [f"tiny, {fp16}, batch 2"]
    )
    (report,) = found["reports"]
    rows = {each["engine"]: each for each in report["measured"]}
    assert list(rows) == ["torch-eager", "torch-fp32", "torch-graph-plain", "torch-graph", "torch-no-graph"]
    for row in rows.values():
        assert (report["networks"], row["batch"], len(row["model_only"]["rounds"])) == ("tiny", 2, 2)
        assert 0 < row["model_only"]["p50"] <= row["model_only"]["p95"] <= row["model_only"]["p99"]
    assert rows["torch-graph"]["model_only"]["streamed_frames_per_second"] > 0
    assert rows["torch-eager"]["model_only"]["streamed_frames_per_second"] is None
    assert list(rows["torch-graph"]["stages"]["medians"]) == [*measure.STAGES]
    table, lines = shown({"reports": found["reports"], "steps": {}})
    assert [row[:3] for row in table.rows] == [(name, "tiny", "2") for name in rows] and not lines


def test_compile_step(on_host: Setup, tmp_path: Path) -> None:
    found = run("compile", tmp_path, on_host._replace(batches=(1,)))
    assert not found["errors"]
    whats = [each["engine"] for report in found["reports"] for each in report["measured"]]
    assert whats == ["torch-graph", "torch-compile", "torch-graph", "torch-graph-compile"]


def test_stages_step(on_host: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_stages, "REPEATS", 2)
    monkeypatch.setattr(gpu_stages, "REPLAYS", 1)
    found = run("stages", tmp_path, on_host)
    assert not found["errors"]
    stages = [(row["stage"], row.get("form"), row["batch"]) for row in found["stages"]]
    assert len(stages) == len(set(stages)) and ("perturb_median", None, 2) in stages
    assert {(name, form, 2) for name in "mrlh" for form in ("as trained", "lowered")} <= set(stages)
    assert all(row["ms"] > 0 for row in found["stages"])


def test_engines_step(tmp_path: Path) -> None:
    """What does not work here is an error of the record, with the reason, and the others are timed."""
    found = run("engines", tmp_path, FEW._replace(models={}))
    failed = {error["what"] for error in found["errors"]}
    assert "demo, trt" in failed and "demo, ort" not in failed
    assert {"openvino", "ort"} <= {each["engine"] for each in found["reports"][0]["measured"]}


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Runner(torch_runner.TorchRunner):
        def close(self) -> None:
            closed.append("closed")

        def encode_source(self, image: Frame) -> Any:
            raise RuntimeError("no such library")

    def opened(model: Any, name: str, options: Any) -> Any:
        broken = Runner(TINY, torch_runner.Variant(torch.float32))
        return (broken, "") if name == "torch-bf16" else original(model, name, options)

    original = torch_runner.open_baseline
    monkeypatch.setattr(torch_runner, "open_baseline", opened)
    record = Record(tmp_path / "x.json", dry=True)
    record.measure("tiny", TINY, FEW, ("torch-bf16", "torch-eager"), 2)
    found = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert found["errors"] == [{"what": "tiny, torch-bf16, batch 2", "error": "RuntimeError: no such library"}]
    assert (
        [each["engine"] for each in found["reports"][0]["measured"]] == ["torch-eager"]
        and closed == ["closed"]
        and not found["finished"]
    )


def test_a_step_that_hangs_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes know nothing of these steps: one fails for that, the other is stopped before it can."""
    steps = {"unknown": (60, STEPS["machine"][1]), "slow": (0.05, STEPS["machine"][1])}
    monkeypatch.setattr(gpu, "STEPS", steps)
    summary = run_all(tmp_path, 120, ["--dry"])
    assert summary["steps"]["unknown"]["status"] == "failed with exit code 1"
    assert "KeyError: 'unknown'" in summary["steps"]["unknown"]["log"]
    assert summary["steps"]["slow"]["status"] == "stopped after 0 s"
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == summary
    assert any(line.startswith("slow: stopped") for line in shown(summary)[1])
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
    assert wrong.returncode == 2 and "benchmarks/gpu.sh DIR [--dry] [--budget S]" in wrong.stderr


def test_a_random_bundle_runs(tmp_path: Path) -> None:
    from maskanim.runtime import Animator

    bundle = random_bundle(tmp_path / "random", TINY)
    assert bundle.manifest.name == "random custom" and bundle.manifest.networks["h"].lowering
    with Animator.open(bundle, "ort") as animator:
        picture, driving = frames(2)
        assert animator.animate(animator.encode_source(picture), driving).shape == (256, 256, 3)
