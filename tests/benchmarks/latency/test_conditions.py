"""What the system tells of itself and of a process."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from maskanim.benchmarks.latency.conditions import conditions, other_load

MEGABYTE = 10**6
linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the figures are read from /proc")


def test_conditions_are_told() -> None:
    told = conditions()
    assert told.cores >= 1 and told.processor and told.libraries["numpy"] == np.__version__
    assert datetime.fromisoformat(told.date).utcoffset() is not None


@linux
def test_what_other_processes_use_is_seen() -> None:
    told = other_load()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    sleep(0.8)
    load = told()
    busy.kill()
    busy.wait()
    # A whole core is wanted; where it is not had, something else has it. The start and the ticks of 10 ms cost some.
    assert load is not None and load > 0.4


@linux
def test_a_child_does_not_count_its_parents_memory() -> None:
    """On Linux the ru_maxrss of a process starts with the memory of the one that started it."""
    held = np.ones(400 * MEGABYTE, np.uint8)
    code = "from maskanim.benchmarks.latency.cold import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 * MEGABYTE < int(told.stdout) < 100 * MEGABYTE < held.nbytes
