"""Real runs of tiny networks: what is measured, written and drawn, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from maskanim.benchmarks.cli import app
from maskanim.benchmarks.latency import measure as measure_module
from maskanim.benchmarks.latency.cold import start
from maskanim.benchmarks.latency.material import CLIP, PICTURES, draw_material, render_clip
from maskanim.benchmarks.latency.measure import Plan, in_turns, measure
from maskanim.benchmarks.latency.records import LatencyReport, Start, read_report, schema, write_report
from maskanim.benchmarks.latency.stages import STAGES, stage_times
from maskanim.benchmarks.latency.tables import print_report
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions
from maskanim.spec import ModelSpec, Widths
from maskanim.video import open_clip, read_picture

HOST_STAGES = ["preprocess", "m", "P_test", "r", "l", "U", "h", "postprocess"]


class Ran(NamedTuple):
    """A run from the command line: what it printed, and its files."""

    stdout: str
    report: LatencyReport
    json: Path
    plot: Path


@pytest.fixture(scope="module")
def ran(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("run")
    paths = folder / "run.json", folder / "run.png"
    arguments = ["--model", str(tiny_bundle.path), "--batch", "1,2", "--frames", "4", "--repeats", "1"]
    files = ["--json", str(paths[0]), "--plot", str(paths[1])]
    result = CliRunner().invoke(app, ["latency", "--engine", "ort", *arguments, *files])
    assert result.exit_code == 0, result.output
    return Ran(result.stdout, read_report(paths[0]), *paths)


def test_every_subject_is_measured_whole(ran: Ran) -> None:
    assert [(each.engine, each.batch) for each in ran.report.measured] == [("ort", 1), ("ort", 2)]
    for each in ran.report.measured:
        assert "ONNX Runtime" in each.detail
        assert np.array(each.model_only.rounds).shape == (4, 1) and min(each.model_only.rounds)[0] > 0
        assert each.cold and each.end_to_end
        assert len(each.source_ms) == 4 and len(each.end_to_end.seconds) == len(each.cold.starts) == 1
        assert each.end_to_end.frames == 4
        assert each.stages is not None and list(each.stages.medians) == HOST_STAGES
        assert each.cold.peak_memory is not None and each.cold.peak_memory > 10**7
        assert each.cold.seconds > 0.05 and not each.cold.starts[0].built
    assert ran.report.settings.rounds == 4 and ran.report.conditions.cores >= 1
    assert ran.report.model.name == "tiny" and set(ran.report.model.sha256) == {"m", "r", "l", "h"}


def test_the_json_is_valid_against_its_schema(ran: Ran) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    values = json.loads(ran.json.read_text())
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    validator.validate(values)
    assert not validator.is_valid(values | {"schema_version": 2})
    assert not validator.is_valid({name: value for name, value in values.items() if name != "measured"})


def test_the_command_prints_the_schema() -> None:
    assert json.loads(CliRunner().invoke(app, ["latency", "--schema"]).stdout) == schema()


def test_the_table_names_every_figure(ran: Ran) -> None:
    for heading in (
        "p50",
        "p99",
        "frames/s",
        "p95",
        "of model only",
        "load",
        "memory MB",
        *HOST_STAGES,
        "ort, batch 2",
    ):
        assert heading in ran.stdout


def test_building_and_memory_of_a_gpu_are_shown_where_there_are(
    make_report: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report()
    (measured,) = report.measured
    built = Start(interpreter=0.1, imports=0.3, load=61.5, first_frame=0.1, built=True)
    starts = (built, *(start.model_copy(update={"load": 1.5}) for start in measured.cold.starts))
    cold = measured.cold.model_copy(update={"starts": starts, "device_memory": 512_000_000})
    print_report(report.model_copy(update={"measured": (measured.model_copy(update={"cold": cold}),)}))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for heading, value in (("VRAM", "512"), ("building", "60.00")):
        at = next(i for i, line in enumerate(lines) if heading in line and line[0] != "cold")
        assert value in lines[at + 1], heading


def test_the_plot_shows_the_networks(ran: Ran) -> None:
    pixels = read_picture(ran.plot).reshape(-1, 3)
    for colour in ((0x2B, 0x8C, 0xBE), (0x7B, 0xCC, 0xC4), (0xFD, 0xAE, 0x61), (0xD7, 0x30, 0x1F)):  # m, r, l, h
        assert (pixels == colour).all(1).sum() > 100


def test_turns_are_whole_rounds_in_changing_order() -> None:
    turns = list(in_turns("abcd", 20))
    orders = ["".join(name for number, name in turns if number == i) for i in range(20)]
    assert [number for number, _ in turns] == sorted(number for number, _ in turns)
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 10 and {order[0] for order in orders} == set("abcd")
    assert list(in_turns("abcd", 20)) == turns


@pytest.mark.parametrize(
    ("frames", "batch", "rounds", "calls"), [(50, 1, 10, 5), (50, 8, 10, 1), (200, 1, 40, 5), (3, 1, 3, 1)]
)
def test_rounds_and_calls_cover_the_frames(frames: int, batch: int, rounds: int, calls: int) -> None:
    plan = Plan(frames=frames)
    assert (plan.rounds, plan.calls(batch)) == (rounds, calls) and rounds * calls * batch >= frames


class _Timed:
    """A runner that times itself."""

    def stage_times(self, source: Any, frames: Sequence[Any]) -> Mapping[str, float]:
        return {"copy in": 0.25, "h": 1.0 * len(frames)}


def test_a_runner_may_time_its_own_stages() -> None:
    runner: Any = _Timed()
    times = stage_times(runner, None, [np.zeros((256, 256, 3), np.uint8)] * 2)
    assert times == {"copy in": 0.25, "h": 2.0} and set(STAGES) >= {"copy in", "h"}


def test_the_clip_is_h264_of_the_asked_length(tmp_path: Path) -> None:
    material = draw_material(tmp_path, frames=6, kept=2)
    material.write()
    with open_clip(tmp_path / CLIP) as clip:
        frames = [frame.image for frame in clip]
    assert len(frames) == material.frames == 6 and frames[0].shape == (256, 256, 3)
    # Compressed, and the figure moves.
    assert np.abs(frames[0].astype(float) - material.driving[0]).mean() < 5
    assert (frames[0] != frames[5]).any() and len(material.driving) == 2


def test_what_fails_in_the_process_of_a_cold_start_is_told_here(tiny_bundle: Bundle, tmp_path: Path) -> None:
    material = draw_material(tmp_path, frames=2, kept=1)
    material.write()
    elsewhere = Bundle(tmp_path / "nowhere", tiny_bundle.manifest)
    with pytest.raises(MaskanimError, match=r"nowhere: no such folder"):
        start(elsewhere, "ort", RunOptions(), material, clip=False)
    (tmp_path / PICTURES).unlink()
    with pytest.raises(MaskanimError, match=r"cold start: its process ended with code 1 \(FileNotFoundError"):
        start(tiny_bundle, "ort", RunOptions(), material, clip=False)


def test_engines_that_nobody_named_are_left_out_where_they_fail(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskanim.benchmarks.latency.measure.usual_subjects", lambda _: ["ort", "abacus"])
    report = measure(tiny_bundle, Plan(frames=1, repeats=1))
    assert [each.engine for each in report.measured] == ["ort"]
    assert list(report.left_out) == ["abacus"] and "no such engine" in report.left_out["abacus"]
    monkeypatch.setattr("maskanim.benchmarks.latency.measure.usual_subjects", lambda _: ["abacus"])
    with pytest.raises(MaskanimError, match="expected an engine that works"):
        measure(tiny_bundle, Plan(frames=1, repeats=1))


def test_calls_alone_need_no_bundle_and_leave_out_what_does_not_work(tmp_path: Path) -> None:
    """As the GPU benchmark has it: sizes of networks, and what fails is kept with its reason."""
    plan = Plan(("torch-eager", "ort", "torch-graph"), frames=2, repeats=0, lenient=True)
    report = measure(ModelSpec(widths=Widths(m=4, r=4, l=8, h=4)), plan)
    (eager,) = report.measured
    assert eager.engine == "torch-eager" and eager.cold is None and eager.end_to_end is None
    assert "no bundle" in report.left_out["ort"] and "torch-graph" in report.left_out
    write_report(tmp_path / "a.json", report)
    assert read_report(tmp_path / "a.json") == report
    print_report(report)


def test_end_to_end_is_what_a_user_runs(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The clip goes through the very job of maskanim-run, which signs what it writes."""
    draw_material(tmp_path, frames=2, kept=1).write()
    with Animator.open(tiny_bundle, "ort") as animator:
        assert render_clip(tiny_bundle, animator.runner, tmp_path) > 0
    with open_clip(tmp_path / "animated.mp4") as clip:
        assert len(list(clip)) == 2
    pytest.importorskip("c2pa")
    assert b"c2pa" in (tmp_path / "animated.mp4").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "abacus"], "engine abacus: no such engine; expected one of auto, trt"),
        (["--batch", "1,0"], "--batch 1,0: not a list of batch sizes"),
        (["--batch", "two"], "--batch two: not a list of batch sizes"),
        (["--least-psnr", "nan"], "least PSNR: nan; expected a number of dB"),
        (["--precision", "int4"], "precision int4: no such precision"),
        (["--json", "nowhere/a.json"], "nowhere is not a folder; expected an existing folder"),
        (["--plot", "nowhere/a.png"], "nowhere is not a folder; expected an existing folder"),
        (["--plot", "a.txt"], "--plot a.txt: a name ending in '.txt'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_measured(
    tiny_bundle: Bundle, arguments: list[str], message: str
) -> None:
    refused = CliRunner().invoke(app, ["latency", "--model", str(tiny_bundle.path), *arguments])
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
    assert message in refused.stderr


def test_the_quality_that_is_asked_for_reaches_the_engines(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are opened here, and those of cold starts in their own process; the report says it."""
    opened: list[RunOptions] = []
    original = measure_module.open_subject
    monkeypatch.setattr(measure_module, "open_subject", lambda *given: opened.append(given[2]) or original(*given))
    monkeypatch.setattr(
        measure_module, "start", lambda *given, clip: opened.append(given[2]) or start(*given, clip=clip)
    )
    arguments = [
        "--model",
        str(tiny_bundle.path),
        "--frames",
        "1",
        "--repeats",
        "1",
        "--json",
        str(tmp_path / "a.json"),
    ]
    result = CliRunner().invoke(app, ["latency", "--engine", "ort", "--least-psnr", "38.5", *arguments])
    assert result.exit_code == 0, result.output
    assert [options.least_psnr for options in opened] == [38.5, 38.5]
    assert read_report(tmp_path / "a.json").settings.least_psnr == 38.5
