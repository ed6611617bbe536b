"""Runs and comparisons as tables."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from maskanim.benchmarks.latency.compare import Change, Comparison
from maskanim.benchmarks.latency.records import Conditions, LatencyReport, Measured, median
from maskanim.benchmarks.latency.stages import STAGES
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
    yield f"{conditions.processor} ({', '.join(conditions.extensions)}), {_state(conditions)}"
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


def _state(conditions: Conditions) -> str:
    parts = [
        f"cores: {conditions.cores}",
        f"{conditions.frequency_mhz:.0f} MHz" if conditions.frequency_mhz else "",
        f"governor {conditions.governor}" if conditions.governor else "",
        f"load {conditions.load_average}" if conditions.load_average is not None else "",
    ]
    return ", ".join(filter(None, parts))


def tables(report: LatencyReport) -> Iterator[Table]:
    """Latency, and where they were measured clips, cold starts and stages: a row for each subject."""

    def of(title: str, headings: str, rows: dict[str, list[str]]) -> Table:
        return Table(title, ["", *headings.split("; ")], [[label, *row] for label, row in rows.items()])

    every = {each.label: each for each in report.measured}
    headings = "p50; p90; p95; p99; mean; frames/s; streamed"
    yield of("model only, ms from a prepared frame to its picture", headings, {k: _calls(v) for k, v in every.items()})
    whole = {label: _clips(each) for label, each in every.items() if each.end_to_end and each.cold}
    if whole:
        headings = "frames/s; of model only; source ms; memory MB; VRAM MB"
        yield of("end to end, as maskanim-run does it: decoding, encoding and signing included", headings, whole)
        headings = "interpreter; imports; load; first frame; together; building"
        starts = {label: _starts(every[label]) for label in whole}
        yield of("cold start in a fresh process, s; building: of engines, the first time", headings, starts)
    shown = [stage for stage in STAGES if any(each.stages and stage in each.stages.medians for each in every.values())]
    stages = {label: _stages(each, shown) for label, each in every.items()}
    yield of("stages, median ms per call, each with a clock around it", "; ".join([*shown, "together"]), stages)


def _calls(measured: Measured) -> list[str]:
    timing = measured.model_only
    times = (timing.p50, timing.p90, timing.p95, timing.p99, timing.mean)
    return [*map(_ms, times), _number(timing.frames_per_second), _number(timing.streamed_frames_per_second)]


def _clips(measured: Measured) -> list[str]:
    assert measured.end_to_end and measured.cold
    rate, cold = measured.end_to_end.frames_per_second, measured.cold
    sizes = [_number(size and size / 1e6, 0) for size in (cold.peak_memory, cold.device_memory)]
    return [_number(rate), f"{rate / measured.model_only.best_rate:.2f}", _ms(median(measured.source_ms)), *sizes]


def _starts(measured: Measured) -> list[str]:
    assert measured.cold
    usual = [[each.interpreter, each.imports, each.load, each.first_frame] for each in measured.cold.usual]
    parts = [*(median(values) for values in zip(*usual, strict=True)), measured.cold.seconds, measured.cold.building]
    return [_number(seconds, 2) for seconds in parts]


def _stages(measured: Measured, shown: list[str]) -> list[str]:
    medians = measured.stages.medians if measured.stages else {}
    return [_ms(medians.get(stage)) for stage in shown] + [_ms(sum(medians.values()) or None)]


def _ms(value: float | None) -> str:
    return _number(value, 1 if (value or 0) >= 10 else 2)


def _number(value: float | None, decimals: int = 1) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _change_row(change: Change) -> list[str]:
    noise = f"{change.noise[0]:+.1f} to {change.noise[1]:+.1f} %" if change.noise else ""
    values = (f"{value:.4g}" for value in (change.before, change.after))
    figure = f"{change.name}, {change.unit}"
    return [change.label, figure, *values, f"{change.percent:+.1f} %", noise, change.verdict]
