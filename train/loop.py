"""The training loop: steps, and between them logs, checkpoints, sample grids and an ear for what goes wrong."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskanim.errors import MaskanimError
from maskanim.train.grid import draw_grids
from maskanim.train.interrupts import Interrupts
from maskanim.train.logs import RunLog
from maskanim.train.saving import save_checkpoint
from maskanim.train.trainer import Trainer
from maskanim.train.watch import CollapseWatch

Report = Callable[[int, dict[str, float]], None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How a run goes on; none of it changes what is learned.

    Attributes:
        out: the run's folder; receives step-*.pt, last.pt, log.csv, grids/ and tensorboard/.
        provenance: what checkpoints say of where they come from.
        examples: sources and drivers of the sample grids, (N, 3, 256, 256) float32 in [0, 1]; None: no grids.
        max_steps: of this call.
        workers: processes that prepare data, beside each process that trains.
        save_every, grid_every: in steps; None: at the end of every epoch.
        keep: how many checkpoints stay.
    """

    out: Path
    provenance: dict[str, Any]
    examples: tuple[Tensor, Tensor] | None = None
    max_steps: int = sys.maxsize
    workers: int = 1
    save_every: int | None = None
    grid_every: int | None = None
    keep: int = 3


def run(trainer: Trainer, plan: Plan, report: Report, tell: Tell) -> signal.Signals | None:
    """Train until the settings' last step, for `plan.max_steps`, or until SIGTERM or Ctrl-C.

    Args:
        report: called after each step with the number of steps done, and the step's losses and statistics.
        tell: called with lines that a person should read: warnings, and damaged clips at the end of each epoch.
            Both in the first process only.

    Returns:
        The signal that ended the run early, its state saved; else None.

    Raises:
        MaskanimError: a loss is not finite, the masks have collapsed, or hardly any clip can be read.
    """
    end = min(trainer.total_steps, trainer.step + plan.max_steps)
    watch = CollapseWatch(trainer.settings.watch)
    stopped = None
    with _log(trainer, plan) as log, Interrupts() as interrupts:
        _tell_damage(trainer, tell)
        with closing(trainer.data(end - trainer.step, plan.workers)) as stream:  # type: ignore[type-var]
            began = time.perf_counter()
            for batch in stream:
                figures = trainer.train_step(batch)
                now = time.perf_counter()
                images = 2 * trainer.share.joint(len(batch.source))
                began, figures["images_per_second"] = now, images / (now - began)
                if log:
                    log.write(trainer.step, figures)
                    report(trainer.step, figures)
                _watch(trainer, watch, figures, tell)
                if trainer.any(interrupts.received is not None):
                    stopped = interrupts.received or signal.SIGTERM
                if log:
                    _keep(trainer, plan, log, trainer.step == end, stopped is not None)
                if trainer.at_end_of_epoch or trainer.step == end or stopped:
                    _tell_damage(trainer, tell)
                if stopped:
                    break
    return stopped


@contextmanager
def _log(trainer: Trainer, plan: Plan) -> Iterator[RunLog | None]:
    """The logs, in the first process."""
    if not trainer.fabric.is_global_zero:
        yield None
        return
    plan.out.mkdir(parents=True, exist_ok=True)
    with RunLog(plan.out, trainer.step) as log:
        yield log


def _keep(trainer: Trainer, plan: Plan, log: RunLog, last: bool, stopped: bool) -> None:
    """A checkpoint and a sample grid, where they are due; whoever is stopping a run does not wait for pictures."""
    if last or stopped or _due(trainer, plan.save_every):
        log.flush()
        save_checkpoint(trainer.state(plan.provenance), plan.out, plan.keep)
    if plan.examples and not stopped and (last or _due(trainer, plan.grid_every)):
        log.draw(trainer.step, draw_grids(trainer.nets, *(part.to(trainer.fabric.device) for part in plan.examples)))


def _due(trainer: Trainer, every: int | None) -> bool:
    return trainer.at_end_of_epoch if every is None else trainer.step % every == 0


def _watch(trainer: Trainer, watch: CollapseWatch, figures: dict[str, float], tell: Tell) -> None:
    try:
        warning = watch.see(trainer.step, figures["mask_mean"], figures["mask_deviation"])
    except MaskanimError as error:
        trainer.refuse(error)
    else:
        if warning and trainer.fabric.is_global_zero:
            tell(warning)


def _tell_damage(trainer: Trainer, tell: Tell) -> None:
    """The damaged clips that any process has met since the last time."""
    if trainer.share.world > 1:
        found: list[dict[str, str]] = [{}] * trainer.share.world
        torch.distributed.all_gather_object(found, trainer.pairs.damaged)
        for damaged in found:
            trainer.pairs.note(damaged)
    lines = trainer.pairs.news()
    for line in lines if trainer.fabric.is_global_zero else ():
        tell(line)
