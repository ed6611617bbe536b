"""The live loop on a simulated camera: freshest frames, their age, flat memory, and every way it can end."""

from __future__ import annotations

import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.progress import NoProgress
from maskanim.runtime import Animator
from maskanim.runtime.jobs import Interrupts
from maskanim.runtime.live import FileOutput, LiveReport, Output, go_live
from maskanim.runtime.live.sources import camera_frames, paced_frames
from maskanim.video import Clip, FrameSource, SourceFrame

CAMERA = 1 / 30
MakeAnimator = Callable[[float], Animator]
MakeClip = Callable[..., Clip]


class Seen(Output):
    """Remembers how old every picture is when it is handed over."""

    place = "a test"

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.greys: list[int] = []
        self.lines: list[str] = []
        self.closed: list[BaseException | None] = []

    def show(self, frame: Frame, captured: float) -> None:
        self.ages.append(time.monotonic() - captured)
        self.greys.append(int(frame[0, 0, 0]))

    def status(self, report: LiveReport) -> None:
        self.lines.append(str(report))

    def close(self, error: BaseException | None) -> None:
        self.closed.append(error)


def test_late_frames_are_dropped_and_what_is_shown_is_fresh(
    slow_animator: MakeAnimator, numbered_clip: MakeClip
) -> None:
    animator, seen = slow_animator(0.08), Seen()
    report = go_live(animator.runner, None, numbered_clip(90), [seen])
    # A thread may be woken late on a busy machine, which is no part of the loop's promise.
    allowed = 2 * animator.runner.slowest + CAMERA + 0.02  # type: ignore[attr-defined]
    assert max(seen.ages) < allowed
    assert report.captured == 90 and report.shown + report.dropped == 90 and report.shown == len(seen.ages)
    assert 20 <= report.shown <= 40 and report.lost is None
    assert seen.greys == sorted(set(seen.greys)) and seen.greys[-1] == 89
    assert report.latency and 0.08 <= report.latency.p50 <= report.latency.p95 <= allowed
    assert "latency" in seen.lines[-1] and "dropped" in seen.lines[-1] and seen.closed == [None]


def test_a_model_faster_than_the_camera_shows_every_frame(slow_animator: MakeAnimator, numbered_clip: MakeClip) -> None:
    seen = Seen()
    report = go_live(slow_animator(0.001).runner, None, numbered_clip(20, rate=15), [seen])
    assert (report.shown, report.dropped) == (20, 0) and seen.greys == list(range(20))


def test_memory_is_flat(slow_animator: MakeAnimator, numbered_clip: MakeClip) -> None:
    """Were every frame kept, a few hundred of 256x256 would take a hundred megabytes."""
    held: list[int] = []

    class Held(NoProgress):
        def update(self, done: int, total: int | None, note: str = "") -> None:
            held.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        go_live(slow_animator(0.004).runner, None, numbered_clip(450, rate=200), [Seen()], progress=Held())
    finally:
        tracemalloc.stop()
    assert len(held) > 5 and max(held[3:]) - held[2] < 2**20


def test_a_camera_that_is_unplugged_ends_the_run_and_keeps_the_recording(
    slow_animator: MakeAnimator, numbered_clip: MakeClip, tmp_path: Path
) -> None:
    unplugged = MaskanimError("camera:0", "reading it failed (No such device)", "a camera")
    recording = FileOutput(tmp_path / "live.mp4", CAMERA)
    report = go_live(slow_animator(0.05).runner, None, numbered_clip(30, then=unplugged), [recording, seen := Seen()])
    assert report.lost is unplugged and seen.closed == [None]
    with av.open(os.fspath(tmp_path / "live.mp4")) as written:
        times = [frame.time for frame in written.decode(video=0) if frame.time is not None]
    steps = np.diff(times)
    assert len(times) == report.shown and times[0] == 0
    # What is written is when frames were captured: whole steps of the camera, two of which fit into the model's time.
    assert np.allclose(steps / CAMERA, np.round(steps / CAMERA), atol=1e-3) and steps.min() > 0.9 * CAMERA
    assert [path.name for path in tmp_path.iterdir()] == ["live.mp4"]


def test_an_error_of_the_system_becomes_one_line(slow_animator: MakeAnimator, numbered_clip: MakeClip) -> None:
    report = go_live(slow_animator(0.01).runner, None, numbered_clip(3, then=OSError("gone")), [Seen()])
    assert report.lost and str(report.lost).startswith("numbers.mp4: it failed (gone); expected")


class Stuck(FrameSource):
    """A camera that stops delivering without a word."""

    path, time_base, rate, frame_count, once = Path("camera:7"), Fraction(1, 30), Fraction(30), None, True

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        yield SourceFrame(np.zeros((64, 64, 3), np.uint8), 0, 1)
        self.stopped.wait(20)

    def stop(self) -> None:
        self.stopped.set()


def test_a_silent_camera_counts_as_lost(slow_animator: MakeAnimator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskanim.runtime.live.loop.SECONDS_OF_SILENCE", 0.3)
    report = go_live(slow_animator(0.01).runner, None, Clip.of(Stuck()), [seen := Seen()])
    assert report.shown == 1 and report.lost and "no frame for 0.3 s" in str(report.lost) and seen.closed == [None]


def test_a_camera_that_gives_nothing_is_told_before_the_recording_that_has_nothing(
    slow_animator: MakeAnimator, numbered_clip: MakeClip, tmp_path: Path
) -> None:
    recording = FileOutput(tmp_path / "live.mp4", CAMERA)
    with pytest.raises(MaskanimError, match="it was unplugged"):
        clip = numbered_clip(0, MaskanimError("camera:0", "it was unplugged", "a camera"))
        go_live(slow_animator(0).runner, None, clip, [recording])
    assert not list(tmp_path.iterdir())


def test_a_failing_output_ends_the_run_and_leaves_no_recording(
    slow_animator: MakeAnimator, numbered_clip: MakeClip, tmp_path: Path
) -> None:
    class Full(Seen):
        def show(self, frame: Frame, captured: float) -> None:
            raise MaskanimError("live.mp4", "the disk is full", "room on it")

    recording = FileOutput(tmp_path / "live.mp4", CAMERA)
    with pytest.raises(MaskanimError, match="the disk is full"):
        go_live(slow_animator(0.01).runner, None, numbered_clip(30), [recording, Full()])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT between threads")
def test_an_interrupt_is_the_usual_end(slow_animator: MakeAnimator, numbered_clip: MakeClip, tmp_path: Path) -> None:
    """At the frame that is under way, however early it comes: the command stops the clip."""
    clip = numbered_clip(600)
    timer = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT))
    with Interrupts(recording=clip).heard():
        timer.start()
        recording = FileOutput(tmp_path / "live.mp4", CAMERA)
        report = go_live(slow_animator(0.02).runner, None, clip, [recording])
    assert report.lost is None and 0 < report.captured < 200 and (tmp_path / "live.mp4").stat().st_size


def test_a_cameras_own_clock_tells_what_waited(numbered_clip: MakeClip) -> None:
    """A frame that lay in a buffer for 0.2 s was captured when its timestamp says, not when it was read."""
    ages, start = [], time.monotonic()
    for i, (_, at) in enumerate(camera_frames(numbered_clip(8))):
        ages.append(time.monotonic() - at)
        # The next frame is read as soon as the camera has it, the fifth 0.2 s later.
        time.sleep(max(0.0, start + (i + 1) * CAMERA + (0.2 if i == 3 else 0) - time.monotonic()))
    assert max(ages[:4]) < 0.1 and ages[4] > 0.15


def test_a_clip_that_cannot_be_decoded_in_time_plays_slower(numbered_clip: MakeClip) -> None:
    played = []
    for _, at in paced_frames(numbered_clip(6, rate=100)):
        played.append(time.monotonic() - at)
        time.sleep(0.05)
    assert max(played) < 0.04
