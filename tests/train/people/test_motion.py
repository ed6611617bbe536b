"""Motions: smooth, bounded, the same for the same seed, and wide."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.train.people.clip import motion_of
from maskanim.train.people.motion import EXPRESSIONS, GAZE, PITCH, ROLL, YAW, HeadMotion

TIMES = np.arange(0, 30, 0.04)


@pytest.mark.parametrize("seed", range(4))
def test_a_motion_is_bounded_and_smooth(seed: int) -> None:
    poses = [HeadMotion([seed]).at(time) for time in TIMES]
    neck, gaze = np.array([pose.neck for pose in poses]), np.array([pose.gaze for pose in poses])
    expression = np.array([pose.expression for pose in poses])
    assert (np.abs(neck) <= [YAW, PITCH, ROLL]).all() and (np.abs(gaze) <= GAZE).all()
    assert expression.min() >= 0 and expression.max() <= 1.2 and expression.shape[1] == len(EXPRESSIONS)
    assert np.abs(np.diff(neck, axis=0)).max() < 0.2  # radians in 40 ms
    lids = np.array(["eye" in name for name in EXPRESSIONS])
    assert np.abs(np.diff(expression[:, ~lids], axis=0)).max() < 0.5
    assert neck[:, 0].std() > 0.05


def test_the_same_seed_is_the_same_motion_at_any_time() -> None:
    a, b = motion_of(3), motion_of(3)
    b.at(7.0)
    for x, y in zip(a.at(1.25), b.at(1.25), strict=True):
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(a.at(1.25).neck, motion_of(3, "test").at(1.25).neck)
    assert not np.array_equal(a.at(1.25).neck, motion_of(3, seed=1).at(1.25).neck)


def test_motions_reach_profiles_open_mouths_and_closed_lids() -> None:
    poses = [motion_of(i).at(time) for i in range(20) for time in TIMES[::25]]
    assert max(abs(pose.neck[0] + pose.shoulders[0]) for pose in poses) > 0.9
    weights = np.array([pose.expression for pose in poses])
    for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileRight"):
        assert weights[:, EXPRESSIONS.index(f"arkit/{name}")].max() > 0.3
