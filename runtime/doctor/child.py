"""The questions themselves: `apart` runs this in a process of its own, one question in each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any


def driver() -> dict[str, Any]:
    """What NVIDIA's driver says; the fields of `driver.Driver`."""
    from maskanim.driver import read_driver

    return asdict(read_driver())


def package(module: str) -> dict[str, Any]:
    """Import a package: its version, and an onnxruntime's providers."""
    imported = import_module(module)
    providers = imported.get_available_providers() if module == "onnxruntime" else []
    return {"version": getattr(imported, "__version__", None), "providers": providers}


def model(name: str) -> dict[str, Any]:
    """Choose and verify a model; the current one if the name is empty."""
    from maskanim.models import choose

    bundle, why = choose(name or None)
    manifest = bundle.manifest
    return {"name": manifest.name, "size": manifest.model.size_name, "path": os.fspath(bundle.path), "why": why}


def engine(name: str, path: str) -> dict[str, Any]:
    """Open a bundle with an engine, which encodes a picture: network m runs once."""
    from pathlib import Path

    from maskanim.bundle import Bundle
    from maskanim.runtime.engines import RunOptions, open_runner

    # Building plans may outlast the asker's patience: its last words then are what it was doing.
    options = RunOptions(tell=lambda line: print(line, file=sys.stderr, flush=True))
    runner, used = open_runner(Bundle.open(Path(path)), name, options=options)
    runner.close()
    return {"detail": used.detail}


QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "driver": driver,
    "package": package,
    "model": model,
    "engine": engine,
}


def main() -> None:
    """Answer the question in sys.argv as one JSON object on standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no part of the answer
    question, *arguments = sys.argv[2:]
    told: dict[str, Any]
    try:
        told = {"values": QUESTIONS[question](*arguments), "problem": None}
    except (Exception, SystemExit) as error:
        told = {"values": {}, "problem": _one_line(error)}
    with answers:
        json.dump(told, answers)
    os._exit(0)  # with the answer given, a library's crash or hang on the way out means nothing


def _one_line(error: BaseException) -> str:
    from maskanim.errors import MaskanimError

    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, MaskanimError):
        return lines[-1]
    return f"{type(error).__name__}: {lines[-1].strip()}".rstrip(": ")
