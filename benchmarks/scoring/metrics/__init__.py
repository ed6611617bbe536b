"""The metrics of section 4, each a function of two features; the table says which is held against what."""

from maskanim.benchmarks.scoring.metrics.base import Metric, PerFrame
from maskanim.benchmarks.scoring.metrics.expressions import fes
from maskanim.benchmarks.scoring.metrics.identity import aed, csim
from maskanim.benchmarks.scoring.metrics.keypoints import akd, mkr
from maskanim.benchmarks.scoring.metrics.people import cls, iou
from maskanim.benchmarks.scoring.metrics.pixels import l1, ssim

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
)
BY_NAME = {metric.name: metric for metric in METRICS}

__all__ = ["BY_NAME", "METRICS", "Metric", "PerFrame"]
