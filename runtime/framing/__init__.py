"""Which square of a picture is animated, and how it goes back into it."""

from maskanim.runtime.framing.box import Box, Crop, Paste, Rectangle, cut, parse_crop
from maskanim.runtime.framing.finder import Found, find_object
from maskanim.runtime.framing.path import BoxPath, clip_path, find_path, source_box, still_path

__all__ = [
    "Box",
    "BoxPath",
    "Crop",
    "Found",
    "Paste",
    "Rectangle",
    "clip_path",
    "cut",
    "find_object",
    "find_path",
    "parse_crop",
    "source_box",
    "still_path",
]
