"""Rendered people as files: strips of frames with their ground truth beside them.

``train/00012.jpg`` has the frames side by side. ``train/00012.npz`` has what is known of them, and ``driver``, the
bytes of a strip of another person who moves alike. ``people.json`` says how they were made. Each file appears whole,
and what is there is not drawn again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.atomic import replacing, write_text
from maskanim.errors import MaskanimError
from maskanim.progress import Progress
from maskanim.train.people.assets import read_pack
from maskanim.train.people.clip import PersonFrame, Studio
from maskanim.train.people.figure import Framing
from maskanim.train.people.person import SPLITS, Split
from maskanim.train.processes import in_processes

JPEG_QUALITY = 95
ABOUT = "people.json"
FIRST_DRIVER = 1_000_000  # drivers are identities of their own, however many others are asked for
# Counts the ways in which people have been drawn. 2: training identities mix skins and shape their hair; 3: heads are
# framed by the face.
POPULATION = 3
STEP_SECONDS = 0.4  # from frame to frame: far enough apart to make pairs of


class Order(NamedTuple):
    """What is to be drawn."""

    identities: tuple[int, int]  # how many of each split: train and test
    frames: int  # of each
    step: float = STEP_SECONDS  # seconds from frame to frame
    seed: int = 0  # of the population
    framing: Framing = "head"  # heads or whole bodies

    def clips(self) -> list[tuple[Split, int]]:
        """The split and the number of each identity."""
        return [(split, i) for split, count in zip(SPLITS, self.identities, strict=True) for i in range(count)]


def write_people(assets: Path, out: Path, order: Order, jobs: int, progress: Progress) -> int:
    """Draw people into a folder that training reads.

    Args:
        assets: MakeHuman's data folder.
        out: receives train/, test/ and people.json.
        jobs: processes; each draws on a core of its own.

    Returns:
        How many clips were drawn; those that were there already are not counted.

    Raises:
        MaskanimError: no assets, no OpenGL, or `out` holds other data.
    """
    pack = read_pack(assets)
    _claim(out, order._asdict() | {"assets": pack.fingerprint, "population": POPULATION})
    for split in SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
    wanted = [clip for clip in order.clips() if not _path(out, *clip).with_suffix(".jpg").exists()]
    if not wanted:
        return 0
    work = partial(_write_clip, assets, out, order)
    with _single_threads(), closing(in_processes(work, wanted, jobs)) as drawn:
        for done, _ in enumerate(drawn, 1):
            progress.update(done, len(wanted))
    return len(wanted)


@contextmanager
def _single_threads() -> Iterator[None]:
    """Processes that start inside have one thread each, also for Mesa's renderer: they are the threads."""
    names = ("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _claim(out: Path, about: dict[str, Any]) -> None:
    """Refuse a folder of other data; more identities of the same may be added."""
    about = json.loads(json.dumps(about))
    path = out / ABOUT
    if path.is_file():
        found = json.loads(path.read_text("utf-8"))
        differs = [key for key in sorted(about | found) if key != "identities" and found.get(key) != about.get(key)]
        if differs:
            raise MaskanimError(f"--out {out}", f"people of another {', '.join(differs)}", "a new folder")
        about["identities"] = list(map(max, about["identities"], found["identities"]))  # what is there stays
    elif out.exists() and any(out.iterdir()):
        raise MaskanimError(f"--out {out}", "a folder with other files", "a new folder, or one of the same people")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(about, indent=1) + "\n")


@cache
def _studio(assets: Path, framing: Framing) -> Studio:
    """This process's."""
    cv2.setNumThreads(0)
    return Studio(read_pack(assets), framing)


def _path(out: Path, split: Split, number: int) -> Path:
    return out / split / f"{number:05d}"


def _write_clip(assets: Path, out: Path, order: Order, clip: tuple[Split, int]) -> None:
    split, number = clip
    studio = _studio(assets, order.framing)
    frames = draw_clip(studio, order, split, number)
    # The same motion on somebody else, in another place: the clip is the true answer to "A moved as B".
    driver = draw_clip(studio, order, split, FIRST_DRIVER + number, motion=number)
    path = _path(out, split, number)
    truth = truth_of(frames) | {"driver": np.frombuffer(_strip(driver), np.uint8)}
    # The picture comes last: with it the clip counts as drawn.
    with replacing(path.with_suffix(".npz")) as new:
        np.savez_compressed(new, **truth)  # type: ignore[arg-type]
    with replacing(path.with_suffix(".jpg")) as new:
        new.write_bytes(_strip(frames))


def draw_clip(studio: Studio, order: Order, split: Split, number: int, motion: int | None = None) -> list[PersonFrame]:
    """The frames of one identity, in its own motion or in another identity's."""
    person, scene = studio.person(number, split, order.seed), studio.scene(number, split, order.seed)
    moves = studio.motion(number if motion is None else motion, split, order.seed)
    return studio.frames(person, scene, [moves.at(i * order.step) for i in range(order.frames)])


def _strip(frames: Iterable[PersonFrame]) -> bytes:
    strip = cv2.cvtColor(np.concatenate([frame.image for frame in frames], 1), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def truth_of(frames: Sequence[PersonFrame]) -> dict[str, NDArray[Any]]:
    """The ground truth of frames, as it is kept in a file.

    Returns:
        figure_map (F, 64, 64) and foreground (F, 256, 256) uint8, 255 being 1; landmarks (F, 68, 2), angles (F, 3),
        mouth (F,) and lids (F, 2) float32; of bodies, keypoints (F, 17, 2) in place of the landmarks; see
        `PersonFrame`.
    """
    bytes_of = {name: np.stack([getattr(frame, name) for frame in frames]) for name in ("figure_map", "foreground")}
    floats = {
        name: np.array([getattr(frame, name) for frame in frames], np.float32)
        for name in ("landmarks" if frames[0].keypoints is None else "keypoints", "angles", "mouth", "lids")
    }
    return {name: np.round(255 * values).astype(np.uint8) for name, values in bytes_of.items()} | floats
