"""The bootstrap: values by hand, and intervals of a known width."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.benchmarks.estimates import correlation, ratio


def test_a_sum_over_a_sum() -> None:
    estimate = ratio([1.0, 5.0], [2.0, 2.0])
    assert estimate.value == 1.5 and (estimate.low, estimate.high) == (0.5, 2.5)


def test_what_does_not_vary_has_no_width() -> None:
    assert ratio([3.0] * 10, [2.0] * 10) == (1.5, 1.5, 1.5)
    assert ratio([3.0], [2.0]) == (1.5, 1.5, 1.5)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    value, low, high = ratio(values.tolist(), [1.0] * 400)
    expected = 1.96 * values.std() / np.sqrt(400)
    assert value == pytest.approx(values.mean())
    # 2,000 resamples place a 2.5 % quantile within about 5 % of its distance from the mean.
    assert (value - low, high - value) == pytest.approx((expected, expected), rel=0.1)


def test_it_is_the_same_each_time() -> None:
    values = np.random.default_rng(2).uniform(size=30).tolist()
    assert ratio(values, [1.0] * 30) == ratio(values, [1.0] * 30)


def test_a_correlation_of_sums() -> None:
    """12 / sqrt(16 * 25); the identities by themselves have 0.5 and 0.63."""
    value, low, high = correlation([2.0, 10.0], [4.0, 12.0], [4.0, 21.0])
    assert value == pytest.approx(0.6)
    assert (low, high) == pytest.approx((0.5, 10 / np.sqrt(12 * 21)))


def test_a_correlation_is_pearson_s() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 50))
    a, b = x - x.mean(), y - y.mean()
    assert correlation([a @ b], [a @ a], [b @ b]).value == pytest.approx(np.corrcoef(x, y)[0, 1])
