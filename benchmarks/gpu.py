"""The GPU benchmark: every step in a process of its own, with its own time limit and its own JSON file.

A step that fails, crashes or hangs costs nothing but itself: what it had found by then is in its file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, NamedTuple

import typer

from maskanim.benchmarks.gpu_record import DRY, REAL, Record, Setup
from maskanim.benchmarks.gpu_stages import measure_stages
from maskanim.benchmarks.gpu_steps import measure_compiled, measure_engines, measure_latency, read_machine, run_tests

SUMMARY = "summary.json"
BUDGET = 570.0  # seconds for all steps
MARGIN = 5.0  # seconds kept for writing the summary
LOG_TAIL = 4000  # characters

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Step(NamedTuple):
    """One part of the benchmark and how many seconds it may take."""

    seconds: float
    run: Callable[[Record, Setup], None]


# In the order in which they run: what is least sure to end comes last.
STEPS: dict[str, Step] = {
    "machine": Step(60, read_machine),
    "tests": Step(150, run_tests),
    "latency": Step(150, measure_latency),
    "stages": Step(60, measure_stages),
    "engines": Step(90, measure_engines),
    "compile": Step(300, measure_compiled),
}


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(help="Where the JSON files go.")],
    dry: Annotated[bool, typer.Option("--dry", help="Tiny networks, few repeats, on the processor.")] = False,
    tests: Annotated[Path | None, typer.Option(help="The folder of the GPU tests.")] = None,
    budget: Annotated[float, typer.Option(help="Seconds for everything.")] = BUDGET,
    step: Annotated[str | None, typer.Option(help="Run this step alone, in this process.")] = None,
) -> None:
    """Test and measure on a GPU. Exit code 1: a step did not finish."""
    if step:
        run_step(step, folder, (DRY if dry else REAL)._replace(tests=tests))
        return
    summary = run_all(folder, budget, [*(["--dry"] if dry else []), *(["--tests", str(tests)] if tests else [])])
    typer.echo("\n".join(table(summary)))
    if any(result["status"] != "finished" for result in summary["steps"].values()):
        raise typer.Exit(1)


def run_step(name: str, folder: Path, setup: Setup) -> None:
    """Run one step in this process; its file tells what it found, also when it raises."""
    record = Record(folder / f"{name}.json", name, setup.dry)
    STEPS[name].run(record, setup)
    record.finish()


def run_all(folder: Path, budget: float, options: list[str]) -> dict[str, Any]:
    """Run every step within a time, and sum them up.

    Returns:
        What summary.json holds: per step its status, seconds and last words, and all measured times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = monotonic() + budget
    summary: dict[str, Any] = {"steps": {}, "times": []}
    for name, step in STEPS.items():
        typer.echo(f"{name} ...", err=True)
        (folder / f"{name}.json").unlink(missing_ok=True)
        seconds = min(step.seconds, end - monotonic() - MARGIN)
        summary["steps"][name] = result = _run_apart(name, folder, options, seconds)
        found = _read(folder / f"{name}.json")
        result["errors"] = found.get("errors", [])
        summary["conditions"] = found.get("conditions") or summary.get("conditions")
        summary["times"] += found.get("times", [])
        _write(folder / SUMMARY, summary)
        typer.echo(f"{name}: {result['status']} after {result['seconds']} s", err=True)
    return summary


def _run_apart(name: str, folder: Path, options: list[str], seconds: float) -> dict[str, Any]:
    if seconds <= 0:
        return {"status": "not run: no time was left", "seconds": 0.0, "log": ""}
    command = [sys.executable, "-m", "maskanim.benchmarks.gpu", str(folder), "--step", name, *options]
    began = monotonic()
    with tempfile.TemporaryFile() as log:
        # A session of its own, so that compilers which it has started end with it.
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(seconds)
            status = "finished" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
        finally:
            _end_group(child)
        log.seek(0)
        tail = log.read().decode("utf-8", "replace")[-LOG_TAIL:]
    return {"status": status, "seconds": round(monotonic() - began, 1), "log": tail}


def _end_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def table(summary: dict[str, Any]) -> list[str]:
    """The measured times as lines, in milliseconds a frame, and what failed."""
    lines = [f"{'networks':<9} {'batch':>5}  {'what':<34} {'p50':>9} {'p90':>9} {'p99':>9}   ms a frame"]
    for row in summary["times"]:
        figures = " ".join(f"{row['ms_per_frame'][q]:9.3f}" for q in ("p50", "p90", "p99"))
        lines.append(f"{row['networks']:<9} {row['batch']:>5}  {row['what']:<34} {figures}")
    for name, result in summary["steps"].items():
        if result["status"] != "finished":
            lines.append(f"{name}: {result['status']}: {' '.join(result['log'].split()[-40:])}")
        lines += [f"{name}: {error['what']}: {error['error']}" for error in result["errors"]]
    return lines


if __name__ == "__main__":
    app()
