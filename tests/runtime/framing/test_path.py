"""A clip's square: it follows a walk, and leaves gestures alone."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.models import DEMO
from maskanim.ops import Frame
from maskanim.runtime import Animator
from maskanim.runtime.framing import path as path_module
from maskanim.runtime.framing.box import Box, Rectangle
from maskanim.runtime.framing.finder import Finder
from maskanim.runtime.framing.path import clip_path, find_path, source_box, still_path
from maskanim.train.puppets import Puppet
from maskanim.video import Clip, FrameSource, SourceFrame, open_clip

AXES = (60, 96)
SIDE = 96 / 0.8
NEAR = 6  # pixels: a twentieth of the side, as in test_finder.py


class Drawn(FrameSource):
    """Frames that are drawn as they are read: of a file, or of a camera, which can be read once."""

    time_base, rate = Fraction(1, 1000), Fraction(25)

    def __init__(self, frames: list[Frame], once: bool = False) -> None:
        self.path, self.once, self.images, self.read = Path("drawn"), once, frames, 0
        self.frame_count = None if once else len(frames)

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        for i, image in enumerate(self.images):
            self.read += 1
            yield SourceFrame(image, 40 * i, 40)


def samples(spot: Any, centres: Any, step: float = 0.5) -> list[tuple[Frame, float]]:
    return [(spot(200, 600, tuple(centre), AXES), step * i) for i, centre in enumerate(centres)]


def test_an_object_that_stays(spot: Any, ellipses: Any) -> None:
    path = find_path(samples(spot, [(200, 100)] * 5), ellipses(*AXES))
    assert abs(path.side - SIDE) <= NEAR and len(path.centres) == 1
    assert {path.at(t) for t in (-1.0, 0.3, 100.0)} == {path.at(0)}
    assert np.abs(np.subtract(path.at(0).centre, (200, 100))).max() <= NEAR


def test_a_gesture_is_left_alone(spot: Any, ellipses: Any) -> None:
    """Half a side to and fro once in five seconds: the square stays, so that the object moves in it."""
    seconds = np.arange(40) * 0.5
    swaying = np.stack([300 + 30 * np.sin(2 * np.pi * 0.2 * seconds), np.full(40, 100)], 1)
    path = find_path(samples(spot, swaying), ellipses(*AXES))
    assert len(path.centres) == 1 and abs(path.at(0).centre[0] - 300) <= NEAR


def test_a_walk_is_followed_at_one_size(spot: Any, ellipses: Any) -> None:
    seconds = np.arange(40) * 0.5
    walking = np.stack([100 + 20 * seconds, np.full(40, 100)], 1)
    path = find_path(samples(spot, walking), ellipses(*AXES))
    for time in (0.0, 3.3, 10.0, 19.5):
        box = path.at(time)
        assert box.side == path.side and abs(box.centre[0] - (100 + 20 * time)) <= NEAR
    assert len({path.at(t).left for t in (3.0, 3.1, 3.2, 3.3)}) > 1  # between the samples it goes on


def test_single_misses_and_slips_do_not_matter(spot: Any, ellipses: Any) -> None:
    shown = samples(spot, [(200, 100)] * 9)
    shown[3] = np.zeros((200, 600, 3), np.uint8), shown[3][1]
    shown[6] = spot(200, 600, (450, 60), (40, 64)), shown[6][1]
    path = find_path(shown, ellipses(*AXES))
    assert abs(path.side - SIDE) <= NEAR and np.abs(np.subtract(path.at(3).centre, (200, 100))).max() <= NEAR


def test_a_clip_that_never_shows_it(ellipses: Any) -> None:
    empty = [(np.zeros((100, 100, 3), np.uint8), float(i)) for i in range(3)]
    with pytest.raises(MaskanimError, match="shows no object"):
        find_path(empty, ellipses(*AXES))
    with pytest.raises(MaskanimError, match="a clip without frames"):
        find_path([], ellipses(*AXES))


@pytest.mark.parametrize(("count", "most"), [(5, 5), (60, 5), (600, 48), (6000, 48)])
def test_a_long_clip_is_searched_in_few_frames(
    count: int, most: int, ellipses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[float] = []

    def note(samples: Any, *_: Any, **__: Any) -> Any:
        searched.extend(seconds for _, seconds in samples)

    monkeypatch.setattr(path_module, "find_path", note)
    clip_path("auto", Clip.of(Drawn([np.zeros((64, 64, 3), np.uint8)] * count)), ellipses(*AXES))
    assert len(searched) <= most and searched[0] == 0 and searched[-1] >= 0.04 * count * 0.8 - 0.5


def test_a_file_is_read_twice_and_loses_nothing(spot: Any, ellipses: Any) -> None:
    drawn = Drawn([spot(200, 600, (100 + 2 * i, 100), AXES) for i in range(100)])
    path, shown = clip_path("auto", Clip.of(drawn), ellipses(*AXES))
    assert drawn.read == 100
    assert [pts for _, pts in shown] == list(range(0, 4000, 40)) and drawn.read == 200
    assert path.at(3.9).left - path.at(0).left > 100


def test_a_camera_tells_by_its_first_frames_and_loses_none(spot: Any, ellipses: Any) -> None:
    drawn = Drawn([spot(200, 600, (100 + 2 * i, 100), AXES) for i in range(100)], once=True)
    path, shown = clip_path("auto", Clip.of(drawn), ellipses(*AXES))
    assert drawn.read == 8
    assert path.at(0) == path.at(100) and abs(path.at(0).centre[0] - 107) <= NEAR
    assert [pts for _, pts in shown] == list(range(0, 4000, 40))


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(("crop", "box"), [("center", Box(200, 0, 200)), (Rectangle(10, 20, 80, 90), Box(5, 20, 90))])
def test_named_squares_ask_no_model(crop: Any, box: Box, once: bool) -> None:
    never: Any = None
    frames = [np.zeros((200, 600, 3), np.uint8)] * 3
    path, shown = clip_path(crop, Clip.of(Drawn(frames, once)), never)
    assert path.at(0) == path.at(7) == still_path(box).at(1) == box and len(list(shown)) == 3
    assert source_box(crop, frames[0], never) == box
    with pytest.raises(MaskanimError, match="a clip without frames"):
        clip_path(crop, Clip.of(Drawn([], once)), never)


def test_a_puppet_stands_where_it_was_drawn(brightness: Any) -> None:
    """Its figure maps, which are what a model that knows puppets perfectly sees, of four seconds in motion."""
    known = [Puppet(1000 + i, "test").frame(0.7 * i).figure_map for i in range(8)]
    maps = (cv2.resize(drawn.figure_map, (256, 256)) for drawn in Puppet(105, "test").clip(100))
    frames = [np.repeat(np.rint(255 * each)[..., None], 3, 2).astype(np.uint8) for each in maps]
    path, _ = clip_path("auto", Clip.of(Drawn(frames)), Finder(brightness, np.stack(known)))
    assert path.at(0).overlap(Box(0, 0, 256)) >= 0.8 and path.at(0) == path.at(3)  # measured: 0.82


def test_the_demos_driver_stands_where_it_was_drawn() -> None:
    """Whatever the demo shows: its clip fills the square as its model was trained to see it. Heads: 0.72."""
    with Animator.open("demo", "ort") as demo, open_clip(DEMO / "driving.mp4") as clip:
        path, frames = clip_path("auto", clip, Finder.of(demo))
        assert next(frames).pts == 0
    assert path.at(0).overlap(Box(0, 0, 256)) >= 0.6 and path.at(0) == path.at(3)
