"""The timing on subjects whose times are known, and on a real model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskanim.benchmarks.cli import app
from maskanim.benchmarks.latency import EAGER, Timing, measure
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError


def test_percentiles_and_rate_on_known_data() -> None:
    timing = Timing("x", "", tuple(float(ms) for ms in range(1, 102)))
    assert [timing.percentile(q) for q in (50, 90, 99)] == [51, 91, 100]
    assert timing.frames_per_second == pytest.approx(1000 / 51)


def test_every_engine_is_measured_on_as_many_frames(tiny_bundle: Bundle) -> None:
    timings = measure(tiny_bundle, ["openvino", "ort", EAGER, "auto"], frames=7, warm_up=1)
    assert [timing.name for timing in timings] == ["openvino", "ort", EAGER, "openvino"]
    assert all(len(timing.milliseconds) == 7 and min(timing.milliseconds) > 0 for timing in timings)
    assert "OpenVINO" in timings[0].detail and "PyTorch" in timings[2].detail


def test_json_holds_figures_and_conditions(tiny_bundle: Bundle, tmp_path: Path) -> None:
    arguments = ["latency", "--model", str(tiny_bundle.path), "--engine", "ort", "--frames", "3"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "f.json")])
    assert result.exit_code == 0 and "frames/s" in result.stdout
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["model"] == "tiny" and figures["size"] == "custom" and figures["cores"] >= 1
    (ort,) = figures["engines"]
    assert ort["engine"] == "ort" and ort["frames"] == 3 and ort["p50"] <= ort["p90"] <= ort["p99"]
    refused = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "nowhere" / "f.json")])
    assert refused.exit_code == 2 and "does not exist" in refused.stderr


def test_an_unknown_engine_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(MaskanimError, match="no such engine"):
        measure(tiny_bundle, ["abacus"], frames=1)
