"""Segments of a render that is under way: encoded frames on disk, each few hundred of them whole or not there.

They lie in a hidden folder beside the output, which holds `render.json` (what is rendered, and how), for every segment
a Matroska file with its packets and, written last, a JSON file with their times and hash. Matroska knows milliseconds
only, so the packets in it are numbered, and their exact times stand in the JSON file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

import av
import av.container
from av.video.stream import VideoStream

from maskanim.errors import MaskanimError

VERSION = 1
NUMBERED = Fraction(1, 1000)  # Matroska's time base, in which packets carry their numbers


class Segment(NamedTuple):
    """A whole segment.

    Attributes:
        packets: the file with its packets.
        times: the time of each frame, in ticks of the render's time base.
    """

    packets: Path
    times: tuple[int, ...]


class SegmentFolder:
    """The hidden folder of a render.

    Args:
        output: the file that the render will become.

    Attributes:
        path: the folder; it need not exist.
        segments: the whole ones, in order.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f".{output.name}.maskanim")
        self.segments: list[Segment] = []
        self._output = output
        self._lock: IO[str] | None = None
        self._begun = False

    @property
    def frames(self) -> int:
        """How many frames the whole segments hold."""
        return sum(len(segment.times) for segment in self.segments)

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
            return f"{self._output}: the unfinished render there is of something else, or made otherwise; begun anew"
        while segment := self._whole(len(self.segments)):
            self.segments.append(segment)
        if not self._remove_from(len(self.segments)):
            return ""
        damaged = f"{self._output}: segment {len(self.segments) + 1} of the unfinished render is damaged"
        return f"{damaged}; going on behind frame {self.frames}"

    def record(self) -> dict[str, Any]:
        """What is rendered and how; empty if that cannot be read."""
        return _read_json(self.path / "render.json")

    def _whole(self, number: int) -> Segment | None:
        packets, told = self._files(number)
        found = _read_json(told)
        times = found.get("times")
        if not isinstance(times, list) or not packets.is_file() or _hash(packets, times) != found.get("sha256"):
            return None
        return Segment(packets, tuple(times))

    def _remove_from(self, number: int) -> bool:
        """Remove the segments from one on; whether there were any."""
        left = [path for path in self.path.glob("*.json") if path.stem.isdecimal() and int(path.stem) >= number]
        for path in left:
            path.unlink()
        return bool(left)

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
        _write_json(self.path / "render.json", {"version": VERSION, **record})

    def unfinished(self, suffix: str = ".mkv") -> Path:
        """The name of a file that does not count yet."""
        return self.path / f"unfinished{suffix}"

    def add(self, times: list[int]) -> None:
        """The unfinished file holds the packets of one more whole segment.

        Raises:
            OSError: the disk refuses it.
        """
        packets, told = self._files(len(self.segments))
        self.unfinished().replace(packets)
        _write_json(told, {"times": times, "sha256": _hash(packets, times)})
        self.segments.append(Segment(packets, tuple(times)))

    def _files(self, number: int) -> tuple[Path, Path]:
        return self.path / f"{number:06d}.mkv", self.path / f"{number:06d}.json"

    def packets(self, video: VideoStream, time_base: Fraction, last_duration: int) -> Iterator[av.Packet[VideoStream]]:
        """Every packet of the render, with its exact time.

        Args:
            video: the stream that they are to be written to.
            time_base: seconds per tick.
            last_duration: ticks for which the last frame is shown.
        """
        times = [time for segment in self.segments for time in segment.times]
        ends = iter([*times[1:], times[-1] + last_duration])
        for segment in self.segments:
            with av.open(str(segment.packets)) as container:
                stored = (packet for packet in container.demux(video=0) if packet.size)
                for packet, time in zip(stored, segment.times, strict=True):
                    packet.stream, packet.time_base = video, time_base
                    packet.pts = packet.dts = time
                    packet.duration = next(ends) - time
                    yield packet

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        self._unlock()
        shutil.rmtree(self.path, ignore_errors=True)

    def release(self) -> None:
        """Keep the whole segments for another process; without any, remove what this one has begun."""
        if self._begun and not self.segments:
            self.remove()
        elif self._lock:
            for path in (*self.path.glob("unfinished.*"), *self.path.glob("*.partial")):
                with suppress(OSError):
                    path.unlink()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
        self._lock = None

    def _hold(self) -> None:
        if self._lock is None:
            lock = (self.path / "lock").open("a")
            try:
                _lock(lock)
            except OSError:
                lock.close()
                expected = "one render at a time of a file"
                raise MaskanimError(str(self._output), "another process is writing it", expected) from None
            self._lock = lock


def _lock(file: IO[str]) -> None:
    """Lock an open file until it is closed.

    Raises:
        OSError: another process has locked it.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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


def _write_json(path: Path, values: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values), "utf-8")
    partial.replace(path)
