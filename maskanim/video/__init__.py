"""Reading and writing clips with exact timestamps and audio."""

from maskanim.video.clip import Clip, TimedFrame
from maskanim.video.encoding import Encoding
from maskanim.video.output import check_output
from maskanim.video.picture import Picture, check_picture_name, read_picture, write_picture
from maskanim.video.reader import arrange_clip, open_clip
from maskanim.video.resumable import ResumableWriter
from maskanim.video.source import parse_colour, read_source
from maskanim.video.timing import parse_rate, parse_time
from maskanim.video.writer import ClipWriter, FrameWriter

__all__ = [
    "Clip",
    "ClipWriter",
    "Encoding",
    "FrameWriter",
    "Picture",
    "ResumableWriter",
    "TimedFrame",
    "arrange_clip",
    "check_output",
    "check_picture_name",
    "open_clip",
    "parse_colour",
    "parse_rate",
    "parse_time",
    "read_picture",
    "read_source",
    "write_picture",
]
