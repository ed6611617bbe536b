"""The tables on the terminal."""

from __future__ import annotations

from typing import Any, Literal

import typer

from maskanim.benchmarks.scoring.report.tables import Table, judges, main_table, problems, thirds_table
from maskanim.benchmarks.scoring.results import Scored

PIPE_WIDTH = 200  # where the output is no terminal
REMARKS = 12  # more of them are in the other outputs


def print_scored(scored: Scored) -> None:
    """Print what was found, who judged, and what was not as it should be."""
    print_table(main_table(scored))
    if thirds := thirds_table(scored):
        print_table(thirds)
    headings = ("", "what it says", "judged by", "")
    print_table(Table("metrics", headings, judges(scored), frozenset()), justify="left")
    lines = [*scored.notes, *problems(scored)]
    more = [f"and {len(lines) - REMARKS} more; --json and --csv have them all"] if len(lines) > REMARKS else []
    for line in (*lines[:REMARKS], *more):
        typer.echo(line)


def print_table(text: Table, justify: Literal["left", "right"] = "right") -> None:
    """Print one table; figures stand to the right, words to the left."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    console = console if console.is_terminal else Console(width=PIPE_WIDTH)
    table: Any = RichTable(box=None, pad_edge=False)
    for i, each in enumerate(text.headings):
        table.add_column(Text(each), justify=justify if i else "left", overflow="fold")
    for row, cells in enumerate(text.rows):
        styled = (Text(cell, "bold" if (row, i) in text.best else "") for i, cell in enumerate(cells))
        table.add_row(*styled)
    typer.echo(text.title)
    console.print(table)
    console.print()
