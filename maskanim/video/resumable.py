"""Writing a long clip in segments, so that a process that was killed goes on where the last whole one ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import av
import av.container
from av.video.stream import VideoStream

from maskanim.errors import MaskanimError
from maskanim.video.clip import Clip
from maskanim.video.encoding import Encoding, VideoSettings
from maskanim.video.output import OutputFile, writing
from maskanim.video.picture import FilePath
from maskanim.video.segments import NUMBERED, SegmentFolder
from maskanim.video.writer import FrameWriter

SEGMENT_FRAMES = 250  # x264 begins a new group of frames after so many anyway


class ResumableWriter(FrameWriter):
    """Writes a clip as `ClipWriter` does, but keeps its whole segments when it is stopped, whatever stops it.

    Every segment has an encoder of its own, so that the video's packets are the same bytes whether and wherever the
    render was interrupted. At the end they are joined without encoding; only then does the file appear, and the
    hidden folder beside it, which held them, goes. With `resume`, a caller goes on like this::

        with open_clip(...) as clip, ResumableWriter(path, clip, fingerprint=..., resume=True) as writer:
            if writer.last_pts is not None:
                clip.skip_past(writer.last_pts)

    Args:
        path, driving, encoding, alpha: see `FrameWriter`. The clip has to be one that can be read again.
        fingerprint: says what is rendered: the picture, the clip, the model, and all that changes a frame.
        resume: go on with an earlier render of the same fingerprint and settings, if there is one. Without, what is
            left of an earlier one is removed with the first frame.

    Attributes:
        frames_done: how many frames are whole already.
        last_pts: the time of the last of them, in ticks of the clip; None if there are none.
        told: lines that a person should read, such as why an earlier render could not be used.

    Raises:
        MaskanimError: the file cannot be written there, another process is writing it, or the clip comes from a
            camera or a pipe.
    """

    def __init__(
        self,
        path: FilePath,
        driving: Clip,
        encoding: Encoding | None = None,
        *,
        fingerprint: str,
        resume: bool = False,
        alpha: bool = False,
    ) -> None:
        super().__init__(path, driving, encoding, alpha=alpha)
        if driving.once:
            raise MaskanimError(
                str(driving.path), "it can be read once only", "a file, to go on with", "Record it first"
            )
        self._folder = SegmentFolder(self.path)
        self._record = self._describe(fingerprint)
        with writing(self.path):
            told = self._folder.find(self._record) if resume else ""
        self.told = [told] if told else []
        self.frames_done = self._folder.frames
        segments = self._folder.segments
        self.last_pts = self._last_pts = segments[-1].times[-1] if segments else None
        self._segment: _Segment | None = None
        self._joined: OutputFile | None = None

    @property
    def frames_kept(self) -> int:
        """How many frames are in whole segments by now, which the next render with `resume` finds."""
        return self._folder.frames

    def _describe(self, fingerprint: str) -> dict[str, Any]:
        return {
            "fingerprint": fingerprint,
            "encoding": {"codec": self._codec.name, "pixels": self._codec.pixels, **asdict(self._encoding)},
            "time_base": str(self._driving.time_base),
            "rate": str(self._driving.rate),
            "segment_frames": SEGMENT_FRAMES,
            "made_by": [av.__version__, {name: list(version) for name, version in av.library_versions.items()}],
        }

    def __enter__(self) -> ResumableWriter:
        return self

    def _kept(self) -> str:
        return f", then go on with --resume: {self._folder.frames} frames are kept" if self._folder.frames else ""

    def _begin(self, settings: VideoSettings) -> None:
        size = {"height": settings.height, "width": settings.width}
        if not self._folder.segments:
            self._folder.begin({**self._record, **size})
            return
        found = self._folder.record()
        if any(found.get(side) != length for side, length in size.items()):
            received = f"frames of {settings.width}x{settings.height}"
            expected = f"{found.get('width')}x{found.get('height')}, as those that are done"
            raise MaskanimError(str(self.path), received, expected, "Render it without --resume")

    def _append(self, frame: av.VideoFrame) -> None:
        if self._segment is None:
            assert self._settings is not None
            self._segment = _Segment(self._folder, self._settings)
        self._segment.append(frame)
        if len(self._segment.times) == SEGMENT_FRAMES:
            self._complete(self._segment)

    def _complete(self, segment: _Segment) -> None:
        segment.finish()
        self._folder.add(segment.times)
        self._segment = None

    def _finish(self, last_pts: int) -> None:
        if self._segment:
            self._complete(self._segment)
        driving, unfinished = self._driving, self._folder.unfinished(self.path.suffix)
        sound = driving.audio.open() if driving.audio else None
        self._joined = OutputFile(unfinished, driving, sound, self.path)
        with av.open(str(self._folder.segments[0].packets)) as first:
            template = first.streams.video[0]
            video = self._joined.container.add_stream_from_template(template)
            video.time_base = driving.time_base
            video.metadata.update({key: value for key, value in template.metadata.items() if key == "alpha_mode"})
        self._joined.add_audio()
        for packet in self._folder.packets(video, driving.time_base, driving.frame_duration):
            self._joined.mux(packet)
        self._joined.finish((last_pts + driving.frame_duration) * driving.time_base)
        unfinished.replace(self.path)
        self._folder.remove()

    def _release(self) -> None:
        if self._joined:
            self._joined.close()
        if self._segment:
            self._segment.close()
        self._folder.release()


class _Segment:
    """The segment that is being encoded."""

    def __init__(self, folder: SegmentFolder, settings: VideoSettings) -> None:
        self.times: list[int] = []
        self._container = av.open(str(folder.unfinished()), "w", format="matroska")
        self._video = settings.add_to(self._container)
        self._count = 0

    def append(self, frame: av.VideoFrame) -> None:
        assert frame.pts is not None
        self.times.append(frame.pts)
        self._mux(self._video.encode(frame))

    def _mux(self, packets: Iterable[av.Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.pts = packet.dts = self._count
            packet.time_base, packet.duration = NUMBERED, 1
            self._container.mux(packet)
            self._count += 1

    def finish(self) -> None:
        self._mux(self._video.encode(None))
        self._container.close()

    def close(self) -> None:
        """Of a segment that does not count."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            return
