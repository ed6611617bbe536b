"""The one error that a person reads: what it is about, what was received, what was expected, what to do next."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

EXIT_CODE = 2
NAME_BYTES = 255  # of a file name, on every file system in common use
FILES = "files that can be read and written"
TAKE_ADDRESSES = ("--label", "--ray")  # options whose value may begin as an address on the network does

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
        self.args = (subject, package, extra)  # by which it is made anew where another process receives it


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

            if isinstance(error, OSError):
                if error.filename is None:
                    raise
                error = system_error(error)
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(EXIT_CODE) from None

    return run


def system_error(error: OSError, subject: str = "", expected: str = FILES) -> MaskanimError:
    """What the system refuses, as a person reads it: about the file that it names, or else about `subject`."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else subject
    if error.errno == errno.ENAMETOOLONG:
        longest = max((len(os.fsencode(part)) for part in Path(named).parts), default=0)
        received = f"too long: a name of {longest} bytes, with its folders {len(os.fsencode(named))}"
        return MaskanimError(named, received, f"at most {NAME_BYTES} and 4095", "Use a shorter name")
    return MaskanimError(named, error.strerror or str(error), expected)


def reason(error: BaseException) -> str:
    """What the system or FFmpeg says of an error, else the error's own text."""
    return getattr(error, "strerror", None) or str(error)


def check_local(subject: str, given: str) -> None:
    """Refuse an address on the network; raises a MaskanimError."""
    if re.match(r"[a-zA-Z][a-zA-Z\d+.-]+://", given):
        pipe = "ffmpeg -i ADDRESS -f matroska - | maskanim-run --driving -"
        next_step = f"Download it first; what is sent live can be piped: {pipe}"
        expected = "a file on this machine"
        raise MaskanimError(f"{subject} {given}".strip(), "an address on the network", expected, next_step)


def run_command(app: Callable[..., object]) -> None:
    """Run a command, and exit; a mistake in its call, or that its output cannot be printed, is one line, too.

    An empty argument is refused: it comes of a shell's variable that is not set, and would mean the current folder, or
    as much as nothing.
    """
    try:
        _check_arguments()
        sys.exit(app(standalone_mode=False))  # type: ignore[arg-type] # the exit code, or None
    except MaskanimError as error:
        _end(error)
    except OSError as error:
        with suppress(OSError, ValueError):  # what could not be printed must not be tried again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):
            print(f"error: standard output: {error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except Exception as error:
        if not hasattr(error, "format_message"):  # as Typer's own have, whose module differs between its versions
            raise
        _end(_usage_error(error.format_message(), getattr(error, "ctx", None)))


def _check_arguments() -> None:
    for before, given in pairwise(sys.argv):
        named = re.fullmatch(r"(--[\w-]+)=(.*)", given, re.DOTALL)
        name, value = named.groups() if named else (before if before.startswith("-") else "", given)
        if not value:
            raise MaskanimError(name or "an argument", "an empty value", "one", "Check the shell's variable in it")
        if name not in TAKE_ADDRESSES:
            check_local(name, value)


def _usage_error(message: str, context: Any) -> MaskanimError | None:
    """What Typer says of a call; None where it has shown the help instead."""
    words = takewhile(lambda word: not word.startswith("-"), sys.argv[1:])
    command = context.command_path if context else " ".join([Path(sys.argv[0]).name, *words])
    told = f"{message[:1].lower()}{message[1:]}".rstrip(". ")
    return MaskanimError(command, told, f"what {command} --help lists") if told else None


def _end(error: MaskanimError | None) -> None:
    if error:
        print(f"error: {error}", file=sys.stderr)
    sys.exit(EXIT_CODE)


def ended_by(code: int) -> str:
    """How a process ended, of its exit code, which is negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
