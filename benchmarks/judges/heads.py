"""How a head is turned and how far its mouth and lids are open, from the points of MediaPipe's mesh.

A fixed face of ten points is turned until it lies on the mesh (`cv2.solvePnP`). On rendered people, whose angles are
known, up to 45 degrees of yaw, yaw and roll correlate with the truth by 0.99 and 0.97, pitch by 0.91: the mesh itself
tells pitch no better, whatever is fitted to it. Its mouth correlates by 0.8, its lids by 0.5: it misses many a blink.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.judges.features import Feature, Observed
from maskanim.spec import IMAGE_SIZE

Floats = NDArray[np.float64]

# The mean face of sixty rendered people, by the mesh's points: x to the picture's right, y up, z towards the camera;
# the eyes' outer corners are one apart, and their middle is the origin.
GENERIC_FACE = {
    33: (-0.5, 0, 0), 263: (0.5, 0, 0), 168: (0, 0.02, 0.18), 4: (0, -0.39, 0.41), 2: (0, -0.52, 0.28),
    61: (-0.26, -0.75, 0.16), 291: (0.26, -0.75, 0.16), 152: (0, -1.22, 0.09), 127: (-0.81, -0.06, -0.7),
    356: (0.81, -0.06, -0.7),
}  # fmt: skip
FOCAL = 1000.0  # pixels of 256; a portrait lens, about 15 degrees of view
EYE_WIDTH = 0.31  # of the fixed face
INNER_LIPS = (13, 14)
# Of either eye, the picture's left one first: points of the upper lid, and those of the lower lid below them.
LIDS = (((160, 158), (144, 153)), ((385, 387), (380, 373)))
# Those of the mesh's points that are the 68 of the field: jaw, brows, nose, eyes, lips.
MESH_68 = (
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
HEAD = {"yaw": (0,), "pitch": (1,), "roll": (2,), "mouth": (3,), "lids": (4, 5)}  # columns of `read_heads`


def read_heads(points: Floats) -> Floats:
    """Read heads from meshes.

    Args:
        points: (N, 468, 2), x and y in pixels of 256.

    Returns:
        (N, 6): yaw, pitch and roll in degrees, positive to the picture's right, down, and clockwise; how far the lips
        are apart, over the distance of the eyes' outer corners; how far either eye is open, over its width, the
        picture's left one first. Openings are measured in the fixed face's scale, so that turning does not change them.
    """
    return np.stack([_read(each) for each in points]) if len(points) else np.zeros((0, 6))


def _read(points: Floats) -> Floats:
    turn, scale = _fit(points)

    def apart(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b])) / scale

    lids = [np.mean([apart(a, b) for a, b in zip(*eye, strict=True)]) / EYE_WIDTH for eye in LIDS]
    return np.array([*angles_of(turn), apart(*INNER_LIPS), *lids])


def _fit(points: Floats) -> tuple[Floats, float]:
    """The fixed face's rotation, in its own axes, and how many pixels its unit is long."""
    flip = np.array([1.0, -1.0, -1.0])  # OpenCV's y is down, its z is away
    face = np.array(list(GENERIC_FACE.values())) * flip
    middle = (IMAGE_SIZE - 1) / 2
    camera = np.array([[FOCAL, 0, middle], [0, FOCAL, middle], [0, 0, 1]])
    places = np.ascontiguousarray(points[list(GENERIC_FACE)], np.float64)
    _, turn, shift = cv2.solvePnP(face, places, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    return flip[:, None] * rotation * flip, FOCAL / float(shift[2, 0])


def angles_of(turn: Floats) -> Floats:
    """(3,) yaw, pitch and roll in degrees of a rotation, (3, 3); as `train.people.clip.PersonFrame.angles`."""
    ahead, up = turn[:, 2], turn[:, 1]
    level = np.array([ahead[2], 0, -ahead[0]]) / np.hypot(ahead[0], ahead[2])
    sines = np.clip([-ahead[1], up @ level], -1, 1)
    return np.degrees([np.arctan2(ahead[0], ahead[2]), *np.arcsin(sines)])


def see_heads(observed: Observed) -> Feature:
    """`read_heads` of the frames' meshes."""
    mesh: Feature = observed.see("mesh")
    found = mesh.found[:, 0]
    values = np.zeros((len(found), 6))
    values[found] = read_heads(mesh.values[found])
    return Feature(values, found)
