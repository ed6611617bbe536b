"""The tables of a run as text: methods and their metrics, the thirds of Table 6, and who judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from maskanim.benchmarks.quality.estimates import Estimate
from maskanim.benchmarks.scoring.metrics import METRICS, Metric
from maskanim.benchmarks.scoring.results import BY_THIRDS, THIRDS, Scored

ARROWS = {"lower": "↓", "higher": "↑"}
NOT_AVAILABLE = "not available"


class Table(NamedTuple):
    """Headings, one more than a row has figures; `best` holds (row, column) of the figures to stand out."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    best: frozenset[tuple[int, int]]


def shown(metric: Metric, value: float | None) -> str:
    """A figure with the digits that it is worth."""
    if value is None:
        return "-"
    if metric.unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if metric.unit == "px" else f"{value:.3f}"


def with_interval(metric: Metric, estimate: Estimate | None) -> str:
    """A figure and its interval."""
    if estimate is None:
        return "-"
    low, high = (shown(metric, bound).removesuffix(" %") for bound in (estimate.low, estimate.high))
    return f"{shown(metric, estimate.value)} ({low} to {high})"


def heading(metric: Metric) -> str:
    return f"{metric.name} {ARROWS[metric.better]}"


def main_table(scored: Scored) -> Table:
    """A row for each method, a column for each metric with a figure; with 95 % intervals over videos."""
    metrics = scored.shown()
    estimates = [[scored.estimate(method, metric.name) for metric in metrics] for method in scored.methods]
    rows = [
        (method, *(with_interval(metric, each) for metric, each in zip(metrics, row, strict=True)))
        for method, row in zip(scored.methods, estimates, strict=True)
    ]
    best = (_best(metric, [row[i] for row in estimates], i) for i, metric in enumerate(metrics))
    videos = len({each.video for each in scored.videos})
    title = f"videos: {videos}; frames: {_frames(scored)}; in brackets 95 % bootstrap intervals over videos"
    return Table(title, ("", *map(heading, metrics)), rows, frozenset().union(*best))


def thirds_table(scored: Scored) -> Table | None:
    """Table 6: a column for each metric and third; None where the difficulty is not known."""
    metrics = [metric for metric in scored.shown() if metric.name in BY_THIRDS]
    if not metrics or not scored.has_thirds():
        return None
    rows = []
    for method in scored.methods:
        cells = [zip((metric,) * len(THIRDS), scored.thirds(method, metric.name), strict=True) for metric in metrics]
        rows.append((method, *(shown(metric, each and each.value) for pairs in cells for metric, each in pairs)))
    headings = ("", *(f"{heading(metric)} {third}" for metric in metrics for third in THIRDS))
    return Table("by thirds of the driving frames, by AKD between source and driver", headings, rows, frozenset())


def judges(scored: Scored) -> list[tuple[str, str, str, str]]:
    """For each metric: its name, what it says, the network behind it, what it stands in for; or why there is none."""
    rows = []
    for metric in METRICS:
        why = scored.why_not(metric)
        behind = f"{NOT_AVAILABLE}: {why}" if why else scored.perception.behind(metric) or "arithmetic"
        instead = "" if why else scored.perception.instead_of.get(metric.feature, "") if not metric.package else ""
        rows.append((metric.name, metric.told, behind, instead and f"instead of {instead}"))
    return rows


def problems(scored: Scored) -> list[str]:
    """How many videos had each kind of trouble, and one line for each that could not be scored."""
    troubled = [each for each in scored.videos if each.problems]
    lines = [f"{each.video}, {each.method}: {'; '.join(each.problems)}" for each in troubled]
    failed = [f"{name}: {why}" for name, why in scored.failures.items()]
    counted = Counter(scored=len(scored.videos), troubled=len(troubled), failed=len(failed))
    head = "{scored} generated videos scored, {troubled} of them with remarks; {failed} not scored or incomplete"
    return [head.format(**counted), *failed, *lines]


def _best(metric: Metric, column: Sequence[Estimate | None], index: int) -> set[tuple[int, int]]:
    values = [(each.value, i) for i, each in enumerate(column) if each]
    if len(values) < 2:
        return set()
    best = (min if metric.better == "lower" else max)(value for value, _ in values)
    return {(i, index + 1) for value, i in values if value == best}


def _frames(scored: Scored) -> int:
    return max((sum(each.frames for each in scored.of(method)) for method in scored.methods), default=0)
