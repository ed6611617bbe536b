"""Draw the embedded demo's source picture and driving clip: python -m maskanim.train.demo_assets ASSETS FOLDER.

Both are rendered identities of the test split, which no training sees, beyond those that the benchmark measures.
The bundle beside them comes from a training that the preset `people` describes:
maskanim-export --ckpt runs/people/last.pt --out FOLDER/bundle --weights float16 --name demo --no-register
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from maskanim.train.people.assets import read_pack
from maskanim.train.people.clip import Studio, motion_of
from maskanim.video import ClipWriter, open_clip, write_picture

SOURCE, DRIVING = 130, 120
FPS, SECONDS = 25, 4


def draw_demo_assets(assets: Path, folder: Path) -> None:
    """Write source.png and driving.mp4 (256x256, 25 frames per second) to an existing folder.

    Args:
        assets: MakeHuman's data folder.
    """
    studio = Studio(read_pack(assets))
    source, driver = (studio.person(number, "test") for number in (SOURCE, DRIVING))
    still = studio.frame(source, studio.scene(SOURCE, "test"), motion_of(SOURCE, "test").at(0))
    write_picture(folder / "source.png", still.image)
    scene, motion = studio.scene(DRIVING, "test"), motion_of(DRIVING, "test")
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(SECONDS * FPS):
            write_picture(Path(scratch) / f"{i}.png", studio.frame(driver, scene, motion.at(i / FPS)).image)
        with open_clip(scratch, FPS) as clip, ClipWriter(folder / "driving.mp4", clip) as writer:
            for image, pts in clip:
                writer.write(image, pts)


if __name__ == "__main__":
    draw_demo_assets(Path(sys.argv[1]), Path(sys.argv[2]))
