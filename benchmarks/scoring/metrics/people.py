"""CLS and IOU: whether there is a person, and where the driver's is."""

from __future__ import annotations

import numpy as np

from maskanim.benchmarks.scoring.features import People
from maskanim.benchmarks.scoring.metrics.base import PerFrame


def cls(generated: People, _: None) -> PerFrame:
    """Classification: the share of generated frames with a person in it."""
    return PerFrame(generated.present.astype(np.float64), np.ones(len(generated.present)))


def iou(generated: People, driving: People) -> PerFrame:
    """Intersection over union of the masks, over driving frames with a person; zero where the generated has none."""
    both = (generated.masks & driving.masks).sum((1, 2))
    either = (generated.masks | driving.masks).sum((1, 2))
    shares = both / np.maximum(either, 1) * generated.present
    return PerFrame(shares * driving.present, driving.present.astype(np.float64))
