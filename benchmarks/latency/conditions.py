"""What a run's figures depend on besides model and engine, as far as the system tells."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic

from maskanim import __version__
from maskanim.benchmarks.latency.records import Conditions, Gpu
from maskanim.runtime.sessions.session import processors

EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
LIBRARIES = (
    "numpy", "opencv-python-headless", "av", "openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt",
    "tensorrt-rtx-cu13", "cuda-core", "pycuda", "torch",
)  # fmt: skip
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
IDLE = (3, 4)  # idle and iowait among the fields of a line of /proc/stat
GUEST = 8  # from here on the fields repeat time that user and nice hold already


def conditions() -> Conditions:
    """Those of now; `other_load` is for the end of the run."""
    cpuinfo = _read(Path("/proc/cpuinfo")) or ""
    name = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", cpuinfo, re.MULTILINE)
    megahertz = [float(value) for value in re.findall(r"^cpu MHz\s*: ([\d.]+)$", cpuinfo, re.MULTILINE)]
    known = flags[1].split() if flags else []
    return Conditions(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        processor=name[1].strip() if name else platform.processor() or "unknown",
        extensions=tuple(extension for extension in EXTENSIONS if extension in known),
        cores=processors(),
        frequency_mhz=round(sum(megahertz) / len(megahertz), 1) if megahertz else None,
        governor=_read(GOVERNOR),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        memory=_memory(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        libraries={"maskanim": __version__} | _versions(),
        gpu=_gpu(),
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return None


def _memory() -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB$", _read(Path("/proc/meminfo")) or "", re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _gpu() -> Gpu | None:
    from maskanim.driver import read_driver

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
    gpu = _gpu()
    return gpu.clocks_mhz["sm"] if gpu and gpu.clocks_mhz else None


def other_load() -> Callable[[], float | None]:
    """Start to watch; what is returned tells how many usable cores something else has kept busy since, on average."""
    began, others = monotonic(), _others()

    def told() -> float | None:
        now = _others()
        if others is None or now is None:
            return None
        return round(max(0.0, now - others) / max(monotonic() - began, 1e-3), 2)

    return told


def _others() -> float | None:
    """Seconds that the usable cores were busy with other processes since they started; None if that is unknown."""
    stat = _read(Path("/proc/stat"))
    if stat is None or not hasattr(os, "sched_getaffinity"):
        return None
    lines = dict(line.split(" ", 1) for line in stat.splitlines())
    busy = sum(_busy_ticks(lines[f"cpu{core}"]) for core in os.sched_getaffinity(0))
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _busy_ticks(fields: str) -> int:
    ticks = [int(field) for field in fields.split()][:GUEST]
    return sum(ticks) - sum(ticks[i] for i in IDLE)
