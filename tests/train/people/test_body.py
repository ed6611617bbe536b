"""Whole bodies: poses from BVH files, motions between them, and key-points on the figures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.train.data.drawn import PeoplePairs
from maskanim.train.people.body import BodyMotion, Turns, between, read_pose
from maskanim.train.people.clip import Studio, rotation
from maskanim.train.people.dataset import truth_of
from maskanim.train.settings import DataSettings

BVH = """HIERARCHY
ROOT root
{
    OFFSET 0 0 0
    CHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation Zrotation
    JOINT head
    {
        OFFSET 0 0 1
        CHANNELS 3 Xrotation Yrotation Zrotation
    }
}
MOTION
Frames: 1
Frame Time: 0.04
1 2 3 0 0 30 20 0 0
"""


def test_a_pose_is_read_with_its_axes_turned_upright() -> None:
    turns = read_pose("a", BVH)
    np.testing.assert_allclose(turns["root"], rotation(np.radians(30), 0, 0), atol=1e-12)  # z is up there, y here
    np.testing.assert_allclose(turns["head"], rotation(0, np.radians(20), 0), atol=1e-12)


@pytest.mark.parametrize("text", [BVH.replace(" 20 0 0", ""), BVH.partition("MOTION")[0], ""])
def test_a_damaged_pose_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(MaskanimError, match=r"the pose bow: .* of its channels"):
        read_pose("bow", text)


def test_between_two_rotations_is_the_shortest_way() -> None:
    a, b = rotation(0.3, 0, 0), rotation(1.1, 0, 0)
    np.testing.assert_allclose(between(a, b, 0.25), rotation(0.5, 0, 0), atol=1e-12)
    np.testing.assert_allclose(between(a, rotation(0.2, 0.4, 1), 1), rotation(0.2, 0.4, 1), atol=1e-12)


def test_a_motion_is_smooth_and_its_seeds() -> None:
    poses: dict[str, Turns] = {f"standing{i}": {"wrist.L": rotation(0.5 * i, 0, 0)} for i in range(4)}
    motion, same = BodyMotion([3], poses), BodyMotion([3], poses)
    same.at(5.0)
    frames = [motion.at(0.04 * i).turns for i in range(250)]
    np.testing.assert_array_equal(frames[30]["wrist.L"], same.at(0.04 * 30).turns["wrist.L"])
    for bone in ("wrist.L", "root", "upperarm01.R"):
        steps = [np.linalg.norm(cv2.Rodrigues(a[bone].T @ b[bone])[0]) for a, b in pairwise(frames)]
        assert 0 < max(steps) < 0.15  # radians in 40 ms


@pytest.fixture(scope="module")
def bodies(real_studio: Studio) -> Studio:
    return Studio(real_studio.pack, "body")


@pytest.mark.parametrize("number", range(2))
def test_whole_figures_are_in_the_picture_with_their_key_points(bodies: Studio, number: int) -> None:
    motion = bodies.motion(number)
    frames = bodies.frames(bodies.person(number), bodies.scene(number), [motion.at(0.8 * i) for i in range(6)])
    for frame in frames:
        assert frame.keypoints is not None and frame.keypoints.shape == (17, 2)
        assert not frame.foreground[[0, -1]].any() and not frame.foreground[:, [0, -1]].any()
        x, y = np.round(frame.keypoints).astype(int).T
        assert (frame.foreground[y, x] > 0.5).mean() > 0.85
        nose, ankles = frame.keypoints[0], frame.keypoints[15:]
        assert (ankles[:, 1] > nose[1] + 30).all()
        if abs(frame.angles[0]) < 20:
            left, right = frame.keypoints[5], frame.keypoints[6]
            assert left[0] > right[0]  # the person's left is on the picture's right
    truth = truth_of(frames)
    assert truth["keypoints"].shape == (6, 17, 2) and "landmarks" not in truth


def test_bodies_are_drawn_as_training_goes(bodies: Studio, real_assets: Path) -> None:
    """The figures of a pair are whole bodies: the map of one reaches over most of the picture's height."""
    for framing in ("head", "body"):
        pair = PeoplePairs(real_assets, 5, DataSettings(across=1.0, framing=framing), 3)[0]
        heads = pair.source_figure[0, 60:].amax() > 0.1  # a head's shoulders leave the picture below
        assert heads == (framing == "head") and pair.driver.shape == (3, 256, 256)


def test_bodies_wear_shoes(bodies: Studio) -> None:
    assert all(any("shoes" in key for key in bodies.person(number).wears) for number in range(3))
