"""What is written about a run, from scores made by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from maskanim.benchmarks.judges.perception import Perception
from maskanim.benchmarks.metrics import BY_NAME, PerFrame
from maskanim.benchmarks.outputs import check_outputs, write_figure, write_text
from maskanim.benchmarks.scoring.page import as_html, chosen
from maskanim.benchmarks.scoring.report import (
    as_csv,
    as_json,
    as_latex,
    judges_table,
    main_table,
    problems,
    shown,
    thirds_table,
)
from maskanim.benchmarks.scoring.results import Scored, VideoScores
from maskanim.benchmarks.scoring.strips import Strip
from maskanim.errors import MaskanimError


def part(*values: float) -> PerFrame:
    return PerFrame(np.array(values, np.float64), np.ones(len(values)))


def video(name: str, method: str, akd: float, fes: float) -> VideoScores:
    strip = Strip()
    for row in ("driving", method):
        strip.add(row, 0, [np.full((256, 256, 3), 90, np.uint8)] * 3)
    scores = {"AKD": part(akd, akd, akd), "FES": part(fes, fes, fes), "CSIM": PerFrame(np.zeros(3), np.zeros(3))}
    remarks = ("no <face> in 1 of 3 generated frames",) if name == "b" else ()
    return VideoScores(name, method, 3, scores, part(1, 2, 3), remarks, strip)


@pytest.fixture
def scored(see_spot: Perception) -> Scored:
    made = {("a", "ours"): (1, 0.5), ("b", "ours"): (3, 1), ("a", "x_y"): (4, 0.25), ("b", "x_y"): (6, 0.25)}
    videos = [video(name, method, *values) for (name, method), values in made.items()]
    return Scored(see_spot, ("ours", "x_y"), videos, {"c": "no driving video of that name"}, {"protocol": "by hand"})


def test_means_over_frames_with_intervals_over_videos(scored: Scored) -> None:
    found = scored.estimate("ours", "AKD")
    assert found is not None and (found.value, found.low, found.high) == (2, 1, 3)
    assert [each and each.value for each in scored.thirds("x_y", "AKD")] == [5, 5, 5]


def test_figures_that_there_are_none(scored: Scored) -> None:
    why = {metric: scored.why_not(BY_NAME[metric]) for metric in BY_NAME}
    assert why["CSIM"] == "there was no spot to judge" and why["L1"] == "no target was given" and not why["AKD"]
    told = {name: behind for name, _, behind, _ in judges_table(scored).rows}
    assert told["AKD"] == "spot finder 1" and told["L1"] == "not available: no target was given"


def test_the_table_marks_the_best(scored: Scored) -> None:
    table = main_table(scored)
    assert table.headings == ("", "AKD ↓", "FES ↑")
    assert table.rows[0] == ("ours", "2.00 (1.00 to 3.00)", "75.0 % (50.0 to 100.0)")
    assert table.best == {(0, 1), (0, 2)}
    thirds = thirds_table(scored)
    assert thirds is not None and thirds.rows[1][1:4] == ("5.00", "5.00", "5.00")


def test_figures_in_their_units() -> None:
    assert [shown(BY_NAME[name], 0.12345) for name in ("AKD", "FES", "IOU")] == ["0.12", "12.3 %", "0.123"]
    assert shown(BY_NAME["AKD"], None) == "-"


def test_json_holds_everything(scored: Scored) -> None:
    found = json.loads(as_json(scored))
    assert found["methods"]["ours"]["AKD"] == {"value": 2.0, "low": 1.0, "high": 3.0}
    assert found["metrics"]["AKD"]["judged_by"] == "spot finder 1"
    assert found["metrics"]["SSIM"]["not_available"] and found["metrics"]["SSIM"]["judged_by"] is None
    assert found["videos"][1] == {
        "video": "b",
        "method": "ours",
        "frames": 3,
        "scores": {"AKD": 3.0, "FES": 1.0, "CSIM": None},
        "frames_judged": {"AKD": 3, "FES": 3, "CSIM": 0},
        "problems": ["no <face> in 1 of 3 generated frames"],
    }
    assert found["not_scored"] == {"c": "no driving video of that name"}


def test_csv_has_a_row_for_each_video(scored: Scored) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(scored))))
    assert [(row["video"], row["method"], row["AKD"], row["CSIM"]) for row in rows[:2]] == [
        ("a", "ours", "1", ""),
        ("b", "ours", "3", ""),
    ]
    assert rows[-1]["video"] == "c" and rows[-1]["remarks"] == "no driving video of that name"
    assert rows[1]["CSIM frames judged"] == "0" and rows[1]["L1 frames judged"] == ""


def test_latex_escapes_and_marks(scored: Scored) -> None:
    text = as_latex(scored)
    assert r"x\_y & 5.00 (4.00 to 6.00) & 25.0 \% (25.0 to 25.0) \\" in text
    assert r"\textbf{2.00 (1.00 to 3.00)}" in text and r"AKD $\downarrow$" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2


def test_the_page_is_one_file_that_loads_nothing(scored: Scored) -> None:
    pytest.importorskip("matplotlib")
    page = as_html(scored)
    assert page.count("data:image/svg+xml;base64,") == 2  # a plot for each metric with a figure
    assert page.count("data:image/jpeg;base64,") == 4  # best and worst of two videos, for two methods
    assert "http" not in page.replace("http-equiv", "") and "&lt;face&gt;" in page and "<face>" not in page
    assert as_html(scored) == page


def test_best_median_and_worst(see_spot: Perception) -> None:
    videos = [video(name, "ours", akd, 0) for name, akd in (("a", 5), ("b", 1), ("c", 9), ("d", 2), ("e", 7))]
    scored = Scored(see_spot, ("ours",), videos)
    found = {place: each.video for place, each in chosen(scored, "ours", BY_NAME["AKD"])}
    assert found == {"best": "b", "median": "a", "worst": "c"}
    alone = Scored(see_spot, ("ours",), videos[:1])
    assert [place for place, _ in chosen(alone, "ours", BY_NAME["AKD"])] == ["best"]


def test_what_went_wrong_is_counted_and_told(scored: Scored) -> None:
    assert problems(scored) == [
        "4 generated videos scored, 2 of them with remarks; 1 not scored or incomplete",
        "c: no driving video of that name",
        "b, ours: no <face> in 1 of 3 generated frames",
        "b, x_y: no <face> in 1 of 3 generated frames",
    ]


def test_files_are_whole_or_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "first")
    with pytest.raises(MaskanimError, match="writing it failed"):
        write_text(tmp_path / "nowhere" / "a.json", "second")

    class Unfinished:
        def savefig(self, place: Path, dpi: int) -> None:
            place.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(MaskanimError, match="No space left on device"):
        write_figure(path, Unfinished(), 80)
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_outputs_that_could_not_be_written_are_refused_first(tmp_path: Path) -> None:
    with pytest.raises(MaskanimError, match="nowhere is not a folder"):
        check_outputs(tmp_path / "nowhere" / "a.json")
    with pytest.raises(MaskanimError, match="a folder"):
        check_outputs(None, tmp_path)
    if Path("/proc").is_dir():  # where not even root can write
        with pytest.raises(MaskanimError, match="no file can be created in /proc"):
            check_outputs(Path("/proc/a.json"))
