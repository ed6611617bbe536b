"""The paper's two protocols for a model of ours: reconstruction (section 4.1) and animation (section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskanim.benchmarks.quality.animates import Animates
from maskanim.benchmarks.scoring.engine import Case, Footage
from maskanim.benchmarks.scoring.frames import first_of, first_square, open_squares
from maskanim.errors import MaskanimError, needs_extra
from maskanim.ops import Frame

if TYPE_CHECKING:
    from maskanim.train.data.layouts import ClipList


class Pairing(NamedTuple):
    """A source's clip, whose first frame counts, and the driving clip; with their names below the data's folder."""

    source: Path
    driving: Path
    name: str


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
        model: what rebuilds them.
        method: its name.
        clips: of the test split.
        every: 12 takes the frames 12, 24, ... as drivers.
        most: clips, spread over the list; all without it.
    """

    def case(path: Path, name: str) -> Case:
        def opened_on(stack: ExitStack) -> Footage:
            driving, copy = (open_squares(path, stack, every) for _ in range(2))
            source = first_of(driving, path)
            return Footage(driving, {method: _animated(model, source, islice(copy, 1, None))}, "driving", source)

        return Case(name, opened_on, (method,))

    count = min(most or len(clips.clips), len(clips.clips))
    chosen = np.linspace(0, len(clips.clips) - 1, count).round().astype(int)
    return [case(clips.clips[i].path, clips.clips[i].name) for i in chosen]


def animation(model: Animates, method: str, pairings: Sequence[Pairing], every: int = 1) -> list[Case]:
    """Section 4.2: the first frame of one clip animated by all frames of another; nobody knows the target.

    Args:
        model: what animates them.
        method: its name.
        pairings: from `listed` or `drawn`.
        every: 12 takes the driving frames 0, 12, 24, ...
    """

    def case(pairing: Pairing) -> Case:
        def opened_on(stack: ExitStack) -> Footage:
            source = first_square(pairing.source) if pairing.source.is_file() else _first_frame(pairing.source)
            driving, copy = (open_squares(pairing.driving, stack, every) for _ in range(2))
            return Footage(driving, {method: _animated(model, source, copy)}, None, source)

        return Case(pairing.name, opened_on, (method,))

    return [case(pairing) for pairing in pairings]


def listed(path: Path, clips: ClipList) -> tuple[list[Pairing], dict[str, str]]:
    """The pairs of a CSV file with the columns source and driving, and the rows whose clips are not there.

    Raises:
        MaskanimError: it is no such file, or none of its rows names two clips.
    """
    from maskanim.train.data.pair_list import read_pair_list

    found = read_pair_list(path, clips)
    pairs = [(pair.source, pair.driving) for pair in found.pairs]
    named = [Pairing(source.path, driving.path, f"{source.name} by {driving.name}") for source, driving in pairs]
    return named, dict.fromkeys(found.missing, "left out")


def drawn(clips: ClipList, count: int, seed: int) -> list[Pairing]:
    """Distinct pairs of clips of different identities, as section 4.2 draws 100 of each test set.

    Raises:
        MaskanimError: there are not two identities.
    """
    every = clips.clips
    possible = [(a, b) for a in range(len(every)) for b in range(len(every)) if every[a].identity != every[b].identity]
    if not possible:
        raise MaskanimError(str(clips.folder), "clips of a single identity", "two identities at least")
    order = np.random.default_rng(seed).permutation(len(possible))[:count]
    pairs = [(every[a], every[b]) for a, b in (possible[i] for i in order)]
    return [Pairing(source.path, driving.path, f"{source.name} by {driving.name}") for source, driving in pairs]


def _first_frame(folder: Path) -> Frame:
    with ExitStack() as stack:
        return first_of(open_squares(folder, stack), folder)


def _animated(model: Animates, source: Frame, driving: Iterator[Frame]) -> Iterator[Frame]:
    """The source is encoded when the first frame is wanted, so that what is wrong with it is said of this video."""
    for first in driving:
        encoded = model.encode_source(source)
        for frame in chain([first], driving):
            yield model.animate(encoded, frame)
