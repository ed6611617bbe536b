"""The GPU benchmark: every step in a process of its own, with its own time limit and its own JSON file.

A step that fails, crashes or hangs costs nothing but itself: what it had found by then is in its file. What is timed
and how is that of `maskanim-bench latency`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, NamedTuple

import typer

from maskanim import atomic
from maskanim.benchmarks.gpu_stages import kernel_times, network_times
from maskanim.benchmarks.latency.conditions import conditions
from maskanim.benchmarks.latency.measure import Plan, measure
from maskanim.benchmarks.tables import Table
from maskanim.bundle import Bundle
from maskanim.runtime.backends import BACKENDS
from maskanim.spec import FULL, LITE, ModelSpec, Widths

SUMMARY = "summary.json"
BUDGET = 570.0  # seconds for all steps
MARGIN = 5.0  # seconds kept for writing the summary
LOG_TAIL = 4000  # characters
EAGER = ("torch-eager", "torch-fp32", "torch-fp16")
GRAPHS = ("torch-graph-plain", "torch-graph", "torch-no-graph")
QUANTILES = ("p50", "p90", "p95", "p99")
COMPILED = ("torch-compile", "torch-graph-compile")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Setup(NamedTuple):
    """How much is measured."""

    dry: bool  # tiny networks on the processor
    models: Mapping[str, ModelSpec]  # what is measured, by name
    batches: tuple[int, ...]  # frames that go through the networks together
    calls: int  # timed calls of each subject
    tests: Path | None = None  # the folder of the GPU tests


REAL = Setup(False, {"full": ModelSpec(widths=FULL), "lite": ModelSpec(widths=LITE)}, (1, 8), 200)
DRY = Setup(True, {"tiny": ModelSpec(widths=Widths(m=4, r=4, l=8, h=4))}, (1, 2), 1)
DRY_ENVIRONMENT = {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}  # compiling takes minutes


class Record:
    """What a step finds, in a JSON file that is written anew with each finding."""

    def __init__(self, path: Path, dry: bool) -> None:
        self.path, self.began = path, monotonic()
        self.values: dict[str, Any] = {"step": path.stem, "format_version": 2, "dry": dry, "finished": False}
        self.set(errors=[], reports=[])

    def set(self, **findings: Any) -> None:
        """Keep findings."""
        self.values |= findings | {"seconds": round(monotonic() - self.began, 2)}
        atomic.write_text(self.path, json.dumps(self.values, indent=1) + "\n")

    def add(self, key: str, finding: Any) -> None:
        """Append to a list."""
        self.set(**{key: [*self.values.get(key, []), finding]})

    @contextmanager
    def isolating(self, what: str) -> Iterator[None]:
        """An error inside is kept, and what comes after goes on."""
        try:
            yield
        except Exception as error:
            self.add("errors", {"what": what, "error": f"{type(error).__name__}: {error}"[:2000]})

    def measure(self, name: str, model: Bundle | ModelSpec, setup: Setup, subjects: Sequence[str], batch: int) -> None:
        """Time subjects in turns. What does not open or run is an error of the record."""
        plan = Plan(tuple(subjects), (batch,), setup.calls * batch, repeats=0, lenient=True)
        with self.isolating(f"{name}, batch {batch}"):
            report = measure(model, plan)
            self.add("reports", {"networks": name} | report.model_dump(mode="json"))
            for subject, why in report.left_out.items():
                self.add("errors", {"what": f"{name}, {subject}", "error": why})


def read_machine(record: Record, setup: Setup) -> None:
    """What the doctor and nvidia-smi say."""
    from maskanim.runtime.doctor.examination import examine

    record.set(doctor=json.loads(examine("demo", patience=30).as_json()))
    with record.isolating("nvidia-smi"):
        shown = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=20, check=True).stdout
        record.set(nvidia_smi=shown.splitlines())


def run_tests(record: Record, setup: Setup) -> None:
    """The GPU tests. Where a GPU is promised, a test that finds none fails.

    Raises:
        RuntimeError: a test failed, or, but for a dry run, none ran.
    """
    if setup.tests is None:
        raise RuntimeError("no folder of tests was given")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = [f"--confcutdir={setup.tests}", f"--junitxml={report}", "-q", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", str(setup.tests), *options]
        environment = os.environ | ({} if setup.dry else {"MASKANIM_NEEDS_GPU": "1"})
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        record.set(output=ran.stdout.splitlines()[-60:] + ran.stderr.splitlines()[-20:])
        suite = next(ElementTree.parse(report).iter("testsuite"))
    counts = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
    counts["passed"] = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    record.set(counts=counts)
    if ran.returncode or not (counts["passed"] or setup.dry):
        raise RuntimeError(f"the GPU tests: {counts}")


def measure_latency(record: Record, setup: Setup) -> None:
    """Eager PyTorch as released, in FP16, and the captured pipeline with PyTorch's networks, lowered and not."""
    for name, spec in setup.models.items():
        for batch in setup.batches:
            record.measure(name, spec, setup, (*EAGER, *GRAPHS), batch)


def measure_stages(record: Record, setup: Setup) -> None:
    """Each kernel, and each network by PyTorch in FP16, as it was trained and lowered."""
    for batch in setup.batches:
        with record.isolating(f"kernels, batch {batch}"):
            for row in kernel_times(batch):
                record.add("stages", row)
        for name, spec in setup.models.items():
            with record.isolating(f"networks {name}, batch {batch}"):
                for row in network_times(spec, batch):
                    record.add("stages", {"networks": name} | row)


def measure_engines(record: Record, setup: Setup) -> None:
    """Every engine of the runtime on the embedded demo, and those on a GPU that work on random networks, too."""
    from maskanim.benchmarks.torch_networks import random_bundle
    from maskanim.models import demo_bundle

    record.measure("demo", demo_bundle(), setup, tuple(BACKENDS), 1)
    worked = {each["engine"] for report in record.values["reports"] for each in report["measured"]}
    wanted = [name for name, backend in BACKENDS.items() if name in worked and (setup.dry or backend.gpu)]
    with tempfile.TemporaryDirectory() as folder:
        for name, spec in setup.models.items() if wanted else ():
            with record.isolating(f"a bundle of random networks, {name}"):
                record.measure(name, random_bundle(Path(folder) / name, spec), setup, wanted, 1)


def measure_compiled(record: Record, setup: Setup) -> None:
    """The lowered FP16 networks through torch.compile: with the graphs that it makes itself, and captured by us.

    Each beside the captured networks that are not compiled, and for itself: compiling may never end.
    """
    for batch in setup.batches:
        for name, spec in setup.models.items():
            for subject in COMPILED:
                record.measure(name, spec, setup, ("torch-graph", subject), batch)


# The steps and how many seconds each may take, in the order in which they run: what is least sure to end comes last.
STEPS: dict[str, tuple[float, Callable[[Record, Setup], None]]] = {
    "machine": (60, read_machine),
    "tests": (150, run_tests),
    "latency": (150, measure_latency),
    "stages": (60, measure_stages),
    "engines": (90, measure_engines),
    "compile": (300, measure_compiled),
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
    table, lines = shown(summary)
    table.show()
    typer.echo("\n".join(lines))
    if any(result["status"] != "finished" for result in summary["steps"].values()):
        raise typer.Exit(1)


def run_step(name: str, folder: Path, setup: Setup) -> None:
    """Run one step in this process; its file tells what it found, also when it raises."""
    record = Record(folder / f"{name}.json", setup.dry)
    record.set(conditions=conditions().model_dump(mode="json"))
    STEPS[name][1](record, setup)
    record.set(finished=True)


def run_all(folder: Path, budget: float, options: list[str]) -> dict[str, Any]:
    """Run every step within a time, and sum them up.

    Returns:
        What summary.json holds: per step its status, seconds and last words, and the reports of all that was timed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = monotonic() + budget
    summary: dict[str, Any] = {"steps": {}, "reports": []}
    for name, (most, _) in STEPS.items():
        typer.echo(f"{name} ...", err=True)
        file = folder / f"{name}.json"
        file.unlink(missing_ok=True)
        result = _run_apart(name, folder, options, min(most, end - monotonic() - MARGIN))
        found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        summary["steps"][name] = result | {"errors": found.get("errors", [])}
        summary["conditions"] = found.get("conditions") or summary.get("conditions")
        summary["reports"] += found.get("reports", [])
        atomic.write_text(folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
        typer.echo(f"{name}: {result['status']} after {result['seconds']} s", err=True)
    return summary


def _run_apart(name: str, folder: Path, options: list[str], seconds: float) -> dict[str, Any]:
    if seconds <= 0:
        return {"status": "not run: no time was left", "seconds": 0.0, "log": ""}
    command = [sys.executable, "-m", "maskanim.benchmarks.gpu", str(folder), "--step", name, *options]
    began = monotonic()
    with tempfile.TemporaryFile() as log:
        environment = os.environ | (DRY_ENVIRONMENT if "--dry" in options else {})
        # A session of its own, so that compilers which it has started end with it.
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment)
        try:
            code = child.wait(seconds)
            status = "finished" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
        finally:
            with suppress(ProcessLookupError):  # all of it has ended
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        log.seek(0)
        tail = log.read().decode("utf-8", "replace")[-LOG_TAIL:]
    return {"status": status, "seconds": round(monotonic() - began, 1), "log": tail}


def shown(summary: dict[str, Any]) -> tuple[Table, list[str]]:
    """The measured times, in milliseconds a frame, and what failed."""
    rows = []
    for report in summary["reports"]:
        for each in report["measured"]:
            times = (f"{each['model_only'][quantile] / each['batch']:.3f}" for quantile in QUANTILES)
            rows.append((each["engine"], report["networks"], str(each["batch"]), *times))
    lines = []
    for name, result in summary["steps"].items():
        if result["status"] != "finished":
            lines.append(f"{name}: {result['status']}: {' '.join(result['log'].split()[-40:])}")
        lines += [f"{name}: {error['what']}: {error['error']}" for error in result["errors"]]
    return Table("ms a frame", ("", "networks", "batch", *QUANTILES), rows), lines


if __name__ == "__main__":
    app()
