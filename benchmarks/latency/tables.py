"""Runs and comparisons as tables."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from maskanim.benchmarks.latency import stages
from maskanim.benchmarks.latency.compare import Change, Comparison
from maskanim.benchmarks.latency.figures import COLD_START, END_TO_END, MODEL_ONLY, STAGES, Figure, figures
from maskanim.benchmarks.latency.records import LatencyReport
from maskanim.benchmarks.tables import Table

BUSY = 0.1  # cores: more than this of other load is worth a line


def print_report(report: LatencyReport) -> None:
    """What was measured, where, and how."""
    typer.echo("\n".join(conditions_lines(report)) + "\n")
    for table in tables(report):
        table.show()
    lines = [f"{measured.label}: {measured.detail}" for measured in report.measured]
    typer.echo("\n".join([*lines, *(f"left out: {name} ({why})" for name, why in report.left_out.items())]))


def print_comparison(comparison: Comparison) -> None:
    """What changed; what else differs goes to standard error."""
    for warning in comparison.warnings:
        typer.echo(f"warning: {warning}", err=True)
    title = "before and after; noise: where the change in time lies, with 99 % confidence"
    headings = ("", "figure", "before", "after", "change", "noise", "verdict")
    Table(title, headings, [_change_row(change) for change in comparison.changes]).show()


def conditions_lines(report: LatencyReport) -> Iterator[str]:
    """Machine, state and method, for people."""
    conditions, settings = report.conditions, report.settings
    state = {
        "cores: {}": conditions.cores,
        "{:.0f} MHz": conditions.frequency_mhz,
        "governor {}": conditions.governor,
        "load {}": conditions.load_average,
    }
    told = ", ".join(text.format(value) for text, value in state.items() if value is not None)
    limit = f", limited to {conditions.limit}" if conditions.limit else ""
    yield f"{conditions.processor} ({', '.join(conditions.extensions)}{limit}), {told}"
    if gpu := conditions.gpu:
        clocks = ", ".join(f"{name} {value} MHz" for name, value in (gpu.clocks_mhz or {}).items())
        yield f"{gpu.name} ({gpu.compute_capability}), driver {gpu.driver}, {clocks or 'clocks unknown'}"
    yield f"{conditions.system}, Python {conditions.python}, {conditions.date}"
    if (conditions.other_load or 0) > BUSY:
        yield f"something else kept {conditions.other_load} of the cores busy: an idle machine gives better figures"
    yield (
        f"{settings.rounds} rounds in random order, {settings.warm_up} calls to warm up, {settings.settling} before "
        f"each turn; {settings.repeats} cold starts and clips each; {settings.clip}"
    )


def tables(report: LatencyReport) -> Iterator[Table]:
    """A row for each subject, a column for each figure that any of them has."""
    every = {each.label: list(figures(each)) for each in report.measured}
    for title in (MODEL_ONLY, END_TO_END, COLD_START, STAGES):
        found = {label: {each.name: each for each in row if each.table == title} for label, row in every.items()}
        columns = list(dict.fromkeys(name for row in found.values() for name in row))
        if title == STAGES:
            columns.sort(key=[*stages.STAGES, "together"].index)
        rows = [[label, *(_text(row.get(name)) for name in columns)] for label, row in found.items()]
        if columns:
            yield Table(title, ["", *columns], rows)


def _text(figure: Figure | None) -> str:
    if figure is None:
        return ""
    decimals = {"MB": 0, "frames/s": 1, "ms": 1 if figure.value >= 10 else 2}.get(figure.unit, 2)
    return f"{figure.value:.{decimals}f}"


def _change_row(change: Change) -> list[str]:
    noise = f"{change.noise[0]:+.1f} to {change.noise[1]:+.1f} %" if change.noise else ""
    values = (f"{value:.4g}" for value in (change.before, change.after))
    figure = f"{change.name}, {change.unit}"
    return [change.label, figure, *values, f"{change.percent:+.1f} %", noise, change.verdict]
