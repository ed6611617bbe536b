"""What is animated: two drawn puppets, one as the source, the other as the driver of a clip."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from maskanim.ops import Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import FPS, Puppet
from maskanim.video import write_picture

KIND = "drawn puppets, H.264 256x256 in and out"


class Material(NamedTuple):
    """Attributes:
    source: a picture, (256, 256, 3) uint8 RGB.
    driving: the clip's first frames, as many as were asked for, each as `source`.
    picture: the source as a PNG file.
    pictures: an .npy file of the source and the first driving frame, (2, 256, 256, 3) uint8.
    clip: an H.264 file.
    frames: of the clip.
    """

    source: Frame
    driving: tuple[Frame, ...]
    picture: Path
    pictures: Path
    clip: Path
    frames: int


def draw_material(folder: Path, frames: int, kept: int) -> Material:
    """Draw the source and the clip.

    Args:
        folder: where the files go.
        frames: of the clip.
        kept: how many driving frames are also kept as pictures.
    """
    source = Puppet(0, "test").frame(0).image
    driver = Puppet(1, "test")
    clip = folder / "driving.mp4"
    _write_clip(clip, (drawn.image for drawn in driver.clip(frames)))
    driving = tuple(drawn.image for drawn in driver.clip(kept))
    picture, pictures = folder / "source.png", folder / "pictures.npy"
    write_picture(picture, source)
    np.save(pictures, np.stack([source, driving[0]]))
    return Material(source, driving, picture, pictures, clip, frames)


def _write_clip(path: Path, images: Iterable[Frame]) -> None:
    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = IMAGE_SIZE, IMAGE_SIZE, "yuv420p"
        for image in images:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
