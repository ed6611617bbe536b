"""The figures of quality and of ablations, for people: on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from maskanim.benchmarks.quality.reconstruction import Reconstruction
from maskanim.benchmarks.quality.transfer import Transfer
from maskanim.benchmarks.quality.variants import Row

WIDTH = 120  # of what is no terminal
NOT_TRAINED = "not trained"


class Column(NamedTuple):
    """A figure: its heading, the attribute, how it is multiplied and with how many decimals it is told."""

    heading: str
    name: str
    factor: float
    decimals: int


REBUILT = (
    Column("L1 inside", "inside", 1, 3),
    Column("of repeating", "inside_ratio", 1, 2),
    Column("L1 outside", "outside", 1, 4),
    Column("key-points px", "keypoints", 1, 1),
)
MOVED = (
    Column("key-points px", "keypoints", 1, 1),
    Column("identity kept %", "identity_kept", 100, 0),
    Column("colours off", "to_source", 1, 3),
    Column("shape kept %", "shape_kept", 100, 0),
)
NOTE = "±: half of the 95 % bootstrap interval over identities"


def print_quality(figures: Reconstruction, moved: Mapping[str, Transfer]) -> None:
    """Reconstruction in words, and a table of the transfer and its references."""
    texts = {column.name: _told(figures, column) for column in REBUILT}
    print(
        f"{_rebuilt_title(figures)} ({NOTE})\n"
        f"  inside the figures:  L1 {texts['inside']}, repeating the source {figures.repeated_inside:.4f}, "
        f"ratio {texts['inside_ratio']}\n"
        f"  outside:             L1 {texts['outside']}, repeating the source {figures.repeated_outside:.4f}\n"
        f"  key-points found:    {texts['keypoints']} px from the true ones\n"
    )
    _print(_moved_table(moved))


def print_ablations(rows: Sequence[Row], references: Mapping[str, Transfer]) -> None:
    """Both tables, and what each variant is."""
    rebuilt, moved = _ablation_tables(rows, references)
    _print(rebuilt)
    print()
    _print(moved)
    print(f"\n{NOTE}")
    for row in rows:
        print(f"{row.name}: {row.told}")


def markdown(rows: Sequence[Row], references: Mapping[str, Transfer]) -> str:
    """The same as Markdown."""
    tables = "\n".join(map(_as_markdown, _ablation_tables(rows, references)))
    told = "\n".join(f"- `{row.name}`: {row.told}" for row in rows)
    return f"{tables}\n{NOTE}.\n\n{told}\n"


class _Text(NamedTuple):
    """A table of text: its title, the figures' headings, and lines that begin with their names."""

    title: str
    headings: list[str]
    lines: list[list[str]]


def _ablation_tables(rows: Sequence[Row], references: Mapping[str, Transfer]) -> tuple[_Text, _Text]:
    rebuilt = {row.name: row.reconstruction for row in rows}
    measured = next(figures for figures in rebuilt.values() if figures)
    lines = [[name, *_cells(figures, REBUILT)] for name, figures in rebuilt.items()]
    table = _Text(_rebuilt_title(measured), [column.heading for column in REBUILT], lines)
    return table, _moved_table({row.name: row.transfer for row in rows} | {**references})


def _moved_table(moved: Mapping[str, Transfer | None]) -> _Text:
    measured = next(figures for figures in moved.values() if figures)
    title = f"{measured.pairs} held-out identities animated by as many others, {measured.frames} frames each"
    lines = [[name, *_cells(figures, MOVED)] for name, figures in moved.items()]
    return _Text(title, [column.heading for column in MOVED], lines)


def _rebuilt_title(figures: Reconstruction) -> str:
    return f"{figures.identities} held-out identities, {figures.frames} frames each, rebuilt from the first one"


def _cells(figures: Reconstruction | Transfer | None, columns: Sequence[Column]) -> list[str]:
    if figures is None:
        return [NOT_TRAINED, *[""] * (len(columns) - 1)]
    return [_told(figures, column) for column in columns]


def _told(figures: Reconstruction | Transfer, column: Column) -> str:
    low, high = figures.intervals[column.name]
    value, half = getattr(figures, column.name) * column.factor, (high - low) / 2 * column.factor
    return f"{value:.{column.decimals}f} ±{half:.{column.decimals}f}"


def _print(text: _Text) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    table: Any = Table(title=text.title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in text.headings:
        table.add_column(heading, justify="right")
    for line in text.lines:
        table.add_row(*line)
    console.print(table)


def _as_markdown(text: _Text) -> str:
    lines = [["", *text.headings], ["---", *["---:"] * len(text.headings)], *text.lines]
    return f"{text.title}:\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
