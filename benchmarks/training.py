"""What training costs: loading pairs, a step, and P_train's share in it, the released code's bottleneck."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from maskanim.spec import MASK_SIZE
from maskanim.train.data import SYNTHETIC, open_data
from maskanim.train.data.pairs import batches
from maskanim.train.launch import open_fabric
from maskanim.train.perturb import perturb_train
from maskanim.train.settings import TrainSettings
from maskanim.train.trainer import Trainer

LOADED = 8  # pairs of a loaded batch
PERTURBED = 20  # timed runs of P_train


@dataclass(frozen=True)
class LoadingRate:
    """What loading cost."""

    # data, summary: what was loaded
    data: str
    summary: str
    workers: int  # processes that loaded; 0 stands for this one
    images: int  # how many frames of 256x256 came
    seconds: float  # from the first batch to the last
    cpu_seconds: float  # processor time of all processes for `images` and those of the first batch
    damaged: int  # clips passed over
    images_per_second: float  # by the clock, of all workers
    images_per_core_second: float  # by processor time: what a core can do that has nothing else to do


def measure_loading(data: str | Path, pairs: int, workers: int) -> LoadingRate:
    """Load pairs as training does.

    Args:
        data: ``synthetic`` or a folder of clips.
        pairs: how many, after a first batch that starts the workers.
        workers: processes that load; 0 loads in this one.

    Raises:
        MaskanimError: no such data, or too much of it is damaged.
    """
    found = open_data(data, TrainSettings())
    cpu = _cpu_seconds()
    stream = batches(found, 0, -(-pairs // LOADED) + 1, LOADED, workers)
    next(stream)
    began = time.perf_counter()
    images = sum(2 * len(batch.source) for batch in stream)
    seconds = time.perf_counter() - began
    spent = _cpu_seconds() - cpu  # the stream's end has ended the workers, which is when their time is known
    rates = images / seconds, (images + 2 * LOADED) / spent
    return LoadingRate(str(data), found.summary, workers, images, seconds, spent, len(found.damaged), *rates)


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass(frozen=True)
class StepTimes:
    """Seconds of training steps, all four networks learning, and of P_train with its threshold; medians."""

    # device, threads: where
    device: str
    threads: int
    # batch, step_batch: pairs of P_train, and of the timed steps
    batch: int
    step_batch: int
    # step, perturb: of one step of `step_batch` pairs, and of P_train on the masks of `batch` drivers
    step: float
    perturb: float
    steps: tuple[float, ...]  # the times of the single steps

    @property
    def share(self) -> float:
        """P_train's part of a step of `batch` pairs, whose time is that of `step_batch` in proportion."""
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
    perturb = partial(perturb_train, strips=settings.strips, zoom=settings.zoom, noise=settings.noise)
    perturbations = _times(lambda: perturb(masks, settings.model.perturbation), PERTURBED, place)
    medians = statistics.median(times), statistics.median(perturbations)
    return StepTimes(str(place), torch.get_num_threads(), settings.batch, used.batch, *medians, tuple(times))


def _times(work: Callable[[], object], count: int, device: torch.device) -> list[float]:
    """Seconds of each of `count` runs, after one that does not count."""
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for _ in range(count + 1):
        wait()
        began = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - began)
    return times[1:]
