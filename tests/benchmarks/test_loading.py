"""The loading benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from maskanim.benchmarks.cli import app
from maskanim.benchmarks.training import measure_loading
from maskanim.video import write_picture


@pytest.fixture
def strips(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    for i in range(3):
        picture = np.random.default_rng(i).integers(0, 256, (64, 640, 3), np.uint8)
        write_picture(tmp_path / "clips" / f"{i}.png", picture)
    return tmp_path / "clips"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_counted(strips: Path, workers: int) -> None:
    (strips / "bad.jpg").touch()
    rate = measure_loading(strips, 20, workers)
    assert rate["images"] == 2 * 24 and rate["workers"] == workers and rate["damaged"] == 1
    assert rate["images_per_second"] == pytest.approx(48 / rate["seconds"])
    assert rate["images_per_core_second"] == pytest.approx(64 / rate["cpu_seconds"])
    assert rate["cpu_seconds"] > 0.001  # the workers' time is in it


def test_the_command(strips: Path, tmp_path: Path) -> None:
    arguments = ["data", "--data", str(strips), "--data", "synthetic", "--pairs", "8", "--workers", "0"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0 and "3 clips: strips of 64x64 frames" in result.stdout
    rates = json.loads((tmp_path / "out.json").read_text())["data"]
    assert [rate["data"] for rate in rates] == [str(strips), "synthetic"]
    assert all(rate["images_per_core_second"] > 0 and rate["images"] == 16 for rate in rates)
    refused = CliRunner().invoke(app, ["data", "--data", str(tmp_path / "gone")])
    assert refused.exit_code == 2 and "no such folder" in refused.stderr
