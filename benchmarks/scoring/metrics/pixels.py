"""L1 and SSIM: how far the generated pixels are from the target's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from maskanim.benchmarks.scoring.metrics.base import PerFrame
from maskanim.errors import needs_extra
from maskanim.ops import Frame

FULL = 255


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
