"""Tables: rows of text, shown on a terminal by rich, or written as Markdown, LaTeX or HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 200  # where the output is no terminal
LATEX = str.maketrans({**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "↓": r"$\downarrow$", "↑": r"$\uparrow$"})


class Table(NamedTuple):
    """A table."""

    title: str  # stands above it
    headings: Sequence[str]  # of each column; the first one names the rows
    rows: Sequence[Sequence[str]]  # as many cells each
    best: frozenset[tuple[int, int]] = frozenset()  # (row, column) of the cells that stand out
    words: bool = False  # whether the cells are text, which stands to the left, and not figures

    def show(self) -> None:
        """Print it."""
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console()
        console = console if console.is_terminal else Console(width=WIDTH)
        shown = RichTable(box=None, pad_edge=False)
        for i, heading in enumerate(self.headings):
            shown.add_column(Text(heading), justify="left" if self.words or not i else "right", overflow="fold")
        for row, cells in enumerate(self.rows):
            shown.add_row(*(Text(cell, "bold" if (row, i) in self.best else "") for i, cell in enumerate(cells)))
        console.print(self.title, markup=False, highlight=False, soft_wrap=True)
        console.print(shown)
        console.print()

    def markdown(self) -> str:
        """With the title above it."""
        lines = [self.headings, ["---", *["---:"] * (len(self.headings) - 1)], *self.rows]
        return f"{self.title}:\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def latex(self) -> str:
        """For a paper; needs the package booktabs."""
        rows = [rf"{' & '.join(row)} \\" for row in self._styled(lambda cell: cell.translate(LATEX), r"\textbf{%s}")]
        head = " & ".join(heading.translate(LATEX) for heading in self.headings) + r" \\"
        begin = rf"\begin{{tabular}}{{l{'r' * (len(self.headings) - 1)}}}"
        lines = [f"% {self.title}", begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", ""]
        return "\n".join(lines)

    def html(self) -> str:
        """With the title as its caption."""
        rows = [f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in self._styled(escape, "<b>%s</b>")]
        head = "".join(f"<th>{escape(each)}</th>" for each in self.headings)
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        kind = "words" if self.words else ""
        return f"<div class=wide><table class='{kind}'>{caption}<tr>{head}</tr>{''.join(rows)}</table></div>"

    def _styled(self, escaped: Callable[[str], str], bold: str) -> list[list[str]]:
        return [
            [bold % escaped(cell) if (row, i) in self.best else escaped(cell) for i, cell in enumerate(cells)]
            for row, cells in enumerate(self.rows)
        ]
