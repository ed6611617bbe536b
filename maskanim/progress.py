"""How long work is shown, on standard error: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import Protocol

SECONDS_PER_LINE = 5.0


class Progress(Protocol):
    """What long work calls as it goes on; a `ProgressBar`, or something of the caller's own."""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show how many of a total, which may be unknown, are done, and a text of one line."""


class NoProgress:
    """For callers who do not want to see any."""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show nothing."""


NO_PROGRESS: Progress = NoProgress()


class ProgressBar:
    """Counts what is done, with the time left; a context manager.

    Args:
        noun: what is counted, e.g. ``frame``.
        done: how many were done before; they do not count as speed.
    """

    def __init__(self, noun: str, done: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.noun = noun
        self.console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self.bar = RichProgress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=None, completed=done)
        self.began = self.shown = monotonic()
        self.before = done

    def __enter__(self) -> ProgressBar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show how many of a total, which may be unknown, are done, and a text of one line."""
        self.bar.update(self.task, completed=done, total=total, description=note)
        if not self.console.is_terminal and monotonic() - self.shown >= SECONDS_PER_LINE:
            self.shown = monotonic()
            told = [f"{self.noun} {done} of {total or 'unknown'}", note, self._time_left(done, total)]
            line = ", ".join(part for part in told if part)
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _time_left(self, done: int, total: int | None) -> str:
        """At the pace so far; a terminal's bar shows it by itself."""
        if not total or done <= self.before:
            return ""
        pace = (self.shown - self.began) / (done - self.before)
        return f"{timedelta(seconds=round(pace * (total - done)))} left"
