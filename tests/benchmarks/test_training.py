"""The training benchmark, on small networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from maskanim.benchmarks.cli import app

SMALL = {"model": {"widths": {"m": 4, "r": 4, "l": 8, "h": 4}}, "perceptual": "none", "lambda_pixel": 10, "batch": 16}


def test_it_is_printed_and_written(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    arguments = ["train", "--config", str(tmp_path / "small.yaml"), "--device", "cpu", "--steps", "2"]
    result = CliRunner().invoke(app, [*arguments, "--step-batch", "2", "--json", str(tmp_path / "times.json")])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "times.json").read_text())["training"]
    assert found["batch"] == 16 and found["step_batch"] == 2 and len(found["steps"]) == 2
    assert 0 < found["perturb"] < found["step"]
    assert found["share"] == pytest.approx(found["perturb"] / found["step"] / 8)  # of a step of a whole batch
    assert found["images_per_second"] == pytest.approx(2 * 2 / found["step"])
    assert "P_train and its threshold, 16 masks" in result.output
