"""Files that the commands write beside what they print: refused before anything is measured, written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maskanim import atomic
from maskanim.errors import MaskanimError, needs_extra


def check_outputs(*paths: Path | None, plot: Path | None = None, page: Path | None = None) -> None:
    """Refuse files that could not be written.

    Args:
        paths: of any kind; None for those that are not wanted.
        plot, page: a picture, and a page with pictures, which matplotlib draws.

    Raises:
        MissingPackageError: matplotlib is not installed.
        MaskanimError: a picture of no known kind, or as `atomic.check_writable`.
    """
    for path in filter(None, (*paths, plot, page)):
        atomic.check_writable(path)
    if plot or page:
        with needs_extra("--plot" if plot else "--html", "bench"):
            from matplotlib.backend_bases import FigureCanvasBase
        known = FigureCanvasBase.get_supported_filetypes()
        if plot and plot.suffix.lower().removeprefix(".") not in known:
            ending = f"a name ending in '{plot.suffix}'"
            raise MaskanimError(f"--plot {plot}", ending, "one ending in .png, .svg or .pdf")


def write_text(path: Path, text: str) -> None:
    """Write a file at once: it is there complete, or what was there before still is.

    Raises:
        MaskanimError: it cannot be written there.
    """
    with atomic.disk_errors(path):
        atomic.write_text(path, text)


def write_figure(path: Path, figure: Any, dpi: int) -> None:
    """Write matplotlib's figure in the same way, as the file's ending says."""
    with atomic.disk_errors(path), atomic.replacing(path) as partial:
        figure.savefig(partial, dpi=dpi)


def write_json(path: Path | None, values: dict[str, Any]) -> None:
    """Write figures as JSON, if they are wanted."""
    if path:
        write_text(path, json.dumps(values, indent=2) + "\n")
