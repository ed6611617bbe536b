"""What a training step costs, and P_train's share in it: on the released code's way through NumPy, its bottleneck."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from maskanim.spec import MASK_SIZE
from maskanim.train.data import SYNTHETIC, batches, open_data
from maskanim.train.launch import open_fabric
from maskanim.train.perturb import perturb_train
from maskanim.train.settings import TrainSettings
from maskanim.train.trainer import Trainer


@dataclass(frozen=True)
class StepTimes:
    """Seconds of training steps, all four networks learning, and of P_train with its threshold; medians.

    Attributes:
        device, threads: where.
        batch, step_batch: pairs of P_train, and of the timed steps.
        step, perturb: of one step of `step_batch` pairs, and of P_train on the masks of `batch` drivers.
        share: P_train's part of a step of `batch` pairs, whose time is taken to be that of `step_batch` in proportion.
        steps: the times of the single steps.
    """

    device: str
    threads: int
    batch: int
    step_batch: int
    step: float
    perturb: float
    steps: tuple[float, ...]

    @property
    def share(self) -> float:
        return self.perturb / (self.step * self.batch / self.step_batch)

    @property
    def images_per_second(self) -> float:
        return 2 * self.step_batch / self.step

    def as_dict(self) -> dict[str, object]:
        return asdict(self) | {"share": self.share, "images_per_second": self.images_per_second}


def measure_training(settings: TrainSettings, device: str, steps: int, step_batch: int | None = None) -> StepTimes:
    """Time training steps on drawn puppets after one that warms up, and P_train.

    Args:
        settings: what is trained, at the batch that P_train is timed with.
        device: ``auto``, ``cpu``, ``cuda``.
        steps: how many to time.
        step_batch: pairs of a timed step, where a whole batch does not fit into memory.
    """
    alone = settings.warmup.model_copy(update={"steps": 0})
    everything = {"refine_from_epoch": 0, "high_res_from_epoch": 0, "warmup": alone}
    used = settings.model_copy(update=everything | {"batch": step_batch or settings.batch})
    trainer = Trainer(used, open_fabric(device, used.precision))
    batch = next(iter(batches(open_data(SYNTHETIC, used), 0, 1, used.batch, 0)))
    place = trainer.fabric.device
    times = _times(lambda: trainer.train_step(batch), steps, place)
    masks = torch.rand(settings.batch, 1, MASK_SIZE, MASK_SIZE, device=place)

    def perturb() -> None:
        perturb_train(
            masks, settings.model.perturbation, strips=settings.strips, zoom=settings.zoom, noise=settings.noise
        )

    perturbations = statistics.median(_times(perturb, 20, place))
    middle = statistics.median(times)
    return StepTimes(
        str(place), torch.get_num_threads(), settings.batch, used.batch, middle, perturbations, tuple(times)
    )


def _times(work: Callable[[], object], count: int, device: torch.device) -> list[float]:
    """Seconds of each of `count` runs, after one that does not count."""
    times = []
    for _ in range(count + 1):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - began)
    return times[1:]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
