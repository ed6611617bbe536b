"""One logger, ``maskanim``: quiet in a program of yours, shown on standard error by our commands.

Modules log through ``logging.getLogger(__name__)``. INFO is what a person wants to know of a run that goes well, such
as the engine in use; WARNING is what he would do something about.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

LOGGER = logging.getLogger("maskanim")


class _ConsoleHandler(logging.Handler):
    """Plain lines, above the progress bar where there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.console.print(self.format(record), soft_wrap=True, highlight=False, markup=False)
        except Exception:
            self.handleError(record)


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def collected_logs(lines: list[str]) -> Iterator[None]:
    """Append to `lines` what is logged while the block lasts, in any thread."""
    collector, level = _Collector(lines), LOGGER.level
    LOGGER.addHandler(collector)
    LOGGER.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        LOGGER.removeHandler(collector)
        LOGGER.setLevel(level)


def show_logs(console: Console | None = None) -> None:
    """Show the log on a console, standard error unless another is given; replaces an earlier one."""
    for handler in [handler for handler in LOGGER.handlers if isinstance(handler, _ConsoleHandler)]:
        LOGGER.removeHandler(handler)
    LOGGER.addHandler(_ConsoleHandler(console or Console(stderr=True)))
    LOGGER.setLevel(logging.INFO)
