"""The one error that a person reads: what it is about, what was received, what was expected, what to do next."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from itertools import pairwise
from typing import ParamSpec, TypeVar

EXIT_CODE = 2

P = ParamSpec("P")
R = TypeVar("R")


class MaskanimError(Exception):
    """A mistake that the user can mend.

    Args:
        subject: what it is about, e.g. ``--driving clip.mp4``.
        received: what was found there, e.g. ``an empty file``.
        expected: what was needed, e.g. ``a video``.
        next_step: what to do now; may be empty where it goes without saying.
    """

    def __init__(self, subject: str, received: str, expected: str, next_step: str = "") -> None:
        self.subject, self.received, self.expected, self.next_step = subject, received, expected, next_step
        super().__init__(subject, received, expected, next_step)

    def __str__(self) -> str:
        told = f"{self.subject}: {self.received}; expected {self.expected}"
        return " ".join(f"{told}. {self.next_step}".split()).rstrip(". ") + "."


class MissingPackageError(MaskanimError):
    """An optional package is not installed; names the extra that brings it."""

    def __init__(self, subject: str, package: str, extra: str) -> None:
        super().__init__(
            subject,
            f"the package {package} is not installed",
            f"the extra {extra}",
            f"Install it with: pip install 'maskanim[{extra}]'",
        )


@contextmanager
def needs_extra(subject: str, extra: str) -> Iterator[None]:
    """Around imports: a package that is not installed becomes a MissingPackageError that names its extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("maskanim"):
            raise
        raise MissingPackageError(subject, str(error.name), extra) from None


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: a MaskanimError, or a file that the system refuses, becomes one line and exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (MaskanimError, OSError) as error:
            import typer

            if isinstance(error, OSError) and error.filename is None:
                raise
            told = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            typer.echo(f"error: {told}", err=True)
            raise typer.Exit(EXIT_CODE) from None

    return run


def run_command(app: Callable[[], object]) -> None:
    """Run a command; that its output cannot be printed, as on a full disk, is one line, too.

    An empty argument is refused: it comes of a shell's variable that is not set, and would mean the current folder, or
    as much as nothing.
    """
    for before, given in pairwise(sys.argv):
        if not given or re.fullmatch(r"--[\w-]+=", given):
            name = given.removesuffix("=") or (before if before.startswith("-") else "an argument")
            print(f"error: {name}: an empty value; expected one. Is a variable of the shell not set?", file=sys.stderr)
            sys.exit(EXIT_CODE)
    try:
        app()
    except OSError as error:
        with suppress(OSError, ValueError):  # what could not be printed must not be tried again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):
            print(f"error: standard output: {error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_CODE)


def ended_by(code: int) -> str:
    """How a process ended, of its exit code, which is negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
