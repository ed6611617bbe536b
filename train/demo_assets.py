"""Draw the embedded demo's source picture and driving clip: python -m maskanim.train.demo_assets FOLDER.

Both are identities of the test split, which no training sees, beyond those that the quality benchmark measures. The
bundle beside them comes from runs/demo, whose training the preset `demo` describes:
maskanim-export --ckpt runs/demo/last.pt --out FOLDER/bundle --weights float16 --name demo --no-register
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from maskanim.train.puppets import FPS, Puppet
from maskanim.video import ClipWriter, open_clip, write_picture

SOURCE, DRIVING = 111, 105
SECONDS = 4


def draw_demo_assets(folder: Path) -> None:
    """Write source.png and driving.mp4 (256x256, 25 frames per second) to an existing folder."""
    write_picture(folder / "source.png", Puppet(SOURCE, "test").frame(0).image)
    with tempfile.TemporaryDirectory() as scratch:
        for i, frame in enumerate(Puppet(DRIVING, "test").clip(SECONDS * FPS)):
            write_picture(Path(scratch) / f"{i}.png", frame.image)
        with open_clip(scratch, FPS) as clip, ClipWriter(folder / "driving.mp4", clip) as writer:
            for image, pts in clip:
                writer.write(image, pts)


if __name__ == "__main__":
    draw_demo_assets(Path(sys.argv[1]))
