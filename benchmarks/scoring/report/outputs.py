"""Which files a run writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskanim.benchmarks.scoring.report.files import as_csv, as_json, as_latex, write_whole
from maskanim.benchmarks.scoring.report.terminal import print_scored
from maskanim.benchmarks.scoring.results import Scored
from maskanim.errors import MaskanimError, needs_extra


@dataclass(frozen=True)
class Outputs:
    """Files to write besides the terminal; None for those that are not wanted."""

    json: Path | None = None
    csv: Path | None = None
    latex: Path | None = None
    html: Path | None = None

    def check(self) -> None:
        """Refuse, before anything is scored, what could not be written.

        Raises:
            MissingPackageError: matplotlib, which draws the page's plots, is not installed.
            MaskanimError: a file's folder does not exist, or the file is a folder.
        """
        for path in filter(None, (self.json, self.csv, self.latex, self.html)):
            if not path.parent.is_dir():
                raise MaskanimError(str(path), f"the folder {path.parent} does not exist", "an existing folder")
            if path.is_dir():
                raise MaskanimError(str(path), "a folder", "a file's name")
        if self.html:
            with needs_extra(f"--html {self.html}", "bench"):
                import matplotlib.figure  # noqa: F401

    def write(self, scored: Scored) -> None:
        """Print the tables and write the files.

        Raises:
            MaskanimError: a file cannot be written.
        """
        print_scored(scored)
        makers = ((self.json, as_json), (self.csv, as_csv), (self.latex, as_latex))
        for path, make in makers:
            if path:
                write_whole(path, make(scored))
        if self.html:
            from maskanim.benchmarks.scoring.report.page import as_html

            write_whole(self.html, as_html(scored))
