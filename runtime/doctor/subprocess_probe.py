"""Questions that are answered in a process of their own: a library that crashes or hangs there harms nobody.

`ask` starts this file in the child, where `main` answers one of QUESTIONS.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from maskanim.driver import read_driver
from maskanim.errors import MaskanimError, ended_by
from maskanim.runtime.doctor.facts import Model

# The child finds modules where this process does.
BOOT = f"import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {__name__} import main; main()"
GRACE = 1.0  # seconds for a killed process to end; one that waits for a broken driver may never


@dataclass(frozen=True)
class Answer:
    """What a child answered."""

    value: Any  # of the question's own kind; None if there was a problem
    problem: str | None  # one line on why there is none, or None
    seconds: float  # it took


def ask(question: str, *arguments: str, patience: float) -> Answer:
    """Ask one of QUESTIONS.

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
        return Answer(None, f"no process could be started ({error})", perf_counter() - began)
    try:
        output, errors = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        child.kill()
        errors = b""
        with suppress(subprocess.TimeoutExpired):
            errors = child.communicate(timeout=GRACE)[1]
        return Answer(None, f"no answer within {patience:g} s{_last_words(errors)}", perf_counter() - began)
    seconds = perf_counter() - began
    try:
        value, problem = pickle.loads(output)
    except Exception:  # of a cut or foreign text pickle raises errors of many types
        value, problem = None, f"its process ended by {ended_by(child.returncode)}{_last_words(errors)}"
    return Answer(value, problem, seconds)


def _last_words(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f" ({lines[-1].strip()})" if lines else ""


def package(module: str) -> tuple[str | None, tuple[str, ...]]:
    """Import a package: its version, and an onnxruntime's providers."""
    imported = import_module(module)
    providers = imported.get_available_providers() if module == "onnxruntime" else ()
    return getattr(imported, "__version__", None), tuple(providers)


def model(name: str) -> Model:
    """Choose and verify a model; the current one if the name is empty."""
    from maskanim.models import choose

    bundle, why = choose(name or None)
    manifest = bundle.manifest
    return Model(manifest.name, manifest.model.size_name, os.fspath(bundle.path), why)


def engine(name: str, path: str) -> str:
    """Open a bundle with a backend, which animates a frame: what ran it."""
    from maskanim.bundle import Bundle
    from maskanim.logs import show_logs
    from maskanim.runtime.backends import open_runner

    show_logs()  # building engines may outlast the asker's patience: its last words then are what it was doing
    runner, used = open_runner(Bundle.open(Path(path)), name, again=True)
    runner.close()
    return used.detail


QUESTIONS: dict[str, Callable[..., Any]] = {
    "driver": read_driver,
    "package": package,
    "model": model,
    "engine": engine,
}


def main() -> None:
    """Answer the question in sys.argv on standard output: a pickle of the value and the problem."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no part of the answer
    question, *arguments = sys.argv[2:]
    answer: tuple[Any, str | None]
    try:
        answer = QUESTIONS[question](*arguments), None
    except (Exception, SystemExit) as error:
        last = (str(error).strip().splitlines() or [""])[-1]
        told = last if isinstance(error, MaskanimError) else f"{type(error).__name__}: {last.strip()}".rstrip(": ")
        answer = None, told
    with answers:
        pickle.dump(answer, answers)
    os._exit(0)  # with the answer given, a library's crash or hang on the way out means nothing
