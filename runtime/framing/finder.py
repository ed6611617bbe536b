"""Finding the object in a picture by the model's own mask: whatever it was trained on, without a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, exp, log
from typing import NamedTuple

import cv2
import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import MIN_FRAME_SIDE, Array, Frame
from maskanim.runtime.framing.box import Box, box_at, cut, visible
from maskanim.spec import MASK_SIZE

MaskOf = Callable[[Frame], Array]

# The share of the square that the larger side of an object's mask takes. m knows one scale, that of its training:
# 0.79 in the median of the drawn puppets; in the authors' published masks 0.90 for Tai-Chi-HD and 0.58 for BAIR.
EXTENT = 0.8
WIDER = 1.25  # the larger view that tells whether something was cut off
WORKING_SIDE = 512  # of the copy that is searched; every square of it is resized to 256 anyway

# The search goes from the whole picture to squares of a fifth of its shorter side. m still sees an object that is off
# by a fifth of the square, or larger or smaller by a fifth.
SCALE_STEP, STRIDE, SMALLEST = 0.7, 0.4, 0.2
REFINED_PER_SCALE = 3
ROUNDS = 3
SETTLED = 0.95  # overlap of one round's box with the next

# Held-out puppets: whole figures agree to about 0.8 between the two views, parts of figures to 0.6 to 0.73.
CERTAIN = 0.75
POSSIBLE = 0.25
AS_BEFORE = 0.9  # of the certainty shortly before: a model that is never certain is not asked all over again

CONTRAST = 0.3  # between the object and its surroundings; below, a mask shows nothing
FAINT = 0.2  # of that contrast: what is darker does not count, as m's haze
TAIL = 0.01  # of a mask's mass may lie beyond each side of its rectangle: specks do not move it
BORDER = 4  # pixels from the mask's edge to where its surroundings are read; m pads three with zeros


class Found(NamedTuple):
    """An object that was found."""

    box: Box  # the square to animate, with the object at the scale and the place that the model knows
    certainty: float  # in [0, 1]: how far the mask stays the same in a wider view, and fits the square


class _Reading(NamedTuple):
    """A mask's object, in shares of the square: its centre and its larger side."""

    x: float
    y: float
    extent: float


class _View(NamedTuple):
    """A square of the picture that m has looked at; `reading` is None where it sees nothing."""

    box: Box
    mask: Array
    reading: _Reading | None


def find_object(picture: Frame, mask_of: MaskOf, near: Found | None = None) -> Found:
    """Find the object that fills a picture or a small part of it.

    Squares of the picture are shown to m, from large to small. From those that look right, the mask's own rectangle
    leads to a better square, until it stays. The outcome is kept if a wider view has the same mask: a part of an
    object would grow. The search ends with the first scale at which one is certain.

    Args:
        picture: (H, W, 3) uint8 RGB, both sides at least 64.
        mask_of: m of a square, as `Animator.mask`; called 4 times for an object that fills the picture as m knows it,
            some 10 times where it is off-centre at half the size, a few hundred times where nothing is certain.
        near: what was found shortly before; seen there again about as certainly, it costs 4 calls.

    Raises:
        MaskanimError: m sees no object.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, max(WORKING_SIDE / min(height, width), MIN_FRAME_SIDE / min(height, width)))
    if scale < 1:
        size = round(width * scale), round(height * scale)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = _search(_Look(picture, mask_of), near and near._replace(box=_scaled(near.box, scale)))
    if found.certainty < POSSIBLE:
        next_step = "Use crop 'center', or say where it is with x,y,width,height"
        raise MaskanimError("crop auto", "the model's mask shows no object", "one of the kind it knows", next_step)
    return Found(_scaled(found.box, 1 / scale), found.certainty)


class _Look:
    """Shows squares of one picture to m."""

    def __init__(self, picture: Frame, mask_of: MaskOf) -> None:
        self.picture, self.mask_of = picture, mask_of

    def at(self, box: Box) -> _View:
        mask = np.zeros((MASK_SIZE, MASK_SIZE), np.float32)
        # An object that the picture's edge cuts goes on where that is repeated; there is nothing of it.
        inside = tuple(_share(part, start, box.side) for part, start in self._axes(box))
        mask[inside] = self.mask_of(cut(self.picture, box)).reshape(mask.shape)[inside]
        return _View(box, mask, _read(mask))

    def _axes(self, box: Box) -> Iterator[tuple[slice, int]]:
        return zip(visible(box, *self.picture.shape[:2]), (box.top, box.left), strict=True)


def _share(part: slice, start: int, side: int) -> slice:
    """The mask's pixels whose centres lie in a part of the square that begins at `start`."""
    first, last = ((end - start) / side * MASK_SIZE for end in (part.start, part.stop))
    return slice(round(first), round(last))


def _search(look: _Look, near: Found | None) -> Found:
    best = _refined(look, near.box) if near else Found(Box(0, 0, MIN_FRAME_SIDE), 0.0)
    enough = min(CERTAIN, AS_BEFORE * near.certainty) if near else CERTAIN
    tried: list[Box] = []
    for boxes in _scales(*look.picture.shape[:2]):
        if best.certainty >= enough:
            break
        starts = [view for view in map(look.at, boxes) if view.reading]
        starts.sort(key=lambda view: -_promise(view))
        for view in starts[:REFINED_PER_SCALE]:
            box = _better(view)
            if all(box.overlap(other) < 0.5 for other in tried):
                tried.append(box)
                best = max(best, _refined(look, box), key=lambda found: found.certainty)
    return best


def _scales(height: int, width: int) -> Iterator[list[Box]]:
    """Squares over the picture, scale by scale; the largest reaches over its edges."""
    side = min(max(height, width), 2 * min(height, width)) / EXTENT
    while side >= max(MIN_FRAME_SIDE, SMALLEST * min(height, width)):
        whole = round(side)
        yield [Box(x, y, whole) for y in _places(height, whole) for x in _places(width, whole)]
        side *= SCALE_STEP


def _places(length: int, side: int) -> list[int]:
    """Where squares start that cover a length, evenly."""
    if side >= length:
        return [(length - side) // 2]
    count = ceil((length - side) / (STRIDE * side)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _refined(look: _Look, box: Box) -> Found:
    """Follow the mask from a square until it stays; the wider view shows what the square would cut off."""
    for _ in range(ROUNDS):
        wide = look.at(_wider(box))
        better = _better(wide)
        settled, box = better.overlap(box) >= SETTLED, better
        if settled:
            break
    view = look.at(box)
    return Found(box, _fit(view) * _agreement(view.mask, look.at(_wider(box)).mask))


def _better(view: _View) -> Box:
    if view.reading is None:
        return view.box
    side = view.box.side
    centre = view.box.left + view.reading.x * side, view.box.top + view.reading.y * side
    return box_at(centre, view.reading.extent * side / EXTENT)


def _wider(box: Box) -> Box:
    return box_at(box.centre, WIDER * box.side)


def _read(mask: Array) -> _Reading | None:
    """The rectangle that holds the mask's object, or None if there is nothing in it."""
    inner = mask[BORDER:-BORDER, BORDER:-BORDER]
    surroundings = float(np.median(np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])))
    contrast = float(inner.max()) - surroundings
    if contrast < CONTRAST:
        return None
    weight = np.where(mask > surroundings + FAINT * contrast, mask - surroundings, 0)
    left, right = _interval(weight.sum(0))
    top, bottom = _interval(weight.sum(1))
    return _Reading((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top))


def _interval(mass: Array) -> tuple[float, float]:
    """From where to where a profile has its mass, but for its tails, in shares of its length."""
    through = np.cumsum(mass, dtype=np.float64)
    first = np.searchsorted(through, TAIL * through[-1], "right")
    last = np.searchsorted(through, (1 - TAIL) * through[-1])
    return float(first) / len(mass), float(last + 1) / len(mass)


def _fit(view: _View) -> float:
    """1 where the object has the place and the size that m knows, towards 0 elsewhere."""
    if view.reading is None:
        return 0.0
    x, y, extent = view.reading
    return exp(-((log(extent / EXTENT) / 0.3) ** 2) - ((x - 0.5) / 0.2) ** 2 - ((y - 0.5) / 0.2) ** 2)


def _promise(view: _View) -> float:
    return _fit(view) * float(view.mask.sum())


def _agreement(mask: Array, wide: Array) -> float:
    """Intersection over union of a mask with that of the wider view, as soft sets, over the wider view."""
    size = round(WIDER * MASK_SIZE)
    edge = (size - MASK_SIZE) // 2
    alone, enlarged = np.pad(mask, edge), cv2.resize(wide, (size, size), interpolation=cv2.INTER_LINEAR)
    union = float(np.maximum(alone, enlarged).sum())
    return float(np.minimum(alone, enlarged).sum()) / union if union else 0.0


def _scaled(box: Box, factor: float) -> Box:
    x, y = box.centre
    return box_at((x * factor, y * factor), box.side * factor)
