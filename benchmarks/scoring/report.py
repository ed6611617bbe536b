"""What scoring found, for people and for programs: tables, JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import typer

from maskanim.benchmarks.estimates import Estimate
from maskanim.benchmarks.metrics import METRICS, Metric
from maskanim.benchmarks.scoring.results import BY_THIRDS, THIRDS, Scored
from maskanim.benchmarks.tables import Table

FORMAT = 1  # of the JSON; grows when a key changes its meaning
ARROWS = {"lower": "↓", "higher": "↑"}
REMARKS = 12  # that are printed; more of them are in the other outputs


def shown(metric: Metric, value: float | None) -> str:
    """A figure with the digits that it is worth."""
    if value is None:
        return "-"
    if metric.unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if metric.unit == "px" else f"{value:.3f}"


def heading(metric: Metric) -> str:
    """Its name, and which way is better."""
    return f"{metric.name} {ARROWS[metric.better]}"


def tables(scored: Scored) -> list[Table]:
    """The table of methods, and Table 6's thirds where the difficulty of the frames is known."""
    return [main_table(scored), *filter(None, [thirds_table(scored)])]


def main_table(scored: Scored) -> Table:
    """A row for each method, a column for each metric with a figure; with 95 % intervals over videos."""
    metrics = scored.shown()
    columns = [[scored.estimate(method, metric.name) for method in scored.methods] for metric in metrics]
    cells = [[_with_interval(metric, each) for each in column] for metric, column in zip(metrics, columns, strict=True)]
    best = (_best(metric, column, i) for i, (metric, column) in enumerate(zip(metrics, columns, strict=True), 1))
    videos = len({each.video for each in scored.videos})
    frames = max((sum(each.frames for each in scored.of(method)) for method in scored.methods), default=0)
    title = f"videos: {videos}; frames: {frames}; in brackets 95 % bootstrap intervals over videos"
    rows = [*zip(scored.methods, *cells, strict=True)]
    return Table(title, ("", *map(heading, metrics)), rows, frozenset().union(*best))


def thirds_table(scored: Scored) -> Table | None:
    """Table 6: a column for each metric and third; None where the difficulty is not known."""
    metrics = [metric for metric in scored.shown() if metric.name in BY_THIRDS]
    if not metrics or not scored.has_thirds():
        return None
    rows = [
        (
            method,
            *(shown(metric, each and each.value) for metric in metrics for each in scored.thirds(method, metric.name)),
        )
        for method in scored.methods
    ]
    headings = ("", *(f"{heading(metric)} {third}" for metric in metrics for third in THIRDS))
    return Table("by thirds of the driving frames, by AKD between source and driver", headings, rows)


def judges_table(scored: Scored) -> Table:
    """For each metric: what it says, the network behind it, what it stands in for; or why there is none."""
    rows = []
    for metric in METRICS:
        why = scored.why_not(metric)
        instead = "" if why else metric.instead_of(scored.perception)
        behind = f"not available: {why}" if why else metric.behind(scored.perception)
        rows.append((metric.name, metric.meaning, behind, instead and f"instead of {instead}"))
    return Table("metrics", ("", "what it says", "judged by", ""), rows, words=True)


def problems(scored: Scored) -> list[str]:
    """How many videos had each kind of trouble, and one line for each that could not be scored."""
    troubled = [f"{each.video}, {each.method}: {'; '.join(each.problems)}" for each in scored.videos if each.problems]
    failed = [f"{name}: {why}" for name, why in scored.failures.items()]
    counts = f"{len(scored.videos)} generated videos scored, {len(troubled)} of them with remarks"
    return [f"{counts}; {len(failed)} not scored or incomplete", *failed, *troubled]


def print_scored(scored: Scored) -> None:
    """Print what was found, who judged, and what was not as it should be."""
    for table in (*tables(scored), judges_table(scored)):
        table.show()
    lines = [*scored.notes, *problems(scored)]
    more = [f"and {len(lines) - REMARKS} more; --json and --csv have them all"] if len(lines) > REMARKS else []
    typer.echo("\n".join((*lines[:REMARKS], *more)))


def as_json(scored: Scored) -> str:
    """All of it: per-video rows, estimates, thirds, networks, and what went wrong."""
    values = {
        "format": FORMAT,
        "about": {"subject": scored.perception.subject, **scored.about},
        "notes": list(scored.notes),
        "metrics": {metric.name: _about(scored, metric) for metric in METRICS},
        "methods": {method: _method(scored, method) for method in scored.methods},
        "videos": [
            {
                "video": each.video,
                "method": each.method,
                "frames": each.frames,
                "scores": {name: each.figure(name) for name in each.scores},
                "frames_judged": {name: each.judged(name) for name in each.scores},
                "problems": list(each.problems),
            }
            for each in scored.videos
        ],
        "not_scored": dict(scored.failures),
    }
    return json.dumps(values, indent=1) + "\n"


def _about(scored: Scored, metric: Metric) -> dict[str, Any]:
    why = scored.why_not(metric)
    return {
        "told": metric.meaning,
        "unit": metric.unit,
        "better": metric.better,
        "judged_by": None if why else metric.behind(scored.perception),
        "instead_of": None if why else metric.instead_of(scored.perception) or None,
        "not_available": why or None,
    }


def _method(scored: Scored, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {each.name: _as_dict(scored.estimate(method, each.name)) for each in scored.shown()}
    if scored.has_thirds():
        thirds = {name: scored.thirds(method, name) for name in BY_THIRDS if name in found}
        found["thirds"] = {
            name: {third: _as_dict(each) for third, each in zip(THIRDS, values, strict=True)}
            for name, values in thirds.items()
        }
    return found


def _as_dict(estimate: Estimate | None) -> dict[str, float] | None:
    return estimate and estimate._asdict()


def as_csv(scored: Scored) -> str:
    """A row for each video and method; an empty cell where there is no figure, and the reason among the remarks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [metric.name for metric in METRICS]
    writer.writerow(["video", "method", "frames", *names, *(f"{name} frames judged" for name in names), "remarks"])
    for each in scored.videos:
        figures = [each.figure(name) for name in names]
        cells = ["" if figure is None else f"{figure:.6g}" for figure in figures]
        judged = [each.judged(name) if name in each.scores else "" for name in names]
        writer.writerow([each.video, each.method, each.frames, *cells, *judged, "; ".join(each.problems)])
    for name, why in scored.failures.items():
        writer.writerow([name, "", 0, *[""] * (2 * len(names)), why])
    return text.getvalue()


def as_latex(scored: Scored) -> str:
    """The tables for a paper, best figures bold; they need the package booktabs."""
    return "\n".join(table.latex() for table in tables(scored))


def _with_interval(metric: Metric, estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    value, low, high = (shown(metric, each) for each in estimate)
    return f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def _best(metric: Metric, column: Sequence[Estimate | None], index: int) -> set[tuple[int, int]]:
    values = [(each.value, i) for i, each in enumerate(column) if each]
    if len(values) < 2:
        return set()
    best = (min if metric.better == "lower" else max)(value for value, _ in values)
    return {(i, index) for value, i in values if value == best}
