"""A long clip takes no more memory than a short one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from maskanim.bundle import Bundle
from maskanim.ops import Frame

ALLOWED = 30 * 2**20  # bytes; were every frame kept as eight bits, the longer clip would take 106 MB more
SCRIPT = """
import sys
from maskanim.benchmarks.latency.cold import peak_memory
from maskanim.runtime import Animator
from pathlib import Path
from maskanim.runtime.jobs import Job, render
model, picture, clip, output = sys.argv[1:]
with Animator.open(model, "ort") as animator:
    result = render(animator, Job(Path(picture), clip, Path(output)))
print(result.frames, peak_memory())
"""


def write_clip(path: Path, frames: list[Frame], count: int) -> Path:
    with av.open(os.fspath(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 96, 72, "yuv420p"
        for i in range(count):
            output.mux(video.encode(av.VideoFrame.from_ndarray(frames[i % len(frames)], format="rgb24")))
        output.mux(video.encode(None))
    return path


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_the_clip(
    tiny_bundle: Bundle, picture: Path, tiny_frames: list[Frame], tmp_path: Path
) -> None:
    peaks = []
    for count in (60, 600):
        clip = write_clip(tmp_path / f"{count}.mp4", tiny_frames, count)
        command = [sys.executable, "-c", SCRIPT, tiny_bundle.path, picture, clip, tmp_path / "out.mp4"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(told[0]) == count
        peaks.append(int(told[1]))
    assert peaks[1] - peaks[0] <= ALLOWED
