"""Changes that are known are found, and none is found where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskanim.benchmarks.cli import app
from maskanim.benchmarks.latency.compare import Change, compare
from maskanim.benchmarks.latency.records import LatencyReport, timing, write_report

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
MakeReport = Callable[..., LatencyReport]


def _by_name(before: LatencyReport, after: LatencyReport) -> dict[str, Change]:
    return {change.name: change for change in compare(before, after).changes}


def test_a_known_change_is_found_in_every_figure(make_report: MakeReport) -> None:
    changes = _by_name(make_report(1), make_report(2, factor=1.25))
    timed = [change for change in changes.values() if change.unit != "MB"]
    assert {change.verdict for change in timed} == {"slower"}
    # The noise of a round is 2 %, and a start has parts that do not change.
    assert changes["p50"].percent == pytest.approx(25, abs=4)
    assert changes["end to end"].percent == pytest.approx(-20, abs=4)
    assert changes["end to end"].slower == pytest.approx(25, abs=5)
    low, high = changes["p50"].noise or (0, 0)
    assert 0 < low < changes["p50"].slower < high
    assert {change.verdict for change in _by_name(make_report(2, factor=1.25), make_report(1)).values()} == {
        "faster",
        "same",
    }


def test_memory_is_told_without_a_judgement(make_report: MakeReport) -> None:
    before = make_report()
    (measured,) = before.measured
    cold = measured.cold.model_copy(update={"peak_memory": 11 * 10**7})
    after = before.model_copy(update={"measured": (measured.model_copy(update={"cold": cold}),)})
    change = _by_name(before, after)["peak memory"]
    assert (change.verdict, change.noise, change.before, change.after) == ("more", None, 100, 110)


def test_false_alarms_are_rare(make_report: MakeReport) -> None:
    alarms = np.mean([_alarms(make_report(2 * seed), make_report(2 * seed + 1)) for seed in range(100)])
    assert alarms <= 0.04  # 0.013 in a simulation of 300; three standard deviations of 100 are 0.034


def test_frames_of_a_round_do_not_count_as_independent(make_report: MakeReport) -> None:
    """Where rounds differ by 10 % and their frames by 1 %, resampling frames would alarm about half of the time."""

    def pair(seed: int) -> tuple[LatencyReport, LatencyReport]:
        return make_report(2 * seed, between=0.1), make_report(2 * seed + 1, between=0.1)

    pairs = [pair(seed) for seed in range(50)]
    rounds = np.mean([_alarms(*each) for each in pairs])
    frames = np.mean([_alarms(*map(_as_if_independent, each)) for each in pairs])
    assert rounds <= 0.08 and frames >= 0.2


def _alarms(before: LatencyReport, after: LatencyReport) -> bool:
    return _by_name(before, after)["p50"].verdict != "within the noise"


def _as_if_independent(report: LatencyReport) -> LatencyReport:
    (measured,) = report.measured
    frames = [[ms] for calls in measured.model_only.rounds for ms in calls]
    split = measured.model_copy(update={"model_only": timing(frames, 1)})
    return report.model_copy(update={"measured": (split,)})


def test_too_few_rounds_give_no_verdict(make_report: MakeReport) -> None:
    change = _by_name(make_report(1, rounds=3), make_report(2, factor=2.0))["p50"]
    assert change.verdict == "too few rounds to tell" and not change.fails(5)


def test_other_conditions_and_unmatched_engines_are_told(make_report: MakeReport) -> None:
    comparison = compare(make_report(), make_report(engine="openvino", processor="another"))
    assert comparison.changes == ()
    assert comparison.warnings == (
        "another processor: a processor, then another",
        "only in the first run: ort",
        "only in the second run: openvino",
    )
    assert compare(make_report(1), make_report(2)).warnings == ()


def test_another_limit_is_told(make_report: MakeReport) -> None:
    plain = make_report()
    limited = plain.model_copy(
        update={
            "conditions": plain.conditions.model_copy(update={"limit": "AVX2"}),
            "settings": plain.settings.model_copy(update={"least_psnr": 40.0}),
        }
    )
    assert compare(plain, limited).warnings == ("another ONEDNN_MAX_CPU_ISA: none, then AVX2",) + (
        "another least PSNR: 45.0, then 40.0",
    )


def _run(tmp_path: Path, reports: tuple[LatencyReport, LatencyReport], *arguments: str) -> Result:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, report in zip(paths, reports, strict=True):
        write_report(path, report)
    return CliRunner().invoke(app, ["compare", *map(str, paths), *arguments])


def test_the_exit_code_tells_only_when_asked(tmp_path: Path, make_report: MakeReport) -> None:
    slower = make_report(1), make_report(2, factor=1.25)
    told = _run(tmp_path, slower)
    assert told.exit_code == 0 and "slower" in told.stdout
    failed = _run(tmp_path, slower, "--fail-above", "5")
    assert failed.exit_code == 1 and "ort, p50: slower by" in failed.stderr
    assert _run(tmp_path, slower, "--fail-above", "50").exit_code == 0
    assert _run(tmp_path, (slower[1], slower[0]), "--fail-above", "5").exit_code == 0
    assert _run(tmp_path, (slower[0], slower[0]), "--fail-above", "0").exit_code == 0


def test_another_schema_version_is_one_line(tmp_path: Path, make_report: MakeReport) -> None:
    write_report(tmp_path / "a.json", make_report())
    (tmp_path / "b.json").write_text('{"format": "maskanim-latency", "schema_version": 7}')
    refused = CliRunner().invoke(app, ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1 and "schema_version 7" in refused.stderr


@pytest.mark.parametrize("name", ["demo", "full"])
def test_what_was_committed_stays_readable(name: str) -> None:
    path = str(RESULTS / f"{name}-latency-epyc-2-cores.json")
    told = CliRunner().invoke(app, ["compare", path, path])
    assert told.exit_code == 0 and "openvino" in told.stdout and "end to end, frames/s" in told.stdout
