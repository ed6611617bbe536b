"""Source, driver and result in a row."""

from __future__ import annotations

import numpy as np

from maskanim.views import side_by_side


def test_three_squares_stay_as_they_are() -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8))
    np.testing.assert_array_equal(side_by_side(*pictures), np.hstack(pictures))


def test_all_are_as_high_as_the_result_and_keep_their_proportions() -> None:
    source, driving = np.full((600, 300, 3), 10, np.uint8), np.full((64, 96, 3), 20, np.uint8)
    row = side_by_side(source, driving, np.full((300, 400, 3), 30, np.uint8))
    assert row.shape == (300, 150 + 450 + 400, 3) and row.dtype == np.uint8
    assert (row[:, :150] == 10).all() and (row[:, 150:600] == 20).all() and (row[:, 600:] == 30).all()
