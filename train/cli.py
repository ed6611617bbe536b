"""maskanim-train: from data to a checkpoint; maskanim-train prepare: from raw clips to data."""

from __future__ import annotations

import shlex
import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from maskanim.errors import MaskanimError, needs_extra, one_line_errors, run_command
from maskanim.logs import show_logs
from maskanim.progress import ProgressBar
from maskanim.train.settings import Warmup, load_settings, parse_changes, presets


class _TrainByDefault(TyperGroup):
    """Options without the name of a command are those of training."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["train", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_TrainByDefault, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def maskanim_train() -> None:
    """Train on clips, or make raw clips ready for it.

    `maskanim-train --config vox --data clips --out runs/vox` is short for `maskanim-train train --config ...`; its
    options are shown by `maskanim-train train --help`.
    """


@app.command()
@one_line_errors
def train(
    config: Annotated[str, typer.Option(help=f"A preset ({', '.join(presets())}) or a YAML file of settings.")],
    data: Annotated[
        str,
        typer.Option(
            help="A folder of clips: videos, folders of frames or strips, in train/ or in the folder itself; or "
            "'synthetic': drawn puppets, or 'people': rendered ones, both made as they are needed."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log.csv, tensorboard/ and sample grids.")],
    assets: Annotated[Path | None, typer.Option(help="MakeHuman's folder data, for --data people.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Begin with the weights of this checkpoint or bundle, as another run; without a warm-up unless set."
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Round as INT8 does, so that the networks learn to bear it; for a while, with --init."
        ),
    ] = False,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps of this call.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Replaces a setting, e.g. batch=2 or warmup.steps=0; repeat.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Replaces the settings' seed.")] = None,
    precision: Annotated[str | None, typer.Option(help="Replaces the settings': 'fp32', or 'bf16' (mixed).")] = None,
    perceptual_weights: Annotated[Path | None, typer.Option(help="VGG-19 weights in torchvision's format.")] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:1'.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Run the networks through torch.compile.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare data, for each that trains.")] = 1,
    save_every: Annotated[
        int | None, typer.Option(min=1, help="Steps from checkpoint to checkpoint; else an epoch.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Checkpoints that stay: step-*.pt; last.pt is the newest.")] = 3,
    grid_every: Annotated[
        int | None, typer.Option(min=1, help="Steps from sample grid to sample grid; else an epoch.")
    ] = None,
) -> None:
    """Train the four networks.

    With torchrun --nproc-per-node N -m maskanim.train, or srun --ntasks-per-node N, on N GPUs; the settings' batch is
    that of all of them together. Ctrl-C, SIGTERM and SIGHUP save before they end it.
    """
    show_logs()
    if int8 and not (init or resume):
        raise MaskanimError("--int8", "without --init", "both: it is for weights that are trained")
    named = {"seed": seed, "precision": precision, "int8": int8 or None}
    replaced = {name: value for name, value in named.items() if value is not None}
    changed = parse_changes(changes or []) | replaced
    settings = load_settings(config, changed)
    if perceptual_weights and settings.perceptual != "vgg19":
        received, next_step = f"with the perceptual network {settings.perceptual}", "Add --set perceptual=vgg19"
        raise MaskanimError("--perceptual-weights", received, "vgg19, whose they are", next_step)
    if assets and data != "people":
        raise MaskanimError("--assets", f"with --data {data}", "--data people")
    last = _checkpoint_to_resume(out, resume)
    if init and "warmup" not in changed:
        settings = settings.model_copy(update={"warmup": Warmup()})

    with needs_extra("maskanim-train", "train"):
        from maskanim.train.session import Start
        from maskanim.train.session import train as train_and_tell

    provenance = {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), "config": config}
    start = Start(settings, data, assets, device, last, init, compiled, perceptual_weights, provenance)
    stopped = train_and_tell(
        start,
        out,
        max_steps=max_steps or sys.maxsize,
        workers=workers,
        save_every=save_every,
        grid_every=grid_every,
        keep=keep,
    )
    if stopped:
        raise typer.Exit(128 + stopped)


@app.command()
@one_line_errors
def prepare(
    raw: Annotated[Path, typer.Argument(help="A folder of videos, folders of frames or strips.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Receives train/ and test/.", show_default=False)],
    size: Annotated[int, typer.Option(min=64, help="Side of the new frames.")] = 256,
    crop: Annotated[str, typer.Option(help="'centre', or x,y,w,h in pixels; of it the centred square.")] = "centre",
    test: Annotated[
        float | None,
        typer.Option(min=0, max=0.99, help="Share of the identities or clips for test/; a tenth if left out."),
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.01, max=1000, help="Frames per second; else as they are.")] = None,
    form: Annotated[str, typer.Option("--format", help="'mp4', or 'frames': a folder of PNGs per clip.")] = "mp4",
    seed: Annotated[int, typer.Option(min=0, help="Of the split.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Crop, resize and split raw clips into the layout for training; call it again to go on after an interruption."""
    if form not in ("mp4", "frames"):
        raise MaskanimError(f"--format {form}", "not a format", "mp4 or frames")
    if size % 2:
        raise MaskanimError(f"--size {size}", "an odd number", "an even one")
    with needs_extra("maskanim-train prepare", "train"):
        from maskanim.train.prepare import Crop, Format, Preparation, prepare

    kind: Format = "frames" if form == "frames" else "mp4"
    rate = None if fps is None else Fraction(fps).limit_denominator(1001)
    preparation = Preparation(size=size, crop=Crop.parse(crop), test=test, fps=rate, format=kind, seed=seed)
    with ProgressBar("clip") as bar:
        done = prepare(raw, out, preparation, workers=workers, progress=bar)
    for name, reason in done.damaged.items():
        typer.echo(f"left out {name}: {reason}", err=True)
    told = ", ".join(f"{done.clips[split]} for {split}" for split in ("train", "test") if done.clips[split])
    typer.echo(f"{out}: {told}; there before: {done.finished_before}; damaged and left out: {len(done.damaged)}")


@app.command()
@one_line_errors
def people(
    assets: Annotated[Path, typer.Option(help="MakeHuman's folder data: 3dobjs, targets, skins, hair and so on.")],
    out: Annotated[Path, typer.Option(help="Receives train/, test/ and people.json.")],
    identities: Annotated[int, typer.Option(min=1, help="How many for train/.")] = 1000,
    test: Annotated[int, typer.Option(min=0, help="How many for test/, with skins and hair of their own.")] = 64,
    frames: Annotated[int, typer.Option(min=2, help="Of each identity.")] = 24,
    step: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds from frame to frame.")] = 0.4,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another population.")] = 0,
    framing: Annotated[Literal["head", "body"], typer.Option(help="'head', or 'body' for whole figures.")] = "head",
) -> None:
    """Render people into strips with their ground truth, for --data; called again, it adds what is missing."""
    with needs_extra("maskanim-train people", "people"):
        from maskanim.train.people.dataset import Order, write_people

    with ProgressBar("clip") as bar:
        drawn = write_people(assets, out, Order((identities, test), frames, step, seed, framing), jobs, bar)
    folder = f"./{out}" if str(out) in ("people", "synthetic") else out  # those names mean what is drawn on the way
    typer.echo(f"{out}: {drawn} clips of {frames} frames drawn. Next: maskanim-train --config people --data {folder}")


def _checkpoint_to_resume(out: Path, resume: bool) -> Path | None:
    last = out / "last.pt"
    try:
        str(out).encode()
    except UnicodeEncodeError:
        raise MaskanimError(f"--out {out}", "a name that is not UTF-8", "one that is, as TensorBoard needs") from None
    if out.exists() and not out.is_dir():
        raise MaskanimError(f"--out {out}", "a file", "a folder or a new path")
    if resume and not last.is_file():
        raise MaskanimError(f"--resume in {out}", "no last.pt", "the folder of an earlier run")
    if last.exists() and not resume:
        raise MaskanimError(f"--out {out}", "an earlier run's last.pt", "a new folder", "Add --resume to go on with it")
    return last if resume else None


def main() -> None:
    """Entry point of maskanim-train."""
    run_command(app)


if __name__ == "__main__":
    main()
