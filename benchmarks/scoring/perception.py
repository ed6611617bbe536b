"""Who is looked at, and by which networks: bodies, faces, drawn puppets, or anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, get_args

from maskanim.benchmarks.scoring.features import Observer
from maskanim.benchmarks.scoring.metrics import METRICS, Metric
from maskanim.benchmarks.scoring.nets import NETWORKS, Nets
from maskanim.benchmarks.scoring.nets.runner import Runs
from maskanim.errors import MaskanimError

Subject = Literal["body", "face", "puppet", "object"]


@dataclass(frozen=True)
class Part:
    """How one feature is got.

    Attributes:
        feature: its name, which metrics ask for.
        word: what is said to be missing where it is not found.
        network: of the registry; empty for a second name of the feature `after`.
        observer: its module and class; it is given the network.
        after: the feature that the observer starts from.
    """

    feature: str
    word: str
    network: str = ""
    observer: str = ""
    after: str = ""


BODY = (
    Part("keypoints", "key-points", "movenet-thunder", "bodies.BodyKeypoints"),
    Part("people", "person", "mediapipe-pose", "bodies.BodyPeople"),
    Part("embedding", "picture", "efficientnet-lite0", "bodies.PictureEmbedding"),
)
FACE = (
    Part("faces", "face", "mediapipe-face-detection", "faces.FaceDetector"),
    Part("mesh", "face", "mediapipe-face-mesh", "faces.FaceMesh", "faces"),
    Part("identity", "face", "face-api-recognition", "faces.FaceEmbedding", "mesh"),
    Part("embedding", "face", after="identity"),
    Part("expression", "face", "face-api-expression", "faces.FaceExpression", "mesh"),
)
FACE_POINTS = {
    468: Part("keypoints", "face", after="mesh"),
    68: Part("keypoints", "face", "face-api-landmarks", "faces.FaceLandmarks", "mesh"),
}


@dataclass(frozen=True)
class Perception:
    """How features are got.

    Attributes:
        subject: who is looked at.
        observers: of each feature that is to be had.
        networks: of each feature, what is behind it, with versions.
        instead_of: of each feature, what the paper has there.
        missing: of each feature that is not to be had, why.
        words: of each feature, what is said to be missing where it is not found.
    """

    subject: Subject
    observers: Mapping[str, Observer] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    instead_of: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def why_not(self, metric: Metric) -> str:
        """Why a metric cannot be computed of this subject; empty if it can."""
        if metric.package and not _version(metric.package):
            return f"{metric.package} is not installed: pip install 'maskanim[bench]'"
        if metric.feature == "frames" or metric.feature in self.observers:
            return ""
        return self.missing.get(metric.feature, f"not defined for the subject {self.subject}")

    def behind(self, metric: Metric) -> str:
        """The network or package behind a metric, with its version; empty for plain arithmetic."""
        if metric.package:
            return f"{metric.package} {_version(metric.package)}".strip()
        return self.networks.get(metric.feature, "")

    def available(self) -> list[Metric]:
        return [metric for metric in METRICS if not self.why_not(metric)]


def perceive(subject: str, nets: Nets, face_points: int = 468) -> Perception:
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
        return _opened("body", BODY, nets)
    if subject == "face":
        return _opened("face", (*FACE, FACE_POINTS[face_points]), nets)
    if subject == "puppet":
        return _puppet()
    if subject == "object":
        return Perception("object")
    raise MaskanimError(f"--subject {subject}", "not a subject", f"one of {', '.join(get_args(Subject))}")


def _opened(subject: Subject, parts: tuple[Part, ...], nets: Nets) -> Perception:
    observers: dict[str, Observer] = {}
    missing: dict[str, str] = {}
    networks: dict[str, tuple[str, ...]] = {}
    for part in parts:
        networks[part.feature] = (*networks.get(part.after, ()), *filter(None, [part.network]))
        told = missing.get(part.after) or (nets.missing(part.network) if part.network else "")
        if told:
            missing[part.feature] = told
        else:
            observers[part.feature] = _observer(part, nets)
    signed = {feature: ", ".join(NETWORKS[name].signature for name in which) for feature, which in networks.items()}
    instead = {feature: NETWORKS[which[-1]].instead_of for feature, which in networks.items()}
    return Perception(subject, observers, signed, instead, missing, {part.feature: part.word for part in parts})


def _observer(part: Part, nets: Nets) -> Observer:
    from maskanim.benchmarks.scoring.observers import bodies, faces

    if not part.network:
        return lambda observed: observed.see(part.after)
    module, _, name = part.observer.partition(".")
    kind: Callable[[Runs], Observer] = getattr({"bodies": bodies, "faces": faces}[module], name)
    return kind(nets.open(part.network))


def _puppet() -> Perception:
    from maskanim.benchmarks.scoring.observers.puppets import FIGURE, FINDER, PuppetKeypoints

    def no_background(_: object) -> object:
        raise AssertionError("a puppet's case brings the observer of its own background")

    return Perception(
        "puppet",
        {"keypoints": PuppetKeypoints(), "people": no_background},
        {"keypoints": FINDER, "people": FIGURE},
        words={"keypoints": "key-points", "people": "figure"},
    )


def _version(package: str) -> str:
    """The installed version; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
