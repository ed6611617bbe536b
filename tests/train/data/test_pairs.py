"""Batches: the processes that load them."""

from __future__ import annotations

import subprocess
import sys

# Frames of PyAV in reference cycles, which nothing has collected before the workers start; and a worker that collects.
FRAMES_IN_CYCLES = """
import gc

import av
import torch

from maskanim.train.data.pairs import Pair, Pairs, batches


class Collecting(Pairs):
    def __init__(self):
        super().__init__("nothing", 0)

    def load(self, index, damaged):
        gc.collect()
        image = torch.zeros(3, 256, 256, dtype=torch.uint8)
        return Pair(image, image, *torch.zeros(2, 1, 64, 64))


gc.disable()
for _ in range(3):
    frame = av.VideoFrame(640, 480, "yuv420p")
    frame.to_ndarray(format="rgb24")
    cycle = [frame]
    cycle.append(cycle)
del frame, cycle
print(len(list(batches(Collecting(), 0, 3, 2, 1))), gc.get_freeze_count())
"""


def test_workers_do_not_free_the_frames_of_their_parent() -> None:
    """In a worker that would wait for ever: the threads of FFmpeg's scaler are not copied with the process."""
    ran = subprocess.run(
        [sys.executable, "-c", FRAMES_IN_CYCLES], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout.split()) == (0, ["3", "0"]), ran.stderr
