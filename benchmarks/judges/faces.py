"""Faces: where one is, its points, its embedding and its expression.

The detector's strongest face counts. Everything behind it works on crops that its points define, so that a head that
turns is still cut out the same way. Each of these sees what `perceive("face")` calls by another name:

    faces, mesh, identity = (perceive("face").see(frames, name) for name in ("faces", "mesh", "identity"))
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.judges.face_api import EXTRACTOR_SIDE, RECOGNITION_SIDE
from maskanim.benchmarks.judges.features import Feature, Flags, Observed
from maskanim.benchmarks.judges.networks import Runs
from maskanim.ops import Array, Frame
from maskanim.spec import IMAGE_SIZE

Points = NDArray[np.float64]

DETECTOR_SIDE, MESH_SIDE, MESH_POINTS = 128, 192, 468
SCORE = 0.5  # of the detector, and of the mesh
ANCHORS = ((8, 2), (16, 6))  # stride, and anchors per cell
MESH_MARGIN = 1.5  # of MediaPipe's region for the mesh, around the detected box
BOX_MARGIN = 1.2  # of face-api's region for an expression, around the points
# Points of the mesh: the corners of either eye, the corners of the mouth and the middles of its lips.
RIGHT_EYE, LEFT_EYE, MOUTH = (33, 133), (263, 362), (61, 291, 0, 17)
# dlib's crop: eyes to mouth are 0.45 of its side, and their middle lies 0.43 down.
EYES_TO_MOUTH, MIDDLE_DOWN = 0.45, 0.43
MEAN_FACE = Path(__file__).parent / "mean_face.npz"


class Faces(NamedTuple):
    """The strongest face of each of N frames."""

    boxes: Points  # (N, 4) float64: centre x and y, width and height in pixels
    turns: Points  # (N,) float64, radians from upright
    found: Flags  # (N,) bool


def detect_faces(net: Runs, observed: Observed) -> Faces:
    """BlazeFace, short range."""
    small = [cv2.resize(frame, (DETECTOR_SIDE,) * 2, interpolation=cv2.INTER_AREA) for frame in observed.frames]
    found = net(np.stack(small).astype(np.float32) / 127.5 - 1)
    best = found["classificators"][..., 0].argmax(1)
    each = np.arange(len(best))
    scores = 1 / (1 + np.exp(-np.clip(found["classificators"][each, best, 0], -80, 80)))
    raw = found["regressors"][each, best].astype(np.float64) / DETECTOR_SIDE
    places = raw.reshape(-1, 8, 2)  # centre, size, and six points of which the first two are the eyes
    places[:, [0, *range(2, 8)]] += _anchors()[best][:, None]
    places *= IMAGE_SIZE
    across = places[:, 3] - places[:, 2]
    return Faces(places[:, :2].reshape(-1, 4), np.arctan2(across[:, 1], across[:, 0]), scores > SCORE)


@cache
def _anchors() -> Points:
    """(896, 2): the centres of the cells, in the order of the network's outputs."""
    centres = []
    for stride, count in ANCHORS:
        cells = DETECTOR_SIDE // stride
        y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
        centres.append(np.stack([x, y], -1).reshape(-1, 2).repeat(count, 0))
    return np.concatenate(centres)


def face_mesh(net: Runs, observed: Observed) -> Feature:
    """MediaPipe's 468 points, on the detected face turned upright."""
    faces: Faces = observed.see("faces")
    maps = [
        _crop_map(box[:2], MESH_MARGIN * box[2:].max(), turn, MESH_SIDE)
        for box, turn in zip(faces.boxes, faces.turns, strict=True)
    ]
    points, found = net(_crops(observed.frames, maps, MESH_SIDE).astype(np.float32) / 255).values()
    if points.shape[-1] == 1:
        points, found = found, points
    present = faces.found & (found.reshape(-1) > 0)  # a logit
    places = points.reshape(-1, MESH_POINTS, 3)[..., :2].astype(np.float64)
    return Feature(_placed_back(places, maps), np.repeat(present[:, None], MESH_POINTS, 1))


def face_landmarks(net: Runs, observed: Observed) -> Feature:
    """face-api's 68 points, in the square box around the mesh."""
    mesh: Feature = observed.see("mesh")
    maps = [_box_map(points) for points in mesh.values]
    output = net(_planes(observed.frames, maps, EXTRACTOR_SIDE))["output"]
    places = output.reshape(len(maps), -1, 2).astype(np.float64) * EXTRACTOR_SIDE - 0.5
    return Feature(_placed_back(places, maps), np.repeat(mesh.found[:, :1], places.shape[1], 1))


def face_embedding(net: Runs, observed: Observed) -> Feature:
    """Dlib's embedding in face-api's weights, in dlib's crop about eyes and mouth, less that of the mean face."""
    embedding = raw_embedding(net, observed)
    return embedding._replace(values=embedding.values - mean_embedding())


def raw_embedding(net: Runs, observed: Observed) -> Feature:
    """The same as it is."""
    mesh: Feature = observed.see("mesh")
    maps = [_dlib_map(points) for points in mesh.values]
    return Feature(net(_planes(observed.frames, maps, RECOGNITION_SIDE))["output"], mesh.found[:, 0])


@cache
def mean_embedding() -> Array:
    """Of many identities, see `mean_face`: (128,) float32."""
    return np.asarray(np.load(MEAN_FACE)["mean"], np.float32)


def face_expression(net: Runs, observed: Observed) -> Feature:
    """The strongest of face-api's seven expressions, in the box around the mesh."""
    mesh: Feature = observed.see("mesh")
    maps = [_box_map(points) for points in mesh.values]
    logits = net(_planes(observed.frames, maps, EXTRACTOR_SIDE))["output"]
    return Feature(logits.argmax(1).astype(np.int64), mesh.found[:, 0])


def _dlib_map(points: Points) -> Points:
    eyes_and_mouth = np.stack([points[list(which)].mean(0) for which in (RIGHT_EYE, LEFT_EYE, MOUTH)])
    right, left, mouth = eyes_and_mouth
    side = (np.linalg.norm(mouth - right) + np.linalg.norm(mouth - left)) / 2 / EYES_TO_MOUTH
    middle = eyes_and_mouth.mean(0)
    return _crop_map(middle + (0, (0.5 - MIDDLE_DOWN) * side), float(side), 0, RECOGNITION_SIDE)


def _box_map(points: Points) -> Points:
    low, high = points.min(0), points.max(0)
    return _crop_map((low + high) / 2, BOX_MARGIN * float((high - low).max()), 0, EXTRACTOR_SIDE)


def _crop_map(centre: Points, side: float, turn: float, to: int) -> Points:
    """(2, 3): pixels of a frame to those of an upright square of `to` pixels; half-pixel centres."""
    scale = to / max(side, 1)
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    return np.concatenate([linear, ((to - 1) / 2 - linear @ centre)[:, None]], 1)


def _placed_back(places: Points, maps: Sequence[Points]) -> Points:
    """Points of crops, (N, K, 2), as points of the frames that they were cut out of."""
    back = np.stack([np.asarray(cv2.invertAffineTransform(each), np.float64) for each in maps])
    return np.einsum("nij,nkj->nki", back[..., :2], places) + back[:, None, :, 2]


def _crops(frames: Sequence[Frame], maps: Sequence[Points], to: int) -> Frame:
    """(N, to, to, 3) uint8."""
    cut = (
        cv2.warpAffine(frame, each, (to, to), flags=cv2.INTER_LINEAR) for frame, each in zip(frames, maps, strict=True)
    )
    return np.stack([np.asarray(crop, np.uint8) for crop in cut])


def _planes(frames: Sequence[Frame], maps: Sequence[Points], to: int) -> Array:
    """(N, 3, to, to) float32, RGB in 0..255."""
    return _crops(frames, maps, to).transpose(0, 3, 1, 2).astype(np.float32)
