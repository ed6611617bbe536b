"""A run as one picture: how long frames take, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskanim.benchmarks.latency.records import LatencyReport, Measured
from maskanim.benchmarks.latency.stages import STAGES
from maskanim.benchmarks.latency.tables import conditions_lines
from maskanim.errors import needs_extra

SUBJECT = "--plot"
LOG_FROM = 5.0  # from this ratio of the slowest to the fastest, a linear axis hides the fast ones
LABEL_FROM = 0.06  # share of a bar from which a stage's name fits into it
INK, FAINT = "#222222", "#8a8a8a"
# The networks stand out, what runs around them is grey; the four differ in lightness, too.
COLOURS = {
    "copy in": "#d9d9d9", "preprocess": "#bdbdbd", "m": "#2b8cbe", "P_test": "#737373", "r": "#7bccc4",
    "l": "#fdae61", "U": "#969696", "h": "#d7301f", "postprocess": "#bdbdbd", "copy out": "#d9d9d9",
}  # fmt: skip
DARK = frozenset({"m", "h", "P_test"})


def draw_plot(path: Path, report: LatencyReport) -> None:
    """Write the picture; subjects from top to bottom in the order of the report."""
    with needs_extra(SUBJECT, "bench"):
        from matplotlib.figure import Figure
    rows = len(report.measured)
    figure: Any = Figure(figsize=(12, 2.3 + 0.62 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.15))
    left.set_yticks(range(rows), [_caption(each) for each in report.measured], color=INK, fontsize=9)
    left.set_ylim(rows - 0.45, -0.55)
    _draw_latencies(left, report.measured)
    _draw_stages(right, report.measured)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    model = report.model
    figure.suptitle(f"maskanim, model {model.name} ({model.size}): time per frame", x=0.01, ha="left", color=INK)
    figure.supxlabel("\n".join(conditions_lines(report)), x=0.01, ha="left", fontsize=7, color=FAINT)
    figure.savefig(path, dpi=150)


def _caption(measured: Measured) -> str:
    rate, whole = measured.model_only.best_rate, measured.end_to_end
    end_to_end = f", {_told(whole.frames_per_second)} end to end" if whole else ""
    return f"{measured.label}\n{_told(rate)} frames/s{end_to_end}"


def _told(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{float(f'{value:.3g}'):g}"


def _draw_latencies(axes: Any, subjects: Sequence[Measured]) -> None:
    """Every call as a dot, p5 to p95 as a line, the quartiles as a bar, the median as a stroke with its value."""
    times = [np.concatenate([np.array(calls) for calls in each.model_only.rounds]) / each.batch for each in subjects]
    for row, values in enumerate(times):
        p5, p25, p50, p75, p95 = np.percentile(values, (5, 25, 50, 75, 95))
        axes.plot(values, _scattered(row, len(values)), ".", color="#9ecae1", markersize=3, zorder=1)
        axes.hlines(row, p5, p95, color=INK, linewidth=1, zorder=2)
        axes.barh(row, p75 - p25, left=p25, height=0.3, color="#4292c6", zorder=3)
        axes.vlines(p50, row - 0.22, row + 0.22, color=INK, linewidth=2, zorder=4)
        axes.annotate(f"{_told(p50)} ms", (p50, row - 0.24), ha="center", va="bottom", fontsize=8, color=INK)
    _scale(axes, times)
    axes.set_xlabel("ms per frame, model only: calls, quartiles, p5 to p95, median", color=INK)
    axes.grid(axis="x", color="#e6e6e6", zorder=0)


def _scattered(row: int, count: int) -> Any:
    """Heights below the bar, spread evenly and without chance, so that dots do not hide each other."""
    return row + 0.2 + 0.2 * ((np.arange(count) * 0.618) % 1)


def _scale(axes: Any, times: Sequence[Any]) -> None:
    medians = [float(np.median(values)) for values in times]
    if max(medians) / min(medians) < LOG_FROM:
        axes.set_xlim(left=0)
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_stages(axes: Any, subjects: Sequence[Measured]) -> None:
    """Shares of the time, each row with its own total: engines may differ a hundredfold."""
    for row, each in enumerate(subjects):
        if each.stages:
            _draw_row(axes, row, {stage: ms / each.batch for stage, ms in each.stages.medians.items()})
        else:
            axes.text(0, row, "not told", va="center", fontsize=8, color=FAINT)
    axes.set_xlim(0, 1.13)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("where the time goes: ms per frame of each stage", color=INK)
    _legend(axes, subjects)


def _draw_row(axes: Any, row: int, stages: dict[str, float]) -> None:
    total, left = sum(stages.values()), 0.0
    for stage, ms in stages.items():
        share = ms / total
        axes.barh(row, share, left=left, height=0.5, color=COLOURS[stage], edgecolor="white", linewidth=0.5)
        if share >= LABEL_FROM:
            colour = "white" if stage in DARK else INK
            axes.text(
                left + share / 2, row, f"{stage}\n{_told(ms)}", ha="center", va="center", fontsize=7, color=colour
            )
        left += share
    axes.text(1.01, row, f"{_told(total)} ms", va="center", fontsize=8, color=INK)


def _legend(axes: Any, subjects: Sequence[Measured]) -> None:
    from matplotlib.patches import Patch

    told = [stage for stage in STAGES if any(each.stages and stage in each.stages.medians for each in subjects)]
    handles = [Patch(color=COLOURS[stage], label=stage) for stage in told]
    axes.legend(handles=handles, ncols=len(told), loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=7,
                handlelength=1, columnspacing=1)  # fmt: skip
