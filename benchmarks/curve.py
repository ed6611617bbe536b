"""A training run as a learning curve: every figure of its log.csv, averaged over equal numbers of steps."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from maskanim.benchmarks.outputs import write_figure, write_text
from maskanim.errors import MaskanimError, needs_extra

LOSSES = ("coarse", "frame", "mask", "figure", "refined")
COLOURS = dict(zip(LOSSES, ("#fdae61", "#d7301f", "#7bccc4", "#737373", "#2b8cbe"), strict=True))
INK = "#222222"


class Point(NamedTuple):
    """The mean of a figure, named as in log.csv, over those steps up to `step` that have it."""

    step: int
    name: str
    value: float


def read_curve(log: Path, every: int) -> list[Point]:
    """The means over each `every` steps, in the order of the steps.

    Args:
        log: a run's log.csv; lines of step, figure and value.
        every: how many steps become one point; the last one may be of fewer.

    Raises:
        MaskanimError: no such file, or not the log of a run.
    """
    expected = "the log.csv of maskanim-train"
    if not log.is_file():
        raise MaskanimError(str(log), "no such file", expected)
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    last: dict[int, int] = {}
    try:
        with log.open(newline="") as file:
            for step, name, value in csv.reader(file):
                block = (int(step) - 1) // every
                values[block, name].append(float(value))
                last[block] = int(step)
    except ValueError:  # too few or too many columns, or no numbers in them
        raise MaskanimError(str(log), "not lines of step, figure and value", expected) from None
    if not values:
        raise MaskanimError(str(log), "no steps", expected)
    return [Point(last[block], name, fmean(found)) for (block, name), found in sorted(values.items())]


def write_curve(path: Path, points: Iterable[Point]) -> None:
    """Write them as CSV, a row for each point, six digits."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Point._fields)
    rows.writerows((point.step, point.name, f"{point.value:.6g}") for point in points)
    write_text(path, text.getvalue())


def draw_curve(path: Path, points: Sequence[Point], title: str) -> None:
    """Draw the losses, on a logarithmic axis, and below them the learning rate.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    with needs_extra("--plot", "bench"):
        from matplotlib.figure import Figure
    steps = sorted({point.step for point in points})
    figure: Any = Figure(figsize=(9, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for name in (*LOSSES, "learning_rate"):
        values = {point.step: point.value for point in points if point.name == name}
        axes, colour = (above, COLOURS[name]) if name in COLOURS else (below, INK)
        if values:  # with a gap where its network rests, and its name at its right end
            axes.plot(steps, [values.get(step, nan) for step in steps], color=colour, linewidth=1.2)
            last = max(values)
            axes.annotate(name, (last, values[last]), (4, 0), textcoords="offset points", color=colour)
    above.set(yscale="log", ylabel="weighted loss")
    below.set(yscale="log", ylabel="learning rate", xlabel="step")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    write_figure(path, figure, 120)
