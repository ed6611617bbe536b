"""Time per frame of networks and operations, engines interleaved so that a drifting machine is fair to all."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskanim import __version__, pipeline
from maskanim.bundle import Bundle
from maskanim.errors import needs_extra
from maskanim.ops import preprocess
from maskanim.runtime import Animator
from maskanim.runtime.sessions.session import processors
from maskanim.spec import ModelSpec
from maskanim.train.puppets import Puppet

Report = Callable[[int], None]

EAGER = "torch-eager"
EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PERCENTILES = (50, 90, 99)
ROUND = 5  # frames that one subject runs before the next has its turn


class Subject(NamedTuple):
    """Something that animates one prepared frame when it is called."""

    name: str
    detail: str
    frame: Callable[[], object]


class Timing(NamedTuple):
    """Milliseconds per frame.

    Attributes:
        name, detail: the subject.
        milliseconds: of each measured frame, in order.
    """

    name: str
    detail: str
    milliseconds: tuple[float, ...]

    def percentile(self, q: float) -> float:
        """In milliseconds, linear between order statistics."""
        return float(np.percentile(self.milliseconds, q))

    @property
    def frames_per_second(self) -> float:
        """Frames over the sum of their times."""
        return 1000 * len(self.milliseconds) / sum(self.milliseconds)

    def as_dict(self) -> dict[str, object]:
        """For JSON; times in milliseconds, rounded to microseconds."""
        percentiles = {f"p{q}": round(self.percentile(q), 3) for q in PERCENTILES}
        rate = {"frames_per_second": round(self.frames_per_second, 2), "frames": len(self.milliseconds)}
        return {"engine": self.name, "detail": self.detail, **percentiles, **rate}


def conditions() -> dict[str, object]:
    """What the figures depend on besides the engines: processor, usable cores, system, versions."""
    return {
        "processor": _processor(),
        "cores": processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "maskanim": __version__,
    }


def _processor() -> str:
    """Its name as the system knows it, with the extensions that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or "unknown"
    fields = dict(re.findall(r"^(model name|flags)\s*: (.*)$", text, re.MULTILINE))
    extensions = [flag for flag in EXTENSIONS if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', 'unknown')} ({', '.join(extensions)})"


def measure(
    bundle: Bundle, engines: list[str], frames: int, warm_up: int = 3, report: Report = lambda done: None
) -> list[Timing]:
    """Time P_test, U and the four networks on a driving frame; the source is encoded beforehand.

    Args:
        engines: of `Animator.open`, or ``torch-eager``: the same networks, with random weights, in eager PyTorch
            FP32 on the processor.
        frames: measured per engine.
        warm_up: frames run before that and not counted.
        report: called after each round with how many frames every engine has run.
    """
    with ExitStack() as opened:
        subjects = [opened.enter_context(_subject(bundle, engine)) for engine in engines]
        for subject in subjects:
            for _ in range(warm_up):
                subject.frame()
        times: list[list[float]] = [[] for _ in subjects]
        for start in range(0, frames, ROUND):
            for subject, spent in zip(subjects, times, strict=True):
                spent += [_milliseconds(subject.frame) for _ in range(min(ROUND, frames - start))]
            report(min(start + ROUND, frames))
    return [Timing(subject.name, subject.detail, tuple(spent)) for subject, spent in zip(subjects, times, strict=True)]


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _subject(bundle: Bundle, engine: str) -> AbstractContextManager[Subject]:
    return _eager(bundle.manifest.model) if engine == EAGER else _engine(bundle, engine)


@contextmanager
def _engine(bundle: Bundle, engine: str) -> Iterator[Subject]:
    with Animator.open(bundle, engine) as animator:
        source = animator.encode_source(Puppet(0, "test").frame(0).image)
        driving = preprocess(Puppet(1, "test").frame(0).image)
        used = animator.engine
        yield Subject(used.name, used.detail, lambda: animator.animate_prepared(source, driving))


@contextmanager
def _eager(model: ModelSpec) -> Iterator[Subject]:
    with needs_extra(f"engine {EAGER}", "train"):
        import torch

        from maskanim.networks import Networks, TorchOps
    nets, ops = Networks(model).eval(), TorchOps(model.perturbation)
    pictures = (torch.from_numpy(preprocess(Puppet(i, "test").frame(0).image)) for i in (0, 1))
    with torch.inference_mode():
        source, driving = pipeline.encode_source(nets, ops, next(pictures)), next(pictures)
        detail = f"PyTorch {torch.__version__}, FP32, threads: {torch.get_num_threads()}"
        yield Subject(EAGER, detail, lambda: pipeline.animate_frame(nets, ops, source, driving))
