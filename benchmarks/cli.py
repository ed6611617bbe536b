"""maskanim-bench: quality on held-out puppets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from maskanim.errors import MaskanimError, one_line_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure a model: maskanim-bench quality."""


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
        typer.echo(f"model:  {animator.model}\nengine: {animator.engine}")
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


def main() -> None:
    """Entry point of maskanim-bench."""
    app()
