"""The figures of puppets and of ablations as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maskanim.benchmarks.estimates import Estimate
from maskanim.benchmarks.quality.ablations import Row
from maskanim.benchmarks.quality.puppets import Figures
from maskanim.benchmarks.tables import Table

NOT_TRAINED = "not trained"
NOTE = "±: half of the 95 % bootstrap interval over identities"


class Column(NamedTuple):
    """A figure: its heading, its name, how it is multiplied and with how many decimals it is shown."""

    heading: str
    name: str
    factor: float = 1
    decimals: int = 2

    def text(self, figures: Mapping[str, Estimate | None]) -> str:
        """The figure and half of its interval; a dash where there is none."""
        if (found := figures.get(self.name)) is None:
            return "-"
        value, low, high = (self.factor * each for each in found)
        return f"{value:.{self.decimals}f} ±{(high - low) / 2:.{self.decimals}f}"


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


def print_quality(figures: Figures, moved: Mapping[str, Figures]) -> None:
    """Reconstruction in words, and a table of the transfer and its references."""
    texts = {column.name: column.text(figures.estimates) for column in REBUILT}
    print(
        f"{_rebuilt_title(figures)} ({NOTE})\n"
        f"  inside the figures:  L1 {texts['inside']}, repeating the source {figures['repeated_inside']:.4f}, "
        f"ratio {texts['inside_ratio']}\n"
        f"  outside:             L1 {texts['outside']}, repeating the source {figures['repeated_outside']:.4f}\n"
        f"  key-points found:    {texts['keypoints']} px from the true ones\n"
    )
    _table(_moved_title(figures=next(iter(moved.values()))), MOVED, moved).show()


def print_ablations(rows: Sequence[Row], references: Mapping[str, Figures]) -> None:
    """Both tables, and what each variant is."""
    for table in _ablation_tables(rows, references):
        table.show()
    print("\n".join([NOTE, *(f"{row.name}: {row.meaning}" for row in rows)]))


def markdown(rows: Sequence[Row], references: Mapping[str, Figures]) -> str:
    """The same as Markdown."""
    tables = "\n".join(table.markdown() for table in _ablation_tables(rows, references))
    return f"{tables}\n{NOTE}.\n\n" + "".join(f"- `{row.name}`: {row.meaning}\n" for row in rows)


def _ablation_tables(rows: Sequence[Row], references: Mapping[str, Figures]) -> tuple[Table, Table]:
    rebuilt = {row.name: row.reconstruction for row in rows}
    moved = {row.name: row.transfer for row in rows} | {**references}
    measured = next(row for row in rows if row.reconstruction and row.transfer)
    assert measured.reconstruction and measured.transfer
    return (
        _table(_rebuilt_title(measured.reconstruction), REBUILT, rebuilt),
        _table(_moved_title(measured.transfer), MOVED, moved),
    )


def _table(title: str, columns: Sequence[Column], figures: Mapping[str, Figures | None]) -> Table:
    missing = [NOT_TRAINED, *[""] * (len(columns) - 1)]
    rows = [
        [name, *([column.text(each.estimates) for column in columns] if each else missing)]
        for name, each in figures.items()
    ]
    return Table(title, ["", *(column.heading for column in columns)], rows)


def _rebuilt_title(figures: Figures) -> str:
    return "{identities} held-out identities, {frames} frames each, rebuilt from the first one".format(**figures.counts)


def _moved_title(figures: Figures) -> str:
    return "{pairs} held-out identities animated by as many others, {frames} frames each".format(**figures.counts)
