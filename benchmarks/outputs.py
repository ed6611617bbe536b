"""Files that the commands write beside what they print: refused before anything is measured, written whole."""

from __future__ import annotations

import json
import os
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
        MaskanimError: a file's folder does not exist, the file is a folder, or a picture of no known kind.
    """
    for path in filter(None, (*paths, plot, page)):
        if not path.parent.is_dir():
            raise MaskanimError(str(path), f"the folder {path.parent} does not exist", "an existing folder")
        if path.is_dir():
            raise MaskanimError(str(path), "a folder", "a file's name")
        if not os.access(path.parent, os.W_OK):
            raise MaskanimError(str(path), f"the folder {path.parent} cannot be written", "one that can")
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
    try:
        atomic.write_text(path, text)
    except OSError as error:
        raise MaskanimError(str(path), f"cannot be written ({error.strerror})", "a place for a file") from error


def write_json(path: Path | None, values: dict[str, Any]) -> None:
    """Write figures as JSON, if they are wanted."""
    if path:
        write_text(path, json.dumps(values, indent=2) + "\n")
