"""Finished videos of any method: files of the same name in several folders belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from maskanim.benchmarks.scoring.engine import Case, Footage
from maskanim.benchmarks.scoring.frames import first_square, open_squares
from maskanim.errors import MaskanimError, needs_extra


@dataclass(frozen=True)
class Finished:
    """Folders of videos, or single ones.

    Attributes:
        generated: of each method.
        driving: the driving videos.
        source: the sources: pictures, or clips whose first frame counts.
        target: what the generated videos should be, frame for frame.
        every: 12 takes the frames 0, 12, 24, ...
    """

    generated: Mapping[str, Path]
    driving: Path
    source: Path | None = None
    target: Path | None = None
    every: int = 1

    def cases(self) -> tuple[list[Case], dict[str, str]]:
        """The videos to score, and of those that lack a counterpart, which.

        Raises:
            MaskanimError: a folder is not there or has no clip in it, or two clips of one folder share a name.
        """
        made = {method: named(path) for method, path in self.generated.items()}
        sides = {
            "driving": named(self.driving),
            "source": named(self.source) if self.source else None,
            "target": named(self.target) if self.target else None,
        }
        if all(len(each) == 1 for each in (*made.values(), *(side for side in sides.values() if side))):
            (only,) = next(iter(made.values()))
            made = {method: {only: next(iter(each.values()))} for method, each in made.items()}
            sides = {name: side and {only: next(iter(side.values()))} for name, side in sides.items()}
        cases, lacking = [], {}
        names = dict.fromkeys(name for each in (*made.values(), sides["driving"] or {}) for name in each)
        for name in names:
            if told := list(_lacking(name, made, sides)):
                lacking[name] = f"no {', no '.join(told)} video of that name"
            methods = {method: each[name] for method, each in made.items() if name in each}
            if methods and name in (sides["driving"] or {}):
                found = {side: each[name] for side, each in sides.items() if each and name in each}
                cases.append(self._case(name, methods, found))
        return cases, lacking

    def _case(self, name: str, methods: Mapping[str, Path], sides: Mapping[str, Path]) -> Case:
        def opened_on(stack: ExitStack) -> Footage:
            same = sides.get("target") == sides["driving"]
            return Footage(
                driving=open_squares(sides["driving"], stack, self.every),
                generated={method: open_squares(path, stack, self.every) for method, path in methods.items()},
                target="driving" if same else _optional(sides.get("target"), stack, self.every),
                source=first_square(sides["source"]) if "source" in sides else None,
            )

        return Case(name, opened_on, tuple(methods))


def _optional(path: Path | None, stack: ExitStack, every: int) -> Iterator | None:  # type: ignore[type-arg]
    return open_squares(path, stack, every) if path else None


def _lacking(
    name: str, made: Mapping[str, Mapping[str, Path]], sides: Mapping[str, dict[str, Path] | None]
) -> Iterator[str]:
    yield from (method for method, each in made.items() if name not in each)
    yield from (side for side, each in sides.items() if each is not None and name not in each)


def named(path: Path) -> dict[str, Path]:
    """The clips of a folder by name, without the folder and without a file's ending; or a single clip.

    Raises:
        MaskanimError: it is not there, has no clip, or two clips that differ in their endings only.
    """
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
        path = Path(rest if equals and not Path(value).exists() else value)
        name = name if equals and path == Path(rest) else path.resolve().stem
        if not path.exists():
            raise MaskanimError(f"--generated {value}", "there is no such file or folder", "DIR or NAME=DIR")
        if name in found:
            raise MaskanimError(f"--generated {value}", f"a second {name}", "NAME=DIR with another name")
        found[name] = path
    return found
