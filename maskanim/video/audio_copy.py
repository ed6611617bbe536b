"""Audio beside the frames of a written clip: copied packet by packet where the container allows it, else encoded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import av.container
from av.audio.stream import AudioStream

from maskanim.video.audio import AudioReading
from maskanim.video.encoding import Format

if TYPE_CHECKING:
    Packets = Iterator[av.Packet[Any] | None]


class AudioCopy:
    """The audio of a driving clip, muxed as the video advances.

    Args:
        reading: where it comes from; it is closed with this.
        output: the file that is being written; a stream is added to it.
        form: what that file can hold.
    """

    def __init__(self, reading: AudioReading, output: av.container.OutputContainer, form: Format) -> None:
        self._reading, self._output = reading, output
        self._reached: Fraction | float = -math.inf
        stream = self._reading.stream
        if stream.codec_context.codec.canonical_name in form.copied_audio:
            self._packets = _copied(self._reading, output.add_stream_from_template(stream))
        else:
            rate = stream.rate if stream.rate in form.audio_rates else 48000
            layout = "mono" if stream.channels == 1 else "stereo"
            encoder = output.add_stream(form.audio, rate=rate, layout=layout)
            assert isinstance(encoder, AudioStream)
            self._packets = _transcoded(self._reading, encoder)

    def mux_until(self, time: Fraction | float) -> None:
        """Mux the packets that start before a time, in seconds, as far as they are there."""
        while self._reached < time and (packet := next(self._packets, None)) is not None:
            if packet.dts is not None:
                self._reached = (packet.dts + (packet.duration or 0)) * packet.time_base
            self._output.mux(packet)

    def close(self) -> None:
        """Close what was opened for it; the file written stays open."""
        self._reading.close()


def _copied(reading: AudioReading, copy: AudioStream) -> Packets:
    last: float = -math.inf
    for packet in reading.packets():
        if packet is None:
            yield None
        elif packet.dts is not None and packet.dts > last:  # the muxer refuses time that stands still
            last = packet.dts
            packet.stream = copy
            yield packet


def _transcoded(reading: AudioReading, encoder: AudioStream) -> Packets:
    for packet in reading.packets():
        if packet is None:
            yield None
        else:
            yield from _encoded(reading.stream, packet, encoder)
    yield from _encoded(reading.stream, None, encoder)
    yield from encoder.encode(None)


def _encoded(stream: AudioStream, packet: av.Packet[AudioStream] | None, encoder: AudioStream) -> Packets:
    with suppress(av.error.InvalidDataError):
        for frame in stream.decode(packet):
            yield from encoder.encode(frame)
