"""One page to look at, in one file: tables, a plot per metric, and the best, median and worst video of each method."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from maskanim.benchmarks.metrics import BY_NAME, Metric
from maskanim.benchmarks.scoring.report import heading, judges_table, problems, shown, tables
from maskanim.benchmarks.scoring.results import Scored, VideoScores
from maskanim.benchmarks.scoring.strips import as_jpeg
from maskanim.benchmarks.tables import Table
from maskanim.errors import needs_extra

LEADING = ("AKD", "L1", "CSIM")  # the first of these that there is decides what is best and worst
COLUMNS = 8  # frames of a video that are shown
INK, FAINT, DOT, FIGURE = "#222222", "#8a8a8a", "#9ecae1", "#d7301f"
SPREAD = 0.16  # of the dots of a method, up and down; without meaning


def as_html(scored: Scored) -> str:
    """The page; it loads nothing from anywhere."""
    parts: dict[str, str] = {
        "protocol": escape(str(scored.about.get("protocol", ""))),
        "subject": escape(scored.perception.subject),
        "about": escape("; ".join(f"{key}: {value}" for key, value in scored.about.items())),
        "tables": "\n".join(table.html() for table in tables(scored)),
        "notes": "\n".join(f"<p>{escape(note)}</p>" for note in scored.notes),
        "plots": "\n".join(_picture(draw(scored, metric), "svg+xml", metric.name) for metric in scored.shown()),
        "judges": judges_table(scored)._replace(title="").html(),
        "clips": "\n".join(_clips(scored)),
        "problems": "\n".join(f"<li>{escape(line)}</li>" for line in problems(scored)),
        "videos": _videos(scored).html(),
    }
    return Template(Path(__file__).with_suffix(".html").read_text("utf-8")).substitute(parts)


def _videos(scored: Scored) -> Table:
    metrics = scored.shown()
    rows = [
        (each.video, each.method, str(each.frames), *(shown(metric, each.figure(metric.name)) for metric in metrics))
        for each in scored.videos
    ]
    return Table("", ("video", "method", "frames", *(metric.name for metric in metrics)), rows)


def _clips(scored: Scored) -> Iterator[str]:
    leading = next((BY_NAME[name] for name in LEADING if BY_NAME[name] in scored.shown()), None)
    if leading is None:
        return
    yield f"<h2>Best, median and worst, by {leading.name}</h2>"
    for method in scored.methods:
        for place, each in chosen(scored, method, leading):
            if each.strip:
                figure = shown(leading, each.figure(leading.name))
                yield f"<div class=clip><h3>{escape(method)}, {place}: {escape(each.video)}, {figure}</h3>"
                rows = ("driving", method)
                yield _picture(as_jpeg(each.strip.picture(rows, COLUMNS)), "jpeg", each.video)
                yield f"<p class=faint>beside the source, where it was given; rows: {escape(', '.join(rows))}</p></div>"


def chosen(scored: Scored, method: str, metric: Metric) -> list[tuple[str, VideoScores]]:
    """The best, the median and the worst video of a method, as far as there are so many."""
    found = [(value, each) for each in scored.of(method) if (value := each.figure(metric.name)) is not None]
    found.sort(key=lambda pair: pair[0], reverse=metric.better == "higher")
    places = {len(found) // 2: "median", len(found) - 1: "worst", 0: "best"}  # of two videos there is no median
    return [(places[i], found[i][1]) for i in sorted(places) if found]


def _picture(content: bytes, kind: str, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'


def draw(scored: Scored, metric: Metric) -> bytes:
    """A plot as SVG: every video as a dot, each method's figure and its interval over them."""
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
        axes.set_title(f"{heading(metric)}  {metric.meaning}", loc="left", fontsize=9, color=INK)
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
