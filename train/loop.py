"""The training loop: warm-up of m on drawn data, then the paper's training of all four networks."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from maskanim.checkpoint import Checkpoint
from maskanim.errors import MaskanimError
from maskanim.networks import GAIN, Networks
from maskanim.networks.ops import downscale
from maskanim.train.augment import colour_augmentation
from maskanim.train.data import SYNTHETIC, Pair, Pairs, SyntheticPairs, batches, open_data
from maskanim.train.forward import Losses, Prediction, TrainingPass
from maskanim.train.grid import draw_grids, puppet_examples
from maskanim.train.losses import Perceptual, perceptual_network
from maskanim.train.perturb import perturb_train
from maskanim.train.settings import TrainSettings
from maskanim.video import write_picture

Module = TypeVar("Module", bound=nn.Module)
Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Place:
    """Where a step lies in the run: None as the epoch means that m is warming up alone."""

    step: int
    epoch: int | None
    step_in_training: int


class Trainer:
    """Everything that a run holds.

    Args:
        settings: how to train.
        device: a torch device.
        perceptual_weights: the file of VGG-19, where the settings ask for it.
        pairs: what is learned from; the drawn puppets if left out. The warm-up always draws puppets.
    """

    def __init__(
        self,
        settings: TrainSettings,
        device: torch.device,
        perceptual_weights: Path | None = None,
        pairs: Pairs | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.pairs = pairs or open_data(SYNTHETIC, settings)
        self.settings, self.device, self.step = settings, device, 0
        self.nets = _channels_last(Networks(settings.model).to(device))
        self.optimizer = torch.optim.Adam(_parameter_groups(self.nets, settings), betas=settings.betas)
        perceptual = None
        if settings.perceptual != "none":
            network = perceptual_network(settings.perceptual, perceptual_weights)
            perceptual = _channels_last(Perceptual(network, settings.resolutions).to(device))
        self.losses = Losses(settings, perceptual)
        self.training_pass = TrainingPass(self.nets, colour_augmentation(settings), self._perturb)

    @property
    def total_steps(self) -> int:
        return self.settings.warmup.steps + self.settings.epochs * self.settings.steps_per_epoch

    def place(self) -> Place:
        """Where the next step lies."""
        step = self.step - self.settings.warmup.steps
        return Place(self.step, None if step < 0 else step // self.settings.steps_per_epoch, max(step, 0))

    def state(self, provenance: dict[str, Any]) -> Checkpoint:
        """The run as a checkpoint."""
        networks = {name: value.cpu() for name, value in self.nets.state_dict().items()}
        settings = self.settings.model_dump(mode="json")
        return Checkpoint(settings, networks, self.optimizer.state_dict(), self.step, provenance)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint stands. The random draws of a step depend on the seed and the step alone."""
        self.nets.load_state_dict(checkpoint.networks)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step = checkpoint.step

    def data(self, steps: int, workers: int) -> Iterator[Pair]:
        """The batches of the next steps, which all lie on this side of the warm-up's end."""
        settings, place = self.settings, self.place()
        pairs, size = self.pairs, settings.batch
        if place.epoch is None:
            pairs, size = SyntheticPairs(settings.identities, 2 * settings.seed), settings.warmup.batch // 2
        start = place.step if place.epoch is None else place.step_in_training
        return batches(pairs, start * size, steps, size, workers)

    def train_step(self, batch: Pair) -> dict[str, float]:
        """One step of Adam. Returns each weighted loss term and the statistics of the masks."""
        place = self.place()
        torch.manual_seed(self.settings.seed * 1_000_003 + place.step)
        self._set_rates(place)
        batch = Pair(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            terms, masks = self._warm_up(batch) if place.epoch is None else self._train(batch, place)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise MaskanimError(
                f"step {place.step}", f"a loss of {loss.item()}", "a finite one", "Lower the learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return {name: term.item() for name, term in terms.items()} | _mask_statistics(masks)

    def _warm_up(self, batch: Pair) -> tuple[dict[str, Tensor], Tensor]:
        """m on the drawn figure maps; then r, with each frame of a pair as the other's driver."""
        images = _floats(torch.cat((batch.source, batch.driving)))
        masks = self.nets.m(self.training_pass.augment(images))
        terms = {"figure": _mask_entropy(masks, torch.cat((batch.source_figure, batch.driving_figure)))}
        start = self.settings.warmup.refine_from_step
        if start is not None and self.step >= start:
            source_masks = masks.detach()
            driving_masks = torch.cat(source_masks.chunk(2)[::-1])
            refined = self.nets.r(downscale(images), source_masks, self._perturb(driving_masks))
            terms["refined"] = _mask_entropy(refined, driving_masks)
        return terms, masks

    def _train(self, batch: Pair, place: Place) -> tuple[dict[str, Tensor], Tensor]:
        """The paper's losses, and at first the figure maps that still guide m."""
        settings, epoch = self.settings, place.epoch or 0
        source, driving = _floats(batch.source), _floats(batch.driving)
        prediction: Prediction = self.training_pass(
            source,
            driving,
            refine=epoch >= settings.refine_from_epoch,
            high_res=epoch >= settings.high_res_from_epoch,
        )
        terms = self.losses(prediction, driving)
        masks = torch.cat((prediction.source_mask, prediction.driving_mask))
        fade = 1 - place.step_in_training / max(1, settings.warmup.fade_steps)
        if settings.warmup.weight and fade > 0:
            figures = torch.cat((batch.source_figure, batch.driving_figure))
            terms["figure"] = settings.warmup.weight * fade * _mask_entropy(masks, figures)
        return terms, masks

    def _perturb(self, mask: Tensor) -> Tensor:
        settings = self.settings
        return perturb_train(mask, settings.model.perturbation, strips=settings.strips, zoom=settings.zoom)

    def _set_rates(self, place: Place) -> None:
        """The learning rates and the gains of the mask heads at this step."""
        settings, warmup = self.settings, self.settings.warmup
        if place.epoch is None:
            rate = warmup.learning_rate
        else:
            passed = sum(place.epoch >= epoch for epoch in settings.decay_epochs)
            rate = settings.learning_rate * settings.decay**passed
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        start_of_r = warmup.refine_from_step
        if start_of_r is None:
            start_of_r = warmup.steps + settings.refine_from_epoch * settings.steps_per_epoch
        self.nets.m.gain = _ramp(place.step, warmup.gain_steps)
        self.nets.r.gain = _ramp(place.step - start_of_r, warmup.gain_steps)


def run(
    trainer: Trainer, out: Path, *, max_steps: int, workers: int, provenance: dict[str, Any], report: Report
) -> None:
    """Train until the settings' last step or for `max_steps`, saving a checkpoint and a sample grid at every epoch.

    Args:
        out: the run's folder; receives last.pt, log.csv and grids/.
        report: called after each step with the number of steps done and the step's losses and statistics.
    """
    end = min(trainer.total_steps, trainer.step + max_steps)
    examples = puppet_examples(6)
    (out / "grids").mkdir(exist_ok=True)
    with (out / "log.csv").open("a", newline="") as file:
        log = csv.writer(file)
        while trainer.step < end:
            until = min(end, _next_stop(trainer))
            for batch in trainer.data(until - trainer.step, workers):
                began = time.perf_counter()
                figures = trainer.train_step(batch)
                figures["pairs_per_second"] = len(batch.source) / (time.perf_counter() - began)
                log.writerows([trainer.step, name, f"{value:.6g}"] for name, value in figures.items())
                report(trainer.step, figures)
            file.flush()
            trainer.state(provenance).save(out / "last.pt")
            grid = draw_grids(trainer.nets, *(tensor.to(trainer.device) for tensor in examples))
            write_picture(out / "grids" / f"step-{trainer.step:07d}.png", grid)


def _next_stop(trainer: Trainer) -> int:
    """The next end of an epoch; the warm-up counts in epochs of the same length."""
    settings, place = trainer.settings, trainer.place()
    if place.epoch is None:
        return min(settings.warmup.steps, (place.step // settings.steps_per_epoch + 1) * settings.steps_per_epoch)
    return settings.warmup.steps + (place.epoch + 1) * settings.steps_per_epoch


def _channels_last(module: Module) -> Module:
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _parameter_groups(nets: Networks, settings: TrainSettings) -> list[dict[str, Any]]:
    heads = [*nets.m.head.parameters(), *nets.r.head.parameters()]
    known = {id(parameter) for parameter in heads}
    bodies = [parameter for parameter in nets.parameters() if id(parameter) not in known]
    return [
        {"params": bodies, "lr": settings.learning_rate, "factor": 1.0},
        {"params": heads, "lr": settings.learning_rate, "factor": settings.mask_head_rate},
    ]


def _floats(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last).float() / 255


def _mask_entropy(masks: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets: unlike L1 it still pulls where a sigmoid has saturated."""
    shares = masks.float().clamp(1e-6, 1 - 1e-6)
    return -(targets * shares.log() + (1 - targets) * (1 - shares).log()).mean()


def _ramp(step: int, steps: int) -> float:
    return GAIN if not steps or step >= steps else 1 + (GAIN - 1) * max(step, 0) / steps


@torch.no_grad()
def _mask_statistics(masks: Tensor) -> dict[str, float]:
    """Mean, and standard deviation over each mask's pixels: both near zero where the masks have collapsed."""
    flat = masks.float().flatten(1)
    return {"mask_mean": flat.mean().item(), "mask_deviation": flat.std(1).mean().item()}
