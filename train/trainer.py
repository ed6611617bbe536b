"""Everything that a run holds, and one step of it, on one process or many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from maskanim.checkpoint import Checkpoint
from maskanim.errors import EXIT_CODE, MaskanimError
from maskanim.networks import GAIN, Networks
from maskanim.networks.reparametrize import reparametrize
from maskanim.spec import NETWORK_NAMES
from maskanim.train.adversary import Adversary
from maskanim.train.data import SYNTHETIC, open_data
from maskanim.train.data.pairs import Pair, Pairs, batches
from maskanim.train.draws import RankSlice
from maskanim.train.forward import Losses
from maskanim.train.int8 import round_to_int8
from maskanim.train.losses import Perceptual, perceptual_network
from maskanim.train.norm import synchronise
from maskanim.train.settings import TrainSettings
from maskanim.train.step import Place, Step

Module = TypeVar("Module", bound=nn.Module)


class Trainer:
    """Everything that a run holds.

    A step's random draws depend on the seed and the step alone, and pairs have numbers: so weights, Adam's state and
    the number of steps are all that a checkpoint needs for going on exactly.

    Args:
        settings: how to train.
        fabric: where; launched, and with the settings' precision.
        perceptual_weights: the file of VGG-19, where the settings ask for it.
        pairs: what is learned from; the drawn puppets if left out.
        compiled: run the networks' bodies through torch.compile.
    """

    def __init__(
        self,
        settings: TrainSettings,
        fabric: Fabric,
        perceptual_weights: Path | None = None,
        pairs: Pairs | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        _check_shares(settings, fabric.world_size)
        torch.manual_seed(settings.seed)
        self.pairs = pairs or open_data(SYNTHETIC, settings)
        self.settings, self.fabric, self.step = settings, fabric, 0
        self.rank_slice = RankSlice(fabric.global_rank, fabric.world_size)
        self.nets = Networks(settings.model)
        if settings.int8 or (settings.cheaper if settings.cheaper is not None else fabric.device.type == "cpu"):
            reparametrize(self.nets)
        if settings.int8:
            round_to_int8(self.nets)
        _channels_last(self.nets)
        if fabric.world_size > 1 and settings.sync_batch_norm:
            synchronise(self.nets, fabric.device)
        self.nets.to(fabric.device)
        decay = settings.average
        self._average = AveragedModel(self.nets, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        if compiled:
            compile_bodies(self.nets)
        self.optimizer = torch.optim.Adam(_parameter_groups(self.nets, settings), betas=settings.betas)
        losses = Losses(settings, _perceptual(settings, fabric.device, perceptual_weights))
        self._adversary = Adversary(settings.adversarial, fabric) if settings.adversarial.weight else None
        step = Step(self.nets, settings, losses, self.rank_slice, self._adversary)
        self._step, self._stepper = fabric.setup(step, self.optimizer)

    @property
    def total_steps(self) -> int:
        return self.settings.warmup.steps + self.settings.epochs * self.settings.steps_per_epoch

    @property
    def at_end_of_epoch(self) -> bool:
        """Whether an epoch is just complete; the warm-up counts in epochs of the same length."""
        done, in_training = self.step, self.step - self.settings.warmup.steps
        return in_training == 0 or (done if in_training < 0 else in_training) % self.settings.steps_per_epoch == 0

    def place(self) -> Place:
        """Where the next step lies."""
        step = self.step - self.settings.warmup.steps
        return Place(self.step, None if step < 0 else step // self.settings.steps_per_epoch, max(step, 0))

    def state(self, provenance: dict[str, Any]) -> Checkpoint:
        """The run as a checkpoint."""
        networks = {name: value.cpu() for name, value in self.nets.state_dict().items()}
        settings = self.settings.model_dump(mode="json")
        average = {} if self._average is None else self._average.module.state_dict()
        averaged = {name: value.cpu() for name, value in average.items()}
        discriminator = self._adversary.state() if self._adversary else {}
        return Checkpoint(
            settings,
            networks,
            self.optimizer.state_dict(),
            self.step,
            provenance,
            averaged=averaged,
            discriminator=discriminator,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint stands."""
        self.nets.load_state_dict(checkpoint.networks)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step = checkpoint.step
        if self._average is not None:
            self._average.module.load_state_dict(checkpoint.averaged)
            self._average.n_averaged.fill_(self.step)
        if self._adversary:
            self._adversary.restore(checkpoint.discriminator)

    def data(self, steps: int, workers: int) -> Iterator[Pair]:
        """This process's part of the batches of the next steps."""
        settings, place = self.settings, self.place()
        alone = min(steps, settings.warmup.steps - place.step) if place.epoch is None else 0
        if alone:
            pairs, size = self.pairs.reseeded(2 * settings.seed), settings.warmup.batch // 2
            yield from self._batches(pairs, place.step, alone, size, workers)
        yield from self._batches(self.pairs, place.step_in_training, steps - alone, settings.batch, workers)

    def _batches(self, pairs: Pairs, start: int, steps: int, size: int, workers: int) -> Iterator[Pair]:
        rank, world = self.rank_slice
        return batches(pairs, start * size, steps, size // world, workers, rank=rank, world=world)

    def train_step(self, batch: Pair) -> dict[str, float]:
        """One step of Adam. Returns the means over all processes of each weighted loss term and of the masks' figures.

        Raises:
            MaskanimError: something is not finite. The weights are those from before the step.
        """
        place = self.place()
        torch.manual_seed(self.settings.seed * 1_000_003 + place.step)
        self._set_rates(place)
        self._set_modes(place)
        batch = Pair(*(tensor.to(self.fabric.device, non_blocking=True) for tensor in batch))
        terms, masks, judged = self._step(batch, place)
        self._stepper.zero_grad(set_to_none=True)
        self.fabric.backward(torch.stack(list(terms.values())).sum())
        gradient = torch.nn.utils.get_total_norm([p.grad for p in self.nets.parameters() if p.grad is not None])
        if self._adversary and judged:
            terms["discriminator"] = self._adversary.learn(judged, place.step)
        figures = self._averaged(terms | _mask_statistics(masks) | {"gradient": gradient})
        if not all(map(math.isfinite, figures.values())):
            self.refuse(self._not_finite(figures, list(terms)))
        self._stepper.step()
        if self._adversary and judged:
            self._adversary.optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self.nets)
        self.step += 1
        return figures | {"learning_rate": self.optimizer.param_groups[0]["lr"]}

    def refuse(self, error: MaskanimError) -> None:
        """End all processes, which have found the same, with one message.

        Raises:
            MaskanimError: in the first process.
            SystemExit: in the others.
        """
        raise error if self.fabric.is_global_zero else SystemExit(EXIT_CODE)

    def any(self, here: bool) -> bool:
        """Whether something is so in any process. All must ask at the same step."""
        return self._reduced(torch.tensor(float(here), device=self.fabric.device), "sum").item() > 0

    def _averaged(self, figures: dict[str, Tensor]) -> dict[str, float]:
        together = torch.stack([value.detach().float() for value in figures.values()])
        return dict(zip(figures, self._reduced(together, "mean").tolist(), strict=True))

    def _reduced(self, values: Tensor, how: str) -> Tensor:
        reduced = self.fabric.all_reduce(values, reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced

    def _not_finite(self, figures: dict[str, float], terms: list[str]) -> MaskanimError:
        found = [f"{name} is {figures[name]}" for name in terms if not math.isfinite(figures[name])]
        for name in () if found else NETWORK_NAMES:
            gradients = [p.grad for p in getattr(self.nets, name).parameters() if p.grad is not None]
            if not all(torch.isfinite(gradient).all() for gradient in gradients):
                found.append(f"a gradient of {name} is not finite")
        others = [f"{name} {figures[name]:.3g}" for name in terms if math.isfinite(figures[name])]
        told = ", ".join(found or ["a gradient is not finite"]) + (f" ({', '.join(others)})" if others else "")
        advice = "Nothing of this step is kept. Lower learning_rate, raise warmup.gain_steps"
        if self.settings.precision == "bf16":
            advice += ", or train with --precision fp32"
        return MaskanimError(f"step {self.step}", told, "finite losses and gradients", advice)

    def _set_rates(self, place: Place) -> None:
        """The learning rates and the gains of the mask heads at this step."""
        settings, warmup = self.settings, self.settings.warmup
        rate = warmup.learning_rate if place.epoch is None else settings.during(place.epoch).learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        start_of_r = warmup.refine_from_step
        if start_of_r is None:
            start_of_r = warmup.steps + settings.refine_from_epoch * settings.steps_per_epoch
        self.nets.m.gain = _ramp(place.step, warmup.gain_steps)
        self.nets.r.gain = _ramp(place.step - start_of_r, warmup.gain_steps)

    def _set_modes(self, place: Place) -> None:
        """What rests normalises by what it remembers, as it does when it animates; in some stages, everything does."""
        now = None if place.epoch is None else self.settings.during(place.epoch)
        batch_norm = now is None or now.batch_norm
        for network in (self.nets.m, self.nets.l):
            network.train(batch_norm and (now is None or now.low_res))
        self.nets.r.train(batch_norm and (now is None or now.low_res or now.refine))
        self.nets.h.train(batch_norm)


def compile_bodies(nets: Networks, backend: str = "inductor") -> None:
    """torch.compile l and h, and the hourglasses of m and r, in place; names and values of the weights stay.

    The heads of m and r stay out: their gain is a number that changes from step to step, and would be compiled anew.
    """
    for body in (nets.m.hourglass, nets.r.hourglass, nets.l, nets.h):
        body.compile(backend=backend)


def _check_shares(settings: TrainSettings, world: int) -> None:
    shared = {"batch": (settings.batch, world)}
    if settings.warmup.steps:
        shared["warmup.batch"] = (settings.warmup.batch, 2 * world)
    for name, (batch, parts) in shared.items():
        if batch % parts:
            expected = f"a multiple of {parts}, so that each takes an equal part"
            raise MaskanimError(f"{name} {batch}", f"a batch for {world} processes", expected, f"--set {name}=...")


def _perceptual(settings: TrainSettings, device: torch.device, weights: Path | None) -> Perceptual | None:
    if settings.perceptual == "none":
        return None
    network = perceptual_network(settings.perceptual, weights, len(settings.layer_weights))
    perceptual = Perceptual(network, settings.resolutions, settings.layer_weights, settings.blur)
    return _channels_last(perceptual.to(device))


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


def _ramp(step: int, steps: int) -> float:
    return GAIN if not steps or step >= steps else 1 + (GAIN - 1) * max(step, 0) / steps


@torch.no_grad()
def _mask_statistics(masks: Tensor) -> dict[str, Tensor]:
    """Mean, and standard deviation over each mask's pixels."""
    flat = masks.float().flatten(1)
    return {"mask_mean": flat.mean(), "mask_deviation": flat.std(1).mean()}
