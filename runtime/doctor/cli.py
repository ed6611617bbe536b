"""maskanim-doctor: what runs on this machine, what does not and why, and what to install."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from maskanim.driver import Driver
from maskanim.errors import run_command
from maskanim.runtime.doctor.examination import PATIENCE, examine
from maskanim.runtime.doctor.facts import Diagnosis, Package, Verdict

NOTHING_RUNS = 1  # 2 is for mistakes in the command line

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Option(help="A bundle's folder, or 'demo'. (default: the one exported last, else the demo)")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not open the model.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each library to answer.")] = PATIENCE,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; its format is versioned.")] = False,
) -> None:
    """Tell what runs here, what does not and why, and the one thing to install for a better engine.

    Every engine that can run here opens the current model and animates a frame. Exit code 0: some engine runs
    it; 1: none does.
    """
    diagnosis = examine(model, quick, timeout)
    typer.echo(diagnosis.as_json() if json else "\n".join(report(diagnosis)))
    sys.exit(0 if diagnosis.can_run else NOTHING_RUNS)


def report(diagnosis: Diagnosis) -> Iterator[str]:
    """The diagnosis as lines for a person."""
    machine, driver, model = diagnosis.machine, diagnosis.driver, diagnosis.model
    extensions = ", ".join(machine.extensions) or "none of the extensions that matter here"
    yield f"maskanim   {diagnosis.maskanim}, Python {machine.python}, {machine.platform}"
    yield f"processor  {machine.processor}, usable: {machine.cores}, {extensions}"
    version = driver.version or ("version unknown" if driver.cuda else None)
    supported = "up to CUDA {}.{}".format(*driver.cuda) if driver.cuda else None
    yield f"driver     {'; '.join(filter(None, (version, supported, driver.trouble)))}"
    for gpu in driver.gpus:
        free = "" if gpu.memory_free is None else f" ({gpu.memory_free / 2**30:.1f} free)"
        clocks = f", SM {gpu.clocks.sm} of {gpu.clocks.sm_max} MHz" if gpu.clocks else ""
        capability = "compute capability {}.{}".format(*gpu.capability)
        yield f"GPU {gpu.index}      {gpu.name}, {capability}, {gpu.memory / 2**30:.1f} GiB{free}{clocks}"
    found = f"{model.name}, {model.size}, in {model.path} ({model.why}): verified"
    yield f"model      {f'cannot be used: {model.problem}' if model.problem else found}"
    yield "packages"
    for package in diagnosis.packages:
        yield f"  {package.module:<14} {_package(package)}"
    yield "engines, in the order in which 'auto' tries them"
    for verdict in diagnosis.engines:
        yield f"  {verdict.engine:<9} {_verdict(verdict, driver)}"
    yield f"auto       {diagnosis.auto or 'nothing runs here'}"
    for warning in diagnosis.warnings:
        yield f"warning    {warning}"
    yield f"install    {diagnosis.advice or 'nothing that would give a better engine here'}"
    yield f"(examined in {diagnosis.seconds:.1f} s)"


def _package(package: Package) -> str:
    if not package.installed:
        return "not installed"
    names = ", ".join(f"{name} {version}" for name, version in package.distributions.items()) or "unknown to pip"
    if package.loads is False:
        return f"{names}; does not load: {package.problem}"
    return "; ".join([names, *package.providers])


def _verdict(verdict: Verdict, driver: Driver) -> str:
    if not verdict.runs:
        # The driver's trouble has its own line above, and is the same for every engine.
        texts = [obstacle.text for obstacle in verdict.obstacles]
        reasons = ("no GPU (see driver)" if text == driver.trouble else text for text in texts)
        return "no: " + "; ".join(text.rstrip(".") for text in reasons)
    return f"runs: {verdict.detail}; opened in {verdict.seconds} s" if verdict.tried else "should run; not tried"


def main() -> None:
    """Entry point of maskanim-doctor."""
    run_command(app)


if __name__ == "__main__":
    main()
