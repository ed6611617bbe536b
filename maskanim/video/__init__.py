"""Reading and writing clips with exact timestamps and audio."""

from maskanim.video.clip import Clip, FrameSource, SourceFrame, TimedFrame, parse_rate, parse_time
from maskanim.video.encoding import Encoding
from maskanim.video.pictures import Picture, check_picture_name, parse_colour, read_picture, write_picture
from maskanim.video.read import arrange_clip, is_feed, natural_order, open_clip, read_source
from maskanim.video.resume import ResumableWriter
from maskanim.video.write import ClipWriter, FrameWriter, check_output

__all__ = [
    "Clip",
    "ClipWriter",
    "Encoding",
    "FrameSource",
    "FrameWriter",
    "Picture",
    "ResumableWriter",
    "SourceFrame",
    "TimedFrame",
    "arrange_clip",
    "check_output",
    "check_picture_name",
    "is_feed",
    "natural_order",
    "open_clip",
    "parse_colour",
    "parse_rate",
    "parse_time",
    "read_picture",
    "read_source",
    "write_picture",
]
