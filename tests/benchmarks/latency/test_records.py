"""Figures on known times, and the file they are kept in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from maskanim.benchmarks.latency.records import ColdStart, LatencyReport, Start, read_report, timing, write_report
from maskanim.errors import MaskanimError


def test_percentiles_mean_and_rate_on_known_times() -> None:
    figures = timing([[float(ms)] for ms in reversed(range(1, 102))], batch=1)
    assert [figures.p50, figures.p90, figures.p95, figures.p99, figures.mean] == [51, 91, 96, 100, 51]
    assert figures.frames_per_second == pytest.approx(1000 / 51, abs=1e-4)  # kept with four decimals


def test_a_batch_counts_its_frames_and_streaming_is_a_rate_of_its_own() -> None:
    figures = timing([[8.0, 12.0], [10.0, 10.0]], batch=4, streamed=[5.0, 3.0, 40.0])
    assert figures.frames_per_second == 400 and figures.streamed_frames_per_second == 800
    assert figures.best_rate == 800 and timing([[10.0]], 1).best_rate == 100


def test_rounds_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValidationError, match="as many calls"):
        timing([[1.0, 2.0], [3.0]], batch=1)


def test_a_cold_start_is_the_median_of_those_that_built_nothing() -> None:
    def started(load: float, built: bool = False) -> ColdStart:
        start = Start(interpreter=0.1, imports=0.2, load=load, first_frame=0.3, built=built)
        return ColdStart(starts=(start,), seconds=start.total, peak_memory=int(load))

    cold = ColdStart.of([started(60.0, True), started(1.0), started(2.0), started(9.0)])
    assert cold.seconds == 2.6 and cold.peak_memory == 9 and cold.building == 58 and len(cold.starts) == 4
    assert ColdStart.of([started(60.0, True)]).seconds == 60.6


def test_a_report_comes_back_from_its_file(tmp_path: Path, make_report: Callable[..., LatencyReport]) -> None:
    report = make_report()
    write_report(tmp_path / "a.json", report)
    assert read_report(tmp_path / "a.json") == report
    longest = max((tmp_path / "a.json").read_text().splitlines(), key=len)
    assert longest.count(",") >= 4, "a list of times takes one line"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        ("{}", "model: Field required"),
        ('{"format": "maskanim-latency", "schema_version": 2}', "schema_version 2: .*; expected .* schema version 1"),
        ('{"format": "maskanim-latency", "schema_version": 1}', "model: Field required"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(MaskanimError, match=message):
        read_report(tmp_path / "a.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskanimError, match="No such file"):
        read_report(tmp_path / "a.json")


def test_an_unknown_key_is_refused(tmp_path: Path, make_report: Callable[..., LatencyReport]) -> None:
    values = make_report().model_dump(mode="json") | {"more": 1}
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(MaskanimError, match="more: Extra inputs"):
        read_report(tmp_path / "a.json")
