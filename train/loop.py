"""The training loop: steps, and between them logs, checkpoints, sample grids and an ear for what goes wrong."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from maskanim.errors import MaskanimError
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.runtime.jobs.interrupts import handled
from maskanim.train.grid import draw_grids
from maskanim.train.logs import RunLog
from maskanim.train.saving import save_checkpoint
from maskanim.train.trainer import Trainer
from maskanim.train.watch import CollapseWatch

logger = logging.getLogger(__name__)

ONE_PRESS = 2.0  # seconds: torchrun passes a Ctrl-C on to processes that the terminal has told already


class Interrupts:
    """A handler of Ctrl-C, SIGTERM and SIGHUP that holds them back; a second Ctrl-C ends the process at once.

    Attributes:
        received: the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._at = signal.Signals(number), time.monotonic()
            # Not print: it might have been in the middle of a line, holding its lock.
            os.write(2, f"\n{self.received.name}: saving after this step; Ctrl-C again ends at once\n".encode())
        elif number == signal.SIGINT and time.monotonic() - self._at > ONE_PRESS:
            raise KeyboardInterrupt

    def heard(self) -> AbstractContextManager[None]:
        """While it lasts, the signals come here. They reach the main thread only; elsewhere nothing is held back."""
        return handled(self) if threading.current_thread() is threading.main_thread() else nullcontext()


@dataclass(frozen=True)
class RunOptions:
    """How a run goes on; none of it changes what is learned."""

    out: Path  # the run's folder; receives step-*.pt, last.pt, log.csv, grids/ and tensorboard/
    provenance: dict[str, Any]  # what checkpoints say of where they come from
    # sources and drivers of the sample grids, (N, 3, 256, 256) float32 in [0, 1]; None: no grids
    examples: tuple[Tensor, Tensor] | None = None
    max_steps: int = sys.maxsize  # of this call
    workers: int = 1  # processes that prepare data, beside each process that trains
    # save_every, grid_every: in steps; None: at the end of every epoch
    save_every: int | None = None
    grid_every: int | None = None
    keep: int = 3  # how many checkpoints stay


def run(trainer: Trainer, options: RunOptions, progress: Progress = NO_PROGRESS) -> signal.Signals | None:
    """Train until the settings' last step, for `options.max_steps`, or until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        progress: counts steps, with each one's losses and statistics; in the first process only, as are all lines.

    Returns:
        The signal that ended the run early, its state saved; else None.

    Raises:
        MaskanimError: a loss is not finite, the masks have collapsed, or hardly any clip can be read.
    """
    end = min(trainer.total_steps, trainer.step + options.max_steps)
    watch = CollapseWatch(trainer.settings.watch)
    stopped, interrupts = None, Interrupts()
    logs = RunLog(options.out, trainer.step) if trainer.fabric.is_global_zero else nullcontext()
    with _told_of_workers(), logs as log, interrupts.heard():  # also while the logs are closed
        _log_damage(trainer)
        with closing(trainer.data(end - trainer.step, options.workers)) as stream:  # type: ignore[type-var]
            began = time.perf_counter()
            for batch in stream:
                figures = trainer.train_step(batch)
                now = time.perf_counter()
                images = 2 * trainer.rank_slice.joint(len(batch.source))
                began, figures["images_per_second"] = now, images / (now - began)
                if log:
                    log.write(trainer.step, figures)
                    progress.update(trainer.step, trainer.total_steps, _told(figures))
                _watch(trainer, watch, figures)
                if trainer.any(interrupts.received is not None):
                    stopped = interrupts.received or signal.SIGTERM
                if log:
                    _keep(trainer, options, log, trainer.step == end, stopped is not None)
                if trainer.at_end_of_epoch or trainer.step == end or stopped:
                    _log_damage(trainer)
                if stopped:
                    break
    return stopped


@contextmanager
def _told_of_workers() -> Iterator[None]:
    """Where a process that prepares data is killed, torch raises in whatever this one is at: its state is not whole."""
    try:
        yield
    except (RuntimeError, MaskanimError, ConnectionResetError, ConnectionRefusedError, EOFError) as error:
        # An error of ours where it was at a checkpoint; of a connection where it was taking over a batch.
        told = str(error.__cause__ or error)
        if isinstance(error, RuntimeError | MaskanimError) and not told.startswith("DataLoader worker"):
            raise
        next_step = "Go on from the last checkpoint with --resume, and perhaps fewer --workers"
        raise MaskanimError("processes that prepare data", "one was killed", "memory for all", next_step) from None


def _keep(trainer: Trainer, options: RunOptions, log: RunLog, last: bool, stopped: bool) -> None:
    """A checkpoint and a sample grid, where they are due; whoever is stopping a run does not wait for pictures."""
    if last or stopped or _due(trainer, options.save_every):
        log.flush()
        save_checkpoint(trainer.state(options.provenance), options.out, options.keep)
    if options.examples and not stopped and (last or _due(trainer, options.grid_every)):
        log.draw(trainer.step, draw_grids(trainer.nets, *(part.to(trainer.fabric.device) for part in options.examples)))


def _due(trainer: Trainer, every: int | None) -> bool:
    return trainer.at_end_of_epoch if every is None else trainer.step % every == 0


def _told(figures: dict[str, float]) -> str:
    others = [f"{name} {value:.3g}" for name, value in figures.items() if name != "images_per_second"]
    return "  ".join([*others, f"{figures['images_per_second']:.1f} images/s"])


def _watch(trainer: Trainer, watch: CollapseWatch, figures: dict[str, float]) -> None:
    try:
        warning = watch.see(trainer.step, figures["mask_mean"], figures["mask_deviation"])
    except MaskanimError as error:
        trainer.refuse(error)
    else:
        if warning and trainer.fabric.is_global_zero:
            logger.warning(warning)


def _log_damage(trainer: Trainer) -> None:
    """The damaged clips that any process has met since the last time."""
    if trainer.rank_slice.world > 1:
        found: list[dict[str, str]] = [{}] * trainer.rank_slice.world
        torch.distributed.all_gather_object(found, trainer.pairs.damaged)
        for damaged in found:
            trainer.pairs.note(damaged)
    lines = trainer.pairs.news()
    for line in lines if trainer.fabric.is_global_zero else ():
        logger.warning(line)
