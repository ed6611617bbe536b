"""The file that is written: where it may go, its container, and what the disk refuses."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container

from maskanim.errors import MaskanimError
from maskanim.video.audio import AudioReading
from maskanim.video.audio_copy import AudioCopy
from maskanim.video.clip import Clip
from maskanim.video.encoding import FORMATS, format_of
from maskanim.video.picture import FilePath

MAX_TIMESCALE = 2**31 - 1


def check_output(path: FilePath, inputs: Iterable[FilePath] = (), *, alpha: bool = False) -> Path:
    """Check, before any work, that a clip can be written.

    Args:
        path: where the clip is to go; an existing file there is allowed, and left alone.
        inputs: files that must not be overwritten.
        alpha: whether it is to carry alpha.

    Returns:
        The path with symbolic links followed.

    Raises:
        MaskanimError: the name does not end in .mp4, .mov or .webm (with alpha: the last two), it is a folder or one of
            the inputs, or its parent is missing or cannot be written to.
    """
    subject, path = os.fspath(path), Path(path).resolve()
    if path.is_dir():
        raise MaskanimError(subject, "a folder", "the name of a file to write", "Add a file name ending in .mp4")
    _require_format(subject, path.suffix, alpha)
    if not path.parent.is_dir():
        raise MaskanimError(subject, f"{path.parent} is not a folder", "an existing folder", "Create it first")
    if path.exists() and any(path.samefile(given) for given in inputs if Path(given).exists()):
        raise MaskanimError(subject, "the same file as an input", "a new file", "Choose another name")
    _require_writable(subject, path.parent)
    return path


def _require_format(subject: str, suffix: str, alpha: bool) -> None:
    fitting = [ending for ending, form in FORMATS.items() if form.clear or not alpha]
    if suffix.lower() not in fitting:
        ending = f"a name ending in '{suffix}'" if suffix else "a name without an ending"
        wanted = f"{', '.join(fitting[:-1])} or {fitting[-1]}"
        reason = "An mp4 has no room for alpha" if suffix.lower() in FORMATS else f"Only {wanted} can be written"
        raise MaskanimError(subject, ending, f"one ending in {wanted}", reason)


def _require_writable(subject: str, folder: Path) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="."):
            pass
    except OSError as error:
        received = f"no file can be created in {folder} ({error.strerror})"
        raise MaskanimError(subject, received, "a folder that can be written to", "Choose another folder") from error


@contextmanager
def writing(path: Path, kept: Callable[[], str] = str) -> Iterator[None]:
    """Report what FFmpeg or the disk refuses; PyAV raises ValueError for an encoder or a format it lacks.

    Args:
        path: what is written.
        kept: says, when the disk is full, what stays of it.
    """
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        next_step = "Check the space on its disk, and that the audio of the driving clip plays"
        if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            next_step = f"Make room on its disk{kept()}"
        raise MaskanimError(str(path), f"writing it failed ({reason})", "a complete clip", next_step) from error


class OutputFile:
    """The container of a clip under its working name: the video's packets as they are given, audio in between.

    The video's stream is to be added to `container` first, then `add_audio` called.

    Args:
        path: the working name.
        driving: the clip whose time base and audio are taken.
        sound: its audio, being read; closed with this.
        final: the name that it will have, whose ending tells the format.
    """

    def __init__(self, path: Path, driving: Clip, sound: AudioReading | None, final: Path) -> None:
        self._driving, self._sound, self._form = driving, sound, format_of(final)
        self._audio: AudioCopy | None = None
        options = {"movflags": "+faststart", "movie_timescale": str(self._timescale())} if self._form.keeps_time else {}
        self.container = av.open(str(path), "w", format=self._form.name, container_options=options)

    def _timescale(self) -> int:
        """Ticks per second in which the start of every track is exact.

        With the muxer's 1000, a clip that does not start at zero comes back up to a millisecond early.
        """
        video = self._driving.time_base.denominator
        both = math.lcm(video, self._driving.audio_rate or 1)
        return both if both <= MAX_TIMESCALE else video

    def add_audio(self) -> None:
        """Add the audio's stream, if there is audio."""
        if self._sound:
            self._audio = AudioCopy(self._sound, self.container, self._form)

    def mux(self, packet: av.Packet[Any]) -> None:
        """Write a packet of the video, after the audio that comes before it."""
        if self._audio and packet.dts is not None:
            self._audio.mux_until(packet.dts * packet.time_base)
        self.container.mux(packet)

    def finish(self, end: Fraction) -> None:
        """Write the rest: all of the audio if the clip was read to its end, else up to the end of the frames."""
        if self._audio:
            track = self._driving.audio
            complete = self._driving.finished and not (track and track.endless)
            self._audio.mux_until(math.inf if complete else end)
        self.container.close()

    def close(self) -> None:
        """Close what is open; a failure that matters has been raised by `finish`."""
        if self._sound:
            self._sound.close()
        with suppress(av.FFmpegError, OSError):
            self.container.close()
