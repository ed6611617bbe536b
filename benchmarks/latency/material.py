"""What is animated: two drawn puppets, one as the source, the other as the driver of a clip."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskanim.bundle import Bundle
from maskanim.ops import Frame
from maskanim.runtime.runner import Runner
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import FPS, Puppet

PICTURE, CLIP, PICTURES = "source.png", "driving.mp4", "pictures.npy"
KIND = "drawn puppets, H.264 256x256 in and out"


class Material(NamedTuple):
    """What the subjects animate."""

    source: Frame  # a picture, (256, 256, 3) uint8 RGB
    driving: tuple[Frame, ...]  # the clip's first frames, as many as were asked for, each as `source`
    folder: Path  # where the files are written
    frames: int  # of the clip

    def write(self) -> None:
        """Write the source, the clip, and source and first driving frame as one array."""
        from maskanim.video import write_picture

        write_picture(self.folder / PICTURE, self.source)
        np.save(self.folder / PICTURES, np.stack([self.source, self.driving[0]]))
        _write_clip(self.folder / CLIP, self.frames)


def draw_material(folder: Path, frames: int, kept: int) -> Material:
    """Draw the source, and the first frames of the driver.

    Args:
        kept: how many driving frames are kept as pictures.
    """
    driving = tuple(drawn.image for drawn in Puppet(1, "test").clip(kept))
    return Material(Puppet(0, "test").frame(0).image, driving, folder, frames)


def _write_clip(path: Path, frames: int) -> None:
    import av

    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = IMAGE_SIZE, IMAGE_SIZE, "yuv420p"
        for drawn in Puppet(1, "test").clip(frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(drawn.image, format="rgb24")))
        output.mux(stream.encode(None))


def render_clip(bundle: Bundle, runner: Runner, folder: Path) -> float:
    """Animate the clip of a material as maskanim-run does, from file to signed file; the seconds that it took."""
    from maskanim.models import Choice
    from maskanim.runtime.animator import Animator
    from maskanim.runtime.backends import BackendInUse
    from maskanim.runtime.jobs import Job, render

    animator = Animator(Choice(bundle, "given"), runner, BackendInUse("", "", {}))
    return render(animator, Job(folder / PICTURE, str(folder / CLIP), folder / "animated.mp4")).seconds
