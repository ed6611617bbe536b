"""What training costs: loading pairs, a step, and P_train's share in it, the released code's bottleneck."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

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


def measure_loading(data: str | Path, pairs: int, workers: int) -> dict[str, Any]:
    """Load pairs as training does.

    Args:
        data: ``synthetic`` or a folder of clips.
        pairs: how many, after a first batch that starts the workers.
        workers: processes that load; 0 loads in this one.

    Returns:
        ``data``, ``summary`` and ``workers``; ``images``, frames of 256x256; ``seconds`` from the first batch to the
        last; ``cpu_seconds`` of all processes, for `images` and those of the first batch; ``damaged`` clips, passed
        over; ``images_per_second`` by the clock; ``images_per_core_second``, what a core does that has nothing else.

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
    return {
        "data": str(data),
        "summary": found.summary,
        "workers": workers,
        "images": images,
        "seconds": seconds,
        "cpu_seconds": spent,
        "damaged": len(found.damaged),
        "images_per_second": images / seconds,
        "images_per_core_second": (images + 2 * LOADED) / spent,
    }


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_training(settings: TrainSettings, device: str, steps: int, step_batch: int | None = None) -> dict[str, Any]:
    """Time training steps on drawn puppets after one that warms up, and P_train.

    Args:
        settings: what is trained, at the batch that P_train is timed with.
        device: ``auto``, ``cpu``, ``cuda``.
        step_batch: pairs of a timed step, where a whole batch does not fit into memory.

    Returns:
        ``device`` and ``threads``; ``batch`` and ``step_batch``, pairs of P_train and of a timed step; ``step`` and
        ``perturb``, median seconds of one step of all four networks, and of P_train with its threshold on as many masks
        as the batch has pairs; ``steps``, seconds of each; ``share``, P_train's part of a step of a whole batch, whose
        time is in proportion to that of a timed step; ``images_per_second``.
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
    step, perturbed = statistics.median(times), statistics.median(perturbations)
    return {
        "device": str(place),
        "threads": torch.get_num_threads(),
        "batch": settings.batch,
        "step_batch": used.batch,
        "step": step,
        "perturb": perturbed,
        "steps": times,
        "share": perturbed / (step * settings.batch / used.batch),
        "images_per_second": 2 * used.batch / step,
    }


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
