"""Which square of a picture is animated, and how it goes back into it."""

from maskanim.runtime.framing.box import Box, Crop, Paste, Rectangle, cut, parse_crop
from maskanim.runtime.framing.finder import Finder
from maskanim.runtime.framing.path import BoxPath, clip_path, source_box

__all__ = ["Box", "BoxPath", "Crop", "Finder", "Paste", "Rectangle", "clip_path", "cut", "parse_crop", "source_box"]
