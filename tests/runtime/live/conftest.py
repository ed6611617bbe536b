"""A camera and a model whose speeds are known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskanim.models import Choice, demo_bundle
from maskanim.ops import Frame
from maskanim.runtime import Animator
from maskanim.runtime.backends import BackendInUse
from maskanim.runtime.runner import FrameResult, Mode, Runner, Source
from maskanim.spec import IMAGE_SIZE
from maskanim.video import Clip, SourceFrame

RATE = 30


class SlowRunner(Runner):
    """Takes a fixed time for a frame, and gives a picture of the driving frame's first grey."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.slowest, self.greys = seconds, 0.0, list[int]()

    def encode_source(self, image: Frame) -> str:
        return "source"

    def source_arrays(self, source: Any) -> Source:
        raise AssertionError("live animation asks for frames only")

    def prepare(self, frame: Frame) -> Frame:
        return frame

    def run(self, source: Any, inputs: Iterable[Frame], mode: Mode = "frame") -> Iterator[FrameResult]:
        assert mode == "frame", "live animation asks for frames only"
        for frame in inputs:
            start = time.monotonic()
            time.sleep(self.seconds)
            self.greys.append(int(frame[0, 0, 0]))
            self.slowest = max(self.slowest, time.monotonic() - start)
            yield FrameResult(partial(np.full, (IMAGE_SIZE, IMAGE_SIZE, 3), frame[0, 0, 0], np.uint8))

    def close(self) -> None:
        return


@pytest.fixture
def slow_animator() -> Callable[[float], Animator]:
    """A model that takes a fixed time for a frame."""
    choice = Choice(demo_bundle(), "for a test")
    return lambda seconds: Animator(choice, SlowRunner(seconds), BackendInUse("slow", "", {}))


@pytest.fixture
def numbered_clip() -> Callable[..., Clip]:
    """Frames whose grey is their number, 30 a second or so many; then an error, or the end."""

    def clip(count: int, then: Exception | None = None, rate: int = RATE) -> Clip:
        def frames() -> Iterator[SourceFrame]:
            for i in range(count):
                yield SourceFrame(np.full((64, 64, 3), i % 256, np.uint8), i, 1)
            if then:
                raise then

        return Clip(Path("numbers.mp4"), frames(), Fraction(1, rate), Fraction(rate), count)

    return clip


@pytest.fixture
def black() -> Frame:
    return np.zeros((64, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("maskanim-")]
