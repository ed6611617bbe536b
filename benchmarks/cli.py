"""maskanim-bench: how good a model is, and how fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

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
    grid: Annotated[Path | None, typer.Option(help="Also write a PNG of sources animated by other identities.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Rebuild held-out puppet clips from their first frame; print the L1 inside and outside the true figures."""
    for path in filter(None, (grid, json_file)):
        if not path.parent.is_dir():
            raise MaskanimError(str(path), f"the folder {path.parent} does not exist", "an existing folder")

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
            json_file.write_text(json.dumps(figures.as_dict(), indent=2) + "\n", "utf-8")
        if grid:
            from maskanim.video import write_picture

            write_picture(grid, animation_grid(animator, 6, 8))


@app.command()
@one_line_errors
def latency(
    model: Annotated[str | None, typer.Option(help="A bundle; else the current model, else the embedded demo.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; 'torch-eager' is the PyTorch baseline.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Measured frames per engine.")] = 50,
) -> None:
    """Time one frame, networks and operations alone, of each engine in the same run, interleaved."""
    from maskanim.benchmarks.latency import measure
    from maskanim.models import choose

    bundle, why = choose(model)
    typer.echo(f"model: {bundle.manifest.name}, {bundle.manifest.model.size_name} ({why})")
    typer.echo(f"{'engine':<12} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'frames/s':>9}")
    for timing in measure(bundle, engine or ["openvino", "ort", "torch-eager"], frames):
        p50, p90, p99 = (timing.percentile(q) for q in (50, 90, 99))
        rate = timing.frames_per_second
        typer.echo(f"{timing.name:<12} {p50:8.1f} {p90:8.1f} {p99:8.1f} {rate:9.1f}  {timing.detail}")


def main() -> None:
    """Entry point of maskanim-bench."""
    app()
