"""maskanim-bench: how good a model is, and how fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from maskanim.errors import MaskanimError, one_line_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure a model: the named bundle, else the current model, else the embedded demo."""


@app.command()
@one_line_errors
def quality(
    model: Annotated[str | None, typer.Option(help="A bundle; else the current model, else the embedded demo.")] = None,
    engine: Annotated[str, typer.Option(help="What runs the networks.")] = "auto",
    identities: Annotated[int, typer.Option(min=1, help="Held-out puppet identities.")] = 64,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each, the source included.")] = 16,
    grid: Annotated[
        Path | None, typer.Option(help="Also write sources animated by other identities, a picture.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Rebuild held-out puppet clips from their first frame; print the L1 inside and outside the true figures."""
    from maskanim.video import check_picture_name, write_picture

    _check_folders(grid, json_file)
    if grid:
        check_picture_name(grid)

    from rich.console import Console
    from rich.progress import track

    from maskanim.benchmarks.quality import animation_grid, reconstruct
    from maskanim.runtime import Animator

    with Animator.open(model, engine) as animator:
        typer.echo(f"model: {animator.model.manifest.name} ({animator.choice.why})")
        typer.echo(f"engine: {animator.engine.name} ({animator.engine.detail})")
        numbers = track(range(identities), "identities", console=Console(stderr=True))
        figures = reconstruct(animator, numbers, frames)
        typer.echo(
            f"{identities} held-out identities, {frames} frames each, reconstruction from the first frame\n"
            f"  inside the figures:  L1 {figures.inside:.4f}, repeating the source {figures.repeated_inside:.4f}, "
            f"ratio {figures.inside_ratio:.3f}\n"
            f"  outside:             L1 {figures.outside:.4f}, repeating the source {figures.repeated_outside:.4f}"
        )
        if json_file:
            ran = {"model": animator.model.manifest.name, "engine": animator.engine.detail}
            _write_json(json_file, ran | figures.as_dict())
        if grid:
            write_picture(grid, animation_grid(animator, 6, 8))


@app.command()
@one_line_errors
def latency(
    model: Annotated[str | None, typer.Option(help="A bundle; else the current model, else the embedded demo.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; 'torch-eager' is the PyTorch baseline.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Measured frames per engine.")] = 50,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Time one frame, networks and operations alone, of each engine in the same run, interleaved."""
    _check_folders(json_file)
    from rich.console import Console

    from maskanim.benchmarks.latency import PERCENTILES, conditions, measure
    from maskanim.models import choose

    bundle, why = choose(model)
    typer.echo(f"model: {bundle.manifest.name}, {bundle.manifest.model.size_name} ({why})")
    with Console(stderr=True).status("loading") as status:
        engines = engine or ["openvino", "ort", "torch-eager"]
        timings = measure(bundle, engines, frames, report=lambda done: status.update(f"{done} of {frames} frames each"))
    typer.echo(f"{'engine':<12}" + "".join(f" {f'p{q} ms':>8}" for q in PERCENTILES) + f" {'frames/s':>9}")
    for timing in timings:
        times = "".join(f" {timing.percentile(q):8.1f}" for q in PERCENTILES)
        typer.echo(f"{timing.name:<12}{times} {timing.frames_per_second:9.1f}  {timing.detail}")
    if json_file:
        figures = {"model": bundle.manifest.name, "size": bundle.manifest.model.size_name} | conditions()
        _write_json(json_file, figures | {"engines": [timing.as_dict() for timing in timings]})


def _check_folders(*paths: Path | None) -> None:
    for path in filter(None, paths):
        if not path.parent.is_dir():
            raise MaskanimError(str(path), f"the folder {path.parent} does not exist", "an existing folder")


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def main() -> None:
    """Entry point of maskanim-bench."""
    app()
