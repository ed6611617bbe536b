"""Writing a long clip in segments, so that a process that was killed goes on where the last whole one ends.

The segments lie in a hidden folder beside the output, which holds `render.json` (what is rendered, and how), for every
segment a Matroska file with its packets and, written last, a JSON file with their times and hash. Matroska knows
milliseconds only, so the packets in it are numbered, and their exact times stand in the JSON file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.container
from av.video.stream import VideoStream

from maskanim.atomic import hidden_path, lock, write_text
from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.video.clip import Clip
from maskanim.video.encoding import Encoding, VideoSettings
from maskanim.video.pictures import FilePath
from maskanim.video.write import FrameWriter, OutputFile, opened_audio

SEGMENT_FRAMES = 250  # x264 begins a new group of frames after so many anyway
VERSION = 1
NUMBERED = Fraction(1, 1000)  # Matroska's time base, in which packets carry their numbers


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
            received, expected = "it can be read once only", "a file, to go on with"
            raise MaskanimError(str(driving.path), received, expected, "Record it first")
        self._record = {
            "fingerprint": fingerprint,
            "encoding": {"codec": self._codec.name, "pixels": self._codec.pixels, **asdict(self._encoding)},
            "time_base": str(driving.time_base),
            "rate": str(driving.rate),
            "segment_frames": SEGMENT_FRAMES,
            "made_by": [av.__version__, {name: list(version) for name, version in av.library_versions.items()}],
        }
        with self._writing():
            self._folder = self._opened.enter_context(SegmentFolder(self.path))
            told = self._folder.find(self._record) if resume else ""
        self.told = [told] if told else []
        self.frames_done = self._folder.frames
        segments = self._folder.segments
        self.last_pts = self._last_pts = segments[-1][-1] if segments else None
        self._segment: _SegmentEncoder | None = None

    @property
    def frames_kept(self) -> int:
        """How many frames are in whole segments by now, which the next render with `resume` finds."""
        return self._folder.frames

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
            self._segment = self._opened.enter_context(_SegmentEncoder(self._folder.unfinished(), self._settings))
        self._segment.append(frame)
        if len(self._segment.times) == SEGMENT_FRAMES:
            self._complete_segment()

    def _complete_segment(self) -> None:
        if self._segment:
            self._segment.finish()
            self._folder.add(self._segment.times)
        self._segment = None

    def _finish(self, last_pts: int) -> None:
        self._complete_segment()
        driving, unfinished = self._driving, self._folder.unfinished(self.path.suffix)
        audio = self._opened.enter_context(opened_audio(driving))
        joined = self._opened.enter_context(OutputFile(unfinished, driving, audio))
        with av.open(str(self._folder.packets_file(0))) as first:
            template = first.streams.video[0]
            video = joined.container.add_stream_from_template(template)
            video.time_base = driving.time_base
            video.metadata.update({key: value for key, value in template.metadata.items() if key == "alpha_mode"})
        joined.add_audio()
        for packet in self._folder.packets(video, driving.time_base, driving.frame_duration):
            joined.mux(packet)
        joined.finish((last_pts + driving.frame_duration) * driving.time_base)
        unfinished.replace(self.path)
        self._folder.remove()


class _SegmentEncoder(Closing):
    """Encodes one segment into a file; a context manager."""

    def __init__(self, path: Path, settings: VideoSettings) -> None:
        self.times: list[int] = []
        self._container = av.open(str(path), "w", format="matroska")
        self._video = settings.add_to(self._container)
        self._count = 0

    def append(self, frame: av.VideoFrame) -> None:
        """Encode a frame; `times` gets its time."""
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
        """All of its frames are there."""
        self._mux(self._video.encode(None))
        self._container.close()

    def close(self) -> None:
        with suppress(av.FFmpegError, OSError):  # `finish` has raised what matters
            self._container.close()


class SegmentFolder(Closing):
    """The hidden folder of a render; a context manager.

    When the block ends the whole segments are kept for another process; without any, what this one has begun goes.

    Args:
        output: the file that the render will become.

    Attributes:
        path: the folder; it need not exist.
        segments: of the whole ones, in order, the times of their frames in ticks of the render's time base.
    """

    def __init__(self, output: Path) -> None:
        self.path = hidden_path(output, ".maskanim")
        self.segments: list[list[int]] = []
        self._output = output
        self._lock: IO[str] | None = None
        self._begun = False

    @property
    def frames(self) -> int:
        """How many frames the whole segments hold."""
        return sum(map(len, self.segments))

    def find(self, record: dict[str, Any]) -> str:
        """Take over the whole segments of an earlier process, if it rendered the same.

        Args:
            record: what is rendered and how; the one found has to say the same for each of its keys.

        Returns:
            What a person should know of it; empty where there is nothing to say.

        Raises:
            MaskanimError: another process is at work on it.
        """
        if not (self.path / "render.json").is_file():
            return ""
        self._hold()
        found = self.record()
        if found.get("version") != VERSION or any(found.get(key) != value for key, value in record.items()):
            return "the unfinished render there is of something else, or made otherwise; begun anew"
        while times := self._whole(len(self.segments)):
            self.segments.append(times)
        whole, numbered = len(self.segments), (path for path in self.path.glob("*.json") if path.stem.isdecimal())
        left = [path for path in numbered if int(path.stem) >= whole]
        for path in left:
            path.unlink()
        damaged = f"segment {whole + 1} of the unfinished render is damaged; going on behind frame {self.frames}"
        return damaged if left else ""

    def record(self) -> dict[str, Any]:
        """What is rendered and how; empty if that cannot be read."""
        return _read_json(self.path / "render.json")

    def _whole(self, number: int) -> list[int]:
        """The times of a segment that is whole; else none."""
        packets, found = self.packets_file(number), _read_json(self._description(number))
        times: list[int] = found["times"] if isinstance(found.get("times"), list) else []
        return times if packets.is_file() and _hash(packets, times) == found.get("sha256") else []

    def begin(self, record: dict[str, Any]) -> None:
        """Begin anew; what an earlier process has left is removed.

        Raises:
            MaskanimError: another process is at work on it.
            OSError: the disk refuses it.
        """
        self.path.mkdir(exist_ok=True)
        self._hold()
        self._begun = True
        for path in self.path.iterdir():
            if path.name != "lock":
                path.unlink()
        write_text(self.path / "render.json", json.dumps({"version": VERSION, **record}))

    def unfinished(self, suffix: str = ".mkv") -> Path:
        """The name of a file that does not count yet."""
        return self.path / f"unfinished{suffix}"

    def add(self, times: list[int]) -> None:
        """The unfinished file holds the packets of one more whole segment.

        Raises:
            OSError: the disk refuses it.
        """
        number = len(self.segments)
        self.unfinished().replace(self.packets_file(number))
        told = {"times": times, "sha256": _hash(self.packets_file(number), times)}
        write_text(self._description(number), json.dumps(told))
        self.segments.append(times)

    def packets_file(self, number: int) -> Path:
        """The file with a segment's packets."""
        return self.path / f"{number:06d}.mkv"

    def _description(self, number: int) -> Path:
        return self.packets_file(number).with_suffix(".json")

    def packets(self, video: VideoStream, time_base: Fraction, last_duration: int) -> Iterator[av.Packet[VideoStream]]:
        """Every packet of the render, with its exact time.

        Args:
            video: the stream that they are to be written to.
            time_base: seconds per tick.
            last_duration: ticks for which the last frame is shown.
        """
        times = [time for segment in self.segments for time in segment]
        ends = iter([*times[1:], times[-1] + last_duration])
        for number, segment in enumerate(self.segments):
            with av.open(str(self.packets_file(number))) as container:
                stored = (packet for packet in container.demux(video=0) if packet.size)
                for packet, time in zip(stored, segment, strict=True):
                    packet.stream, packet.time_base = video, time_base
                    packet.pts = packet.dts = time
                    packet.duration = next(ends) - time
                    yield packet

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        self._unlock()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        if self._begun and not self.segments:
            self.remove()
        elif self._lock:
            for path in (*self.path.glob("unfinished.*"), *self.path.glob(".*.partial-*")):
                with suppress(OSError):
                    path.unlink()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
        self._lock = None

    def _hold(self) -> None:
        if self._lock is None:
            file = (self.path / "lock").open("a")
            if not lock(file):
                file.close()
                expected = "one render at a time of a file"
                raise MaskanimError(str(self._output), "another process is writing it", expected)
            self._lock = file


def _hash(path: Path, times: list[int]) -> str:
    digest = hashlib.sha256(json.dumps(times).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
