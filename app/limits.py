"""What the page offers, and what it takes: checked from the files' heads, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maskanim.app.worker import ModelWorker
from maskanim.errors import MaskanimError
from maskanim.video import Clip
from maskanim.video.container import open_container, video_stream

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """How much one visitor may ask for.

    Raises:
        MaskanimError: one of them is not positive.
    """

    bytes: int = 200 * MEGABYTE  # of one uploaded file
    pixels: int = 40_000_000  # of the picture, and of one frame of the clip
    seconds: float = 120.0  # of the clip
    waiting: int = 8  # how many requests may wait for their turn
    folder_bytes: int = 4000 * MEGABYTE  # of everything uploaded and made that is still kept

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise MaskanimError(f"limit of {name.replace('_', ' ')}", f"{value}", "more than zero")

    def check_picture(self, path: Path) -> None:
        """Refuse a picture of too many pixels; what is no picture is left to the reader.

        Raises:
            MaskanimError: it is too large.
        """
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as picture:
                self._check_pixels(path, *picture.size)
        except Image.DecompressionBombError as error:
            raise MaskanimError(path.name, f"a picture of too many pixels ({error})", self._pixels()) from None
        except (UnidentifiedImageError, OSError, ValueError):
            return

    def check_clip(self, clip: Clip) -> None:
        """Refuse a clip that says it is longer than allowed.

        Raises:
            MaskanimError: it is too long.
        """
        if clip.frame_count:
            self.check_time(clip, clip.frame_count / float(clip.rate))

    def check_time(self, clip: Clip, seconds: float) -> None:
        """Refuse a clip that turns out to be longer than allowed: the file's own word is not all there is to go by.

        Raises:
            MaskanimError: it is too long.
        """
        if seconds > self.seconds:
            expected = f"at most {self.seconds:g} s"
            raise MaskanimError(clip.path.name, f"a clip of {seconds:.1f} s", expected, "Cut it first")

    def check_clip_size(self, path: Path) -> None:
        """Refuse a clip whose frames have too many pixels.

        Raises:
            MaskanimError: they are too large, or there is no video in it.
        """
        self.check_picture(path)  # a strip is one
        with open_container(path) as container:
            stream = video_stream(path, container)
            self._check_pixels(path, stream.width, stream.height)

    def _check_pixels(self, path: Path, width: int, height: int) -> None:
        if width * height > self.pixels:
            raise MaskanimError(path.name, f"{width}x{height} pixels", self._pixels(), "Make it smaller first")

    def _pixels(self) -> str:
        return f"at most {self.pixels / 1e6:g} million pixels"


def check_uploaded(path: object, folder: Path) -> Path:
    """The file that a request names, if it was uploaded here.

    Returns:
        The path with symbolic links followed.

    Raises:
        MaskanimError: it lies elsewhere, or is not there any more.
    """
    if isinstance(path, str) and path and "\0" not in path:
        found = Path(path).resolve()
        if found.is_relative_to(folder.resolve()) and found.is_file():
            return found
    raise MaskanimError("request", "a file that was not uploaded to this page", "an uploaded one", "Choose it again")


class AppContext(NamedTuple):
    """What the page works with."""

    worker: ModelWorker  # runs the model
    models: dict[str, str | Path]  # to choose from, by their names on the page
    engines: list[str]  # to choose from
    limits: Limits  # on what is sent
    folder: Path  # where uploads and results are

    def model(self, name: object) -> str | Path:
        """The model of this name.

        Raises:
            MaskanimError: it is not one of those to choose from.
        """
        if not isinstance(name, str) or name not in self.models:
            raise MaskanimError("model", f"'{name}'", f"one of {', '.join(self.models)}")
        return self.models[name]

    def engine(self, name: object) -> str:
        """The engine of this name; raises as `model`."""
        if not isinstance(name, str) or name not in self.engines:
            raise MaskanimError("engine", f"'{name}'", f"one of {', '.join(self.engines)}")
        return name

    def uploaded(self, value: Any, noun: str) -> Path:
        """The file that was chosen.

        Raises:
            MaskanimError: there is none, or it was not uploaded here.
        """
        if not value:
            raise MaskanimError(noun, "none was chosen", "one", "Drop one, or go back to the demo's")
        path = value.get("video", value) if isinstance(value, dict) else value
        return check_uploaded(path.get("path") if isinstance(path, dict) else path, self.folder)
