"""What a run's figures depend on besides model and engine, as far as the system tells."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from time import monotonic

from maskanim import __version__
from maskanim.benchmarks.latency.records import Conditions, Gpu
from maskanim.driver import read_driver
from maskanim.runtime.doctor.facts import this_machine

LIBRARIES = (
    "numpy", "opencv-python-headless", "av", "openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt",
    "tensorrt-rtx-cu13", "cuda-core", "pycuda", "torch",
)  # fmt: skip
GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
IDLE = (3, 4)  # idle and iowait among the fields of a line of /proc/stat
GUEST = 8  # from here on the fields repeat time that user and nice hold already


def conditions() -> Conditions:
    """Those of now; `other_load` is for the end of the run."""
    machine = this_machine()
    megahertz = [float(value) for value in re.findall(r"(?m)^cpu MHz\s*: ([\d.]+)$", _read("/proc/cpuinfo") or "")]
    kilobytes = re.search(r"(?m)^MemTotal:\s+(\d+) kB$", _read("/proc/meminfo") or "")
    return Conditions(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        processor=machine.processor,
        extensions=machine.extensions,
        limit=os.environ.get("ONEDNN_MAX_CPU_ISA"),
        cores=machine.cores,
        frequency_mhz=round(fmean(megahertz), 1) if megahertz else None,
        governor=_read(GOVERNOR),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        memory=1024 * int(kilobytes[1]) if kilobytes else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=machine.python,
        libraries={"maskanim": __version__} | _versions(),
        gpu=_gpu(),
    )


def _read(path: str) -> str | None:
    with suppress(OSError):
        return Path(path).read_text("utf-8").strip()
    return None


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _gpu() -> Gpu | None:
    driver = read_driver()
    if not driver.gpus:
        return None
    gpu = driver.gpus[0]
    return Gpu(
        name=gpu.name,
        compute_capability="{}.{}".format(*gpu.capability),
        memory=gpu.memory,
        driver=driver.version,
        cuda="{}.{}".format(*driver.cuda) if driver.cuda else None,
        clocks_mhz=vars(gpu.clocks) if gpu.clocks else None,
    )


def sm_clock() -> int | None:
    """The GPU's clock now, in MHz; None where there is none or it does not tell."""
    gpus = read_driver().gpus
    return gpus[0].clocks.sm if gpus and gpus[0].clocks else None


def other_load() -> Callable[[], float | None]:
    """Start to watch; what is returned tells how many usable cores something else has kept busy since, on average."""
    began, others = monotonic(), _others()

    def load() -> float | None:
        now = _others()
        if others is None or now is None:
            return None
        return round(max(0.0, now - others) / max(monotonic() - began, 1e-3), 2)

    return load


def _others() -> float | None:
    """Seconds that the usable cores were busy with other processes since they started; None if that is unknown."""
    stat = _read("/proc/stat")
    if stat is None or not hasattr(os, "sched_getaffinity"):
        return None
    lines = dict(line.split(" ", 1) for line in stat.splitlines())
    ticks = 0
    for core in os.sched_getaffinity(0):
        fields = [int(field) for field in lines[f"cpu{core}"].split()][:GUEST]
        ticks += sum(fields) - sum(fields[i] for i in IDLE)
    return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])
