"""JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from pathlib import Path
from typing import Any

from maskanim.benchmarks.scoring.metrics import METRICS
from maskanim.benchmarks.scoring.report.tables import Table, main_table, thirds_table
from maskanim.benchmarks.scoring.results import BY_THIRDS, THIRDS, Scored
from maskanim.errors import MaskanimError

FORMAT = 1  # of the JSON; grows when a key changes its meaning
ESCAPES = str.maketrans({**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "↓": r"$\downarrow$", "↑": r"$\uparrow$"})


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file at once: it is there complete, or what was there before still is.

    Raises:
        MaskanimError: it cannot be written there.
    """
    unfinished = path.with_name(f".{secrets.token_hex(8)}-{path.name}")
    try:
        unfinished.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise MaskanimError(str(path), f"cannot be written ({error.strerror})", "a place for a file") from error


def as_json(scored: Scored) -> str:
    """All of it: per-video rows, estimates, thirds, networks, and what went wrong."""
    return json.dumps(as_dict(scored), indent=1) + "\n"


def as_dict(scored: Scored) -> dict[str, Any]:
    metrics = {}
    for metric in METRICS:
        why = scored.why_not(metric)
        metrics[metric.name] = {
            "told": metric.told,
            "unit": metric.unit,
            "better": metric.better,
            "judged_by": None if why else scored.perception.behind(metric) or "arithmetic",
            "instead_of": None if why or metric.package else scored.perception.instead_of.get(metric.feature),
            "not_available": why or None,
        }
    return {
        "format": FORMAT,
        "about": {"subject": scored.perception.subject, **scored.about},
        "notes": list(scored.notes),
        "metrics": metrics,
        "methods": {method: _method(scored, method) for method in scored.methods},
        "videos": [each.as_dict() for each in scored.videos],
        "not_scored": dict(scored.failures),
    }


def _method(scored: Scored, method: str) -> dict[str, Any]:
    estimates = {metric.name: scored.estimate(method, metric.name) for metric in scored.shown()}
    found: dict[str, Any] = {name: each and each._asdict() for name, each in estimates.items()}
    if scored.has_thirds():
        thirds = {name: scored.thirds(method, name) for name in BY_THIRDS if name in estimates}
        found["thirds"] = {
            name: {third: each and each._asdict() for third, each in zip(THIRDS, values, strict=True)}
            for name, values in thirds.items()
        }
    return found


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
    return "\n".join(_latex(table) for table in (main_table(scored), thirds_table(scored)) if table)


def _latex(table: Table) -> str:
    def line(cells: tuple[str, ...], row: int = -1) -> str:
        escaped = [cell.translate(ESCAPES) for cell in cells]
        styled = [rf"\textbf{{{cell}}}" if (row, i) in table.best else cell for i, cell in enumerate(escaped)]
        return " & ".join(styled) + r" \\"

    body = [line(cells, row) for row, cells in enumerate(table.rows)]
    columns = "l" + "r" * (len(table.headings) - 1)
    rules = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(table.headings), r"\midrule"]
    comment = "% " + table.title
    return os.linesep.join([comment, *rules, *body, r"\bottomrule", r"\end{tabular}", ""]).replace(os.linesep, "\n")
