"""Pair lists: which source is to be animated by which driver (section 4.2), as a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from maskanim.errors import MaskanimError
from maskanim.table import read_table
from maskanim.train.data.layouts import ClipFile, ClipList

COLUMNS = ("source", "driving")


class Animation(NamedTuple):
    """One pair of the list: the first frame of `source` is animated by all frames of `driving`."""

    source: ClipFile
    driving: ClipFile


class PairList(NamedTuple):
    """A pair list."""

    pairs: tuple[Animation, ...]  # in the order of the file; at least one
    missing: tuple[str, ...]  # the rows left out, one line each: what they name is not there


def read_pair_list(path: Path, clips: ClipList) -> PairList:
    """Read a CSV file with the columns ``source`` and ``driving`` (others are ignored), which name clips.

    Args:
        clips: what its names stand for, usually the test split: a clip's name below its folder, as `ClipFile.name`.

    Raises:
        MaskanimError: no such file, not UTF-8, without the two columns, or with no row whose two clips are there.
    """
    known = {clip.name: clip for clip in clips.clips}
    pairs, missing = [], []
    for line, cells in read_table(path, COLUMNS, str(path)):
        names = [cells[column] for column in COLUMNS]
        absent = [name for name in names if name not in known]
        if absent:
            missing.append(f"{path.name}, line {line}: there is no clip '{absent[0]}' in {clips.folder}")
        else:
            pairs.append(Animation(*(known[name] for name in names)))
    if not pairs:
        told = missing[0] if missing else "no rows"
        raise MaskanimError(str(path), told, f"rows that name clips in {clips.folder}")
    return PairList(tuple(pairs), tuple(missing))
