"""A plot per metric: every video as a dot, each method's figure and its interval over them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from maskanim.benchmarks.scoring.metrics import Metric
from maskanim.benchmarks.scoring.report.tables import heading
from maskanim.benchmarks.scoring.results import Scored
from maskanim.errors import needs_extra

INK, FAINT, DOT, FIGURE = "#222222", "#8a8a8a", "#9ecae1", "#d7301f"
SPREAD = 0.16  # of the dots of a method, up and down; without meaning


def draw(scored: Scored, metric: Metric) -> bytes:
    """The plot as SVG."""
    with needs_extra("--html", "bench"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    with rc_context({"svg.hashsalt": "maskanim"}):  # the same ids in every run
        figure: Any = Figure(figsize=(5.6, 0.9 + 0.42 * len(scored.methods)), layout="constrained")
        axes = figure.subplots()
        for row, method in enumerate(scored.methods):
            _draw_method(axes, scored, metric, method, row)
        axes.set_yticks(range(len(scored.methods)), scored.methods, color=INK)
        axes.set_ylim(len(scored.methods) - 0.5, -0.5)
        axes.set_title(f"{heading(metric)}  {metric.told}", loc="left", fontsize=9, color=INK)
        axes.set_xlabel(metric.unit, fontsize=8, color=FAINT)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _draw_method(axes: Any, scored: Scored, metric: Metric, method: str, row: int) -> None:
    scale = 100 if metric.unit == "%" else 1
    values = [value for each in scored.of(method) if (value := each.figure(metric.name)) is not None]
    heights = row + np.linspace(-SPREAD, SPREAD, len(values)) if len(values) > 1 else [row] * len(values)
    axes.plot([scale * value for value in values], heights, "o", color=DOT, markersize=4, zorder=1)
    if estimate := scored.estimate(method, metric.name):
        axes.plot([scale * estimate.low, scale * estimate.high], [row, row], color=FIGURE, linewidth=2, zorder=2)
        axes.plot([scale * estimate.value], [row], "D", color=FIGURE, markersize=6, zorder=3)
