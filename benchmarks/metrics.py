"""The metrics of section 4, each a function of two features; the table says which is held against what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.judges import Feature, Perception
from maskanim.benchmarks.judges.heads import HEAD
from maskanim.errors import needs_extra
from maskanim.ops import Array, Frame

FULL = 255
FEWEST_FRAMES, STILL = 3, 1e-6  # of a clip whose correlation is computed, and what counts as no motion


class PerFrame(NamedTuple):
    """A metric on N frames: the figure of any set of them is the sum of `totals` over the sum of `counts`."""

    totals: NDArray[np.float64]  # (N,) float64
    counts: NDArray[np.float64]  # (N,) float64; zero where there was nothing to judge, such as no face

    @classmethod
    def joined(cls, parts: Sequence[PerFrame]) -> PerFrame:
        """One after the other."""
        return cls(*np.hstack([np.stack(part) for part in parts]))

    @classmethod
    def unjudged(cls, count: int) -> PerFrame:
        """Of frames in which there was nothing to judge."""
        return cls(np.zeros(count), np.zeros(count))


class Metric(NamedTuple):
    """One figure of section 4."""

    name: str  # as in the paper
    better: Literal["lower", "higher"]  # which way
    unit: str  # of the figure; ``%`` shows a share as percent
    feature: str  # what it looks at, see `judges.Observed`
    # what the generated frames are held against: the ``driving`` or ``target`` frame of the same number, or the
    # ``source``; or nothing
    against: Literal["driving", "target", "source", ""]
    # from the feature of the generated frames and of the others (None if there are none) to the figure; the others may
    # be one for all of them
    judge: Callable[[Any, Any], PerFrame]
    meaning: str  # in a line
    package: str = ""  # that computes it, where that is not this one
    whole: bool = False  # whether it is judged on all frames of a video at once, as correlations are

    def why_not(self, perception: Perception) -> str:
        """Why it cannot be computed; empty if it can."""
        if self.package and not _version(self.package):
            return f"{self.package} is not installed: pip install 'maskanim[bench]'"
        if self.feature == "frames" or self.feature in perception.observers:
            return ""
        return perception.missing.get(self.feature, f"not defined for the subject {perception.subject}")

    def behind(self, perception: Perception) -> str:
        """The network or package behind it, with its version; ``arithmetic`` if there is none."""
        package = f"{self.package} {_version(self.package)}" if self.package else ""
        return package or perception.networks.get(self.feature, "arithmetic")

    def instead_of(self, perception: Perception) -> str:
        """What the paper has there; empty where it is the same, or nothing."""
        return "" if self.package or self.feature == "head" else perception.instead_of.get(self.feature, "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def l1(generated: Sequence[Frame], target: Sequence[Frame]) -> PerFrame:
    """L1: the mean absolute difference of pixels in [0, 1], per frame. Exactly the paper's."""
    away = [np.abs(a.astype(np.int16) - b).mean() / FULL for a, b in zip(generated, target, strict=True)]
    return PerFrame(np.array(away), np.ones(len(away)))


def ssim(generated: Sequence[Frame], target: Sequence[Frame]) -> PerFrame:
    """SSIM, the paper's [24]: an 11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03; the mean over red, green, blue.

    scikit-image computes it: the other maintained implementations need PyTorch, which nothing else here does.
    """
    with needs_extra("SSIM", "bench"):
        from skimage.metrics import structural_similarity
    as_published: Callable[..., float] = partial(
        structural_similarity, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    pairs = zip(generated, target, strict=True)
    alike = [float(as_published(a, b, data_range=FULL, channel_axis=-1)) for a, b in pairs]
    return PerFrame(np.array(alike), np.ones(len(alike)))


def akd(generated: Feature, driving: Feature) -> PerFrame:
    """Average key-points distance: mean Euclidean distance in pixels of 256, over key-points found in both."""
    both = generated.found & driving.found
    away = np.linalg.norm(generated.values - driving.values, axis=-1)
    return PerFrame((away * both).sum(1), both.sum(1).astype(np.float64))


def mkr(generated: Feature, driving: Feature) -> PerFrame:
    """Missing key-points rate: of those found in the driving frame, the share not found in the generated one."""
    missing = driving.found & ~generated.found
    return PerFrame(missing.sum(1).astype(np.float64), driving.found.sum(1).astype(np.float64))


def aed(generated: Feature, target: Feature) -> PerFrame:
    """Average Euclidean distance of the embeddings, over frames in which both have one."""
    both = generated.found & target.found
    away = np.linalg.norm(generated.values - target.values, axis=-1).astype(np.float64)
    return PerFrame(away * both, both.astype(np.float64))


def csim(generated: Feature, source: Feature) -> PerFrame:
    """Cosine similarity of the embeddings to the source's, each less the mean embedding, over frames that have one.

    The paper takes the plain cosine of other networks' embeddings. Where all embeddings share a large mean, as dlib's
    do, that is close to one for any two people.
    """
    both = generated.found & source.found
    a, b = _unit(generated.values), _unit(source.values)
    return PerFrame((a * b).sum(-1).astype(np.float64) * both, both.astype(np.float64))


def _unit(values: Array) -> Array:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), np.float32(1e-12))


def cls(generated: Feature, _: None) -> PerFrame:
    """Classification: the share of generated frames with a person in it."""
    return PerFrame(generated.found.astype(np.float64), np.ones(len(generated.found)))


def iou(generated: Feature, driving: Feature) -> PerFrame:
    """Intersection over union of the masks, over driving frames with a person; zero where the generated has none."""
    both = (generated.values & driving.values).sum((1, 2))
    either = (generated.values | driving.values).sum((1, 2))
    shares = both / np.maximum(either, 1) * generated.found
    return PerFrame(shares * driving.found, driving.found.astype(np.float64))


def fes(generated: Feature, driving: Feature) -> PerFrame:
    """Facial expression similarity: the share of driving faces whose expression, of seven, the generated face has.

    The paper does not say more than that it compares seven emotions; equality of the strongest is our reading, and a
    generated frame without a face counts as another expression.
    """
    same = (generated.values == driving.values) & generated.found & driving.found
    return PerFrame(same.astype(np.float64), driving.found.astype(np.float64))


def follows(part: str) -> Callable[[Feature, Feature], PerFrame]:
    """Correlation over a clip between the generated head's and the driver's, over frames with a face in both.

    Not in the paper. The mean over the frames of the product of standard scores is Pearson's correlation; of several
    clips it is the mean of theirs, each by its number of frames.

    Args:
        part: in `judges.heads.HEAD`.
    """

    def judge(generated: Feature, driving: Feature) -> PerFrame:
        both = generated.found & driving.found
        a, b = (each.values[both][:, HEAD[part]].mean(1) for each in (generated, driving))
        if len(a) < FEWEST_FRAMES or min(np.ptp(a), np.ptp(b)) < STILL:
            return PerFrame.unjudged(len(both))
        totals = np.zeros(len(both))
        totals[both] = (a - a.mean()) * (b - b.mean()) / (a.std() * b.std())
        return PerFrame(totals, both.astype(np.float64))

    return judge


METRICS = (
    Metric("L1", "lower", "of [0, 1]", "frames", "target", l1, "mean absolute difference to the target"),
    Metric("AKD", "lower", "px", "keypoints", "driving", akd, "mean distance to the driver's key-points"),
    Metric("MKR", "lower", "share", "keypoints", "driving", mkr, "the driver's key-points that are missing"),
    Metric("AED", "lower", "distance", "embedding", "target", aed, "distance to the target's embedding"),
    Metric("SSIM", "higher", "of 1", "frames", "target", ssim, "structural similarity to the target", "scikit-image"),
    Metric("CSIM", "higher", "cosine", "identity", "source", csim, "similarity to the source's identity"),
    Metric("CLS", "higher", "share", "people", "", cls, "frames with a person in them"),
    Metric("IOU", "higher", "of 1", "people", "driving", iou, "overlap with the driver's mask"),
    Metric("FES", "higher", "%", "expression", "driving", fes, "frames with the driver's expression"),
    *(
        Metric(f"{part} r", "higher", "of 1", "head", "driving", follows(part), f"correlation of {what}", whole=True)
        for part, what in (("yaw", "the heads' yaw"), ("mouth", "the mouths' opening"), ("lids", "the lids' opening"))
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
