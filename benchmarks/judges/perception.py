"""Who is looked at, and by which networks: bodies, faces, drawn puppets, or anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

from maskanim.benchmarks.judges.bodies import body_keypoints, body_people, picture_embedding
from maskanim.benchmarks.judges.faces import detect_faces, face_embedding, face_expression, face_landmarks, face_mesh
from maskanim.benchmarks.judges.features import Observed, Observer
from maskanim.benchmarks.judges.heads import see_heads
from maskanim.benchmarks.judges.networks import NETWORKS, Nets
from maskanim.errors import MaskanimError
from maskanim.ops import Frame

Subject = Literal["body", "face", "puppet", "object"]


class Part(NamedTuple):
    """How one feature is got."""

    feature: str  # its name, which metrics ask for
    word: str  # what is said to be missing where it is not found
    network: str = ""  # its name; empty where none is needed
    # is given the network, if there is one, and what is observed; None for a second name of `after`
    observer: Callable[..., Any] | None = None
    after: str = ""  # the feature that the observer starts from


BODY = (
    Part("keypoints", "key-points", "movenet-thunder", body_keypoints),
    Part("people", "person", "mediapipe-pose", body_people),
    Part("embedding", "picture", "efficientnet-lite0", picture_embedding),
)
FACE = (
    Part("faces", "face", "mediapipe-face-detection", detect_faces),
    Part("mesh", "face", "mediapipe-face-mesh", face_mesh, "faces"),
    Part("head", "face", "", see_heads, "mesh"),
    Part("identity", "face", "face-api-recognition", face_embedding, "mesh"),
    Part("embedding", "face", after="identity"),
    Part("expression", "face", "face-api-expression", face_expression, "mesh"),
)
FACE_POINTS = {
    468: Part("keypoints", "face", after="mesh"),
    68: Part("keypoints", "face", "face-api-landmarks", face_landmarks, "mesh"),
}


@dataclass
class Perception:
    """How features are got."""

    subject: Subject  # who is looked at
    observers: dict[str, Observer] = field(default_factory=dict)  # of each feature that is to be had
    networks: dict[str, str] = field(default_factory=dict)  # of each feature, what is behind it, with versions
    instead_of: dict[str, str] = field(default_factory=dict)  # of each feature, what the paper has there
    missing: dict[str, str] = field(default_factory=dict)  # of each feature that is not to be had, why
    # of each feature, what is said to be missing where it is not found
    words: dict[str, str] = field(default_factory=dict)

    def see(self, frames: Sequence[Frame], feature: str) -> Any:
        """A feature of frames, (256, 256, 3) uint8 RGB each; see `Observed.see`.

        Raises:
            MaskanimError: its network is not here.
        """
        if feature not in self.observers:
            why = self.missing.get(feature, f"not defined for the subject {self.subject}")
            raise MaskanimError(f"feature {feature}", why, f"one of {', '.join(self.observers) or 'none'}")
        return Observed(frames, self.observers).see(feature)


def perceive(subject: str, nets: Nets | None = None, face_points: int = 468) -> Perception:
    """Find what a subject is judged by.

    Args:
        subject: ``body``, ``face``, ``puppet`` or ``object``, of which only pixels are compared.
        nets: where the networks are; those that are missing make features missing, not an error.
        face_points: 468 for MediaPipe's mesh, 68 for face-api's landmarks.

    Raises:
        MaskanimError: no such subject or number of points, or a damaged file of a network.
    """
    if face_points not in FACE_POINTS:
        raise MaskanimError(f"--face-points {face_points}", "no such network", "468 or 68")
    if subject == "body":
        return _opened("body", BODY, nets or Nets())
    if subject == "face":
        return _opened("face", (*FACE, FACE_POINTS[face_points]), nets or Nets())
    if subject == "puppet":
        return _puppet()
    if subject == "object":
        return Perception("object")
    raise MaskanimError(f"--subject {subject}", "not a subject", f"one of {', '.join(get_args(Subject))}")


def _opened(subject: Subject, parts: Sequence[Part], nets: Nets) -> Perception:
    seen = Perception(subject, words={part.feature: part.word for part in parts})
    behind: dict[str, list[str]] = {}
    for part in parts:
        behind[part.feature] = [*behind.get(part.after, []), *filter(None, [part.network])]
        seen.networks[part.feature] = ", ".join(NETWORKS[name].signature for name in behind[part.feature])
        seen.instead_of[part.feature] = NETWORKS[behind[part.feature][-1]].instead_of
        if why := seen.missing.get(part.after) or (nets.missing(part.network) if part.network else ""):
            seen.missing[part.feature] = why
        else:
            seen.observers[part.feature] = _observer(part, nets)
    return seen


def _observer(part: Part, nets: Nets) -> Observer:
    if part.network and part.observer:
        return partial(part.observer, nets.open(part.network))
    return part.observer or (lambda observed: observed.see(part.after))


def _puppet() -> Perception:
    from maskanim.benchmarks.judges.puppets import FIGURE, FINDER, Finder, see_keypoints

    observers: dict[str, Observer] = {"keypoints": partial(see_keypoints, Finder.load())}
    words = {"keypoints": "key-points", "people": "figure"}
    # A puppet that is drawn here brings the observer of its figure, which needs its background.
    missing = {"people": "the bare background of a finished video is not known"}
    return Perception("puppet", observers, {"keypoints": FINDER, "people": FIGURE}, missing=missing, words=words)
