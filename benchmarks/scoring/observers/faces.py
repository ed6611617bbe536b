"""Faces: where one is, its points, its embedding and its expression.

The detector's strongest face counts. Everything behind it works on crops that its points define, so that a head that
turns is still cut out the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.scoring.features import Classes, Embeddings, Flags, Keypoints, Observed
from maskanim.benchmarks.scoring.nets.faceapi import EXTRACTOR_SIDE, RECOGNITION_SIDE
from maskanim.benchmarks.scoring.nets.runner import Runs
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
    """The strongest face of each of N frames.

    Attributes:
        boxes: (N, 4) float64: centre x and y, width and height in pixels.
        turns: (N,) float64, radians from upright.
        found: (N,) bool.
    """

    boxes: Points
    turns: NDArray[np.float64]
    found: Flags


class FaceDetector:
    """BlazeFace, short range."""

    def __init__(self, net: Runs) -> None:
        self.net = net
        self.anchors = _anchors()

    def __call__(self, observed: Observed) -> Faces:
        small = [cv2.resize(frame, (DETECTOR_SIDE,) * 2, interpolation=cv2.INTER_AREA) for frame in observed.frames]
        found = self.net(np.stack(small).astype(np.float32) / 127.5 - 1)
        best = found["classificators"][..., 0].argmax(1)
        each = np.arange(len(best))
        scores = 1 / (1 + np.exp(-np.clip(found["classificators"][each, best, 0], -80, 80)))
        raw = found["regressors"][each, best].astype(np.float64) / DETECTOR_SIDE
        places = raw.reshape(-1, 8, 2)  # centre, size, and six points of which the first two are the eyes
        places[:, [0, *range(2, 8)]] += self.anchors[best][:, None]
        places *= IMAGE_SIZE
        across = places[:, 3] - places[:, 2]
        return Faces(places[:, :2].reshape(-1, 4), np.arctan2(across[:, 1], across[:, 0]), scores > SCORE)


def _anchors() -> Points:
    """(896, 2): the centres of the cells, in the order of the network's outputs."""
    centres = []
    for stride, count in ANCHORS:
        cells = DETECTOR_SIDE // stride
        y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
        centres.append(np.stack([x, y], -1).reshape(-1, 2).repeat(count, 0))
    return np.concatenate(centres)


class FaceMesh:
    """MediaPipe's 468 points, on the detected face turned upright."""

    def __init__(self, net: Runs) -> None:
        self.net = net

    def __call__(self, observed: Observed) -> Keypoints:
        faces: Faces = observed.see("faces")
        maps = [
            _crop_map(box[:2], MESH_MARGIN * box[2:].max(), turn, MESH_SIDE)
            for box, turn in zip(faces.boxes, faces.turns, strict=True)
        ]
        crops = [_cut(frame, each, MESH_SIDE) for frame, each in zip(observed.frames, maps, strict=True)]
        points, found = self.net(np.stack(crops).astype(np.float32) / 255).values()
        if points.shape[-1] == 1:
            points, found = found, points
        present = faces.found & (found.reshape(-1) > 0)  # a logit
        places = points.reshape(-1, MESH_POINTS, 3)[..., :2].astype(np.float64)
        back = np.stack([_invert(each) for each in maps])
        places = np.einsum("nij,nkj->nki", back[..., :2], places) + back[:, None, :, 2]
        return Keypoints(places, np.repeat(present[:, None], MESH_POINTS, 1))


class FaceLandmarks:
    """face-api's 68 points, in the square box around the mesh."""

    def __init__(self, net: Runs) -> None:
        self.net = net

    def __call__(self, observed: Observed) -> Keypoints:
        mesh: Keypoints = observed.see("mesh")
        maps = [_box_map(points, EXTRACTOR_SIDE) for points in mesh.places]
        output = self.net(_crops(observed.frames, maps, EXTRACTOR_SIDE))["output"]
        places = output.reshape(len(maps), -1, 2).astype(np.float64) * EXTRACTOR_SIDE - 0.5
        back = np.stack([_invert(each) for each in maps])
        places = np.einsum("nij,nkj->nki", back[..., :2], places) + back[:, None, :, 2]
        return Keypoints(places, np.repeat(mesh.found[:, :1], places.shape[1], 1))


class FaceEmbedding:
    """dlib's embedding in face-api's weights, in dlib's crop about eyes and mouth.

    Args:
        net: the network.
        mean: of many identities, see `mean_face`; else the one that comes with the package.
    """

    def __init__(self, net: Runs, mean: Array | None = None) -> None:
        self.net = net
        self.mean = _mean_face() if mean is None else mean

    def __call__(self, observed: Observed) -> Embeddings:
        mesh: Keypoints = observed.see("mesh")
        maps = [_dlib_map(points) for points in mesh.places]
        values = self.net(_crops(observed.frames, maps, RECOGNITION_SIDE))["output"]
        return Embeddings(values, mesh.found[:, 0], self.mean)


class FaceExpression:
    """The strongest of face-api's seven expressions, in the box around the mesh."""

    def __init__(self, net: Runs) -> None:
        self.net = net

    def __call__(self, observed: Observed) -> Classes:
        mesh: Keypoints = observed.see("mesh")
        maps = [_box_map(points, EXTRACTOR_SIDE) for points in mesh.places]
        logits = self.net(_crops(observed.frames, maps, EXTRACTOR_SIDE))["output"]
        return Classes(logits.argmax(1).astype(np.int64), mesh.found[:, 0])


def _mean_face() -> Array:
    with np.load(MEAN_FACE) as file:
        return np.asarray(file["mean"], np.float32)


def _dlib_map(points: Points) -> Points:
    eyes_and_mouth = np.stack([points[list(which)].mean(0) for which in (RIGHT_EYE, LEFT_EYE, MOUTH)])
    right, left, mouth = eyes_and_mouth
    side = (np.linalg.norm(mouth - right) + np.linalg.norm(mouth - left)) / 2 / EYES_TO_MOUTH
    middle = eyes_and_mouth.mean(0)
    return _crop_map(middle + (0, (0.5 - MIDDLE_DOWN) * side), side, 0, RECOGNITION_SIDE)


def _box_map(points: Points, to: int) -> Points:
    low, high = points.min(0), points.max(0)
    return _crop_map((low + high) / 2, BOX_MARGIN * float((high - low).max()), 0, to)


def _crop_map(centre: Points, side: float, turn: float, to: int) -> Points:
    """(2, 3): pixels of a frame to those of an upright square of `to` pixels; half-pixel centres."""
    scale = to / max(side, 1)
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    return np.concatenate([linear, ((to - 1) / 2 - linear @ centre)[:, None]], 1)


def _invert(forward: Points) -> Points:
    return np.asarray(cv2.invertAffineTransform(forward), np.float64)


def _cut(frame: Frame, forward: Points, to: int) -> Frame:
    return np.asarray(cv2.warpAffine(frame, forward, (to, to), flags=cv2.INTER_LINEAR), np.uint8)


def _crops(frames: Sequence[Frame], maps: Sequence[Points], to: int) -> Array:
    """(N, 3, to, to) float32, RGB in 0..255."""
    crops = [_cut(frame, each, to) for frame, each in zip(frames, maps, strict=True)]
    return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
