"""What a run tells while it goes on: log.csv, TensorBoard and sample grids."""

from __future__ import annotations

import csv
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from maskanim.atomic import disk_errors, write_text
from maskanim.ops import Frame
from maskanim.video import write_picture


class RunLog:
    """The logs in a run's folder; a context manager. What an earlier, killed process wrote beyond `step` is dropped.

    log.csv has a line for every figure of every step: the number of steps done, the figure's name, its value.

    Args:
        out: the run's folder, made if it is not there; receives log.csv, grids/ and tensorboard/.
        step: how many steps are done.
    """

    def __init__(self, out: Path, step: int) -> None:
        self._log, self._grids = out / "log.csv", out / "grids"
        self._grids.mkdir(parents=True, exist_ok=True)
        _cut(self._log, step)
        self._file = self._log.open("a", newline="")
        self._csv = csv.writer(self._file)
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        with disk_errors(self._log):
            self._file.close()
            self._board.close()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """The figures after so many steps."""
        with disk_errors(self._log):
            self._csv.writerows([step, name, f"{value:.9g}"] for name, value in figures.items())
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def draw(self, step: int, grid: Frame) -> None:
        """A sample grid, as a picture and in TensorBoard."""
        write_picture(self._grids / f"step-{step:07d}.png", grid)
        with disk_errors(self._log):
            self._board.add_image("samples", grid, step, dataformats="HWC")

    def flush(self) -> None:
        """Bring all of it to the disk: before a checkpoint, so that a resumed run finds the logs whole up to there."""
        with disk_errors(self._log):
            self._file.flush()
            self._board.flush()


def _cut(log: Path, step: int) -> None:
    """Keep the whole lines of the first steps."""
    if not log.exists():
        return
    lines = log.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and line.split(",")[0].isdigit()]
    kept = [line for line in kept if int(line.split(",")[0]) <= step]
    if kept != lines:
        write_text(log, "".join(kept))
