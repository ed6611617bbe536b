"""Reading a CSV file whose header names its columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from maskanim.errors import MaskanimError


class Row(NamedTuple):
    """A row."""

    line: int  # the line of the file on which it ends, counted from 1
    cells: dict[str, str]  # by column, without spaces around them; empty where the row is too short


def read_table(path: Path, columns: Sequence[str], subject: str) -> list[Row]:
    """The rows of a CSV file in UTF-8 that has at least the given columns.

    Args:
        columns: that must be there; others may be.
        subject: what an error names.

    Raises:
        MaskanimError: no such file, not UTF-8, or a column is missing.
    """
    wanted = f"the columns {' and '.join(columns)}"
    if not path.is_file():
        raise MaskanimError(subject, "there is no such file", f"a CSV file with {wanted}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            rows = [Row(reader.line_num, {name: (row[name] or "").strip() for name in names}) for row in reader]
    except (UnicodeDecodeError, csv.Error):
        raise MaskanimError(subject, "not a CSV file in UTF-8", wanted) from None
    if not set(columns) <= set(names):
        raise MaskanimError(subject, f"the columns {', '.join(names) or '(none)'}", wanted)
    return rows
