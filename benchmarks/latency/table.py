"""Runs and comparisons on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from maskanim.benchmarks.latency.compare import Change, Comparison
from maskanim.benchmarks.latency.records import Conditions, LatencyReport, Measured, Start, median
from maskanim.benchmarks.latency.stages import STAGES

WIDTH = 120  # of what is no terminal
BUSY = 0.1  # cores: more than this of other load is worth a line


def print_report(report: LatencyReport) -> None:
    """What was measured, where, and how."""
    console = _console()
    for line in conditions_lines(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for table in (_latency(report), _whole(report), _starts(report), _stages(report)):
        console.print(table)
    for measured in report.measured:
        console.print(f"{measured.label}: {measured.detail}", highlight=False, markup=False, soft_wrap=True)
    for name, why in report.left_out.items():
        console.print(f"left out: {name} ({why})", highlight=False, markup=False, soft_wrap=True)


def print_comparison(comparison: Comparison) -> None:
    """What changed; what else differs goes to standard error."""
    for warning in comparison.warnings:
        Console(stderr=True).print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    table = _table("before and after; noise: where the change in time lies, with 99 % confidence", 2)
    for heading in ("before", "after", "change", "noise"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for label, rows in _grouped(comparison.changes):
        for i, change in enumerate(rows):
            table.add_row("" if i else label, *_cells(change))
        table.add_section()
    _console().print(table)


def conditions_lines(report: LatencyReport) -> Iterator[str]:
    """Machine, state and method, for people."""
    conditions, settings = report.conditions, report.settings
    yield f"{conditions.processor} ({', '.join(conditions.extensions)}), {_state(conditions)}"
    if conditions.gpu:
        gpu, clocks = conditions.gpu, conditions.gpu.clocks_mhz or {}
        told = ", ".join(f"{name} {value} MHz" for name, value in clocks.items())
        yield f"{gpu.name} ({gpu.compute_capability}), driver {gpu.driver}, {told or 'clocks unknown'}"
    yield f"{conditions.system}, Python {conditions.python}, {conditions.date}"
    if (conditions.other_load or 0) > BUSY:
        yield f"something else kept {conditions.other_load} of the cores busy: an idle machine gives better figures"
    yield (
        f"{settings.rounds} rounds in random order, {settings.warm_up} calls to warm up, {settings.settling} before "
        f"each turn; {settings.repeats} cold starts and clips each; {settings.clip}"
    )


def _state(conditions: Conditions) -> str:
    parts = [
        f"cores: {conditions.cores}",
        f"{conditions.frequency_mhz:.0f} MHz" if conditions.frequency_mhz else "",
        f"governor {conditions.governor}" if conditions.governor else "",
        f"load {conditions.load_average}" if conditions.load_average is not None else "",
    ]
    return ", ".join(filter(None, parts))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _table(title: str, labels: int = 1) -> Table:
    table: Any = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for _ in range(labels):
        table.add_column("", no_wrap=True)
    return table


def _of(report: LatencyReport, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = _table(title)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for measured, row in zip(report.measured, rows, strict=True):
        table.add_row(measured.label, *row)
    return table


def _latency(report: LatencyReport) -> Table:
    headings = ("p50", "p90", "p95", "p99", "mean", "frames/s", "streamed")
    rows = []
    for timing in (each.model_only for each in report.measured):
        times = (timing.p50, timing.p90, timing.p95, timing.p99, timing.mean)
        rows.append([*map(_ms, times), _rate(timing.frames_per_second), _rate(timing.streamed_frames_per_second)])
    return _of(report, "\nmodel only, ms from a prepared frame to its picture", headings, rows)


def _whole(report: LatencyReport) -> Table:
    headings = ("frames/s", "of model only", "source ms", "memory MB", "device MB")
    rows = []
    for each in report.measured:
        rate = each.end_to_end.frames_per_second
        share = f"{rate / each.model_only.best_rate:.2f}"
        sizes = (each.cold.peak_memory, each.cold.device_memory)
        rows.append([_rate(rate), share, _ms(median(each.source_ms)), *map(_megabytes, sizes)])
    return _of(report, "\nend to end, decoding and encoding included", headings, rows)


def _starts(report: LatencyReport) -> Table:
    headings = ("interpreter", "imports", "load", "first frame", "together", "building")
    rows = [[*map(_seconds, _parts(each)), _seconds(_building(each))] for each in report.measured]
    return _of(report, "\ncold start in a fresh process, s", headings, rows)


def _parts(measured: Measured) -> list[float]:
    usual = measured.cold.usual
    parts = [[start.interpreter, start.imports, start.load, start.first_frame] for start in usual]
    return [median(values) for values in zip(*parts, strict=True)] + [measured.cold.seconds]


def _building(measured: Measured) -> float | None:
    """What building took on top of loading."""
    usual: tuple[Start, ...] = measured.cold.usual
    built = [start.load for start in measured.cold.starts if start.built]
    return max(built) - median([start.load for start in usual if not start.built] or [0.0]) if built else None


def _stages(report: LatencyReport) -> Table:
    told = [stage for stage in STAGES if any(each.stages and stage in each.stages.medians for each in report.measured)]
    rows = []
    for each in report.measured:
        medians = each.stages.medians if each.stages else {}
        rows.append([_ms(medians.get(stage)) for stage in told] + [_ms(sum(medians.values()) or None)])
    return _of(report, "\nstages, median ms per call, each with a clock around it", [*told, "together"], rows)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.0f}"


def _grouped(changes: Sequence[Change]) -> Iterator[tuple[str, list[Change]]]:
    for label in dict.fromkeys(change.label for change in changes):
        yield label, [change for change in changes if change.label == label]


def _cells(change: Change) -> list[str]:
    noise = f"{change.noise[0]:+.1f} to {change.noise[1]:+.1f} %" if change.noise else ""
    values = (f"{value:.4g}" for value in (change.before, change.after))
    return [f"{change.name}, {change.unit}", *values, f"{change.percent:+.1f} %", noise, change.verdict]
