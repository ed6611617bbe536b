"""Where live pictures go, behind one small interface: a virtual camera, a file, a page (in `page`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from maskanim.errors import MaskanimError, needs_extra
from maskanim.ops import Frame
from maskanim.provenance import Claim, signed
from maskanim.runtime.loop import write_behind
from maskanim.spec import IMAGE_SIZE
from maskanim.video import Clip, ClipWriter, check_output
from maskanim.video.pictures import FilePath

if TYPE_CHECKING:
    from maskanim.runtime.live.loop import LiveReport

TICKS_PER_SECOND = 90_000  # fine enough for any camera, and usual in video


class Output(ABC):
    """Takes the pictures of a live run; a context manager, opened before the first picture."""

    place: str  # where they can be seen, for messages

    @abstractmethod
    def show(self, frame: Frame, captured: float) -> None:
        """Take a picture, at once: who looks at it slowly must not slow the loop.

        Args:
            frame: (H, W, 3) uint8 RGB, of one size throughout, not changed by anyone afterwards.
            captured: when the driving frame was captured, in seconds; every one is later than the one before.
        """

    def status(self, report: LiveReport) -> None:
        """Hear how the run stands, a few times a second."""
        return

    @abstractmethod
    def close(self, error: BaseException | None) -> None:
        """Finish after the last picture, or after an error of the run."""

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(error)


class VirtualCamera(Output):
    """A camera that other programs can choose, through the package pyvirtualcam.

    Args:
        interval: seconds between pictures, which the camera states.

    Raises:
        MissingPackageError: pyvirtualcam is not installed.
        MaskanimError: this machine has no virtual camera.
    """

    def __init__(self, interval: float) -> None:
        with needs_extra("virtual camera", "live"):
            import pyvirtualcam
        self._open = partial(pyvirtualcam.Camera, fps=max(1.0, 1 / interval))
        self._take((IMAGE_SIZE, IMAGE_SIZE))
        self.place = f"virtual camera {self._camera.device}"

    def _take(self, size: tuple[int, int]) -> None:
        """Open it for pictures of this width and height."""
        try:
            self._camera: Any = self._open(*size)
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:160].rstrip(".")
            next_step = "On Linux load the module v4l2loopback, on macOS or Windows install OBS; or use a page"
            raise MaskanimError("virtual camera", f"none on this machine ({reason})", "one", next_step) from error
        self._size = size

    def show(self, frame: Frame, captured: float) -> None:
        height, width = (side // 2 * 2 for side in frame.shape[:2])  # what cameras deliver has even sides
        if (width, height) != self._size:  # side by side, or put back into the picture
            self._camera.close()
            self._take((width, height))
        self._camera.send(frame[:height, :width])

    def close(self, error: BaseException | None) -> None:
        self._camera.close()


class FileOutput(Output):
    """A recording, each picture at the time at which its driving frame was captured.

    Encoding runs in a thread of its own. The file appears under its name when the run ends, however it ends, except by
    an error of the run itself or of the disk.

    Args:
        path: the mp4, mov or webm to write.
        interval: seconds between pictures, the last picture's duration.
        claim: what the file says of how it was made; None leaves it unsigned.

    Raises:
        MaskanimError: the file cannot be written there; see `video.check_output`.
    """

    def __init__(self, path: FilePath, interval: float, claim: Claim | None = None) -> None:
        self.place, self._first, self._pts, self._claim = str(path), 0.0, -1, claim
        rate = Fraction(1 / interval).limit_denominator(1001)
        timing = Clip(Path("live"), iter(()), Fraction(1, TICKS_PER_SECOND), rate, None)
        timing.frame_duration = round(interval * TICKS_PER_SECOND)
        self._path, self._timing, self._opened = check_output(path), timing, ExitStack()

    def __enter__(self) -> FileOutput:
        unsigned = self._opened.enter_context(signed(self._path, self._claim))
        writer = self._opened.enter_context(ClipWriter(unsigned, self._timing))
        self._record = self._opened.enter_context(write_behind(writer.write))
        return self

    def show(self, frame: Frame, captured: float) -> None:
        if self._pts < 0:
            self._first = captured
        pts = max(self._pts + 1, round((captured - self._first) * TICKS_PER_SECOND))
        self._record(frame, pts)
        self._pts = pts

    def close(self, error: BaseException | None) -> None:
        if error is None and self._pts < 0:
            error = MaskanimError(self.place, "no picture was recorded", "at least one")
        if error is None:
            self._opened.close()
        else:
            self._opened.__exit__(type(error), error, None)
