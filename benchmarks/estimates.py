"""A figure and how far it would move with other identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 95  # percent
SEED = 0


class Estimate(NamedTuple):
    """A value, and the interval that holds 95 % of its bootstrap resamples.

    Where all identities agree, or there is but one, it has no width, though more identities could disagree: after n
    that agree, up to 3/n of all may not.
    """

    value: float
    low: float
    high: float


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """A sum over a sum, the identities drawn anew with replacement: means, shares and quotients alike.

    Args:
        numerators, denominators: one of each per identity; the frames of one identity are no independent draws.
    """
    n = len(numerators)
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    resampled = (drawn @ np.asarray(numerators)) / (drawn @ np.asarray(denominators))
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, (outside, 100 - outside)).tolist()
    return Estimate(float(np.sum(numerators) / np.sum(denominators)), low, high)
