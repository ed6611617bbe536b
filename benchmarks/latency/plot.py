"""A run as one picture: how long frames take, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskanim.benchmarks.latency.records import LatencyReport, Measured
from maskanim.benchmarks.latency.stages import STAGES
from maskanim.benchmarks.latency.tables import conditions_lines
from maskanim.benchmarks.outputs import write_figure
from maskanim.errors import needs_extra

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
    with needs_extra("--plot", "bench"):
        from matplotlib.figure import Figure
    rows = len(report.measured)
    figure: Any = Figure(figsize=(12, 2.3 + 0.62 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.15))
    _draw_latencies(left, report.measured)
    _draw_stages(right, report.measured)
    left.set_yticks(range(rows), [_caption(each) for each in report.measured], color=INK, fontsize=9)
    left.set_ylim(rows - 0.45, -0.55)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    model = report.model
    figure.suptitle(f"maskanim, model {model.name} ({model.size}): time per frame", x=0.01, ha="left", color=INK)
    figure.supxlabel("\n".join(conditions_lines(report)), x=0.01, ha="left", fontsize=7, color=FAINT)
    write_figure(path, figure, 150)


def _caption(measured: Measured) -> str:
    whole = measured.end_to_end
    end_to_end = f", {_text(whole.frames_per_second)} end to end" if whole else ""
    return f"{measured.label}\n{_text(measured.model_only.best_rate)} frames/s{end_to_end}"


def _text(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{float(f'{value:.3g}'):g}"


def _draw_latencies(axes: Any, subjects: Sequence[Measured]) -> None:
    """Every call as a dot, p5 to p95 as a line, the quartiles as a box, the median as a stroke with its value."""
    times = [np.concatenate([np.array(calls) for calls in each.model_only.rounds]) / each.batch for each in subjects]
    medians = [float(np.median(values)) for values in times]
    for row, values in enumerate(times):
        # Below the box, spread evenly and without chance, so that dots do not hide each other.
        heights = row + 0.2 + 0.2 * ((np.arange(len(values)) * 0.618) % 1)
        axes.plot(values, heights, ".", color="#9ecae1", markersize=3)
        axes.annotate(f"{_text(medians[row])} ms", (medians[row], row - 0.24), ha="center", va="bottom", fontsize=8)
    axes.boxplot(
        times, positions=range(len(times)), orientation="horizontal", widths=0.3, whis=(5, 95), showfliers=False,
        showcaps=False, patch_artist=True, boxprops={"facecolor": "#4292c6"}, medianprops={"color": INK, "lw": 2},
    )  # fmt: skip
    if max(medians) / min(medians) < LOG_FROM:
        axes.set_xlim(left=0)
    else:
        axes.set_xscale("log", subs=(2, 5))
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which("{x:g}")
    axes.set_xlabel("ms per frame, model only: calls, quartiles, p5 to p95, median", color=INK)
    axes.grid(axis="x", color="#e6e6e6", zorder=0)


def _draw_stages(axes: Any, subjects: Sequence[Measured]) -> None:
    """Shares of the time, each row with its own total: engines may differ a hundredfold."""
    times = [
        {stage: ms / each.batch for stage, ms in each.stages.medians.items()} if each.stages else {}
        for each in subjects
    ]
    totals, left = [sum(stages.values()) for stages in times], np.zeros(len(subjects))
    shown = [stage for stage in STAGES if any(stage in stages for stages in times)]
    for stage in shown:
        ms = [stages.get(stage, 0.0) for stages in times]
        shares = np.array([value / total if total else 0 for value, total in zip(ms, totals, strict=True)])
        bars = axes.barh(
            range(len(subjects)), shares, left=left, height=0.5, color=COLOURS[stage], edgecolor="white", label=stage
        )
        texts = [
            f"{stage}\n{_text(value)}" if share >= LABEL_FROM else "" for value, share in zip(ms, shares, strict=True)
        ]
        axes.bar_label(bars, texts, label_type="center", fontsize=7, color="white" if stage in DARK else INK)
        left += shares
    for row, total in enumerate(totals):
        axes.text(1.01 if total else 0, row, f"{_text(total)} ms" if total else "not known", va="center", fontsize=8)
    axes.set_xlim(0, 1.13)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("where the time goes: ms per frame of each stage", color=INK)
    axes.legend(ncols=len(shown), loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=7, handlelength=1)
