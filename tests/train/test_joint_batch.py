"""Two real gloo processes do what one process with the joint batch does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from maskanim.train.draws import RankSlice

SCRIPT = Path(__file__).with_name("joint_batch.py")


def test_a_share_is_the_rows_of_its_own_pictures() -> None:
    rows = torch.arange(8)
    assert [RankSlice(rank, 2).part(rows).tolist() for rank in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [RankSlice(rank, 2).part(rows, groups=2).tolist() for rank in (0, 1)] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert RankSlice().part(rows) is rows and RankSlice(1, 4).joint(3) == 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """The same steps by one process and by two."""
    folder = tmp_path_factory.mktemp("joint")
    values = {
        "model": {"widths": {"m": 4, "r": 4, "l": 8, "h": 4}, "perturbation": {"kind": "fixed", "threshold": 0.0}},
        "perceptual": "none",
        "lambda_pixel": 10,
        "batch": 4,
        "steps_per_epoch": 1,
        "identities": 8,
        "colour_target": True,
        "noise": 0.05,
        "adversarial": {"weight": 1.0, "alone_steps": 1, "width": 4},
        "warmup": {"steps": 2, "batch": 4, "fade_steps": 2, "weight": 1.0, "gain_steps": 3, "refine_from_step": 1},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(values))
    found = {}
    for processes in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes > 1 else []
        out = folder / f"{processes}.pt"
        command = [sys.executable, *launcher, str(SCRIPT), str(folder / "settings.yaml"), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[processes] = torch.load(out, weights_only=True)
    return found


def test_figures_are_those_of_the_joint_batch(runs: dict[int, dict[str, Any]]) -> None:
    assert [set(figures) for figures in runs[2]["figures"]] == [set(figures) for figures in runs[1]["figures"]]
    for one, two in zip(runs[1]["figures"], runs[2]["figures"], strict=True):
        assert two == pytest.approx(one, rel=1e-9)


def test_gradients_are_averaged(runs: dict[int, dict[str, Any]]) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked", "shrink.weight")
    trained = {name for name in runs[1]["weights"] if not name.endswith(buffers)}
    assert set(runs[2]["gradients"]) == set(runs[1]["gradients"]) == trained
    for name, one in runs[1]["gradients"].items():
        # Where the true gradient is zero, as of biases before a batch norm, there is nothing to be relative to.
        scale = max(one.abs().max().item(), 1e-2)
        assert (runs[2]["gradients"][name] - one).abs().max().item() < 1e-8 * scale, name


def test_weights_and_running_statistics_are_the_same(runs: dict[int, dict[str, Any]]) -> None:
    """Adam divides a gradient by its own size, so that rounding errors of a true gradient of zero come through."""
    for name, one in runs[1]["weights"].items():
        torch.testing.assert_close(runs[2]["weights"][name], one, atol=1e-7, rtol=1e-7, msg=name)
