"""The object is found by the mask alone: plain ones exactly, held-out puppets always."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.models import demo_bundle
from maskanim.ops import Array, Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing.box import cut
from maskanim.runtime.framing.finder import Finder
from maskanim.train.puppets import Puppet
from maskanim.video import open_clip

EXTENT = 0.8  # of the square: the larger side of the templates' objects
FACES = Path(__file__).resolve().parents[4] / "shared/data/faces"
NEAR = 0.06  # of the square's side


@pytest.fixture(scope="module")
def puppets(brightness: Any) -> Finder:
    """A model that knows puppets perfectly, with eight of its own frames."""
    figures = [Puppet(1000 + i, "test").frame(0.7 * i).figure_map for i in range(8)]
    return Finder(brightness, np.stack(figures).astype(np.float32))


@pytest.mark.parametrize(
    ("size", "centre", "axes"),
    [
        ((300, 300), (150, 150), (180, 240)),  # as it is in training
        ((300, 400), (90, 200), (60, 130)),
        ((720, 1280), (1000, 300), (150, 220)),  # a larger picture is searched in a smaller copy
        ((400, 250), (125, 210), (150, 380)),  # higher than the picture is wide
        ((90, 600), (480, 45), (50, 80)),
    ],
)
def test_a_plain_object(
    spot: Any, ellipses: Any, size: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]
) -> None:
    box = ellipses(*axes).find(spot(*size, centre, axes)).box
    side = max(axes) / EXTENT
    assert abs(box.side - side) <= NEAR * side
    assert np.abs(np.subtract(box.centre, centre)).max() <= NEAR * side


def test_an_object_that_the_picture_cuts(spot: Any, ellipses: Any) -> None:
    """About where the whole would be; what is left of it looks like a smaller one."""
    box = ellipses(90, 120).find(spot(300, 300, (30, 40), (90, 120))).box
    assert 0.85 * 150 <= box.side <= 150 and np.abs(np.subtract(box.centre, (30, 40))).max() <= 0.06 * 150


def test_an_object_that_its_square_cuts(spot: Any, brightness: Any) -> None:
    """As a bust's shoulders are: the templates reach to their lower edge, and so does what is found."""
    bust = brightness(spot(256, 256, (128, 230), (150, 300)))[0]
    box = Finder(brightness, bust).find(spot(400, 600, (400, 290), (100, 200))).box
    assert abs(box.side - 256 * 2 / 3) <= 12 and np.abs(np.subtract(box.centre, (400, 290 - 68))).max() <= 12


def test_a_part_that_looks_like_the_whole(spot: Any, brightness: Any) -> None:
    """Where a square shows nothing but a part of something, a model sees what it knows, at any scale."""
    known = brightness(spot(256, 256, (128, 128), (150, 205)))[0]

    def mask_of(square: Frame) -> Array:
        part = square.min() >= 60 and square.max() < 200
        return known[None] if part else np.maximum(brightness(square) - 0.5, 0) * 2

    picture = spot(400, 600, (130, 200), (110, 120))  # stouter than those that the model was trained on
    picture[100:300, 350:550] = 100
    box = Finder(mask_of, known).find(picture).box
    assert np.abs(np.subtract(box.centre, (130, 200))).max() <= 15 and 130 <= box.side <= 190


HEADS = {  # by MediaPipe's mesh: the square's centre and side that put the face where the demo's own frames have it
    "source/s0.jpg": ((326, 113), 254),
    "source/s1.jpg": ((551, 457), 932),
    "source/s12.jpg": ((194, 156), 373),
    "source/s22.jpg": ((497, 204), 533),
    "driving/d3.mp4": ((300, 247), 831),
    "driving/d19.mp4": ((260, 214), 676),
}


@pytest.fixture(scope="module")
def heads() -> Finder:
    """The demo's."""
    return Finder.of(Animator.open(demo_bundle()))


@pytest.mark.parametrize("name", HEADS)
def test_real_heads(heads: Finder, name: str) -> None:
    """Portraits, paintings and frames of clips, which other people fill in other ways."""
    path, (centre, side) = FACES / name, HEADS[name]
    if not path.exists():
        pytest.skip("shared/data/faces is not here")
    with open_clip(path) as clip:
        box = heads.find(next(clip).image).box
    assert 0.6 * side <= box.side <= 1.3 * side
    assert np.linalg.norm(np.subtract(box.centre, centre)) <= 0.2 * side


def test_it_costs_few_masks_where_it_was_before(spot: Any, ellipses: Any) -> None:
    finder, shown = ellipses(180, 240), []

    def counted(square: Frame, mask_of: Any = finder.mask_of) -> Array:
        shown.append(square)
        return mask_of(square)  # type: ignore[no-any-return]

    finder.mask_of = counted
    picture = spot(300, 300, (150, 150), (180, 240))
    found = finder.find(picture)
    assert len(shown) <= 300
    shown.clear()
    again = finder.find(spot(300, 300, (154, 149), (180, 240)), near=found)
    assert again.box.overlap(found.box) > 0.9 and len(shown) <= 30


def test_a_picture_without_an_object(ellipses: Any) -> None:
    with pytest.raises(MaskanimError, match=r"shows no object; expected one of the kind it knows\. Use crop 'center'"):
        ellipses(60, 80).find(np.zeros((120, 200, 3), np.uint8))


def test_a_bundle_without_golden_pairs(brightness: Any) -> None:
    with pytest.raises(MaskanimError, match=r"a bundle without golden pairs.*Export the model again"):
        Finder(brightness, np.zeros((0, 64, 64), np.float32)).find(np.zeros((120, 200, 3), np.uint8))


def test_held_out_puppets_off_centre_at_half_size(puppets: Finder, placed: Any) -> None:
    """32 of them, in four sizes of picture, seen as a model that knows them perfectly would."""
    overlaps = []
    for number in range(32):
        size = ((256, 256), (384, 512), (720, 405), (600, 900))[number % 4]
        shown = placed(number, *size, time=0.37 * number)
        overlaps.append(puppets.find(shown.picture).box.overlap(shown.frame))
    print(f"overlap: median {np.median(overlaps):.3f}, least {min(overlaps):.3f}")
    assert min(overlaps) >= 0.5 and np.median(overlaps) >= 0.8


def test_the_figure_is_whole_in_its_square(puppets: Finder, brightness: Any, placed: Any) -> None:
    shown = placed(3, 384, 512, scale=0.4)
    box = puppets.find(shown.picture).box
    left, top, right, bottom = shown.figure
    assert box.left <= left and right <= box.left + box.side and box.top <= top and bottom <= box.top + box.side
    assert brightness(cut(shown.picture, box)).max() > 0.5
