"""maskanim-export: from a checkpoint to a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, cast

import typer

from maskanim import models
from maskanim.bundle import Bundle
from maskanim.errors import needs_extra, one_line_errors
from maskanim.spec import NetworkName

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@one_line_errors
def export(
    ckpt: Annotated[Path, typer.Option(help="last.pt of maskanim-train, or the released code's *-checkpoint.pth.tar.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The bundle's folder; an older bundle there is replaced.  [default: <ckpt>.bundle beside it]"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name.  [default: the checkpoint's folder]")] = None,
    weights: Annotated[str, typer.Option(help="'float32', or 'float16': half the size, rounded.")] = "float32",
    frames: Annotated[
        list[Path] | None,
        typer.Option(help="Picture, folder or video to verify on; may be repeated.  [default: the embedded demo's]"),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option(min=0, max=255, help="For the released code's checkpoints: the th of their configuration."),
    ] = None,
    no_register: Annotated[
        bool, typer.Option("--no-register", help="Do not make this the model that runs by default.")
    ] = False,
) -> None:
    """Export a checkpoint to a bundle that maskanim-run takes, verified against PyTorch."""
    with needs_extra("maskanim-export", "cpu"):  # not in the extra export: on a GPU, onnxruntime-gpu takes its place
        import onnxruntime  # noqa: F401
    with needs_extra("maskanim-export", "export"):
        from maskanim.export.build import Weights, export_bundle
    with _Progress() as report:
        bundle = export_bundle(
            ckpt,
            out,
            name=name,
            weights=cast(Weights, weights),
            frames=frames or (),
            threshold=threshold,
            report=report,
        )
    if not no_register:
        models.register(bundle)
    _tell(bundle, registered=not no_register)


def _tell(bundle: Bundle, *, registered: bool) -> None:
    manifest, parity = bundle.manifest, bundle.manifest.parity
    typer.echo(f"model: {manifest.name} ({manifest.model.size_name}) in {bundle.path}")
    for entry in manifest.networks.values():
        typer.echo(f"  {entry.file}  {entry.size / 1e6:6.2f} MB  {', '.join(entry.lowering)}")
    total = sum(entry.size for entry in manifest.networks.values())
    typer.echo(f"  in all  {total / 1e6:6.2f} MB, {manifest.weights} weights")
    if parity:
        typer.echo(f"parity: {parity.runtime}, on {parity.frames}")
        _tell_difference("PyTorch", parity.max_difference, parity.frame_psnr)
        typer.echo(f"  {parity.threshold_flips} of {parity.mask_pixels} mask pixels flip at the threshold")
        if parity.rounding:
            _tell_difference("unrounded weights", parity.rounding.max_difference, parity.rounding.frame_psnr)
    model = "" if registered else f" --model {shlex.quote(str(bundle.path))}"
    typer.echo(f"Next: maskanim-run{model} --source PICTURE --driving CLIP")


def _tell_difference(reference: str, networks: dict[NetworkName, float], frame_psnr: float) -> None:
    told = ", ".join(f"{name} {value:.1e}" for name, value in networks.items())
    typer.echo(f"  against {reference}: largest difference {told}; final frame {frame_psnr:.1f} dB")


class _Progress:
    """The step that is under way: a spinner on a terminal, a line each elsewhere. Notes always stay on the screen."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)
        self.status = self.console.status("")

    def __enter__(self) -> _Progress:
        if self.console.is_terminal:
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.status.stop()

    def __call__(self, message: str) -> None:
        if self.console.is_terminal and not message.startswith("note"):
            self.status.update(message)
        else:
            self.console.print(message, soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    """Entry point of maskanim-export."""
    app()


if __name__ == "__main__":
    main()
