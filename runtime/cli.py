"""maskanim-run: a picture and a driving video to a video."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from maskanim.errors import MaskanimError, one_line_errors
from maskanim.progress import ProgressBar

if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@one_line_errors
def run(
    source: Annotated[Path | None, typer.Option(help="The picture to animate.")] = None,
    driving: Annotated[Path | None, typer.Option(help="The clip that drives it: video, strip or folder.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The mp4 to write. (default: <source>-<driving>.mp4 in this folder)"),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="'trt' or 'rtx' (TensorRT and TensorRT-RTX; plans are built where they are missing), 'ort-cuda', "
            "'openvino', 'ort', or 'auto': the first of them that works."
        ),
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(help="A bundle's folder, or 'demo'. (default: the one exported last, else the demo)"),
    ] = None,
    batch: Annotated[int, typer.Option(help="Frames that go through the networks together, for throughput.")] = 1,
    precision: Annotated[str, typer.Option(help="Of an engine on a GPU: 'fp16' or 'fp32'.")] = "fp16",
    cuda_binding: Annotated[str, typer.Option(help="What drives the GPU: 'cuda-core' or 'pycuda'.")] = "cuda-core",
    grid: Annotated[bool, typer.Option("--grid", help="Show all steps side by side, as the paper's Figure 4.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Run the embedded demo; what is given above replaces that part of it.")
    ] = False,
) -> None:
    """Animate a picture by a driving video, with the video's timestamps and audio."""
    from maskanim.video import check_output, open_clip, read_picture

    source, driving, output = _places(source, driving, output, demo)
    check_output(output, [source, driving])
    image = read_picture(source)
    with open_clip(driving) as clip:
        from maskanim.runtime.animator import Animator
        from maskanim.runtime.engines import RunOptions
        from maskanim.runtime.stream import animate_opened

        options = RunOptions(batch, precision, cuda_binding, tell=typer.echo)
        with Animator.open(model or ("demo" if demo else None), engine, options) as animator:
            _tell(animator)
            with ProgressBar("frame") as bar:
                start = monotonic()

                def progress(done: int, total: int | None) -> None:
                    bar.update(done, total, f"{done / (monotonic() - start):.1f} frames/s")

                result = animate_opened(animator, image, clip, output, grid=grid, progress=progress)
    typer.echo(f"{output}: {result.frames} frames in {result.seconds:.1f} s, {result.rate:.1f} frames/s end to end")


def _places(source: Path | None, driving: Path | None, output: Path | None, demo: bool) -> tuple[Path, Path, Path]:
    """The source, the driving clip and the output."""
    if demo:
        from maskanim.models import DEMO

        return source or DEMO / "source.png", driving or DEMO / "driving.mp4", output or Path("maskanim-demo.mp4")
    if source is None or driving is None:
        missing = " and ".join(flag for flag, value in (("--source", source), ("--driving", driving)) if value is None)
        raise MaskanimError("maskanim-run", f"no {missing}", "both --source and --driving", "Or try it with --demo")
    return source, driving, output or Path(f"{source.resolve().stem}-{driving.resolve().stem}.mp4")


def _tell(animator: Animator) -> None:
    bundle, why = animator.choice
    typer.echo(f"model: {bundle.manifest.name} in {bundle.path} ({why})")
    typer.echo(f"engine: {animator.engine.name} ({animator.engine.detail})")
    passed_over: dict[str, list[str]] = {}
    for name, reason in animator.engine.passed_over.items():
        passed_over.setdefault(reason.removeprefix(f"engine {name}: "), []).append(name)
    for reason, names in passed_over.items():
        typer.echo(f"passed over: {', '.join(names)} ({reason})")


def main() -> None:
    """Entry point of maskanim-run."""
    # OpenVINO imports its model converter where it finds it, and with it a web client: 60 ms that nothing here uses.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    app()


if __name__ == "__main__":
    main()
