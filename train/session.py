"""A run as a person starts it: processes, data, networks and checkpoint found, and told how it goes."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import typer
from lightning_fabric import Fabric

from maskanim import __version__
from maskanim.atomic import sole_writer
from maskanim.logs import show_logs
from maskanim.progress import ProgressBar
from maskanim.train.data import open_data
from maskanim.train.data.pairs import Pairs
from maskanim.train.grid import examples
from maskanim.train.launch import close_fabric, open_fabric
from maskanim.train.loop import RunOptions, run
from maskanim.train.saving import LAST, read_checkpoint, read_weights
from maskanim.train.settings import TrainSettings
from maskanim.train.trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes:
        settings: how to train.
        data: ``synthetic``, ``people`` or a folder of clips.
        assets: MakeHuman's data folder, for ``people``.
        device: see `open_fabric`.
        checkpoint: to go on from.
        init: another run's checkpoint, or a bundle, with whose weights a new run begins; one that goes on has them.
        compiled: through torch.compile.
        perceptual_weights: the file of VGG-19.
        provenance: the command, for new checkpoints. A resumed run keeps the one that began it: resuming changes
            nothing in what it gives.
    """

    settings: TrainSettings
    data: str
    assets: Path | None = None
    device: str = "auto"
    checkpoint: Path | None = None
    init: Path | None = None
    compiled: bool = False
    perceptual_weights: Path | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def train(start: Start, out: Path, **options: Any) -> signal.Signals | None:
    """Train, with a progress bar; of several processes, only the first says anything.

    Args:
        out: the run's folder.
        options: the other fields of `RunOptions`.

    Returns:
        The signal that stopped it, if one did.

    Raises:
        MaskanimError: no such device or data, another training writes there, a checkpoint of another run, or what
            `run` raises.
    """
    pairs = open_data(start.data, start.settings, assets=start.assets)
    settings = start.settings.for_units(pairs.units)
    fabric = open_fabric(start.device, settings.precision)
    try:
        with _sole_run(out) if fabric.is_global_zero else nullcontext():
            trainer, provenance = _begin(start, settings, fabric, pairs)
            shown = examples(start.data) if fabric.is_global_zero else None
            with ProgressBar("step", trainer.step) as bar:
                show_logs(bar.console)
                stopped = run(trainer, RunOptions(out, provenance, shown, **options), bar)
            if fabric.is_global_zero:
                _conclude(trainer, out / LAST, stopped)
            return stopped
    finally:
        close_fabric()


@contextmanager
def _sole_run(out: Path) -> Iterator[None]:
    """No other training writes into a folder, or reads what will change there; a new folder that stays empty goes."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with sole_writer(out / LAST, "training"):
            yield
    finally:
        with suppress(OSError):
            if made:
                out.rmdir()


def _begin(start: Start, settings: TrainSettings, fabric: Fabric, pairs: Pairs) -> tuple[Trainer, dict[str, Any]]:
    """The trainer, where the checkpoint stands, and what checkpoints will say of their origin."""
    checkpoint = read_checkpoint(start.checkpoint, settings, pairs.fingerprint) if start.checkpoint else None
    trainer = Trainer(settings, fabric, start.perceptual_weights, pairs, compiled=start.compiled)
    provenance = start.provenance | {
        "data": start.data,
        "data_files": pairs.fingerprint,
        "seed": settings.seed,
        "perceptual": settings.perceptual,
        "int8": settings.int8,
        "maskanim": __version__,
        "torch": str(torch.__version__),
    }
    if checkpoint:
        trainer.restore(checkpoint)
        provenance["command"] = str(checkpoint.provenance["command"])
    elif start.init:
        trainer.nets.load_state_dict(read_weights(start.init, settings, pairs))
    if fabric.is_global_zero:
        logger.info("data: %s", pairs.summary)
        if settings.detail_weight and not pairs.has_figures:
            logger.info("note: the data has no figure maps, so detail_weight does nothing for frames")
        world = fabric.world_size
        if world > 1:
            logger.info("%d processes, %d pairs of a step each", world, settings.batch // world)
    return trainer, provenance


def _conclude(trainer: Trainer, saved: Path, stopped: signal.Signals | None) -> None:
    damaged = len(trainer.pairs.damaged)
    if damaged:
        logger.info("data: damaged clips passed over: %d", damaged)
    done = f"{saved}: {trainer.step} of {trainer.total_steps} steps done."
    if stopped:
        logger.info("%s Stopped by %s; go on with the same command and --resume.", done, stopped.name)
    else:
        typer.echo(f"{done} Next: maskanim-export --ckpt {saved}")
