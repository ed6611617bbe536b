"""What clips are written as: containers, codecs, and frames in the encoder's colours."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
import av.container
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from maskanim.errors import MaskanimError

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
BT709, LIMITED_RANGE = 1, 1  # FFmpeg's AVCOL_SPC_BT709 (also its primaries and transfer) and AVCOL_RANGE_MPEG
ANY_RATE = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
OPUS_RATES = frozenset({8000, 12000, 16000, 24000, 48000})


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Raises:
        MaskanimError: a setting that x264 does not have.
    """

    # x264's constant rate factor: 0 is lossless, 51 the worst; in a WebM the same part of VP9's range of 63
    crf: int = 18
    preset: str = "veryfast"  # x264's speed, ``ultrafast`` to ``placebo``; of a WebM, VP9's nearest
    threads: int = 1  # of the encoder; one leaves the processor to the networks, 0 takes as many as there are cores
    # frames, at most, from one that can be sought to the next; None leaves it to the codec (x264: 250)
    keyframe_every: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise MaskanimError("crf", str(self.crf), "0 to 51", "Lower is better and larger; 18 looks lossless")
        if self.preset not in PRESETS:
            raise MaskanimError("preset", self.preset, f"one of {', '.join(PRESETS)}")
        if self.threads < 0:
            raise MaskanimError("threads", str(self.threads), "0 or more")
        if self.keyframe_every is not None and self.keyframe_every < 1:
            raise MaskanimError("keyframe_every", str(self.keyframe_every), "1 or more")


class VideoCodec(NamedTuple):
    """An encoder of FFmpeg and the pixel format that it takes."""

    name: str
    pixels: str


@dataclass(frozen=True)
class Format:
    """A container, and what goes into it."""

    name: str  # FFmpeg's name of the container
    opaque: VideoCodec  # how frames without alpha are encoded
    clear: VideoCodec | None  # how frames with alpha are encoded; None where nothing in it can carry alpha
    copied_audio: frozenset[str]  # codecs that players understand inside it, copied packet by packet
    audio: str  # the encoder for any other audio
    audio_rates: frozenset[int]  # samples per second that this encoder takes; for others, 48000

    @property
    def keeps_time(self) -> bool:
        """Whether it is of the mp4 family, which takes any time base; Matroska's and WebM's is the millisecond."""
        return self.name in {"mp4", "mov"}


H264 = VideoCodec("libx264", "yuv420p")
MP4_AUDIO = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
MOV_AUDIO = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "pcm_f32le", "pcm_s16be", "pcm_s16le", "pcm_s24le"})
FORMATS = {
    ".mp4": Format("mp4", H264, None, MP4_AUDIO, "aac", ANY_RATE),
    ".mov": Format("mov", H264, VideoCodec("prores_ks", "yuva444p10le"), MOV_AUDIO, "aac", ANY_RATE),
    ".webm": Format(
        "webm",
        VideoCodec("libvpx-vp9", "yuv420p"),
        VideoCodec("libvpx-vp9", "yuva420p"),
        frozenset({"opus", "vorbis"}),
        "libopus",
        OPUS_RATES,
    ),
}


@dataclass(frozen=True)
class VideoSettings:
    """All that decides what an encoder makes of the same frames."""

    # codec, encoding: the encoder and its settings
    codec: VideoCodec
    encoding: Encoding
    # height, width: of the frames given, in pixels
    height: int
    width: int
    time_base: Fraction  # seconds per tick of their times
    rate: Fraction  # frames per second, on average

    def add_to(self, output: av.container.OutputContainer) -> VideoStream:
        """A stream with a fresh encoder. Odd sides become even ones."""
        stream = output.add_stream(self.codec.name, rate=self.rate, options=self._options())
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = self.codec.pixels
        context = stream.codec_context
        context.time_base = self.time_base
        # An mp4 stores durations in decoding order: with B-frames, those of a variable rate would come back different.
        context.max_b_frames = 0
        context.thread_count, context.thread_type = self.encoding.threads, "AUTO"
        if self.encoding.keyframe_every:
            context.gop_size = self.encoding.keyframe_every
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        return stream

    def _options(self) -> dict[str, str]:
        speed = PRESETS.index(self.encoding.preset)
        if self.codec.name == "libx264":
            return {"crf": str(self.encoding.crf), "preset": self.encoding.preset}
        if self.codec.name == "libvpx-vp9":
            quality = {"crf": str(round(self.encoding.crf * 63 / 51)), "b": "0"}
            # Alpha does not go with frames that are made only to be referred to.
            return {**quality, "deadline": "realtime", "cpu-used": str(max(8 - speed, 0)), "auto-alt-ref": "0"}
        return {"profile": "4444", "vendor": "apl0"}

    def frame(self, image: NDArray[np.uint8], pts: int) -> av.VideoFrame:
        """A frame as the encoder takes it.

        Args:
            image: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA; an odd side is extended by repeating its last pixels.
        """
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        given = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24" if image.shape[2] == 3 else "rgba")
        frame = given.reformat(format=self.codec.pixels, dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = pts, self.time_base
        return frame
