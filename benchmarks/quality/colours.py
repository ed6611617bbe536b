"""The mean colours of a figure's parts, located by key-points.

Parts are drawn along the bones, narrower than any puppet's, so that a key-point some pixels off still gives the part's
own colour. They follow the key-points *found* in an animated frame, not the driver's: a limb that was drawn elsewhere
is compared where it is, and how far off it is is told by the key-points' distance alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import KEYPOINTS, PARTS, SIDES, Points, PuppetFrame

Colours = NDArray[np.float64]

# Hair, hands and shoes are left out: some are bald, and the other two are as small as a key-point's error.
# The trunk, hands and next limbs cover a bone's ends.
BONES = {  # part: from, to, width in pixels, and where on the way it begins and ends; from the back to the front
    "shin": ("knee", "ankle", 7, (0.4, 0.9)),
    "thigh": ("hip", "knee", 9, (0.5, 0.85)),
    "upper_arm": ("shoulder", "elbow", 7, (0.15, 0.65)),
    "forearm": ("elbow", "wrist", 5, (0.2, 0.55)),
}
LOCATED = ("trunk", "head", *BONES)
TRUNK_SHARE = 0.7  # of the quadrilateral between shoulders and hips
HEAD_RADIUS = 8  # pixels


def locate(keypoints: Points) -> Frame:
    """Where the parts are.

    Args:
        keypoints: (14, 2), as in `PuppetFrame`.

    Returns:
        (256, 256) uint8: 0, or one more than the index into LOCATED.
    """
    at = dict(zip(KEYPOINTS, keypoints, strict=True))
    found = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for part in ("shin", "thigh"):
        _draw_bones(found, at, part)
    corners = np.stack([at[name] for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")])
    centre = corners.mean(0)
    cv2.fillConvexPoly(found, _pixels(centre + TRUNK_SHARE * (corners - centre)), _label("trunk"))
    cv2.circle(found, _pixels(at["head"]).tolist(), HEAD_RADIUS, _label("head"), cv2.FILLED)
    for part in ("upper_arm", "forearm"):
        _draw_bones(found, at, part)
    return found


def mean_colours(frame: Frame, where: Frame) -> Colours:
    """(6, 3) mean RGB in [0, 1] of each of LOCATED; not a number where a part has no pixel."""
    counts = np.bincount(where.ravel(), minlength=len(LOCATED) + 1)[1:, None]
    sums = [np.bincount(where.ravel(), channel.ravel(), len(LOCATED) + 1)[1:] for channel in frame.transpose(2, 0, 1)]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, -1) / counts / 255


def true_colours(frame: PuppetFrame) -> Colours:
    """`mean_colours` by the true key-points, of pixels that truly show the part."""
    where = locate(frame.keypoints)
    return mean_colours(frame.image, np.where(where == SHOWN[frame.parts], where, 0).astype(np.uint8))


def average(each: Sequence[Colours]) -> Colours:
    """The mean over frames of the parts that are seen in any."""
    seen = np.stack(each)
    counts = np.isfinite(seen).sum(0)
    return np.divide(np.nansum(seen, 0), counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def difference(a: Colours, b: Colours) -> float:
    """Mean absolute difference over the parts that both have, in [0, 1]."""
    return float(np.nanmean(np.abs(a - b)))


def _label(part: str) -> int:
    return LOCATED.index(part) + 1


def _draw_bones(found: Frame, at: dict[str, Points], part: str) -> None:
    start, end, width, shares = BONES[part]
    for side in SIDES:
        a, b = at[f"{side}_{start}"], at[f"{side}_{end}"]
        begin, finish = (_pixels(a + share * (b - a)).tolist() for share in shares)
        cv2.line(found, begin, finish, _label(part), width)


def _pixels(points: Points) -> NDArray[np.int32]:
    return np.round(points).astype(np.int32)


def _shown() -> NDArray[np.uint8]:
    """The label of each of PARTS, 0 for those that are not located."""
    bare = [part.removeprefix("left_").removeprefix("right_") for part in PARTS]
    return np.array([_label(part) if part in LOCATED else 0 for part in bare], np.uint8)


SHOWN = _shown()
