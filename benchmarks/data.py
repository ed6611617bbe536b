"""How fast training pairs are loaded: whether the processor keeps a GPU fed."""

from __future__ import annotations

import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from maskanim.train.data import batches, open_data
from maskanim.train.settings import DataSettings, TrainSettings

BATCH = 8


@dataclass(frozen=True)
class LoadingRate:
    """What loading cost.

    Attributes:
        data, summary: what was loaded.
        workers: processes that loaded; 0 stands for this one.
        images: how many frames of 256x256 came.
        seconds: from the first batch to the last.
        cpu_seconds: processor time of all processes for `images` and those of the first batch.
        images_per_second: by the clock, of all workers.
        images_per_core_second: by processor time: what a core can do that has nothing else to do.
        damaged: clips passed over.
    """

    data: str
    summary: str
    workers: int
    images: int
    seconds: float
    cpu_seconds: float
    damaged: int

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    @property
    def images_per_core_second(self) -> float:
        return (self.images + 2 * BATCH) / self.cpu_seconds

    def as_dict(self) -> dict[str, object]:
        rates = {"images_per_second": self.images_per_second, "images_per_core_second": self.images_per_core_second}
        return asdict(self) | rates


def measure_loading(data: str | Path, pairs: int, workers: int, settings: DataSettings | None = None) -> LoadingRate:
    """Load pairs as training does.

    Args:
        data: ``synthetic`` or a folder of clips.
        pairs: how many, after a first batch that starts the workers.
        workers: processes that load; 0 loads in this one.
        settings: how pairs are drawn.

    Raises:
        MaskanimError: no such data, or too much of it is damaged.
    """
    found = open_data(data, TrainSettings(data=settings or DataSettings()))
    steps = -(-pairs // BATCH)
    cpu = _cpu_seconds()
    stream = batches(found, 0, steps + 1, BATCH, workers)
    next(stream)
    began = time.perf_counter()
    images = sum(2 * len(batch.source) for batch in stream)
    seconds = time.perf_counter() - began
    spent = _cpu_seconds() - cpu  # the stream's end has ended the workers, which is when their time is known
    return LoadingRate(str(data), found.summary, workers, images, seconds, spent, len(found.damaged))


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
