"""A figure and how far it would move with other identities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    return _estimate([numerators, denominators], lambda sums: sums[0] / sums[1])


def correlation(products: Sequence[float], squares: Sequence[float], other_squares: Sequence[float]) -> Estimate:
    """Pearson's, within identities: what sets one's mean apart from another's does not count.

    Args:
        products, squares, other_squares: of each identity the sums of xy, xx and yy over its frames, where x and y are
            the two quantities less their means over the frames.
    """
    return _estimate([products, squares, other_squares], lambda sums: sums[0] / np.sqrt(sums[1] * sums[2]))


def _estimate(sums: Sequence[Sequence[float]], figure: Callable[[NDArray[np.float64]], Any]) -> Estimate:
    """A figure made of sums over the identities, each a row of `sums`."""
    table = np.asarray(sums, np.float64)
    n = table.shape[1]
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(figure(table @ drawn.T), (outside, 100 - outside)).tolist()
    return Estimate(float(figure(table.sum(1))), low, high)
