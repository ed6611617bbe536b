"""Which source is animated by which driver, and what each result is called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from maskanim.errors import MaskanimError, check_local
from maskanim.runtime.jobs.settings import MOTION_SUFFIX, Extras, Job
from maskanim.table import read_table
from maskanim.video import is_feed, natural_order
from maskanim.video.pictures import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from maskanim.video.read import STANDARD_INPUT

FILE_SUFFIXES = VIDEO_SUFFIXES | PICTURE_SUFFIXES | {MOTION_SUFFIX}
STEM_BYTES = 110  # of a source's and of a driver's name in the name of their video, which has to fit into 255
CSV_COLUMNS = ("source", "driving")


class Pair(NamedTuple):
    """A source and a driver, and the name of the result where a list gives it."""

    source: Path
    driving: str
    output: str = ""


class Places(NamedTuple):
    """Where results go.

    Attributes:
        output: a file for one pair, a folder for several; None: this folder.
        suffix: of results that are named here.
        extras: for several pairs, each of them a folder.
    """

    output: Path | None = None
    suffix: str = ".mp4"
    extras: Extras = Extras()


def cross(sources: Sequence[str], drivings: Sequence[str]) -> list[Pair]:
    """Every source with every driver.

    Args:
        sources: pictures and videos; folders of them, and patterns such as ``faces/*.png``.
        drivings: clips, motion files, ``camera:N``, ``-``; folders of them, and patterns. A folder of pictures is one
            clip.

    Raises:
        MaskanimError: a folder or a pattern that holds nothing of the kind.
    """
    found = [path for given in sources for path in _sources(given)]
    return [Pair(source, driving) for source in found for given in drivings for driving in _drivings(given)]


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a CSV file with the columns ``source`` and ``driving``, and perhaps ``output``, a file name.

    Paths are relative to the file's folder. Other columns are ignored.

    Raises:
        MaskanimError: no such file, not UTF-8, without the two columns or without rows, or a row that lacks one.
    """
    subject = f"--pairs {path}"
    rows = read_table(path, CSV_COLUMNS, subject)
    if not rows:
        raise MaskanimError(subject, "no rows", "one for each pair")
    pairs = []
    for row in rows:
        line = f"{subject}, line {row.line}"
        source, driving, output = (row.cells.get(name, "") for name in (*CSV_COLUMNS, "output"))
        if not source or not driving:
            raise MaskanimError(line, "an empty cell", "a source and a driver")
        for cell in (source, driving):
            check_local(f"{line},", cell)
        if Path(output).name != output:
            raise MaskanimError(line, f"the output '{output}'", "a file name without a folder")
        driving = driving if is_feed(driving) else str(path.parent / driving)
        pairs.append(Pair(path.parent / source, driving, output))
    return pairs


def single(pair: Pair, places: Places) -> Job:
    """The job of one pair, whose output is a file, or goes into an existing folder."""
    output = places.output
    if output is None or output.is_dir():
        output = (output or Path()) / (pair.output or f"{_name(pair)}{places.suffix}")
    return Job(pair.source, pair.driving, output, places.extras)


def several(pairs: Sequence[Pair], places: Places) -> list[Job]:
    """The jobs of several pairs, each with a name of its own in the output's folder.

    Two pairs that would have one name, such as ``a.png`` and ``a.jpg`` with one driver, get numbers, in their order.

    Raises:
        MaskanimError: the output, or an extra, is a file; a list names one output twice, or two that differ in their
            endings only and so would share their extras; a pipe is to drive several;
            or what is written would replace what is read.
    """
    folder = places.output or Path()
    for place in (folder, places.extras.motion, places.extras.masks, places.extras.preview):
        if place is not None and (place.is_file() or (place.suffix.lower() in FILE_SUFFIXES and not place.is_dir())):
            raise MaskanimError(str(place), "the name of a file", "a folder, for several pairs")

    def own(name: str) -> str:
        """What no other result shares: extras go by the name without its ending."""
        return Path(name).stem if any(vars(places.extras).values()) else name

    named = [own(pair.output) for pair in pairs if pair.output]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice:
        raise MaskanimError("--pairs", f"the output {twice} twice", "a name of its own for each pair")
    piped = [pair.driving for pair in pairs if _is_pipe(pair.driving)]
    if len(piped) > 1:
        received, wanted = f"a pipe for {len(piped)} videos", "one: what comes through it is gone then"
        raise MaskanimError(f"--driving {piped[0]}", received, wanted, "Save it as a file first")
    taken, jobs = set(named), []
    for pair in pairs:
        name, number = pair.output or f"{_name(pair)}{places.suffix}", 1
        while not pair.output and own(name) in taken:
            number += 1
            name = f"{_name(pair)}-{number}{places.suffix}"
        taken.add(own(name))
        jobs.append(Job(pair.source, pair.driving, folder / name, _extras(places.extras, Path(name).stem)))
    read = {os.path.realpath(name) for pair in pairs for name in (pair.source, pair.driving)}
    for path in (each for job in jobs for each in (job.output, job.extras.motion, job.extras.preview) if each):
        if os.path.realpath(path) in read:
            raise MaskanimError(str(path), "the same file as an input", "another folder for the results")
    return jobs


def _is_pipe(driving: str) -> bool:
    with suppress(OSError):  # a name that is no file's; its job says so
        return driving == STANDARD_INPUT or Path(driving).is_fifo()
    return False


def _name(pair: Pair) -> str:
    """By the names that the user gave, whatever links lead to."""
    driving = "stdin" if pair.driving == STANDARD_INPUT else _stem(pair.driving).replace(":", "-")
    return f"{_stem(pair.source)}-{driving}"


def _stem(path: str | Path) -> str:
    stem = Path(os.path.abspath(path)).stem  # noqa: PTH100 (of '.' a name, and no link followed)
    return os.fsencode(stem)[:STEM_BYTES].decode("utf-8", "ignore")


def _extras(folders: Extras, stem: str) -> Extras:
    return Extras(
        folders.motion and folders.motion / f"{stem}{MOTION_SUFFIX}",
        folders.masks and folders.masks / stem,
        folders.preview and folders.preview / f"{stem}.png",
    )


def _sources(given: str) -> list[Path]:
    path = Path(given)
    if not path.is_dir():
        return _matched(given) or [path]
    return _nonempty(given, _of_kind(path, PICTURE_SUFFIXES), "pictures", PICTURE_SUFFIXES)


def _drivings(given: str) -> list[str]:
    if is_feed(given):
        return [given]
    path = Path(given)
    if not path.is_dir():
        return [str(found) for found in _matched(given)] or [given]
    suffixes = VIDEO_SUFFIXES | {MOTION_SUFFIX}
    kinds = {entry.suffix.lower() for entry in path.iterdir() if entry.is_file()}
    if kinds & PICTURE_SUFFIXES and not kinds & suffixes:
        return [given]
    folders = [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    return [str(clip) for clip in _nonempty(given, {*_of_kind(path, suffixes), *folders}, "clips", suffixes)]


def _of_kind(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")]


def _nonempty(given: str, found: Iterable[Path], noun: str, suffixes: frozenset[str]) -> list[Path]:
    ordered = sorted(found, key=lambda entry: natural_order(entry.name))
    if not ordered:
        raise MaskanimError(given, f"a folder without {noun}", f"{noun} in it: {', '.join(sorted(suffixes))}")
    return ordered


def _matched(given: str) -> list[Path]:
    """The files of a pattern; none for a name that is no pattern, or that exists as it is."""
    if Path(given).exists() or not glob.has_magic(given):
        return []
    matched = map(Path, glob.glob(given, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    found = sorted(matched, key=lambda path: natural_order(str(path)))
    if not found:
        raise MaskanimError(given, "a pattern that no file matches", "files", "Check it, and its quotes")
    return found
