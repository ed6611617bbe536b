"""Cameras and standard input: videos that can be read once, as they come."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import BinaryIO

import av
import av.container

from maskanim.errors import MaskanimError
from maskanim.video.container import DRIVING_KINDS, holds_picture
from maskanim.video.film import Film

STANDARD_INPUT = "-"
CAMERA = "camera:"
# FFmpeg's input device and what it calls a camera, by `sys.platform`.
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none"), "win32": ("dshow", "video={}")}


def is_feed(name: str | os.PathLike[str]) -> bool:
    """Whether this is no file but standard input (``-``) or a camera (``camera:0``)."""
    return os.fspath(name) == STANDARD_INPUT or os.fspath(name).startswith(CAMERA)


def open_feed(name: str, *, whole: bool = False) -> Film:
    """Open a camera or standard input.

    Args:
        name: ``-``; or ``camera:`` and a number (Linux, macOS) or the camera's name (Windows, macOS).
        whole: as for `Film`.

    Raises:
        MaskanimError: there is no such camera, or nothing comes that can be read from a pipe.
    """
    if name == STANDARD_INPUT:
        return piped_film(sys.stdin.buffer, whole=whole)
    return Film(Path(name), partial(_open_camera, name), whole=whole, live=True)


def piped_film(pipe: BinaryIO, name: str = "standard input", *, whole: bool = False) -> Film:
    """A video from an open binary file that need not be seekable; its times stay as they are.

    Raises:
        MaskanimError: it is a terminal, or no video that can be read from a pipe.
    """
    if pipe.isatty():
        raise MaskanimError(name, "a terminal", "a video through a pipe", "For example: cat clip.mkv | ...")
    return Film(Path(name), partial(_open_pipe, name, pipe), whole=whole, once=True)


def _open_camera(name: str) -> av.container.InputContainer:
    form, device = DEVICES.get(sys.platform, DEVICES["linux"])
    place = device.format(name.removeprefix(CAMERA))
    try:
        return av.open(place, mode="r", format=form)
    except (av.FFmpegError, OSError, ValueError) as error:  # ValueError: PyAV without this kind of device
        reason = getattr(error, "strerror", None) or str(error)
        received = f"no camera that can be opened at {place} ({reason})"
        raise MaskanimError(name, received, "a camera, such as camera:0", "Check that nothing else uses it") from error


def _open_pipe(name: str, pipe: BinaryIO) -> av.container.InputContainer:
    try:
        container = av.open(pipe, mode="r", metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        received = f"nothing that FFmpeg can read from a pipe ({reason})"
        next_step = "An mp4 whose index is at its end has to be given as a file"
        raise MaskanimError(name, received, "a video, such as mkv, webm or ts", next_step) from error
    if holds_picture(container):
        container.close()
        raise MaskanimError(name, "a picture", DRIVING_KINDS, "Give the picture as a file")
    return container
