"""maskanim-train: from data to a checkpoint."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from maskanim import __version__
from maskanim.checkpoint import load_own, read_file
from maskanim.errors import MaskanimError, needs_extra, one_line_errors
from maskanim.progress import ProgressBar
from maskanim.train.settings import TrainSettings, load_settings, presets

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@one_line_errors
def train(
    config: Annotated[str, typer.Option(help=f"A preset ({', '.join(presets())}) or a YAML file of settings.")],
    data: Annotated[str, typer.Option(help="'synthetic': drawn puppets, made as they are needed.")],
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
    if data != "synthetic":
        raise MaskanimError(f"--data {data}", "not a known data set", "synthetic")
    last = _checkpoint_to_resume(out, resume)

    with needs_extra("maskanim-train", "train"):
        import torch

        from maskanim.train.loop import Trainer, run

    trainer = Trainer(settings, _device(device), perceptual_weights)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    if last:
        command = _restore(trainer, last, settings)
    out.mkdir(parents=True, exist_ok=True)
    provenance = {
        "command": command,
        "config": config,
        "data": data,
        "seed": settings.seed,
        "perceptual": settings.perceptual,
        "maskanim": __version__,
        "torch": str(torch.__version__),
    }
    with ProgressBar("step", trainer.step) as bar:

        def report(step: int, figures: dict[str, float]) -> None:
            told = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
            bar.update(step, trainer.total_steps, told)

        run(trainer, out, max_steps=max_steps or sys.maxsize, workers=workers, provenance=provenance, report=report)
    saved = out / "last.pt"
    typer.echo(f"{saved}: {trainer.step} of {trainer.total_steps} steps done. Next: maskanim-export --ckpt {saved}")


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
