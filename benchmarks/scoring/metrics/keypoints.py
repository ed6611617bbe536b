"""AKD and MKR: whether the generated figure stands as the driver does."""

from __future__ import annotations

import numpy as np

from maskanim.benchmarks.scoring.features import Keypoints
from maskanim.benchmarks.scoring.metrics.base import PerFrame


def akd(generated: Keypoints, driving: Keypoints) -> PerFrame:
    """Average key-points distance: mean Euclidean distance in pixels of 256, over key-points found in both."""
    both = generated.found & driving.found
    away = np.linalg.norm(generated.places - driving.places, axis=-1)
    return PerFrame((away * both).sum(1), both.sum(1).astype(np.float64))


def mkr(generated: Keypoints, driving: Keypoints) -> PerFrame:
    """Missing key-points rate: of those found in the driving frame, the share not found in the generated one."""
    missing = driving.found & ~generated.found
    return PerFrame(missing.sum(1).astype(np.float64), driving.found.sum(1).astype(np.float64))
