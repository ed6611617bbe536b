"""The baselines compute what the pipeline means, in every variant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskanim.benchmarks.latency.stages import stage_times
from maskanim.benchmarks.latency.subjects import BASELINES, open_subject, usual_subjects
from maskanim.benchmarks.latency.torch_runner import TorchRunner, Variant
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.models import demo_bundle
from maskanim.ops import Frame
from maskanim.runtime.backends import RunOptions
from maskanim.spec import ModelSpec, Widths
from maskanim.train.puppets import Puppet

TINY = ModelSpec(widths=Widths(m=4, r=4, l=8, h=4))
EAGER = Variant(torch.float32, tuned=False, host_perturb=True)
DRIVING = [drawn.image for drawn in Puppet(1, "test").clip(3, fps=2)]


def _runner(variant: Variant, batch: int = 1) -> TorchRunner:
    torch.manual_seed(0)
    return TorchRunner(TINY, variant, batch)


def _animated(runner: TorchRunner) -> list[Frame]:
    source = runner.encode_source(Puppet(0, "test").frame(0).image)
    return [result.finish() for result in runner.run(source, map(runner.prepare, DRIVING))]


def test_batches_give_the_same_frames() -> None:
    single, batched = _runner(EAGER), _runner(EAGER, batch=2)
    frames = _animated(single)
    assert [frame.shape for frame in frames] == [(256, 256, 3)] * 3
    for one, other in zip(frames, _animated(batched), strict=True):
        # Another batch size may choose another convolution; a rounding to eight bits may then fall the other way.
        assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 60), (torch.bfloat16, 30)])
def test_a_tuned_variant_animates_alike(dtype: torch.dtype, least: float) -> None:
    """FP32 may differ by single roundings; BF16 keeps three digits, and flips pixels of the perturbed mask."""
    differences = np.subtract(_animated(_runner(EAGER)), _animated(_runner(Variant(dtype))), dtype=float)
    assert 10 * np.log10(255**2 / max(1e-6, (differences**2).mean())) > least


def test_stages_are_timed_by_the_runner_itself() -> None:
    runner = _runner(EAGER)
    times = stage_times(runner, runner.encode_source(DRIVING[0]), DRIVING[:1])
    assert (
        times is not None
        and set(times) >= {"preprocess", "m", "P_test", "r", "l", "U", "h", "postprocess"}
        and min(times.values()) > 0
    )


def test_baselines_open_by_name(tiny_bundle: Bundle) -> None:
    _, detail = open_subject(tiny_bundle, "torch-eager", RunOptions())
    for told in (torch.__version__, "FP32", "P_test on the host", "random weights"):
        assert told in detail
    assert "torch-eager" in usual_subjects(tiny_bundle) and "torch-compile" in BASELINES


def test_a_model_that_knows_its_int8_is_measured_without_it_too(tiny_bundle: Bundle) -> None:
    assert "openvino-float" not in usual_subjects(tiny_bundle)
    demo = demo_bundle()
    assert demo.manifest.int8 and {"openvino", "openvino-float", "ort-float"} <= {*usual_subjects(demo)}
    runner, detail = open_subject(demo, "openvino-float", RunOptions())
    runner.close()
    assert detail.startswith("OpenVINO") and "INT8" not in detail


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_wants_a_gpu(tiny_bundle: Bundle) -> None:
    with pytest.raises(MaskanimError, match="torch-bf16"):
        open_subject(tiny_bundle, "torch-fp16", RunOptions())
