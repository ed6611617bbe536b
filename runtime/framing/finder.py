"""Finding the object in a picture by the model's own mask: whatever it was trained on, without a detector.

The square is right where m's mask of it looks like the masks of the model's own frames, which its bundle carries, and
stays the same in a wider view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from maskanim.errors import MaskanimError
from maskanim.golden import read_golden
from maskanim.ops import MIN_FRAME_SIDE, Array, Frame
from maskanim.runtime.framing.box import Box, box_at, cut, visible
from maskanim.spec import MASK_SIZE

if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator

MaskOf = Callable[[Frame], Array]

WORKING_SIDE = 512  # of the copy that is searched; every square of it is resized to 256 anyway

# The search goes from squares larger than the picture to such of a fifth of its shorter side.
LARGEST, SCALE_STEP, STRIDE, SMALLEST = 1.25, 0.7, 0.4, 0.2
LIKELY = 48  # squares with the likeliest masks, which are seen wider
FOLLOWED = 4  # of them, those that are followed uphill
STEPS = (0.16, 0.08, 0.04)  # of the square's side: how far it moves and grows at a time
ROUNDS = 4  # moves of each length

WIDER = 1.25  # the view that tells an object from a part of one: there, its mask is the same

SOFT = 1.0  # pixels, sigma: of two people sharp masks overlap little even at the right place, so they are blurred

CERTAIN = 0.75  # at which nothing better is looked for
POSSIBLE = 0.3  # heads in paintings and clips: 0.53 to 0.79; drawn puppets, whose limbs move: 0.45 to 0.65
AS_BEFORE = 0.9  # of the certainty shortly before; below it the whole picture is searched again


class Found(NamedTuple):
    """An object that was found."""

    box: Box  # the square to animate, with the object at the scale and the place that the model knows
    certainty: float  # in [0, 1]: how well its mask fits the nearest of the model's own, and stays in a wider view


class _View(NamedTuple):
    """A square that m has looked at."""

    box: Box
    mask: Array  # (64, 64) float32 in [0, 1], blurred
    likeness: float


class Finder:
    """Finds the object that one model knows.

    Args:
        mask_of: m of a square, as `Animator.mask`.
        templates: (N, 64, 64) float32 in [0, 1], masks of frames as the model was trained on: their objects have the
            place and the scale that it knows. Their mirror images count as well.
    """

    def __init__(self, mask_of: MaskOf, templates: Array) -> None:
        self.mask_of = mask_of
        soft = np.reshape([_soft(mask) for mask in templates], (-1, MASK_SIZE, MASK_SIZE))
        self.templates = np.concatenate([soft, soft[..., ::-1]])

    @classmethod
    def of(cls, animator: Animator) -> Finder:
        """That of a model that runs: its templates are the masks of its bundle's golden pairs."""
        masks = [mask for pair in read_golden(animator.model) for mask in (pair.source_mask, pair.mask)]
        templates = np.reshape(masks, (-1, MASK_SIZE, MASK_SIZE)).astype(np.float32)
        return cls(animator.mask, templates / np.float32(255))

    def find(self, picture: Frame, near: Found | None = None) -> Found:
        """Find the object that fills a picture or a small part of it.

        Args:
            picture: (H, W, 3) uint8 RGB, both sides at least 64.
            near: what was found shortly before. Seen there again about as well, it costs some 20 masks; a search costs
                some hundreds.

        Raises:
            MaskanimError: m sees no object, or the bundle has no masks of its own.
        """
        if not len(self.templates):
            told = "a bundle without golden pairs, which tell how its objects are framed"
            raise MaskanimError("crop auto", told, "a newer one", "Export the model again, or use crop 'center'")
        height, width = picture.shape[:2]
        scale = min(1.0, WORKING_SIDE / min(height, width))
        if scale < 1:
            size = round(width * scale), round(height * scale)
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = self._search(picture, near and near._replace(box=_scaled(near.box, scale)))
        if found.certainty < POSSIBLE:
            next_step = "Use crop 'center', or say where it is with x,y,width,height"
            raise MaskanimError("crop auto", "the model's mask shows no object", "one of the kind it knows", next_step)
        return Found(_scaled(found.box, 1 / scale), found.certainty)

    def _search(self, picture: Frame, near: Found | None) -> Found:
        if near:
            again = self._follow(picture, self._look(picture, near.box), STEPS[1:])
            if again.certainty >= min(CERTAIN, AS_BEFORE * near.certainty):
                return again
        views = sorted((self._look(picture, box) for box in _squares(*picture.shape[:2])), key=lambda at: -at.likeness)
        seen = [(self._certainty(picture, view), view) for view in views[:LIKELY]]
        best = Found(views[0].box, 0.0)
        for view in _apart(view for _, view in sorted(seen, key=lambda pair: -pair[0])):
            best = max(best, self._follow(picture, view, STEPS), key=lambda found: found.certainty)
            if best.certainty >= CERTAIN:
                break
        return best

    def _follow(self, picture: Frame, view: _View, steps: Iterable[float]) -> Found:
        """Uphill: the square moves and grows as long as its mask becomes more alike, and surer with it."""
        certainty = self._certainty(picture, view)
        for step in steps:
            for _ in range(ROUNDS):
                better = max((self._look(picture, box) for box in _beside(view.box, step)), key=lambda at: at.likeness)
                if better.likeness <= view.likeness or (surer := self._certainty(picture, better)) <= certainty:
                    break
                view, certainty = better, surer
        return Found(view.box, certainty)

    def _certainty(self, picture: Frame, view: _View) -> float:
        """How likely a view shows the whole object: a part of one, as a cheek, has another mask in a wider view."""
        wide = self._look(picture, box_at(view.box.centre, WIDER * view.box.side))
        return view.likeness * _agreement(view.mask, wide.mask)

    def _look(self, picture: Frame, box: Box) -> _View:
        mask = np.zeros((MASK_SIZE, MASK_SIZE), np.float32)
        # An object that the picture's edge cuts goes on where that is repeated; there is nothing of it.
        rows, columns = visible(box, *picture.shape[:2])
        if rows.start < rows.stop and columns.start < columns.stop:
            inside = _share(rows, box.top, box.side), _share(columns, box.left, box.side)
            mask[inside] = self.mask_of(cut(picture, box)).reshape(mask.shape)[inside]
        mask = _soft(mask)
        return _View(box, mask, float(_overlap(self.templates, mask).max()))


def _soft(mask: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), SOFT, borderType=cv2.BORDER_REPLICATE), np.float32)


def _overlap(masks: Array, other: Array) -> Array:
    """Intersection over union as soft sets: of (..., 64, 64) with (64, 64)."""
    common, either = np.minimum(masks, other), np.maximum(masks, other)
    return np.asarray(common.sum((-2, -1)) / np.maximum(either.sum((-2, -1)), 1), np.float32)


def _agreement(mask: Array, wide: Array) -> float:
    """The overlap of a mask with the same part of the wider view's; what lies beyond its edges does not count."""
    size = round(WIDER * MASK_SIZE)
    edge = (size - MASK_SIZE) // 2
    inner = cv2.resize(wide, (size, size), interpolation=cv2.INTER_LINEAR)[edge:-edge, edge:-edge]
    return float(_overlap(np.asarray(inner, np.float32), mask))


def _share(part: slice, start: int, side: int) -> slice:
    """The mask's pixels whose centres lie in a part of the square that begins at `start`."""
    first, last = ((end - start) / side * MASK_SIZE for end in (part.start, part.stop))
    return slice(round(first), round(last))


def _squares(height: int, width: int) -> Iterator[Box]:
    """Squares over the picture, from large to small; the largest reach over its edges."""
    side = LARGEST * min(max(height, width), 2 * min(height, width))
    while side >= max(MIN_FRAME_SIDE, SMALLEST * min(height, width)):
        whole = round(side)
        yield from (Box(x, y, whole) for y in _places(height, whole) for x in _places(width, whole))
        side *= SCALE_STEP


def _places(length: int, side: int) -> list[int]:
    """Where squares start that cover a length, evenly."""
    if side >= length:
        return [(length - side) // 2]
    count = ceil((length - side) / (STRIDE * side)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _apart(views: Iterable[_View]) -> list[_View]:
    """The first few of which none is nearly another."""
    kept: list[_View] = []
    for view in views:
        if len(kept) < FOLLOWED and all(view.box.overlap(other.box) < 0.4 for other in kept):
            kept.append(view)
    return kept


def _beside(box: Box, step: float) -> list[Box]:
    """The squares a step to each side, and those that are a step larger and smaller."""
    (x, y), away = box.centre, step * box.side
    moved = [
        box_at((x + across * away, y + down * away), box.side) for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    return [*moved, *(box_at((x, y), box.side * (1 + sign * step)) for sign in (1, -1))]


def _scaled(box: Box, factor: float) -> Box:
    x, y = box.centre
    return box_at((x * factor, y * factor), box.side * factor)
