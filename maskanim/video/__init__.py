"""Reading and writing clips with exact timestamps and audio."""

from maskanim.video.picture import check_picture_name, read_picture, write_picture
from maskanim.video.reader import Clip, TimedFrame, open_clip
from maskanim.video.writer import ClipWriter, Encoding, check_output

__all__ = [
    "Clip",
    "ClipWriter",
    "Encoding",
    "TimedFrame",
    "check_output",
    "check_picture_name",
    "open_clip",
    "read_picture",
    "write_picture",
]
