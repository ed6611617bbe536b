"""maskanim-train: from data to a checkpoint; maskanim-train prepare: from raw clips to data."""

from __future__ import annotations

import shlex
import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from maskanim import __version__
from maskanim.checkpoint import load_own, read_file
from maskanim.errors import MaskanimError, needs_extra, one_line_errors
from maskanim.progress import ProgressBar
from maskanim.train.settings import TrainSettings, load_settings, presets


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
            "'synthetic': drawn puppets, made as they are needed."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for last.pt, log.csv and sample grids.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps of this call.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Replaces the settings' seed.")] = None,
    perceptual_weights: Annotated[Path | None, typer.Option(help="VGG-19 weights in torchvision's format.")] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:1'.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare data.")] = 1,
) -> None:
    """Train the four networks, and save a checkpoint and a sample grid at every epoch."""
    settings = load_settings(config, {} if seed is None else {"seed": seed})
    last = _checkpoint_to_resume(out, resume)

    with needs_extra("maskanim-train", "train"):
        import torch

        from maskanim.train.data import open_data
        from maskanim.train.loop import Trainer, run

    pairs = open_data(data, settings)
    settings = settings.for_units(pairs.units)
    trainer = Trainer(settings, _device(device), perceptual_weights, pairs)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    if last:
        command = _restore(trainer, last, settings)
    out.mkdir(parents=True, exist_ok=True)
    provenance = {
        "command": command,
        "config": config,
        "data": data,
        "data_files": pairs.fingerprint,
        "seed": settings.seed,
        "perceptual": settings.perceptual,
        "maskanim": __version__,
        "torch": str(torch.__version__),
    }
    typer.echo(f"data: {pairs.summary}", err=True)
    with ProgressBar("step", trainer.step) as bar:

        def report(step: int, figures: dict[str, float]) -> None:
            told = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
            bar.update(step, trainer.total_steps, told)
            for line in pairs.news():
                bar.console.print(line, soft_wrap=True, highlight=False, markup=False)

        run(trainer, out, max_steps=max_steps or sys.maxsize, workers=workers, provenance=provenance, report=report)
    if pairs.damaged:
        typer.echo(f"data: damaged clips passed over: {len(pairs.damaged)}", err=True)
    saved = out / "last.pt"
    typer.echo(f"{saved}: {trainer.step} of {trainer.total_steps} steps done. Next: maskanim-export --ckpt {saved}")


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
    fps: Annotated[float | None, typer.Option(min=0.01, help="Frames per second; else as they are.")] = None,
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
        done = prepare(raw, out, preparation, workers=workers, report=bar.update)
    for name, reason in done.damaged.items():
        typer.echo(f"left out {name}: {reason}", err=True)
    told = ", ".join(f"{done.clips[split]} for {split}" for split in ("train", "test") if done.clips[split])
    typer.echo(f"{out}: {told}; there before: {done.finished_before}; damaged and left out: {len(done.damaged)}")


def _checkpoint_to_resume(out: Path, resume: bool) -> Path | None:
    last = out / "last.pt"
    if out.exists() and not out.is_dir():
        raise MaskanimError(f"--out {out}", "a file", "a folder or a new path")
    if resume and not last.is_file():
        raise MaskanimError(f"--resume in {out}", "no last.pt", "the folder of an earlier run")
    if last.exists() and not resume:
        raise MaskanimError(f"--out {out}", "an earlier run's last.pt", "a new folder", "Add --resume to go on with it")
    return last if resume else None


def _restore(trainer: Any, last: Path, settings: TrainSettings) -> str:
    """Go on from a checkpoint. Returns the command that began the run: resuming changes nothing in what it gives."""
    checkpoint = load_own(read_file(last, str(last)).values)
    if checkpoint is None:
        raise MaskanimError(str(last), "not a checkpoint of this version", "one written by maskanim-train")
    files = checkpoint.provenance.get("data_files", trainer.pairs.fingerprint)
    if files != trainer.pairs.fingerprint:
        raise MaskanimError(f"--resume {last}", "a run on other clips", "the clips it was started with, and no others")
    if checkpoint.settings != settings.model_dump(mode="json"):
        raise MaskanimError(f"--resume {last}", "a run with other settings", "the settings it was started with")
    trainer.restore(checkpoint)
    return str(checkpoint.provenance["command"])


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise MaskanimError(
            f"--device {name}", "no such device here", "auto, cpu, or a CUDA device that works"
        ) from None
    return device


def main() -> None:
    """Entry point of maskanim-train."""
    app()


if __name__ == "__main__":
    main()
