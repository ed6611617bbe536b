"""From raw clips to a data set: cropped, resized and split into train/ and test/, each clip whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from maskanim.atomic import write_text
from maskanim.errors import MaskanimError
from maskanim.ops import MIN_FRAME_SIDE, Frame
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.spec import IMAGE_SIZE, Record
from maskanim.train.data.clips import square
from maskanim.train.data.layouts import SPLITS, ClipFile, ClipList, Split, has_splits, list_clips
from maskanim.train.processes import in_processes
from maskanim.video import Clip, ClipWriter, Encoding, SourceFrame, open_clip, write_picture

RECORD = "prepare.json"
UNFINISHED = ".unfinished"
TEST_SHARE = 0.1
# Against x264's usual 250, measured on 256x256: five times as many random frames a second, and files a third larger.
KEYFRAME_EVERY = 12

Format = Literal["mp4", "frames"]


class Crop(NamedTuple):
    """A rectangle of every frame, in pixels from the top left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Crop | None:
        """``x,y,w,h``; None for ``centre``.

        Raises:
            MaskanimError: neither of them.
        """
        if text == "centre":
            return None
        try:
            crop = cls(*(int(part) for part in text.split(",")))
        except (TypeError, ValueError):
            raise MaskanimError(f"--crop {text}", "not four whole numbers", "x,y,w,h in pixels, or 'centre'") from None
        if min(crop.x, crop.y) < 0 or min(crop.width, crop.height) < MIN_FRAME_SIDE:
            raise MaskanimError(f"--crop {text}", "a rectangle outside the frame or too small", "at least 64x64 in it")
        return crop


class Preparation(Record):
    """What is made of raw clips."""

    size: int = Field(default=IMAGE_SIZE, ge=MIN_FRAME_SIDE, multiple_of=2)  # side of the square frames, in pixels
    crop: Crop | None = None  # what is cut out first; of it, or of the whole frame, the largest centred square is taken
    # share of the clips, or of the identities where names carry them, that goes to test/, at least one; None: a tenth,
    # or the raw folder's own train/ and test/
    test: float | None = Field(default=None, ge=0, lt=1)
    # frames per second; None keeps the frames and times as they are. Strips and folders of frames have 25.
    fps: Fraction | None = Field(default=None, gt=0)
    format: Format = "mp4"  # ``mp4``, or ``frames``, a folder of PNG files for each clip
    seed: int = Field(default=0, ge=0)  # of the split


@dataclass(frozen=True)
class Job:
    """One clip: where it comes from, and where it goes."""

    clip: ClipFile
    split: Split
    target: Path
    preparation: Preparation

    def name_below(self, raw: Path) -> str:
        """The clip's name below the raw folder, with '/'."""
        return self.clip.path.relative_to(raw).as_posix()


@dataclass
class Prepared:
    """What was done."""

    clips: Counter[Split]  # how many each split holds now
    finished_before: int  # how many of them an earlier call had made
    damaged: dict[str, str]  # the names of the clips left out, below the raw folder, and why


def prepare(
    raw: Path, out: Path, preparation: Preparation, *, workers: int = 1, progress: Progress = NO_PROGRESS
) -> Prepared:
    """Crop, resize and split the clips of a folder; clips that an earlier call finished are left alone.

    Args:
        raw: videos, folders of frames and strips, as `list_clips` recognises them; its own split, train/ and
            test/, is kept.
        out: receives train/ and test/, and a record of how they were made.
        progress: counts clips, with the name of the latest.

    Raises:
        MaskanimError: no clips, none that can be read, or `out` holds something else.
    """
    jobs = _jobs(raw, out, preparation)
    _record(raw, out, jobs)
    scratch = out / UNFINISHED
    shutil.rmtree(scratch, ignore_errors=True)
    for folder in (scratch, *(out / job.split for job in jobs)):
        folder.mkdir(exist_ok=True)
    left = [job for job in jobs if not job.target.exists()]
    done, damaged = len(jobs) - len(left), {}
    here = ((job, prepare_clip(job)) for job in left)
    for job, reason in here if workers == 1 else in_processes(prepare_clip, left, workers):
        done += 1
        if reason:
            damaged[job.name_below(raw)] = reason
        progress.update(done, len(jobs), job.name_below(raw))
    scratch.rmdir()
    if len(damaged) == len(jobs):
        name, reason = next(iter(damaged.items()))
        raise MaskanimError(str(raw), f"no clip could be prepared; {name}: {reason}", "clips that can be read")
    clips = Counter(job.split for job in jobs if job.name_below(raw) not in damaged)
    return Prepared(clips, len(jobs) - len(left), damaged)


def _jobs(raw: Path, out: Path, preparation: Preparation) -> list[Job]:
    """Every clip with its split and its place; names of two clips that differ in their endings alone keep them."""
    found = _by_split(raw, preparation)
    jobs = []
    for split, clips in found.items():
        stems = Counter(_stem(clip) for clip in clips)
        for clip in clips:
            name = _stem(clip) if stems[_stem(clip)] == 1 else clip.name.replace("/", "#")
            suffix = ".mp4" if preparation.format == "mp4" else ""
            jobs.append(Job(clip, split, out / split / f"{name}{suffix}", preparation))
    counts = Counter(job.target for job in jobs)
    if alike := [job.name_below(raw) for job in jobs if counts[job.target] > 1][:2]:
        received = f"{' and '.join(alike)}, of which both would get one name"
        raise MaskanimError(str(raw), received, "names that differ in more than / and #", "Rename one")
    return jobs


def _by_split(raw: Path, preparation: Preparation) -> dict[Split, list[ClipFile]]:
    if has_splits(raw):
        if preparation.test is not None:
            raise MaskanimError(str(raw), "a folder with its own train/ or test/", "raw clips for --test to split")
        present: list[Split] = [split for split in SPLITS if (raw / split).is_dir()]
        return {split: list(list_clips(raw, split).clips) for split in present}
    clips = list_clips(raw)
    test = _test_identities(clips, preparation)
    return {
        "train": [clip for clip in clips.clips if clip.identity not in test],
        "test": [clip for clip in clips.clips if clip.identity in test],
    }


def _test_identities(clips: ClipList, preparation: Preparation) -> set[str]:
    """Nobody is in both splits. The order is that of a hash, so a clip more or less leaves the others' order alone."""

    def draw(identity: str) -> bytes:
        return hashlib.sha256(f"{preparation.seed} {identity}".encode("utf-8", "surrogatepass")).digest()

    identities = sorted(clips.identities(), key=draw)
    share = TEST_SHARE if preparation.test is None else preparation.test
    count = min(len(identities) - 1, max(1, round(share * len(identities)))) if share else 0
    return set(identities[:count])


def _stem(clip: ClipFile) -> str:
    """The name in the new data set, where all clips of a split lie in one folder: sub-folders become parts of it."""
    flat = clip.name.replace("/", "#")
    known = clip.kind != "frames" or Path(flat).suffix.lower() == ".mp4"
    return Path(flat).stem if known else flat


def _record(raw: Path, out: Path, jobs: list[Job]) -> None:
    """Write down how the data set is made, or refuse to mix two ways of making it."""
    names = "\n".join(f"{job.name_below(raw)} {job.split}" for job in jobs)
    told = json.loads(jobs[0].preparation.model_dump_json())
    told["clips"] = hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()
    path = out / RECORD
    if path.exists():
        if json.loads(path.read_text("utf-8")) != told:
            received = "a data set made with other options or from other clips"
            raise MaskanimError(str(out), received, "the same ones, to go on with it", "Or choose a new folder")
        return
    if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
        raise MaskanimError(str(out), "something else than a data set begun here", "a new or empty folder")
    if out.resolve().is_relative_to(raw.resolve()):
        raise MaskanimError(str(out), f"a folder inside {raw}", "one outside, or its clips become raw clips themselves")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(told, indent=2) + "\n")


def prepare_clip(job: Job) -> str:
    """Make one clip, whole or not at all.

    Returns:
        What is wrong with the raw clip; empty where it was made.

    Raises:
        MaskanimError: the new clip cannot be written.
    """
    unfinished = job.target.parent.parent.resolve() / UNFINISHED / f"{job.split}#{job.target.name}"
    try:
        # A raw clip that is damaged is refused, for a data set has others.
        with open_clip(job.clip.path, fps=job.preparation.fps, whole=True) as clip:
            write = _write_mp4 if job.preparation.format == "mp4" else _write_pictures
            write(unfinished, _all_cut(clip, job.preparation))
        unfinished.replace(job.target)
    except MaskanimError as error:
        if error.subject.startswith(str(unfinished)):
            raise
        shutil.rmtree(unfinished, ignore_errors=True)
        return job.clip.reason(error)
    except OSError as error:
        raise MaskanimError(str(job.target), f"cannot be written ({error.strerror})", "space on its disk") from error
    return ""


def _all_cut(clip: Clip, preparation: Preparation) -> Clip:
    """The clip's frames, cropped and resized; without its audio."""
    frames = (SourceFrame(_cut(image, preparation), pts, clip.frame_duration) for image, pts in clip)
    return Clip(clip.path, frames, clip.time_base, clip.rate, clip.frame_count)


def _cut(image: Frame, preparation: Preparation) -> Frame:
    if preparation.crop:
        x, y, width, height = preparation.crop
        if y + height > image.shape[0] or x + width > image.shape[1]:
            received = f"frames of {image.shape[1]}x{image.shape[0]}, smaller than the crop reaches"
            raise MaskanimError("--crop", received, "a rectangle inside of every frame")
        image = image[y : y + height, x : x + width]
    return np.ascontiguousarray(square(image, preparation.size))


def _write_mp4(path: Path, frames: Clip) -> None:
    with ClipWriter(path, frames, Encoding(crf=15, keyframe_every=KEYFRAME_EVERY)) as writer:
        for image, pts in frames:
            writer.write(image, pts)


def _write_pictures(path: Path, frames: Clip) -> None:
    path.mkdir()
    for i, (image, _) in enumerate(frames):
        write_picture(path / f"{i:06d}.png", image)
