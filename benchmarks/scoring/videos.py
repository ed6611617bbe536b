"""Which videos are held against which: a model's on clips or puppets, finished ones, or the columns of strips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from maskanim.benchmarks.judges.puppets import known, see_figure
from maskanim.benchmarks.quality.puppets import CLIP_FPS, Animates, pairs
from maskanim.benchmarks.scoring.engine import Case, Streams
from maskanim.errors import MaskanimError, needs_extra
from maskanim.ops import Array, Frame, perturb, postprocess, preprocess
from maskanim.runtime.runner import encoded_source
from maskanim.spec import IMAGE_SIZE, MASK_SIZE, Perturbation
from maskanim.video import open_clip

if TYPE_CHECKING:
    from maskanim.train.data.layouts import ClipFile, ClipList

T = TypeVar("T")

SKIPPED = "-"
ROLES = ("source", "target")
MASKS = ("driving_mask", "perturbed_mask")  # not scored, but held against P_test
# The authors' samples; everything that is not a method is left out.
AUTHORS = "source,-,driving,driving_mask,perturbed_mask,-,low_res,x2face,monkeynet,fomm,ours"


def square(image: Frame) -> Frame:
    """What a network of ours would get: the largest centred square, resized to 256x256; uint8 RGB."""
    return image if image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) else postprocess(preprocess(image))


def open_squares(path: Path, opened: ExitStack, every: int = 1) -> Iterator[Frame]:
    """The frames of a video, a strip, a picture or a folder of pictures, as 256x256 squares.

    Args:
        every: 12 takes the frames 0, 12, 24, ...

    Raises:
        MaskanimError: at once, if there is no such clip; at the frame where it is damaged.
    """
    clip = opened.enter_context(open_clip(path))
    return (square(image) for image, _ in islice(clip, 0, None, every))


def first_square(path: Path) -> Frame:
    """A picture, or the first frame of a clip, as a 256x256 square.

    Raises:
        MaskanimError: there is none.
    """
    with ExitStack() as opened:
        return _first_of(open_squares(path, opened), path)


def _first_of(frames: Iterable[T], path: Path) -> T:
    for frame in frames:
        return frame
    raise MaskanimError(str(path), "no frame in it", "at least one")


def test_clips(data: Path) -> ClipList:
    """The clips of the test split, or of a folder without splits.

    Raises:
        MissingPackageError: PyTorch, which reads data sets, is not installed.
        MaskanimError: there is no such folder or no clip in it.
    """
    with needs_extra("reading folders of clips", "train"):
        from maskanim.train.data.layouts import has_splits, list_clips
    return list_clips(data, "test" if has_splits(data) else None)


def reconstruction(
    model: Animates, method: str, clips: ClipList, every: int = 1, most: int | None = None
) -> list[Case]:
    """Section 4.1: each clip rebuilt from its first frame; all other frames drive, and are the target.

    Args:
        every: 12 takes the frames 12, 24, ... as drivers.
        most: clips, spread over the list; all without it.
    """
    count = min(most or len(clips.clips), len(clips.clips))
    chosen = (clips.clips[i] for i in np.linspace(0, len(clips.clips) - 1, count).round().astype(int))
    return [_animation(model, method, clip.name, clip.path, clip.path, every, rebuilt=True) for clip in chosen]


def animation(model: Animates, method: str, pairs: Sequence[tuple[ClipFile, ClipFile]], every: int = 1) -> list[Case]:
    """Section 4.2: the first frame of one clip animated by all frames of another; nobody knows the target.

    Args:
        pairs: of source and driver, from `listed_pairs` or `drawn_pairs`.
        every: 12 takes the driving frames 0, 12, 24, ...
    """
    return [
        _animation(model, method, f"{source.name} by {driving.name}", source.path, driving.path, every, rebuilt=False)
        for source, driving in pairs
    ]


def _animation(
    model: Animates, method: str, name: str, source: Path, driving: Path, every: int, *, rebuilt: bool
) -> Case:
    """The first frame of one file animated by another; `rebuilt` by the rest of its own, which is the target."""

    def opened_on(stack: ExitStack) -> Streams:
        picture = first_square(source)
        frames, copy = (islice(open_squares(driving, stack, every), int(rebuilt), None) for _ in range(2))
        return Streams(frames, {method: _animated(model, picture, copy)}, "driving" if rebuilt else None, picture)

    return Case(name, (method,), opened_on)


def listed_pairs(path: Path, clips: ClipList) -> tuple[list[tuple[ClipFile, ClipFile]], dict[str, str]]:
    """The pairs of a CSV file with the columns source and driving, and the rows whose clips are not there.

    Raises:
        MaskanimError: it is no such file, or none of its rows names two clips.
    """
    from maskanim.train.data.pair_list import read_pair_list

    found = read_pair_list(path, clips)
    return [(pair.source, pair.driving) for pair in found.pairs], dict.fromkeys(found.missing, "left out")


def drawn_pairs(clips: ClipList, count: int, seed: int) -> list[tuple[ClipFile, ClipFile]]:
    """Distinct pairs of clips of different identities, as section 4.2 draws 100 of each test set.

    Raises:
        MaskanimError: there are not two identities.
    """
    possible = [(a, b) for a in clips.clips for b in clips.clips if a.identity != b.identity]
    if not possible:
        raise MaskanimError(str(clips.folder), "clips of a single identity", "two identities at least")
    return [possible[i] for i in np.random.default_rng(seed).permutation(len(possible))[:count]]


def _animated(model: Animates, source: Frame, driving: Iterator[Frame]) -> Iterator[Frame]:
    """The source is encoded when the first frame is wanted, so that what is wrong with it is said of this video."""
    for first in driving:
        with encoded_source(model, source) as encoded:
            for frame in chain([first], driving):
                yield model.animate(encoded, frame)


def puppets(model: Animates, method: str, identities: Iterable[int], frames: int, *, rebuilt: bool) -> list[Case]:
    """Drawn puppets of the test split, whose key-points and figures are known exactly.

    Args:
        rebuilt: from the first frame (section 4.1), or animated by a driver of its own (section 4.2, `pairs`).
    """

    def opened_on(number: int, _: ExitStack) -> Streams:
        (pair,) = pairs([number], frames)
        source, *driving = pair.source.clip(frames, CLIP_FPS) if rebuilt else (pair.picture, *pair.driving)
        images = [frame.image for frame in driving]
        return Streams(
            driving=iter(images),
            generated={method: _animated(model, source.image, iter(images))},
            target="driving" if rebuilt else None,
            source=source.image,
            known=lambda first, end: known(driving[first:end]),
            source_known=known([source]),
            observers={"people": partial(see_figure, pair.source.background)},
        )

    return [Case(f"puppet {number}", (method,), partial(opened_on, number)) for number in identities]


def finished(
    generated: Mapping[str, Path], driving: Path, source: Path | None = None, target: Path | None = None, every: int = 1
) -> tuple[list[Case], dict[str, str]]:
    """Finished videos of any method: files of the same name in several folders belong together, and single files.

    Args:
        generated: of each method, a folder of videos or a single one.
        source: the sources: pictures, or clips whose first frame counts.
        target: what the generated videos should be, frame for frame.
        every: 12 takes the frames 0, 12, 24, ...

    Returns:
        The videos to score, and of those that lack a counterpart, which.

    Raises:
        MaskanimError: a folder is not there or has no clip in it, or two clips of one folder share a name.
    """
    made = {method: clips_by_name(path) for method, path in generated.items()}
    given = {"driving": driving, "source": source, "target": target}
    sides = {side: clips_by_name(path) for side, path in given.items() if path}
    if all(len(each) == 1 for each in (*made.values(), *sides.values())):
        (only,) = next(iter(made.values()))
        made, sides = (
            {key: {only: next(iter(each.values()))} for key, each in group.items()} for group in (made, sides)
        )

    def opened_on(name: str, methods: Sequence[str], stack: ExitStack) -> Streams:
        found = {side: each[name] for side, each in sides.items() if name in each}
        same = found.get("target") == found["driving"]
        aim = open_squares(found["target"], stack, every) if "target" in found and not same else None
        return Streams(
            driving=open_squares(found["driving"], stack, every),
            generated={method: open_squares(made[method][name], stack, every) for method in methods},
            target="driving" if same else aim,
            source=first_square(found["source"]) if "source" in found else None,
        )

    cases, lacking = [], {}
    for name in dict.fromkeys(name for each in (*made.values(), sides["driving"]) for name in each):
        methods = tuple(method for method, each in made.items() if name in each)
        if without := [key for group in (made, sides) for key, each in group.items() if name not in each]:
            lacking[name] = f"no {', no '.join(without)} video of that name"
        if methods and name in sides["driving"]:
            cases.append(Case(name, methods, partial(opened_on, name, methods)))
    return cases, lacking


def clips_by_name(path: Path) -> dict[str, Path]:
    """The clips of a folder by name, without the folder and without a file's ending; or a single clip.

    Raises:
        MaskanimError: it is not there, has no clip, or two clips that differ in their endings only.
    """
    if not path.exists():
        raise MaskanimError(str(path), "there is no such file or folder", "a video, or a folder of videos")
    if path.is_file():
        return {path.stem: path}
    with needs_extra("reading folders of clips", "train"):
        from maskanim.train.data.layouts import list_clips
    found: dict[str, Path] = {}
    for clip in list_clips(path).clips:
        name = clip.name if clip.kind == "frames" else clip.name.removesuffix(clip.path.suffix)
        if name in found:
            raise MaskanimError(str(path), f"both {found[name].name} and {clip.path.name}", "one clip of each name")
        found[name] = clip.path
    return found


def parse_generated(values: list[str]) -> dict[str, Path]:
    """``DIR`` or ``NAME=DIR`` of each method; a folder without a name goes by its own.

    Raises:
        MaskanimError: one of them is not there, or two go by one name.
    """
    found: dict[str, Path] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        named = bool(equals) and not Path(value).exists()
        path = Path(rest if named else value)
        name = name if named else path.resolve().stem
        if not path.exists():
            raise MaskanimError(f"--generated {value}", "there is no such file or folder", "DIR or NAME=DIR")
        if name in found:
            raise MaskanimError(f"--generated {value}", f"a second {name}", "NAME=DIR with another name")
        found[name] = path
    return found


class Columns:
    """What the columns of a strip are, the form in which the paper's authors published their samples.

    Args:
        text: a name for each, with commas: ``source``, ``driving`` (needed), ``target``, ``driving_mask`` and
            ``perturbed_mask``, ``-`` for one to be left out; any other name is that of a method.
        border: pixels along the edge of each cell that are a drawn frame's; their neighbours take their place, so that
            nothing moves.

    Raises:
        MaskanimError: a name comes twice, or there is no driving column or no method.
    """

    def __init__(self, text: str, border: int = 0) -> None:
        self.names = [name.strip() for name in text.split(",")]
        self.border = border
        kept = [name for name in self.names if name != SKIPPED]
        subject = f"--columns {text}"
        if len(kept) != len(set(kept)) or "" in kept:
            raise MaskanimError(
                subject, "a name twice, or an empty one", "a name for each column, '-' to leave one out"
            )
        self.methods = tuple(name for name in kept if name not in (*ROLES, *MASKS, "driving"))
        if "driving" not in kept or not self.methods:
            raise MaskanimError(subject, ", ".join(kept) or "no column", "'driving' and at least one method")

    def cells(self, path: Path, stack: ExitStack, every: int = 1) -> Iterator[list[Frame]]:
        """The cells of every so many frames, in the order of the columns; as they are in the file.

        Raises:
            MaskanimError: the file cannot be read, or its frames do not divide into so many squares.
        """
        clip = stack.enter_context(open_clip(path))
        for image, _ in islice(clip, 0, None, every):
            height, width = image.shape[:2]
            if width != height * len(self.names):
                expected = f"{len(self.names)} columns of {height} pixels: {height * len(self.names)} pixels wide"
                raise MaskanimError(str(path), f"frames of {width}x{height} pixels", expected)
            if 2 * self.border >= height:
                raise MaskanimError(
                    f"--border {self.border}", f"{path}: cells of {height} pixels", "less than half a cell"
                )
            yield [self._without_border(cell) for cell in np.split(image, len(self.names), axis=1)]

    def case(self, path: Path, every: int = 1) -> Case:
        """One file as a video to score."""

        def opened_on(stack: ExitStack) -> Streams:
            with ExitStack() as first:
                cells = _first_of(self.cells(path, first), path) if "source" in self.names else None
            # One decoding for all columns: the copies run a batch apart at most, and hold no more than that.
            wanted = [name for name in ("driving", "target", *self.methods) if name in self.names]
            copies = zip(wanted, tee(self.cells(path, stack, every), len(wanted)), strict=True)
            streams = {name: map(partial(self._pick, name), copy) for name, copy in copies}
            return Streams(
                driving=streams["driving"],
                generated={name: streams[name] for name in self.methods},
                target=streams.get("target"),
                source=self._pick("source", cells) if cells else None,
            )

        return Case(path.stem, self.methods, opened_on)

    def _pick(self, name: str, cells: Sequence[Frame]) -> Frame:
        return square(cells[self.names.index(name)])

    def _without_border(self, cell: Frame) -> Frame:
        b, side = self.border, len(cell)
        return np.pad(cell[b : side - b, b : side - b], ((b, b), (b, b), (0, 0)), mode="edge")


def mask_agreement(columns: Columns, path: Path, threshold: float, every: int = 1) -> float:
    """Whether the published perturbed masks are P_test of the published driving masks (equation (3)).

    Args:
        columns: with ``driving_mask`` and ``perturbed_mask``.
        threshold: of P_test's kind ``fixed``, in [0, 1].
        every: 12 takes the frames 0, 12, 24, ...

    Returns:
        The share of the pixels of 64x64 that are kept in both or zero in both. P_test keeps no pixel as dark as the
        threshold, so that in the compressed cell one is taken for kept from half of it.
    """
    driving, perturbed = (columns.names.index(name) for name in MASKS)
    perturbation = Perturbation(kind="fixed", threshold=threshold)
    same = []
    with ExitStack() as stack:
        for cells in columns.cells(path, stack, every):
            ours = perturb(_mask(cells[driving]), perturbation) > 0
            same.append((ours == (_mask(cells[perturbed]) > threshold / 2)).mean())
    return float(np.mean(same))


def _mask(cell: Frame) -> Array:
    """(1, 1, 64, 64) float32 in [0, 1]."""
    grey = cell.astype(np.float32).mean(-1) / 255
    return np.asarray(cv2.resize(grey, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA))[None, None]
