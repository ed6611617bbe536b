"""The audio of a driving clip: read packet by packet, cut and repeated as its frames are, copied or encoded anew."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import av.container
from av.audio.stream import AudioStream

from maskanim.video.container import audio_stream, open_container

if TYPE_CHECKING:
    AudioPacket = av.Packet[AudioStream]
    Packets = Iterator[av.Packet[Any] | None]

SEARCHABLE = frozenset({"matroska", "mov"})  # formats with an index that is right
LEAD = 1  # seconds by which a search for audio begins early: it is searched for by the video beside it


class Lap(NamedTuple):
    """The first round of a clip that is shown repeatedly, in seconds: when it begins and how long it lasts."""

    begin: Fraction
    period: Fraction


class AudioTrack(ABC):
    """The audio that goes with a clip's frames.

    Args:
        rate: samples per second.
        start: seconds of the file's time that become zero; packets that begin earlier are left out. None: unchanged.
        end: seconds of the file's time; packets that begin then or later are left out.

    Attributes:
        endless: whether it is repeated for as long as it is asked for.
        stream: what its packets belong to, once it is open.
    """

    endless = False
    stream: AudioStream

    def __init__(self, rate: int, start: Fraction | None, end: Fraction | None) -> None:
        self.rate, self._start, self._end = rate, start, end

    @abstractmethod
    def open(self) -> None:
        """Begin to read it.

        Raises:
            MaskanimError: the file has gone.
        """

    @abstractmethod
    def packets(self) -> Iterator[AudioPacket | None]:
        """The packets in order, with the times that they have beside the clip's frames; None: nothing as yet."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened for it."""

    def _is_over(self, at: Fraction | None) -> bool:
        return self._end is not None and at is not None and at >= self._end

    def _is_early(self, at: Fraction | None) -> bool:
        return self._start is not None and at is not None and at < self._start


class FileAudio(AudioTrack):
    """A track of a file, which is opened a second time for it.

    Args:
        number: the track, counted from 1; None for the default one.
        rate, start, end: see `AudioTrack`.
        lap: returns the first round of frames that are shown repeatedly, or None as long as it is not over.
    """

    def __init__(
        self,
        path: Path,
        number: int | None,
        rate: int,
        start: Fraction | None = None,
        end: Fraction | None = None,
        lap: Callable[[], Lap | None] | None = None,
    ) -> None:
        super().__init__(rate, start, end)
        self.endless = lap is not None
        self._path, self._number, self._lap = path, number, lap or (lambda: None)
        self._container: av.container.InputContainer | None = None

    def open(self) -> None:
        self._container = open_container(self._path)
        stream = audio_stream(self._path, self._container, self._number)
        assert stream is not None, "this track was found when the clip was opened"
        self.stream = stream

    def close(self) -> None:
        if self._container:
            self._container.close()

    def packets(self) -> Iterator[AudioPacket | None]:
        yield from self._round(0)
        for number in count(1) if self.endless else ():
            while self._lap() is None:
                yield None
            self.close()
            self.open()
            silent = True
            for packet in self._round(number):
                silent = False
                yield packet
            if silent:
                return

    def _round(self, number: int) -> Iterator[AudioPacket]:
        start = self._start or Fraction(0)
        for packet in self._demuxed():
            at, lap = _time(packet), self._lap()
            if self._is_over(at) or (lap and at is not None and at - start >= sum(lap)):
                return
            if self._is_early(at) or (lap and number and at is not None and at - start < lap.begin):
                continue
            _move(packet, (number * lap.period if lap else 0) - start)
            yield packet

    def _demuxed(self) -> Iterator[AudioPacket]:
        container = self._container
        assert container is not None, "it was opened"
        if self._start and self._start > LEAD and not SEARCHABLE.isdisjoint(container.format.name.split(",")):
            container.seek(int((self._start - LEAD) * av.time_base))
        # Where the file is damaged the audio ends; the reader of the video says so.
        with suppress(av.error.InvalidDataError):
            yield from (packet for packet in container.demux(self.stream) if packet.size)


def _time(packet: AudioPacket) -> Fraction | None:
    return None if packet.pts is None else packet.pts * packet.time_base


def _move(packet: AudioPacket, seconds: Fraction) -> None:
    ticks = round(seconds / packet.time_base) if seconds else 0
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


class PipedAudio(AudioTrack):
    """Audio that comes with the video through one pipe, where nothing can be opened a second time."""

    def __init__(self, stream: AudioStream, start: Fraction | None, end: Fraction | None) -> None:
        super().__init__(stream.rate, start, end)
        self.stream = stream
        self._waiting: deque[AudioPacket] = deque()
        self._wanted = self._complete = False

    def open(self) -> None:
        """From now on what comes is kept until it is taken."""
        self._wanted = True

    def put(self, packet: AudioPacket) -> None:
        """Hand over what the demuxer of the video came across."""
        at = _time(packet)
        if self._wanted and packet.size and not (self._is_over(at) or self._is_early(at)):
            _move(packet, -(self._start or Fraction(0)))
            self._waiting.append(packet)

    def complete(self) -> None:
        """No more packets will come."""
        self._complete = True

    def packets(self) -> Iterator[AudioPacket | None]:
        while self._waiting or not self._complete:
            yield self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        self._wanted = False
        self._waiting.clear()


def breaks_pyav(stream: AudioStream) -> bool:
    """Whether to decode it, or only to ask for its channels, corrupts PyAV's memory, which ends the process.

    PyAV frees the layouts of channels twice that are in an order of their own, as 6.1 and 7.1 of PCM in a mov are.
    """
    codec = stream.codec_context
    bits = re.fullmatch(r"pcm_[a-z](\d+).*", codec.name)
    channels = (codec.bit_rate or 0) / (stream.rate * int(bits[1])) if bits else 0
    return channels > 6 and "mov" in stream.container.format.name.split(",")


def copied(track: AudioTrack, copy: AudioStream) -> Packets:
    """The track's packets for a stream of another file; those that do not come after the one before are left out."""
    last: float = -math.inf
    for packet in track.packets():
        if packet is None:
            yield None
        elif packet.dts is not None and packet.dts > last:  # the muxer refuses time that stands still
            last = packet.dts
            packet.stream = copy
            yield packet


def transcoded(track: AudioTrack, encoder: AudioStream) -> Packets:
    """The track decoded and encoded anew."""
    for packet in track.packets():
        if packet is None:
            yield None
        else:
            yield from _encoded(track.stream, packet, encoder)
    yield from _encoded(track.stream, None, encoder)
    yield from encoder.encode(None)


def _encoded(stream: AudioStream, packet: AudioPacket | None, encoder: AudioStream) -> Packets:
    with suppress(av.error.InvalidDataError):
        for frame in stream.decode(packet):
            yield from encoder.encode(frame)
