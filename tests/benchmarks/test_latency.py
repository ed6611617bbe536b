"""The timing on subjects whose times are known, and on a real model."""

from __future__ import annotations

import pytest

from maskanim.benchmarks.latency import EAGER, Timing, measure
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError


def test_percentiles_and_rate_on_known_data() -> None:
    timing = Timing("x", "", tuple(float(ms) for ms in range(1, 102)))
    assert [timing.percentile(q) for q in (50, 90, 99)] == [51, 91, 100]
    assert timing.frames_per_second == pytest.approx(1000 / 51)


def test_every_engine_is_measured_on_as_many_frames(tiny_bundle: Bundle) -> None:
    timings = measure(tiny_bundle, ["openvino", "ort", EAGER], frames=7, warm_up=1)
    assert [timing.name for timing in timings] == ["openvino", "ort", EAGER]
    assert all(len(timing.milliseconds) == 7 and min(timing.milliseconds) > 0 for timing in timings)
    assert "OpenVINO" in timings[0].detail and "PyTorch" in timings[2].detail


def test_an_unknown_engine_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(MaskanimError, match="no such engine"):
        measure(tiny_bundle, ["abacus"], frames=1)
