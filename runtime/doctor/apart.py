"""Questions that are answered in a process of their own: a library that crashes or hangs there harms nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from time import perf_counter
from typing import Any

# The child finds modules where this process does.
BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from maskanim.runtime.doctor.child import main; main()"
GRACE = 1.0  # seconds for a killed process to end; one that waits for a broken driver may never


@dataclass(frozen=True)
class Answer:
    """What a child answered.

    Attributes:
        values: of the question's own kind; empty if there was a problem.
        problem: one line on why there are none, or None.
        seconds: it took.
    """

    values: dict[str, Any]
    problem: str | None
    seconds: float


def ask(question: str, *arguments: str, patience: float) -> Answer:
    """Ask one of `child.QUESTIONS`.

    Args:
        patience: seconds after which the child is ended.

    Returns:
        The answer. Nothing that happens in the child is raised.
    """
    began = perf_counter()
    command = [sys.executable, "-c", BOOT, json.dumps(sys.path), question, *arguments]
    try:
        # No context manager: its exit would wait for the child.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        return Answer({}, f"no process could be started ({error})", perf_counter() - began)
    try:
        output, errors = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        return Answer({}, f"no answer within {patience:g} s{_last_words(_end(child))}", perf_counter() - began)
    return _read(output, errors, child.returncode, perf_counter() - began)


def _end(child: subprocess.Popen[bytes]) -> bytes:
    """End a child; returns what it wrote to standard error."""
    child.kill()
    try:
        return child.communicate(timeout=GRACE)[1]
    except subprocess.TimeoutExpired:
        return b""


def _read(output: bytes, errors: bytes, code: int, seconds: float) -> Answer:
    try:
        told = json.loads(output)
        return Answer(told["values"], told["problem"], seconds)
    except (ValueError, LookupError, TypeError):
        return Answer({}, f"its process ended by {_cause(code)}{_last_words(errors)}", seconds)


def _last_words(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f" ({lines[-1].strip()})" if lines else ""


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
