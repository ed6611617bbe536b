"""What the GPU benchmark measures and how: the setup, the record of a step, and times taken in turns."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from maskanim import __version__
from maskanim.driver import read_driver
from maskanim.runtime.doctor.facts import this_machine
from maskanim.spec import FULL, LITE, ModelSpec, NetworkName, Widths

PERCENTILES = (50, 90, 99)
TINY = Widths(m=4, r=4, l=8, h=4)
METHOD = (
    "wall clock of one call, from uint8 pixels of 256x256 on the host to uint8 pixels on the host, over the batch; "
    "subjects of one group take turns, so that a drifting clock is fair to all; random weights, drawn puppets as frames"
)


class Setup(NamedTuple):
    """How much is measured, and where.

    Attributes:
        dry: tiny networks on the processor.
        device_type: PyTorch's.
        half: FP16 for lowered and captured networks. A processor is too slow at it: a dry run has FP32.
        models: what is measured, by name.
        batches: frames that go through the networks together.
        warm_up, rounds, calls: not counted; turns of each subject; measured calls of a turn.
        tests: the folder of the GPU tests.
        compile: options of ``torch.compile``, for the form that captures its own graphs and the one that does not.
    """

    dry: bool
    device_type: str
    half: bool
    models: Mapping[str, ModelSpec]
    batches: tuple[int, ...]
    warm_up: int
    rounds: int
    calls: int
    compile: Mapping[str, Mapping[str, str]]
    tests: Path | None = None

    def open_device(self) -> Any:
        """The GPU, through cuda-core."""
        from maskanim.runtime.cuda.device import open_device

        return open_device()

    def networks(self, modules: Mapping[NetworkName, Any], **options: Any) -> Any:
        """`torch_networks.torch_networks` for this device."""
        from maskanim.benchmarks.torch_networks import torch_networks

        return torch_networks(modules, half=self.half, device_type=self.device_type, **options)


REAL = Setup(
    dry=False,
    device_type="cuda",
    half=True,
    models={"full": ModelSpec(widths=FULL), "lite": ModelSpec(widths=LITE)},
    batches=(1, 8),
    warm_up=10,
    rounds=20,
    calls=10,
    compile={"own graphs": {"mode": "max-autotune"}, "captured": {"mode": "max-autotune-no-cudagraphs"}},
)
DRY = Setup(
    dry=True,
    device_type="cpu",
    half=False,
    models={"tiny": ModelSpec(widths=TINY)},
    batches=(1, 2),
    warm_up=1,
    rounds=2,
    calls=2,
    compile={"own graphs": {"backend": "eager"}, "captured": {"backend": "eager"}},
)


class Record:
    """What a step finds, in a JSON file that is written anew with each finding."""

    def __init__(self, path: Path, step: str, dry: bool) -> None:
        self.path, self.began = path, perf_counter()
        self.values: dict[str, Any] = {"step": step, "format_version": 1, "dry": dry, "finished": False}
        self.values |= {"conditions": conditions(), "errors": [], "times": []}
        self._write()

    def set(self, key: str, value: Any) -> None:
        """Keep a finding."""
        self.values[key] = value
        self._write()

    def add(self, key: str, *values: Any) -> None:
        """Append findings to a list."""
        self.values.setdefault(key, []).extend(values)
        self._write()

    @contextmanager
    def isolating(self, what: str) -> Iterator[None]:
        """An error inside is kept, and what comes after goes on."""
        try:
            yield
        except Exception as error:
            self.add("errors", {"what": what, "error": f"{type(error).__name__}: {error}"[:2000]})

    def finish(self) -> None:
        """All was done."""
        self.values["finished"] = True
        self._write()

    def _write(self) -> None:
        self.values["seconds"] = round(perf_counter() - self.began, 2)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.values, indent=1) + "\n", "utf-8")
        partial.replace(self.path)


def conditions() -> dict[str, Any]:
    """What times depend on: GPU, driver, processor, versions."""
    import torch

    driver, machine = read_driver(), this_machine()
    gpu = driver.gpus[0] if driver.gpus else None
    return {
        "gpu": gpu and gpu.name,
        "compute_capability": gpu and "{}.{}".format(*gpu.capability),
        "driver": driver.version,
        "driver_cuda": driver.cuda and "{}.{}".format(*driver.cuda),
        "processor": f"{machine.processor}, usable: {machine.cores}",
        "system": platform.platform(),
        "python": machine.python,
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cuda_core": _version("cuda-core"),
        "maskanim": __version__,
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def sm_clock() -> int | None:
    """The GPU's clock now, in MHz."""
    gpus = read_driver().gpus
    return gpus[0].clocks.sm if gpus and gpus[0].clocks else None


class Subject(NamedTuple):
    """Something that animates a batch of frames.

    Attributes:
        detail: what runs where.
        call: animates it, and waits for it.
        rate: measures frames per second with several batches in flight; None where there is only ever one.
    """

    detail: str
    call: Callable[[], object]
    rate: Callable[[], float] | None = None


Open = Callable[[ExitStack], Subject]


def measure_group(record: Record, setup: Setup, networks: str, batch: int, openers: Mapping[str, Open]) -> None:
    """Open subjects and measure those that work, in turns. What does not open or run is an error of the record."""
    with ExitStack() as stack:
        subjects: dict[str, Subject] = {}
        for what, opener in openers.items():
            with record.isolating(f"{networks}, batch {batch}: {what}"), ExitStack() as opening:
                subject = opener(opening)
                for _ in range(setup.warm_up):
                    subject.call()
                subjects[what] = subject
                stack.enter_context(opening.pop_all())
        for what, figures in _in_turns(subjects, setup, batch).items():
            row = {"networks": networks, "batch": batch, "what": what, "detail": subjects[what].detail}
            record.add("times", row | figures)


def _in_turns(subjects: Mapping[str, Subject], setup: Setup, batch: int) -> dict[str, dict[str, Any]]:
    times: dict[str, list[float]] = {what: [] for what in subjects}
    clocks: dict[str, list[int]] = {what: [] for what in subjects}
    for _ in range(setup.rounds):
        for what, subject in subjects.items():
            times[what] += [_milliseconds(subject.call) for _ in range(setup.calls)]
            clocks[what] += [clock for clock in [sm_clock()] if clock]
    return {
        what: {
            "ms_per_frame": {f"p{q}": round(float(np.percentile(spent, q)) / batch, 4) for q in PERCENTILES},
            "frames_per_second_in_flight": rate() if (rate := subjects[what].rate) else None,
            "calls": len(spent),
            "warm_up": setup.warm_up,
            "calls_in_a_turn": setup.calls,
            "sm_mhz": [min(clocks[what]), max(clocks[what])] if clocks[what] else None,
            "method": METHOD,
        }
        for what, spent in times.items()
    }


def _milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return 1000 * (perf_counter() - began)
