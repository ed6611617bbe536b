"""What makes pictures worse: alike for a pair, bounded, and left out as often as asked for."""

from __future__ import annotations

import numpy as np

from maskanim.train.data.worsen import worsen_alike

FRAME = np.full((64, 64, 3), 128, np.uint8)
FRAME[16:48, 16:48] = 220, 60, 60


def test_a_share_of_none_leaves_all_as_they_are() -> None:
    rng = np.random.default_rng(0)
    assert all(worsen_alike([FRAME], 0, rng)[0] is FRAME for _ in range(20))


def test_about_the_share_is_made_worse_and_stays_recognisable() -> None:
    made = [worsen_alike([FRAME, FRAME], 0.5, np.random.default_rng(i)) for i in range(100)]
    changed = [pair for pair in made if pair[0] is not FRAME]
    assert 35 <= len(changed) <= 65
    for a, b in changed:
        assert a.shape == FRAME.shape and a.dtype == np.uint8
        # Blur and JPEG are alike in both; what differs is the noise.
        assert np.abs(a.astype(int) - b).mean() < 12
        assert np.abs(a.astype(int) - FRAME).mean() < 25
    assert any(np.array_equal(a, b) for a, b in changed) and not all(np.array_equal(a, b) for a, b in changed)


def test_codecs_keep_more_of_red_than_of_blue() -> None:
    """As JPEG weighs them, 0.299 and 0.114 of brightness, which alone is kept at full size."""
    kept = []
    for channel in (0, 2):
        stripes = np.full((64, 64, 3), 64, np.uint8)
        stripes[:, ::2, channel] = 192
        made = np.stack([worsen_alike([stripes], 1, np.random.default_rng(i))[0] for i in range(40)])[..., channel]
        kept.append(np.abs(np.diff(made.astype(int), axis=2)).mean())
    assert kept[0] > 1.5 * kept[1]


def test_noise_has_no_preferred_side() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    made = np.stack([worsen_alike([grey], 1, np.random.default_rng(i))[0] for i in range(60)])
    assert abs(made.mean() - 128) < 0.05


def test_the_same_generator_gives_the_same_pictures() -> None:
    a, b = (worsen_alike([FRAME], 1, np.random.default_rng(7))[0] for _ in range(2))
    np.testing.assert_array_equal(a, b)
